"""Crops to trained weights: one `keras.Model.fit` that can be stopped and taken up again."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import keras

from service.arrays import Bools
from service.files import replacing
from service.models.manifest import AGE
from service.models.store import file_digest
from training.artifacts import one_writer, write_json, write_rows
from training.datasets.base import Split
from training.datasets.prepare import read_report
from training.datasets.prepared import (
    EMBEDDINGS,
    FACES,
    REPORT,
    TEACHER,
    Prepared,
    Selection,
    beside,
    identity,
    load_prepared,
)
from training.errors import DataSetError, RecipeError, RunError
from training.fit.batches import Batches
from training.fit.callbacks import (
    HISTORY,
    BestWeights,
    EpochSeeds,
    FiniteLoss,
    History,
    State,
    Throughput,
    history_of,
)
from training.fit.losses import losses_and_metrics
from training.fit.optimizers import optimizer
from training.fit.schedules import EarlyStop, EpochRate, losses_of, stopped
from training.fit.teacher_networks import TeacherNetwork, attributes_of
from training.fit.transfer import freeze, go_on_from
from training.models.heads import EMBEDDING, STATE, build, dtype_policy
from training.provenance import PROVENANCE, WEIGHTS, beginning_of, record_run
from training.recipe import RECIPE, Recipe, load_recipe, write_recipe

logger = logging.getLogger(__name__)

BEGINNING: Final = "beginning.json"
"""File of the weights that a run began with, which it goes on from, and of what it learns."""
_BESIDE: Final = (TEACHER, EMBEDDINGS)
_LEARNT: Final = {
    "pictures": "another number of pictures than there is",
    "labels": "other pictures or labels than there are",
    "crops": "crops of another detector, landmark template or size than there are",
    **{name: f"another {name} than there is" for name in _BESIDE},
}
"""What a run learns, as `beginning.json` names it, and what the error says where it is another one than there was."""


def train(
    recipe: Recipe,
    prepared: Path,
    out: Path,
    init: str,
    start: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    teachers: Sequence[Path] = (),
) -> Path:
    """Train by a recipe on what `prepare` wrote and return the weights file, `out/best.weights.h5`.

    Best is the smallest validation loss of the averaged weights. `out` also gets `history.csv`, `provenance.json`, a copy of
    `prepare.json`, TensorBoard logs where TensorFlow, whose writer they need, is installed, and, until the last epoch is done,
    the state from which the same call goes on after an interruption, as if there had been none: to rounding, where threads add
    up in another order.
    Of a split that is learnt in parts, each part is a run in a folder of its own, and `history.csv` names the part.

    Args:
        recipe: The recipe.
        prepared: Folder that `prepare` wrote.
        out: Folder of the run.
        init: Initial weights of the trunk: `imagenet`, `random`, or a file.
        start: Weights file of a whole network to go on from, heads and all, at whatever input size it was trained.
        callbacks: Callbacks that learn of every epoch after all else is done.
        teachers: Folders of finished runs, of the same attributes: teachers, for a recipe whose teacher sees variants.

    Returns:
        The weights file.

    Raises:
        RunError: `out` holds a run of another recipe, with other weights to begin with, on crops of another detector, template
            or size, on other pictures or labels or by another teacher, or a mean of runs or reopened model; a teacher lacks
            what the recipe learns; or the loss is no longer finite.
        DataSetError: The prepared pictures are not those that the recipe names, or have no label of what a head learns.
        PreparedError: Something that the recipe asks of the prepared pictures was not measured.
        RecipeError: Parts of the recipe do not go together, or with these teachers.
        WeightsError: Initial weights do not fit the network.
        FileNotFoundError: A file that the recipe needs is not there.
        BlockingIOError: Another process trains in `out`.
    """
    _check_teachers(recipe, teachers)
    parts = recipe.schedule.parts
    if parts == 1:
        return _run(recipe, prepared, out, init, start, callbacks, teachers)
    out.mkdir(parents=True, exist_ok=True)
    runs = [out / f"part-{number + 1}" for number in range(parts)]
    _record_recipe(out / RECIPE, recipe, begun=_begun(runs[0]))
    for number, run in enumerate(runs):
        start = _run(recipe, prepared, run, init, start, callbacks, teachers, number)
        recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update={"replaced": ()})})
    rows = [{"part": str(number + 1), **row} for number, run in enumerate(runs) for row in history_of(run / HISTORY)]
    write_rows(out / HISTORY, rows)
    best = out / WEIGHTS
    for name in (best.name, PROVENANCE, REPORT):
        if name != REPORT or (runs[-1] / name).exists():
            with replacing(out / name) as new:
                shutil.copyfile(runs[-1] / name, new)
    return best


def _run(
    recipe: Recipe,
    prepared: Path,
    out: Path,
    init: str,
    start: Path | None,
    callbacks: Sequence[keras.callbacks.Callback],
    teachers: Sequence[Path],
    part: int = 0,
) -> Path:
    """One run, on one of the recipe's parts of the training split."""
    with one_writer(out):
        best, history, state = out / WEIGHTS, out / HISTORY, out / STATE
        begun = _begun(out)
        _record_recipe(out / RECIPE, recipe, begun)
        beginning = beginning_of(init, start, teachers) | _read(recipe, prepared)
        _record_beginning(out / BEGINNING, beginning, begun)
        _record_crops(out / REPORT, prepared / REPORT, begun)
        if not state.exists() and best.exists() and _done(recipe, history_of(history)):
            return best
        keras.utils.set_random_seed(recipe.schedule.seed)
        with dtype_policy(recipe.schedule.policy):
            data = _data(recipe, prepared, part)
            _require_labels(recipe, *data)
            network = build(recipe.network, init, recipe.attributes)
            if start is not None:
                go_on_from(network, recipe, start)
            freeze(network, recipe.transfer)
            networks = [TeacherNetwork(run) for run in teachers]
            _fit(recipe, network, *data, out / "logs", best, history, state, callbacks, networks)
            if recipe.smote.heads:
                from training.fit.smote import retrain_heads  # as above

                network.load_weights(best)
                retrain_heads(network, recipe, *data, best)
        record_run(out, recipe, prepared, init, start, teachers)
        state.unlink()
        return best


def _data(recipe: Recipe, prepared: Path, part: int) -> tuple[Prepared, Prepared]:
    """Training pictures of a part, and those of validation."""
    sections = recipe.data
    common: dict[str, Any] = {
        "attributes": recipe.used,
        "embeddings": recipe.network.embedding_units > 0,
        "selection": selection_of(recipe),
    }
    train_data, validation_data = (
        load_prepared(
            prepared,
            Split.TRAIN,
            sections.train,
            teacher=recipe.loss.teacher_weight > 0 and not recipe.taught_on_variants,
            part=(part, recipe.schedule.parts),
            **common,
        ),
        load_prepared(prepared, Split.VALIDATION, sections.validation, most=sections.validation_pictures, **common),
    )
    side, size = train_data.crops.shape[1], recipe.network.size
    if side < size:
        logger.info("crops of %d pixels are enlarged to %d; prepare --size %d cuts sharper ones", side, size, size)
    return train_data, validation_data


def _require_labels(recipe: Recipe, train_data: Prepared, validation_data: Prepared) -> None:
    """Every head learns from something, and validation can tell one epoch from another."""
    for name in recipe.network.outputs:
        taught = recipe.taught_on_variants or name in (train_data.teacher or {})
        if recipe.schedule.parts == 1 and not taught and not _known(recipe, name, train_data).any():
            raise DataSetError(f"no training picture has a label of {name}, which nothing else teaches; see network.outputs")
        if recipe.schedule.parts == 1 and not taught and (unseen := " or ".join(_unseen(recipe, name, train_data))):
            logger.info("no training picture has the %s %s: nothing teaches the network to answer so", name, unseen)
    if not any(_known(recipe, name, validation_data).any() for name in recipe.network.outputs):
        heads = ", ".join(recipe.network.outputs)
        raise DataSetError(f"no validation picture has a label of {heads}: no epoch would be better than another")
    if recipe.smote.heads:
        from training.fit.smote import require_classes  # scikit-learn takes seconds to import, and few recipes need it

        require_classes(recipe, train_data, validation_data)


def _unseen(recipe: Recipe, name: str, data: Prepared) -> list[str]:
    """Labels of an attribute that no picture has; none of an expectation."""
    return [word for number, word in enumerate(recipe.attribute(name).labels) if not (data.labels[name] == number).any()]


def _known(recipe: Recipe, name: str, data: Prepared) -> Bools:
    """Of which pictures [N] a head has a label."""
    labels, form = data.labels[name], recipe.network.form_of(recipe.attribute(name))
    outside = name == AGE and form.outside == "unknown"
    return (labels >= 0) & ((form.first <= labels) & (labels <= form.last) if outside else True)


def _check_teachers(recipe: Recipe, teachers: Sequence[Path]) -> None:
    """Teachers are there where the recipe wants their predictions for variants, and nowhere else."""
    if recipe.taught_on_variants and not teachers:
        raise RecipeError("the recipe's teacher sees variants; name its run: --teacher")
    if teachers and not recipe.taught_on_variants:
        raise RecipeError("the recipe has no teacher that sees variants; --teacher is of no use to it")
    if teachers:
        taught = attributes_of({run: load_recipe(run / RECIPE) for run in teachers})
        known = {(one.name, one.labels, one.range) for one in taught}
        if missing := [one.name for one in recipe.learnt if (one.name, one.labels, one.range) not in known]:
            raise RunError(f"{teachers[0]} does not learn {', '.join(missing)} as the recipe does")


def selection_of(recipe: Recipe) -> Selection:
    """Which of the prepared pictures a recipe learns.

    Args:
        recipe: The recipe.

    Returns:
        The selection.
    """
    return Selection(recipe.data.age == "real", recipe.data.min_face_px, recipe.data.min_sharpness)


def _fit(
    recipe: Recipe,
    network: keras.Model,
    train_data: Prepared,
    validation_data: Prepared,
    logs: Path,
    best: Path,
    history: Path,
    state: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    teachers: Sequence[TeacherNetwork] = (),
) -> None:
    outputs = (*recipe.network.outputs, EMBEDDING) if recipe.network.embedding_units else recipe.network.outputs
    size, batch = recipe.network.size, recipe.schedule.batch_size
    training = Batches(train_data, outputs, size, batch, recipe.augment, recipe.schedule.seed, recipe, teachers)
    validation = Batches(validation_data, outputs, size, batch)
    losses, weights, metrics = losses_and_metrics(recipe.loss, outputs, recipe.network.age, recipe.attributes)
    network.compile(optimizer(recipe.schedule, len(training)), losses, loss_weights=weights, metrics=metrics)
    network.optimizer.build(network.trainable_variables)
    if state.exists():
        network.load_weights(state)
    done, rest = divmod(int(network.optimizer.iterations), len(training))
    rows = history_of(history)
    if state.exists() and (rest or len(rows) - done not in (0, 1)):
        raise RunError(f"{state.parent} holds a run that learnt another number of pictures; choose another folder")
    rows = rows[:done]  # an epoch that was logged and not saved is trained again
    if _done(recipe, rows):
        return
    every = [
        EpochSeeds(training),
        FiniteLoss(),
        BestWeights(best, min(losses_of(rows), default=math.inf)),
        *([keras.callbacks.SwapEMAWeights()] if recipe.schedule.ema_momentum > 0 else []),
        *([] if recipe.schedule.rate == "cosine" else [EpochRate(recipe.schedule, rows)]),
        Throughput(len(training) * batch),
        History(history, rows),
        *([keras.callbacks.TensorBoard(str(logs), write_graph=False)] if importlib.util.find_spec("tensorflow") else []),
        State(state),
        EarlyStop(recipe.schedule.stop_epochs, rows),
        *callbacks,
    ]
    _build_metrics(network, validation)
    network.fit(
        training,
        validation_data=validation,
        epochs=recipe.schedule.epochs,
        initial_epoch=done,
        callbacks=every,
        shuffle=False,  # `Batches` shuffles pictures itself; Keras would shuffle batches by a state that is not kept
        verbose=1,
    )


def _build_metrics(network: keras.Model, batches: Batches) -> None:
    """Let losses and metrics make their variables: TensorFlow traces a step twice that makes any."""
    pixels, labels = batches[0]
    one = {name: values[:1] for name, values in labels.items()}
    predicted = {name: keras.ops.zeros((1, *output.shape[1:])) for name, output in network.output.items()}
    network.compute_loss(y=one, y_pred=predicted)
    network.compute_metrics(pixels[:1], one, predicted)
    network.reset_metrics()


def _begun(run: Path) -> bool:
    """Whether a folder holds an epoch of a run."""
    return (run / STATE).exists() or (run / HISTORY).exists()


def _done(recipe: Recipe, rows: Sequence[dict[str, str]]) -> bool:
    """Whether these epochs are all of a run."""
    return len(rows) >= recipe.schedule.epochs or stopped(losses_of(rows), recipe.schedule.stop_epochs)


def _record_recipe(path: Path, recipe: Recipe, begun: bool) -> None:
    """Write the recipe, unless a run by another one has begun here, or weights lie here that no run could make again."""
    if not begun and (path.parent / PROVENANCE).exists():
        raise RunError(f"{path.parent} holds weights that `average` or `reopen` wrote; choose another folder")
    if begun and path.exists() and load_recipe(path) != recipe:
        raise RunError(f"{path.parent} holds a run of another recipe; choose another folder")
    write_recipe(path, recipe)


def _record_beginning(path: Path, beginning: Mapping[str, str], begun: bool) -> None:
    """Write with which weights a run begins and by whose predictions it learns, unless one that began with others is here."""
    if not begun:
        write_json(path, beginning)
        return
    recorded = json.loads(path.read_text()) if path.exists() else beginning
    differing = {name for name in recorded.keys() | beginning.keys() if recorded.get(name) != beginning.get(name)}
    if differing - _LEARNT.keys():
        raise RunError(f"{path.parent} holds a run that began with other weights; choose another folder")
    for name, what in _LEARNT.items():
        if name in differing and name in recorded:  # a run of before Facet recorded it does not say
            raise RunError(f"{path.parent} holds a run that learnt {what} now; choose another folder")


def identity_of(recipe: Recipe, prepared: Path) -> dict[str, str]:
    """What tells the pictures and labels that a recipe learns, and is measured on, apart from others.

    Args:
        recipe: The recipe.
        prepared: Folder that `prepare` wrote.

    Returns:
        See `training.datasets.prepared.identity`; and `crops`, the SHA-256 of what they were cut by, where it is recorded.

    Raises:
        FileNotFoundError: `prepare` wrote nothing.
        DataSetError: The prepared pictures are not those that the recipe names.
        PreparedError: Something that the recipe asks of the prepared pictures was not measured, or `prepare.json` is damaged.
    """
    sets = {Split.TRAIN: recipe.data.train, Split.VALIDATION: recipe.data.validation}
    found = identity(prepared, sets, recipe.used, selection_of(recipe))
    if (prepared / REPORT).exists() and (cut := read_report(prepared)).detector is not None:
        cut_by = cut.model_dump_json(include={"detector", "detection_side", "template", "size"})
        found["crops"] = sha256(cut_by.encode()).hexdigest()
    return found


def _read(recipe: Recipe, prepared: Path) -> dict[str, str]:
    """What a run learns: the pictures and labels, where they are there, and the SHA-256 of what there is beside them."""
    learnt = identity_of(recipe, prepared) if (prepared / FACES).exists() else {}
    teacher = recipe.loss.teacher_weight > 0 and not recipe.taught_on_variants
    read = dict(zip(_BESIDE, (teacher, recipe.network.embedding_units > 0), strict=True))
    paths = {name: beside(prepared, name) for name, is_read in read.items() if is_read}
    return learnt | {name: file_digest(path) for name, path in paths.items() if path.exists()}


def _record_crops(path: Path, prepared: Path, begun: bool) -> None:
    """Keep what `prepare` wrote of the crops, whose template the exported model cuts by, unless a run on others is here."""
    if not prepared.exists():
        return
    if begun and path.exists():
        before, now = (read_report(one.parent) for one in (path, prepared))
        if (before.template, before.size) != (now.template, now.size):
            raise RunError(
                f"{path.parent} holds a run that learnt crops of another landmark template or size; choose another folder"
            )
    if not path.exists():
        with replacing(path) as new:
            shutil.copyfile(prepared, new)
