"""Recipes to figures that can be held beside each other: each is trained under one budget and measured once, won or lost.

The budget is CPU time: what all threads of the process spend on training steps, without the building of graphs, validation and
measurement. Unlike wall-clock time it hardly depends on what else the machine does. A few steps of every recipe are timed, and
its schedule is squeezed into as many pictures as fit (`training.fit.budget`). A recipe that follows another shares the budget
with it: each step of the chain has an equal part. What is measured is the network as it is served, exported and run by the
service's runtime, on prepared crops: pictures in which no face was found are not among them.
"""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, TypeVar

import keras
import numpy as np
from pydantic import Field

from service.arrays import Floats
from service.models.manifest import AGE, Section
from service.models.runtime import Network, Precision, Runtime, cpu_quota, loader
from training.artifacts import write_document, write_json
from training.comparison.documents import (
    Budget,
    ComparisonReport,
    MeasuredRecipe,
    RecipeFigures,
    RecipeResult,
    Run,
    TrainedRecipe,
)
from training.comparison.metrics import error_in_range, own_classes
from training.datasets.base import UNKNOWN, Split
from training.datasets.prepared import Prepared, count_prepared, labels_of, load_prepared, open_faces
from training.errors import DataSetError, Diverged, RecipeError, RunError, raised_as
from training.evaluation.crops import beside_labels, network_answers
from training.evaluation.metrics import Metric, value_of
from training.evaluation.predictions import AttributeSpec, Predictions
from training.evaluation.scoring import figures
from training.export.export import plain, write_saved_model
from training.fit.budget import published, shortened
from training.fit.callbacks import history_of
from training.fit.train import identity_of, selection_of, train
from training.models import age_head as ages
from training.models.architectures import ARCHITECTURES, RANDOM
from training.models.complexity import multiply_adds
from training.models.heads import build, dtype_policy
from training.provenance import beginning_of
from training.recipe import AgeSection, Attribute, NetworkSection, Recipe, changed, load_recipe, write_recipe

REPORT: Final = "compare.json"
TIMINGS: Final = "timings.json"
RECIPES: Final = Path(__file__).resolve().parents[1] / "recipes"
TIMED_STEPS: Final = 6
"""Steps that are timed, behind one that builds the graph."""
TIMED_BATCH: Final = 32
"""Pictures of a timed step, where the recipe's batches are larger: a picture costs about the same in both."""
LATENCY_RUNS: Final = 100
"""Runs of one crop, the quickest of which is the latency: what else the machine does only ever adds to it."""

Document = TypeVar("Document", bound=Section)


class Entry(Section):
    """One recipe of a comparison."""

    recipe: Path
    """Its file; relative to that of the comparison."""
    system: str = ""
    """Published system that it is of."""
    published: str = ""
    """Figures that were published, and of which data."""
    differs: str = ""
    """What else than data and budget is not as published."""
    steps: int = Field(default=0, ge=0)
    """Steps of the published run, where phases of composed batches are counted in them."""
    override: dict[str, Any] = Field(default={})
    """Values that take the place of the recipe's, in tables shaped like its own."""


class Comparison(Section):
    """Which recipes are compared, and what is alike for all."""

    recipes: tuple[Entry, ...] = Field(min_length=1)
    """In the order of the table."""
    override: dict[str, Any] = Field(default={})
    """Values that take the place of every recipe's, such as data sets at hand instead of those that are not."""


def load_comparison(path: Path) -> Comparison:
    """Read a comparison.

    Args:
        path: Its TOML file.

    Returns:
        The comparison, with absolute paths of recipes.

    Raises:
        RecipeError: A value does not fit.
        tomllib.TOMLDecodeError: The file is not TOML.
        FileNotFoundError: There is no such file.
    """
    with raised_as(RecipeError):
        given = Comparison.model_validate(tomllib.loads(path.read_text()))
    entries = tuple(one.model_copy(update={"recipe": (path.parent / one.recipe).resolve()}) for one in given.recipes)
    return given.model_copy(update={"recipes": entries})


def chosen(given: Comparison, paths: Sequence[Path]) -> Comparison:
    """The comparison of some recipes alone; their values and those for all stay.

    Args:
        given: The comparison.
        paths: Recipe files, or folders of them.

    Returns:
        Another comparison, with an entry for each recipe.

    Raises:
        RecipeError: A folder has no recipe.
        FileNotFoundError: A path is not there.
    """
    known = {one.recipe: one for one in given.recipes}
    files: dict[Path, None] = {}
    for path in paths:
        found = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        if not found:
            raise RecipeError(f"{path} has no recipe")
        files |= dict.fromkeys(file.resolve(strict=True) for file in found)
    return given.model_copy(update={"recipes": tuple(known.get(file, Entry(recipe=file)) for file in files)})


def compare(
    given: Comparison,
    budget: Budget,
    prepared: Path,
    out: Path,
    split: Split = Split.VALIDATION,
    weights: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
    own_process: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> ComparisonReport:
    """Train and measure every recipe, and write `compare.json` after each.

    A recipe has a folder under `out`: one that is done is not trained again, and one that was interrupted goes on.

    Args:
        given: The recipes, and what is alike for all.
        budget: CPU time or pictures that each recipe has.
        prepared: Folder that `prepare` wrote.
        out: Folder to write to.
        split: The split that is measured.
        weights: Initial weights by architecture, as `train` takes them. Any other architecture begins at random, and then
            nothing of it is frozen.
        sets: Data sets that are measured; all prepared ones where there is none.
        own_process: Whether each recipe has a process of its own: TensorFlow keeps the memory of large networks.
        callbacks: Callbacks of every run that this process trains; see `train`.

    Returns:
        What `compare.json` holds.

    Raises:
        RecipeError: `out` holds another budget's comparison, another recipe of the same name or one that learnt other pictures
            or labels, two recipes share a name, or `weights` names no architecture.
        DataSetError: A data set that is learnt or measured has no picture of its split.
        FileNotFoundError: Initial weights are not there, or `prepare` wrote nothing.
    """
    out.mkdir(parents=True, exist_ok=True)
    _reserve(out / "budget.json", "budget", budget.model_dump())
    chains = [recipe_chain(entry, given) for entry in given.recipes]
    if unknown := [name for name in weights or {} if name not in ARCHITECTURES]:
        raise RecipeError(f"no architecture {unknown[0]!r}; there is: {', '.join(sorted(ARCHITECTURES))}")
    inits = [(weights or {}).get(recipes[0].network.architecture, RANDOM) for recipes in chains]
    for init in inits:
        beginning_of(init, None)  # which looks for the file, before hours of training, as the next ones do for the pictures
    if not count_prepared(prepared, split, sets or None):
        raise DataSetError(f"{prepared} has no {split.value} picture")
    pictures = [{one.name: identity_of(one, prepared) for one in recipes} for recipes in chains]
    last = [recipes[-1] for recipes in chains]
    attributes = {one.name: one for recipe in last for one in recipe.attributes}
    learnt = {name for recipe in last for name in recipe.data.train}
    report = _described(given, budget, prepared, split, sets, tuple(attributes.values()), learnt)
    names = [load_recipe(entry.recipe).name for entry in given.recipes]
    if len(set(names)) != len(names):
        raise RecipeError(f"a name stands for one recipe: {', '.join(names)}")
    for name, entry, recipes, init, learnt_here in zip(names, given.recipes, chains, inits, pictures, strict=True):
        folder = out / name
        content = {"init": init, "recipes": [one.model_dump(mode="json") for one in recipes]}
        _reserve(folder / "recipes.json", "recipe", content)
        _reserve(folder / "pictures.json", "set of pictures", learnt_here)
        training = partial(_train, recipes, init, budget, prepared, folder, entry.steps)
        here = partial(training, callbacks)
        trained = _cached(folder / "trained.json", TrainedRecipe, _in_process(training) if own_process else here)
        measuring = partial(_measure, folder, trained, prepared, split, sets)
        result = folder / f"{'-'.join([split.value, *sorted(sets)])}.json"
        measured = _cached(result, MeasuredRecipe, _in_process(measuring) if own_process else measuring)
        described = RecipeResult(
            name=name,
            system=entry.system,
            published=entry.published,
            differs=entry.differs,
            **_set_fields(trained),
            **_set_fields(measured),
        )
        report = report.model_copy(update={"recipes": (*report.recipes, described)})
        write_document(out / REPORT, report)
        _release_memory()
    return report


def _set_fields(document: Section) -> dict[str, Any]:
    """The fields of a document that were given, as they are."""
    return {name: getattr(document, name) for name in document.model_fields_set}


def _in_process(make: Callable[[], Document]) -> Callable[[], Document]:
    """The same, by a process that ends with it."""

    def run() -> Document:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(make).result()

    return run


def _release_memory() -> None:
    """Give back the memory of a network and its pictures, which hold each other."""
    keras.backend.clear_session()
    gc.collect()


def _reserve(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write what a folder is for, unless it is for something else."""
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(content)):
        raise RecipeError(f"{path.parent} was made by another {kind}; choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def _cached(path: Path, kind: type[Document], make: Callable[[], Document]) -> Document:
    """What was written of an earlier call, or else what is made and written now."""
    if not path.exists():
        write_document(path, make())
    with raised_as(RunError):
        return kind.model_validate_json(path.read_text())


# Training --------------------------------------------------------------------------------------------------------------


def recipe_chain(entry: Entry, given: Comparison) -> list[Recipe]:
    """The recipes that lead to an entry's, as the comparison changes them.

    The values that it changes of one recipe alone count wherever that recipe is in the chain.

    Args:
        entry: The entry.
        given: The comparison.

    Returns:
        Recipes in the order of training; the entry's is the last.

    Raises:
        RecipeError: A recipe follows itself, or one that is neither beside it nor among Facet's.
    """
    known = {one.recipe: one for one in given.recipes}
    recipes: list[Recipe] = []
    path: Path | None = entry.recipe
    while path is not None:
        alone = known.get(path, entry if path == entry.recipe else Entry(recipe=path)).override
        recipe = changed(changed(load_recipe(path), given.override), alone)
        if recipe.name in {one.name for one in recipes}:
            raise RecipeError(f"{recipe.name} follows itself")
        recipes.insert(0, recipe)
        path = _followed(recipe.follows, path) if recipe.follows else None
    return recipes


def _followed(name: str, follower: Path) -> Path:
    for path in (follower.with_name(f"{name}.toml"), *sorted(RECIPES.rglob(f"{name}.toml"))):
        if path.is_file():
            return path.resolve()
    raise RecipeError(f"{follower} follows {name}, of which there is no recipe")


def _train(
    recipes: list[Recipe],
    init: str,
    budget: Budget,
    prepared: Path,
    out: Path,
    steps: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> TrainedRecipe:
    """Train each recipe of a chain with an equal part of the budget; `steps` are those of the last one's published run."""
    unfrozen = init == RANDOM and recipes[0].transfer.frozen_layers != 0
    if unfrozen:
        recipes = [changed(recipes[0], {"transfer": {"frozen_layers": 0}}), *recipes[1:]]
    last, start, diverged = recipes[-1], None, False
    runs: list[Run] = []
    for number, recipe in enumerate(recipes, 1):
        run = out / f"{number}-{recipe.name}"
        fitted = fitted_recipe(recipe, budget, len(recipes), prepared, run, steps if recipe is last else 0)
        try:
            start = train(fitted, prepared, run, init, start, callbacks)
        except Diverged:
            diverged = True
        spent = _run_cost(run)
        runs.append(Run(run=run.name, recipe=recipe.name, batch=fitted.schedule.batch_size, **asdict(spent)))
        _release_memory()
        if diverged:
            break
    section = last.network
    return TrainedRecipe(
        architecture=section.architecture,
        size=section.size,
        outputs=section.outputs,
        init=Path(init).name,
        unfrozen=unfrozen,
        state="diverged" if diverged else "finished",
        follows=tuple(recipe.name for recipe in recipes[:-1]),
        batch=runs[-1].batch,
        train=last.data.train,
        runs=tuple(runs),
        pictures=sum(run.pictures for run in runs),
        cpu_seconds=round(sum(run.cpu_seconds for run in runs), 1),
    )


def fitted_recipe(recipe: Recipe, budget: Budget, shares: int, prepared: Path, run: Path, steps: int) -> Recipe:
    """A recipe that ends within one of so many equal shares of the budget; the same one, once it was found.

    Args:
        recipe: The published one.
        budget: Pictures, minutes, or both; for all shares.
        shares: How many recipes divide the budget.
        prepared: Folder that `prepare` wrote.
        run: Folder of the run; `fitted.json` in it keeps the recipe.
        steps: Steps that the published run's phases are counted in; the recipe's own where 0.

    Returns:
        The recipe that is trained.
    """
    path = run / "fitted.json"
    if path.exists():
        return load_recipe(path)
    count = count_prepared(prepared, Split.TRAIN, recipe.data.train, selection_of(recipe))
    pictures = published(recipe, count) if budget.pictures is None else budget.pictures // shares
    if budget.minutes is not None:
        pictures = min(pictures, int(budget.minutes * 60 / shares / seconds_per_picture(recipe, prepared, run.parents[1])))
    fitted = shortened(recipe, max(1, pictures), count, steps)
    run.mkdir(parents=True, exist_ok=True)
    write_recipe(path, fitted)
    return fitted


def seconds_per_picture(recipe: Recipe, prepared: Path, out: Path) -> float:
    """CPU seconds of a picture in training, by a run of a few steps.

    Recipes that differ in heads, losses or schedule alone cost the same: `timings.json` remembers them.

    Args:
        recipe: The recipe.
        prepared: Folder that `prepare` wrote.
        out: Folder of `timings.json`.

    Returns:
        Seconds, above 0.
    """
    like = recipe.network.architecture, recipe.network.size, recipe.schedule.policy, recipe.transfer.frozen_layers
    key = " ".join(map(str, (*like, sorted(recipe.augment.model_dump().items()))))
    path, scratch = out / TIMINGS, out / "timing"
    timings: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    if key not in timings:
        shutil.rmtree(scratch, ignore_errors=True)
        train(_few_steps(recipe), prepared, scratch, RANDOM)
        spent = _run_cost(scratch)
        shutil.rmtree(scratch)
        _release_memory()
        timings[key] = spent.cpu_seconds / spent.pictures
        write_json(path, timings)
    return timings[key]


def _few_steps(recipe: Recipe) -> Recipe:
    composed, batch = recipe.balance.groups is not None, recipe.schedule.batch_size
    size = batch if composed else min(batch, TIMED_BATCH)
    return changed(
        recipe,
        {
            # So slow that nothing can diverge: what a step costs does not depend on it.
            "schedule": {
                "epochs": 1,
                "epoch_steps": 1 + TIMED_STEPS,
                "parts": 1,
                "batch_size": size,
                "rate": "constant",
                "steps": [],
                "learning_rate": 1e-9,
            },
            "data": {"validation_pictures": 1},
            "smote": {"heads": []},
        },
    )


@dataclass(frozen=True, slots=True)
class _RunCost:
    """What a run took."""

    epochs: int
    pictures: int
    cpu_seconds: float


def _run_cost(run: Path) -> _RunCost:
    """What a run's whole epochs took, those of all its parts together."""
    whole = run / "history.csv"
    files = [whole] if whole.exists() else sorted(run.glob("part-*/history.csv"))
    rows = [row for file in files for row in history_of(file)]
    pictures, seconds = (sum(float(row[name]) for row in rows) for name in ("pictures", "cpu_seconds"))
    return _RunCost(len(rows), int(pictures), seconds)


# Measuring -------------------------------------------------------------------------------------------------------------


def _measure(out: Path, trained: TrainedRecipe, prepared: Path, split: Split, sets: Sequence[str]) -> MeasuredRecipe:
    """Cost and figures of a chain's last network; cost alone where it was not reached or diverged in its first epoch."""
    run = out / trained.runs[-1].run
    recipe, best = load_recipe(run / "fitted.json"), run / "best.weights.h5"
    with dtype_policy("float32"):
        network = build(recipe.network, attributes=recipe.attributes)
        weights, additions = network.count_params(), multiply_adds(network)
        if len(trained.runs) <= len(trained.follows) or not best.exists():
            return MeasuredRecipe(weights=weights, multiply_adds=additions, figures={})
        network.load_weights(best)
        served = plain(network, recipe.network, recipe.attributes)
    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(served, recipe.network, Path(folder), recipe.attributes)
        serving = loader(Runtime.AUTO, Precision.AUTO, cpu_quota())(Path(folder))
        data = load_prepared(prepared, split, sets or None, attributes=recipe.attributes)
        return MeasuredRecipe(
            weights=weights,
            multiply_adds=additions,
            precision=serving.precision,
            latency_ms=_latency(serving, recipe.network.size),
            figures=_figures(serving, recipe.network, data),
        )


def _latency(serving: Network, size: int) -> float:
    """Milliseconds of one crop."""
    crop, times = np.zeros((1, size, size, 3), np.uint8), []
    for _ in range(LATENCY_RUNS):
        began = time.perf_counter()
        serving(crop)
        times.append(time.perf_counter() - began)
    return round(min(times) * 1000, 2)


def _figures(serving: Network, section: NetworkSection, data: Prepared) -> dict[str, RecipeFigures]:
    """Figures of every data set among the crops, each of which is predicted once."""
    found = beside_labels(data, network_answers(serving, data, section.size))
    return {str(name): _figures_of(found.where(data.sets == name), section.age) for name in np.unique(data.sets)}


def _figures_of(predictions: Predictions, form: AgeSection) -> RecipeFigures:
    """The figures of a data set, with those of the ages and the classes of years that the network was made for."""
    own: dict[str, Any] = {}
    if form.outside == "unknown" and AGE in predictions.judged():
        own |= {"age_range": (form.first, form.last)} | _valued(error_in_range(form), predictions)
    if AGE in predictions.expectations and predictions.expectations[AGE].distribution is not None:
        accuracy = _valued(own_classes(form), predictions)
        own |= {"age_classes": ages.class_years(form).shape[1]} | accuracy if accuracy else {}
    return RecipeFigures(**figures(predictions).model_dump(), **own)


def _valued(metric: Metric[Predictions], predictions: Predictions) -> dict[str, float]:
    """A figure by its key, where it has a value."""
    value = value_of(metric, predictions)
    return {} if np.isnan(value) else {metric.key: value}


# What all recipes share -----------------------------------------------------------------------------------------------


def _described(
    given: Comparison,
    budget: Budget,
    prepared: Path,
    split: Split,
    measured: Sequence[str],
    attributes: tuple[Attribute, ...],
    sets_learnt: Collection[str],
) -> ComparisonReport:
    """What all rows share, and how good a constant prediction is that is made of the sets that recipes learn."""
    counts: dict[str, dict[str, int]] = {}
    with open_faces(prepared) as table:
        sets, splits = table["set"], table["split"]
        labels = {one.name: labels_of(table, one, prepared) for one in attributes}
    for name in np.unique(sets):
        counts[str(name)] = {one.value: int(((sets == name) & (splits == one.value)).sum()) for one in Split}
    learnt = (splits == Split.TRAIN.value) & np.isin(sets, sorted(sets_learnt))
    constant = {one.name: constant_prediction(labels[one.name][learnt], one) for one in attributes}
    baseline = {}
    for name in measured or np.unique(sets[splits == split.value]):
        rows = (sets == name) & (splits == split.value)
        faces = {one: values[rows] for one, values in labels.items()}
        data = Prepared(np.zeros((rows.sum(), 0, 0, 3), np.uint8), sets[rows], sets[rows], faces, attributes)
        repeated = {one: np.repeat(value, len(data), 0) for one, value in constant.items()}
        baseline[str(name)] = RecipeFigures(**figures(beside_labels(data, repeated)).model_dump())
    return ComparisonReport(
        split=split.value,
        budget=budget,
        cpus=cpu_quota(),
        data=counts,
        override=given.override,
        constant_baseline=baseline,
        recipes=(),
        attributes=tuple(AttributeSpec.of(one) for one in attributes),
    )


def constant_prediction(labels: Floats, attribute: Attribute) -> Floats:
    """One prediction for every picture, from the labels of train.

    Args:
        labels: Labels [N] as `training.datasets.prepared.labels_of` gives them, -1 where unknown.
        attribute: The attribute.

    Returns:
        The median [1] of an expectation, in its unit; the share [1] of the second of two labels; or the shares [1, K] of K
        others. Where no label is known, not a number, and shares of K others are 0.
    """
    known = labels[labels != UNKNOWN]
    if attribute.kind == "expectation":
        scale, median = attribute.scale, np.median(known) if len(known) else np.nan
        return np.array([scale.origin + scale.step * median], np.float32)
    if len(attribute.labels) == 2:
        return np.array([known.mean() if len(known) else np.nan], np.float32)
    counts = np.bincount(known.astype(np.int64), minlength=len(attribute.labels))[np.newaxis]
    return (counts / max(1, len(known))).astype(np.float32)
