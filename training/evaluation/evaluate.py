"""A model in the store to a report: every picture of a split through the service's own `POST /predict`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from service.app import create_app
from service.models.manifest import Manifest
from service.models.store import CARD, EVALUATION, MANIFEST
from service.settings import Settings
from service.vision.quality import Quality
from training.artifacts import write_json, write_text
from training.datasets.base import GENDERS, MAX_AGE, RACES, UNKNOWN, DataSet, Label, Split
from training.datasets.duplicates import EARLIER, SIDE, THRESHOLD, Twin, differing, near_duplicates
from training.evaluation.html_report import REPORT, write_page
from training.evaluation.metrics import (
    Answers,
    Floats,
    Ints,
    by_group,
    confusion,
    figures,
    intervals,
    intervals_by_group,
    mae_by_age,
    roc,
)
from training.evaluation.model_card import card

ROUTE = "/predict"
WORST = 30
"""Most pictures that a list of errors names."""

_MACHINE = ("threads", "workers", "runtime")  # settings that say how the answers are computed here, not which they are
_QUALITY = ("headline", "found_only", "groups", "intervals", "mean_age_of_train", "without_duplicates")


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers of a split, with the files' names.

    Where there is no face, the age distributions [N, 101] and the measured qualities [N], by name, are NaN, and the
    warnings empty. `served` says what answered: `model` with name and version, `precision`, `runtime`, and the
    `promised_coverage` of the age interval where there is one.
    """

    names: list[str]
    answers: Answers
    distributions: npt.NDArray[np.float64]
    qualities: dict[str, npt.NDArray[np.float64]]
    warnings: list[list[str]]
    served: dict[str, Any] = field(default_factory=dict)


def measured_settings(**chosen: Any) -> Settings:
    """Settings under which figures are comparable: `chosen`, else the defaults, whatever the environment says.

    From the environment come only threads, workers and runtime. The deadline is long: a busy machine is no wrong answer.
    """
    fixed = {
        name: info.get_default(call_default_factory=True)
        for name, info in Settings.model_fields.items()
        if name not in _MACHINE
    }
    return Settings(**fixed | {"deadline_s": 600.0} | chosen)


def ask(
    settings: Settings, data: DataSet, split: Split, limit: int | None = None, change: Callable[[bytes], bytes] | None = None
) -> Scored:
    """Post every labelled picture of a split to the service; of several faces, the one nearest the centre counts.

    `change` makes the bytes that are posted from those of the file: to ask what a degraded picture costs. Raises `ValueError`
    where the split is empty, or where the service refuses a picture.
    """
    labelled = list(islice(data.labelled(split), limit))
    if not labelled:
        raise ValueError(f"{data.source} has no labelled picture of the {split.value} split")
    return asyncio.run(_ask(settings, labelled, change))


async def _ask(settings: Settings, labelled: list[tuple[str, Label, bytes]], change: Callable[[bytes], bytes] | None) -> Scored:
    app = create_app(settings)
    turns = asyncio.Semaphore(4)  # enough to keep the workers busy
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://facet", timeout=60) as client:
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("asking the service", total=len(labelled))

                async def one(name: str, data: bytes) -> dict[str, Any] | None:
                    async with turns:
                        posted = data if change is None else await asyncio.to_thread(change, data)
                        answer = await client.post(ROUTE, content=posted, params={"distribution": "true"})
                    progress.advance(task)
                    if answer.is_error:
                        raise ValueError(f"the service refuses {name}: {answer.status_code} {answer.text}")
                    return central(answer.json())

                faces = await asyncio.gather(*(one(name, data) for name, _, data in labelled))
            card = await client.get("/model")
    return scored([name for name, _, _ in labelled], [label for _, label, _ in labelled], faces, _served(card.json()))


def _served(card: dict[str, Any]) -> dict[str, Any]:
    """What `GET /model` says of how the answers were made."""
    interval = card["calibration"]["age_interval"]
    return {
        "model": {"name": card["name"], "version": card["version"]},
        "precision": card["serving"]["precision"],
        "runtime": card["serving"]["runtime"],
        "promised_coverage": None if interval is None else interval["coverage"],
    }


def central(document: dict[str, Any]) -> dict[str, Any] | None:
    """The face whose box's centre is nearest the picture's, or None."""
    middle = np.array([document["image"]["width"], document["image"]["height"]]) / 2

    def distance(face: dict[str, Any]) -> float:
        box = face["box"]
        centre = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        return float(np.hypot(*(centre - middle)))

    return min(document["faces"], key=distance, default=None)


def scored(
    names: list[str], labels: list[Label], faces: Sequence[dict[str, Any] | None], served: dict[str, Any] | None = None
) -> Scored:
    """Labels and the faces of the service's answers, None where there was none, as arrays."""

    def column(*path: str) -> npt.NDArray[np.float64]:
        return np.array([_at(face, path) for face in faces], np.float64)

    answers = Answers(
        age=np.array([UNKNOWN if label.age is None else label.age for label in labels], np.float64),
        gender=np.array([label.code("gender", GENDERS) for label in labels], np.int64),
        race=np.array([label.code("race", RACES) for label in labels], np.int64),
        found=np.array([face is not None for face in faces]),
        years=column("age", "years"),
        low=column("age", "low"),
        high=column("age", "high"),
        female=column("gender", "probabilities", GENDERS[1]),
        races=np.stack([column("race", "probabilities", name) for name in RACES], axis=1),
        gender_uncertain=column("gender", "uncertain") == 1,
        race_uncertain=column("race", "uncertain") == 1,
    )
    nothing = [np.nan] * (MAX_AGE + 1)
    distributions = [face["age"].get("distribution", nothing) if face and "age" in face else nothing for face in faces]
    qualities = {field.name: column("quality", field.name) for field in fields(Quality)}
    warnings = [face["warnings"] if face else [] for face in faces]
    return Scored(names, answers, np.array(distributions, np.float64), qualities, warnings, served or {})


def _at(document: Any, path: tuple[str, ...]) -> float:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return float("nan") if document is None else float(document)


def report(given: Scored, mean_age: float, twins: Sequence[Twin] | None = None) -> dict[str, Any]:
    """All figures of a split as one JSON document; with `twins`, also those without the pictures that have one."""
    answers = given.answers
    document: dict[str, Any] = {
        "mean_age_of_train": None if np.isnan(mean_age) else mean_age,
        "headline": figures(answers, mean_age),
        "found_only": figures(answers.where(answers.found), mean_age),
        "groups": by_group(answers, mean_age),
        "intervals": {
            "headline": intervals(answers, mean_age),
            "found_only": intervals(answers.where(answers.found), mean_age),
            "groups": intervals_by_group(answers, mean_age),
        },
        "confusion": {name: matrix.tolist() for name, matrix in confusion(answers).items()},
        "roc": roc(answers),
        "not_found": [name for name, found in zip(given.names, answers.found, strict=True) if not found],
    }
    if twins is not None:
        alone = answers.where(~np.isin(given.names, [twin.name for twin in twins]))
        said = answers.said()
        document["without_duplicates"] = {
            "count": len(alone),
            "headline": figures(alone, mean_age, said),
            "intervals": intervals(alone, mean_age, said),
        }
    return document | _worst(given)


def _worst(given: Scored) -> dict[str, Any]:
    """The age error by year of age, and the pictures with the worst errors, of what the model says."""
    answers, said, document = given.answers, given.answers.said(), dict[str, Any]()
    if "age" in said:
        judged = answers.found & (answers.age != UNKNOWN)
        error = np.where(judged, np.abs(answers.years - answers.age), -1)
        worst = [i for i in np.argsort(-error, kind="stable")[:WORST] if judged[i]]
        document |= {
            "age_mae_by_age": {str(age): {"mae": mae, "count": count} for age, (mae, count) in mae_by_age(answers).items()},
            "worst_ages": [{"name": given.names[i], "age": answers.age[i], "years": answers.years[i]} for i in worst],
        }
    if "gender" in said:
        probabilities = np.stack([1 - answers.female, answers.female], axis=1)
        document["worst_genders"] = _surest_wrong(given, probabilities, answers.gender, GENDERS)
    if "race" in said:
        document["worst_races"] = _surest_wrong(given, answers.races, answers.race, RACES)
    return document


def _surest_wrong(given: Scored, probabilities: Floats, labels: Ints, names: Sequence[str]) -> list[dict[str, Any]]:
    """The wrong answers that the service is surest of, the surest first; `probabilities` are [N, K] for K `names`."""
    known = np.nan_to_num(probabilities)
    confidence, answer = known.max(axis=1), known.argmax(axis=1)
    wrong = given.answers.found & (labels != UNKNOWN) & (answer != labels)
    return [
        {"name": given.names[i], "label": names[labels[i]], "answer": names[answer[i]], "confidence": float(confidence[i])}
        for i in np.argsort(-confidence, kind="stable")
        if wrong[i]
    ][:WORST]


def _part(settings: Settings, data: DataSet, split: Split, limit: int | None) -> tuple[Scored, dict[str, Any]]:
    """Answers and figures of one data set, with its near-duplicates where the split has others before it."""
    mean_age = mean_age_of_train(data)
    given = ask(settings, data, split, limit)
    if not EARLIER[split]:
        return given, report(given, mean_age)
    twins = near_duplicates(data, split, limit)
    found = {
        "compared_with": [earlier.value for earlier in EARLIER[split]],
        "bits": SIDE * SIDE,
        "threshold": THRESHOLD,
        "pictures": len({twin.name for twin in twins}),
        "pairs": len(twins),
        "mirrored": sum(twin.mirrored for twin in twins),
        "differing": differing(twins, data),
        "twins": [asdict(twin) for twin in twins],
    }
    return given, {**report(given, mean_age, twins), "duplicates": found}


def evaluate(
    settings: Settings, data: DataSet, split: Split, out: Path, limit: int | None = None, also: DataSet | None = None
) -> dict[str, Any]:
    """Score a split, and the same split of a second data set where one is given; write `report.json`, the plots and the page
    `report.html` under `out`. Returns the report."""
    from training.evaluation.plots import draw_all

    given, figured = _part(settings, data, split, limit)
    document = {
        "data": data.name,
        "split": split.value,
        "created": datetime.now(UTC).date().isoformat(),
        **given.served,
        **figured,
    }
    if also is not None:
        document["also"] = {also.name: _part(settings, also, split, limit)[1]}
    out.mkdir(parents=True, exist_ok=True)
    document["plots"] = draw_all(given.answers, document, out)
    (out / REPORT).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    write_page(out)
    return document


def mean_age_of_train(data: DataSet) -> float:
    """Mean age, in years, of the training split: what is answered, for scoring, where no face is found; not a number where the
    set gives no ages."""
    ages = [label.age for _, label, _ in data.labelled(Split.TRAIN)]
    if not ages:
        raise ValueError(f"{data.source} has no labelled picture of the train split, whose mean age stands for faces not found")
    known = [age for age in ages if age is not None]
    return float(np.mean(known)) if known else float("nan")


def record_quality(store: Path, document: dict[str, Any]) -> Path:
    """Write a report's figures into the evaluation of the model that it is about, and its card beside it; returns the model's
    folder. Where figures of another arithmetic stand there, only the headline is added, under its name in `precisions`."""
    folder: Path = store / document["model"]["name"] / str(document["model"]["version"])
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    quality = {"data": document["data"], "split": document["split"], "precision": document["precision"], **_quality(document)}
    if "also" in document:
        quality["also"] = {name: _quality(part) for name, part in document["also"].items()}
    before = json.loads((folder / EVALUATION).read_text()) if (folder / EVALUATION).exists() else {}
    if before.get("precision", document["precision"]) != document["precision"] and before["split"] == document["split"]:
        quality = before | {"precisions": {document["precision"]: document["headline"]}}
    write_json(folder / EVALUATION, quality)
    write_text(folder / CARD, card(manifest, quality))
    return folder


def _quality(part: dict[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in _QUALITY if key in part}
