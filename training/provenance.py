"""What a run records of where its weights came from; export copies it into the manifest, and the card shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from service.models.store import file_digest
from training.artifacts import write_document, write_text
from training.datasets.prepared import REPORT, TEACHER, TEACHERS, beside
from training.errors import PreparedError, RunError, raised_as
from training.recipe import Recipe

PROVENANCE: Final = "provenance.json"
WEIGHTS: Final = "best.weights.h5"
WITHOUT_FILE: Final = ("random", "imagenet")


class Teacher(BaseModel):
    """Whose probabilities a run learnt beside the labels.

    `name` is a run's or a description; `weights` the SHA-256 of its weights, where they have a file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    weights: str = ""


class Teachers(BaseModel):
    """The document `teachers.json`: the teachers behind a file of `predictions`, of which it has the SHA-256."""

    model_config = ConfigDict(title=TEACHERS, frozen=True, validate_by_name=True)

    predictions: str = Field(validation_alias=AliasChoices("predictions", "answers", "taught"))
    """Also read as `answers` and `taught`, as earlier versions wrote."""
    teachers: tuple[Teacher, ...]


class Provenance(BaseModel):
    """How weights came about: by a run, of which `recipe` is the recipe's name, or as the mean of others' in shares that add up
    to 1. `weights` is the SHA-256 of the file that came of it.

    A run began with `initial` weights (`random`, `imagenet`, or the SHA-256 of a file, whose source is `origin`), or went on
    from another's, `follows`. `licences` are those of the `data`, or of the served model whose weights they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    weights: str
    initial: str = ""
    origin: str = ""
    follows: Provenance | None = None
    data: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    teachers: tuple[Teacher, ...] = ()
    mean_of: tuple[tuple[float, Provenance], ...] = ()


def of_run(run: Path) -> Provenance | None:
    """What is recorded of a run or a mean of runs; None where nothing is.

    Args:
        run: Folder of the run.

    Returns:
        The record, or None.

    Raises:
        RunError: The record is damaged.
    """
    path = run / PROVENANCE
    with raised_as(RunError):
        return Provenance.model_validate_json(path.read_text()) if path.exists() else None


def record_run(
    out: Path, recipe: Recipe, prepared: Path, init: str, start: Path | None, teachers: Sequence[Path] = ()
) -> Provenance:
    """Write `out/provenance.json` of a finished run, which began with `init` or went on from the weights file `start`.

    Args:
        out: Folder of the run.
        recipe: Its recipe.
        prepared: Folder that `prepare` wrote.
        init: Initial weights of the trunk: `imagenet`, `random`, or a file.
        start: Weights file that it went on from.
        teachers: Folders of the runs that predicted its variants; those behind `teacher.npz` where there are none.

    Returns:
        What was written.
    """
    learnt_from = _teachers(teachers) if teachers else teachers_of(prepared) if recipe.loss.teacher_weight > 0 else ()
    made = Provenance(
        recipe=recipe.name,
        weights=file_digest(out / WEIGHTS),
        initial=beginning_of(init, start).get("initial", ""),
        origin=recipe.origin if start is None else "",
        follows=None if start is None else _of_weights(start),
        data=tuple(dict.fromkeys(recipe.data.train)),
        licences=_licences(prepared, recipe.data.train),
        teachers=learnt_from,
    )
    return _write(out, made)


def beginning_of(init: str, start: Path | None, teachers: Sequence[Path] = ()) -> dict[str, str]:
    """With which weights a run begins, and by whose it is taught.

    Args:
        init: Initial weights of the trunk: `imagenet`, `random`, or a file.
        start: Weights file of a whole network, which stands before them.
        teachers: Folders of the runs that predict its variants.

    Returns:
        `follows`, or else `initial`: the SHA-256 of the file, or the word; and `teachers`, where there are some: theirs.

    Raises:
        FileNotFoundError: There is no such file.
    """
    taught = {"teachers": " ".join(one.weights for one in _teachers(teachers))} if teachers else {}
    if start is None and init in WITHOUT_FILE:
        return {"initial": init} | taught
    path = Path(init) if start is None else start
    if not path.is_file():
        raise FileNotFoundError(f"no initial weights at {path}")
    return {"initial" if start is None else "follows": file_digest(path)} | taught


def record_reopened(out: Path, model: str, before: Provenance | None, licence: str = "") -> Provenance:
    """Write `out/provenance.json` of a served model's weights, which were rounded and folded, as those of a run.

    Args:
        out: Folder of the weights.
        model: NAME/VERSION.
        before: What its manifest records.
        licence: That of its manifest; empty where it has none.

    Returns:
        What was written.
    """
    name, licences = f"{model} as it is served", (licence,) if licence else ()
    return _write(out, Provenance(recipe=name, weights=file_digest(out / WEIGHTS), licences=licences, follows=before))


def record_mean(out: Path, runs: Sequence[Path], shares: Sequence[float], recipe: Recipe) -> Provenance:
    """Write `out/provenance.json` of the mean of runs' weights, in shares that need not add up to 1.

    Args:
        out: Folder of the mean.
        runs: Folders of the runs.
        shares: Each run's weight in the mean.
        recipe: The last run's recipe.

    Returns:
        What was written.
    """
    parts = tuple((round(share / sum(shares), 4), _of_weights(run / WEIGHTS)) for run, share in zip(runs, shares, strict=True))
    return _write(out, Provenance(recipe=recipe.name, weights=file_digest(out / WEIGHTS), mean_of=parts))


def record_teachers(prepared: Path, runs: Sequence[Path], embeddings: bool, recognition: Path | None) -> None:
    """Write `teachers.json`, the teachers behind `teacher.npz`, with its SHA-256.

    Args:
        prepared: Folder that `prepare` wrote.
        runs: Folders of the runs that are teachers.
        embeddings: Whether networks on face embeddings are.
        recognition: Weights of a face recognition network on whose features networks are.
    """
    teachers = [*_teachers(runs)]
    if embeddings:
        teachers.append(Teacher(name="small networks on dlib's embeddings"))
    if recognition is not None:
        teachers.append(
            Teacher(name="small networks on a face recognition network's features", weights=file_digest(recognition))
        )
    write_document(prepared / TEACHERS, Teachers(predictions=file_digest(prepared / TEACHER), teachers=tuple(teachers)))


def _teachers(runs: Sequence[Path]) -> tuple[Teacher, ...]:
    """Runs as teachers, by what is recorded of their weights."""
    made = [(run.name, _of_weights(run / WEIGHTS)) for run in runs]
    return tuple(Teacher(name=one.recipe or name, weights=one.weights) for name, one in made)


def teachers_of(prepared: Path) -> tuple[Teacher, ...]:
    """The teachers behind `teacher.npz`; the file itself where nothing is recorded of it.

    Args:
        prepared: Folder that `prepare` wrote.

    Returns:
        The teachers.

    Raises:
        PreparedError: `teachers.json` is damaged.
    """
    predictions, teachers = beside(prepared, TEACHER), beside(prepared, TEACHERS)
    digest = file_digest(predictions)
    if teachers.exists():
        with raised_as(PreparedError):
            document = Teachers.model_validate_json(teachers.read_bytes())
        if document.predictions == digest:
            return document.teachers
    return (Teacher(name=predictions.name, weights=digest),)


def licences_of(made: Provenance) -> tuple[str, ...]:
    """The licences of all that weights came of, as far as it is recorded.

    Args:
        made: What is recorded of the weights.

    Returns:
        Texts, those of the last run first, each once.
    """
    before = [one for _, one in made.mean_of] + ([] if made.follows is None else [made.follows])
    inherited = [licence for one in before for licence in (*licences_of(one), one.origin) if licence]
    return tuple(dict.fromkeys([*made.licences, *inherited]))


def lineage(made: Provenance) -> Iterator[str]:
    """Lines of a Markdown list: what the weights came of, and below it what that came of, each once.

    Args:
        made: What is recorded of the weights.

    Returns:
        An iterator over the lines.
    """
    return _lines(made, "", 0, set())


def _lines(made: Provenance, share: str, depth: int, seen: set[str]) -> Iterator[str]:
    begin = f"{'  ' * depth}- {share}"
    if made.weights in seen:
        yield f"{begin}the same {_name(made)}"
        return
    seen.add(made.weights)
    if made.mean_of:
        yield f"{begin}the mean of the weights of"
        for part, one in made.mean_of:
            yield from _lines(one, f"{part:.0%} ", depth + 1, seen)
        return
    what = _name(made) if made.recipe else f"weights of SHA-256 `{made.weights[:12]}…`, of which nothing is recorded"
    if made.data:
        what += f", learnt from {' and '.join(made.data)}"
    if made.teachers:
        what += f", taught beside the labels by {', '.join(_teacher(one) for one in made.teachers)}"
    if made.initial:
        named = {"random": "random weights", "imagenet": "weights trained on ImageNet"}
        what += f", begun with {named.get(made.initial, f'a file of SHA-256 `{made.initial[:12]}…`. {made.origin}'.rstrip())}"
    if made.follows is None:
        yield f"{begin}{what}"
    else:
        yield f"{begin}{what}, gone on from"
        yield from _lines(made.follows, "", depth + 1, seen)


def _licences(prepared: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Licences of prepared data sets, where they are written down."""
    path = prepared / REPORT
    sets = json.loads(path.read_text()).get("sets", {}) if path.exists() else {}
    return tuple(sets[name] for name in dict.fromkeys(names) if sets.get(name))


def _name(made: Provenance) -> str:
    if made.mean_of:
        return f"mean of {' and '.join(_name(one) for _, one in made.mean_of)}"
    return f"`{made.recipe}`" if made.recipe else f"weights of SHA-256 `{made.weights[:12]}…`"


def _teacher(one: Teacher) -> str:
    return f"{one.name} (SHA-256 `{one.weights[:12]}…`)" if one.weights else one.name


def _of_weights(weights: Path) -> Provenance:
    """What is recorded of a weights file: where nothing is, its hash."""
    made, digest = of_run(weights.parent), file_digest(weights)
    return made if made is not None and made.weights == digest else Provenance(recipe="", weights=digest)


def _write(out: Path, made: Provenance) -> Provenance:
    write_text(out / PROVENANCE, made.model_dump_json(indent=2) + "\n")
    return made
