"""A recipe and a space to the settings that did best: trials that train, end early where they lag, and are kept in a file.

A space is a TOML file shaped like a recipe. What a recipe has a value for, it has a table for: `low` and `high`, with `log` or
`step` where wanted, or `choices`. Two whole numbers span whole numbers. Optuna draws the trials (the tree-structured Parzen
estimator, Bergstra et al., NeurIPS 2011) and ends those that lag behind the median of the others at the same epoch.
"""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import keras
import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.exc import SQLAlchemyError

from service.models.manifest import Section
from training.artifacts import write_document
from training.errors import Diverged, RecipeError, RunError, UsageError, raised_as
from training.fit.train import identity_of, train
from training.plotting import save
from training.recipe import Recipe, write_recipe

REPORT: Final = "search.json"
BEST: Final = "best.json"
STARTUP_TRIALS: Final = 4
"""Trials that are drawn at random, and ended by nothing, before the others are drawn and judged by them."""

_FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED)
_RUN: Final = "trial-{:04}"  # folder of a trial, by its number
_TOLD: Final = "facet"  # attribute of a study: what its trials have alike


class _Interrupted(BaseException):
    """Carries Ctrl+C, or a full disk, past Optuna, which would call the trial failed: it stays one that was under way."""


class Range(BaseModel):
    """Numbers from `low` to `high`, both included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int | float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _spans(self) -> Range:
        """Bounds are in order, and a logarithm has no step."""
        if self.low >= self.high or (self.log and (self.low <= 0 or self.step is not None)):
            raise ValueError("low is below high; with log, low is above 0 and there is no step")
        return self

    def suggest(self, trial: optuna.Trial, name: str) -> int | float:
        """This trial's number.

        Args:
            trial: The trial.
            name: Name of the field, with dots.

        Returns:
            The drawn number.
        """
        if isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None):
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=self.step or 1)
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)


class Choices(BaseModel):
    """One of several values: numbers, words, truths, or lists of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choices: tuple[Any, ...] = Field(min_length=1)

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """This trial's value; it is stored as JSON, so that lists can be chosen from, too.

        Args:
            trial: The trial.
            name: Name of the field, with dots.

        Returns:
            The drawn choice.
        """
        return json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in self.choices]))


class BestTrial(Section):
    """The trial that did best."""

    trial: int
    value: float
    """Its best epoch's figure."""
    values: dict[str, Any]
    """What it had in the recipe, by field."""


class TrialResult(Section):
    """One trial."""

    trial: int
    state: str
    """`complete`, `pruned`, `fail` or `running`."""
    value: float | None
    """Its best epoch's figure; None where it did not come to its end."""
    epochs: tuple[float, ...]
    """The figure of each epoch."""
    values: dict[str, Any]
    """What it had in the recipe, by field."""


class SearchReport(Section):
    """`search.json`."""

    recipe: str
    measure: str
    """Column of `history.csv`."""
    best: BestTrial
    trials: tuple[TrialResult, ...]


Space = dict[str, Range | Choices]
"""Where in a recipe, with dots, and what may stand there."""


def load_space(path: Path, recipe: Recipe) -> Space:
    """Read a space.

    Args:
        path: A TOML file.
        recipe: The recipe whose fields it names.

    Returns:
        Ranges and choices by field, named with dots.

    Raises:
        RecipeError: The space is empty, names a field that the recipe does not have, or has a table that is neither a range
            nor choices.
    """
    space = _flattened(tomllib.loads(path.read_text(encoding="utf-8")))
    known = recipe.model_dump()
    known["loss"]["weights"] = known["network"]["pair_units"] = {one.name: None for one in recipe.attributes}
    for name in space:
        place: Any = known
        for key in name.split("."):
            if not isinstance(place, dict) or key not in place:
                raise RecipeError(f"{path}: a recipe has no {name}")
            place = place[key]
    if not space:
        raise RecipeError(f"{path} names nothing to search")
    return space


def _flattened(document: Mapping[str, Any], above: str = "") -> Space:
    space: Space = {}
    for key, value in document.items():
        if not isinstance(value, Mapping):
            raise RecipeError(f"{above}{key} is no table with low and high, or choices")
        if "low" in value or "choices" in value:
            with raised_as(RecipeError):
                space[above + key] = (Choices if "choices" in value else Range).model_validate(value)
        else:
            space |= _flattened(value, f"{above}{key}.")
    return space


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values.

    Args:
        recipe: The recipe.
        values: Values by field, named with dots.

    Returns:
        Another recipe.

    Raises:
        RecipeError: A value does not fit.
    """
    document = recipe.model_dump(mode="json")
    for name, value in values.items():
        *sections, field = name.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[field] = value
    with raised_as(RecipeError):
        return Recipe.model_validate(document)


class Pruning(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports every epoch's figure to a trial, and ends it where the others are ahead."""

    def __init__(self, trial: optuna.Trial, measure: str) -> None:
        super().__init__()
        self.trial, self.measure, self.values = trial, measure, list[float]()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report an epoch's figure to its trial.

        Args:
            epoch: Number of the epoch, from 0.
            logs: The epoch's figures by name.

        Raises:
            RecipeError: The epoch has no such figure.
            optuna.TrialPruned: The trial lags behind the others.
        """
        if self.measure not in logs:
            raise RecipeError(f"an epoch has no {self.measure}; there is: {', '.join(sorted(logs))}")
        self.values.append(float(logs[self.measure]))
        self.trial.report(self.values[-1], epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def search(
    recipe: Recipe,
    space: Space,
    prepared: Path,
    out: Path,
    trials: int,
    storage: str,
    init: str = "random",
    measure: str = "val_loss",
    pruner: optuna.pruners.BasePruner | None = None,
) -> SearchReport:
    """Train until `trials` trials are finished, those of earlier calls with the same storage and recipe's name included.

    All of them are of one recipe, space, measure, beginning and set of pictures, or they could not be compared. A trial's value
    is its best epoch's `measure`, a column of `history.csv`; an accuracy is to be large, anything else small. Each trial is a
    run of its own under `out`; a trial that was interrupted is begun again. `out` gets `search.json`, `best.json` (a
    recipe, for `train`) and plots.

    Args:
        recipe: The recipe that the trials change.
        space: What they change of it.
        prepared: Folder that `prepare` wrote.
        out: Folder to write to.
        trials: Trials in all.
        storage: Optuna's storage, as a URL of SQLAlchemy.
        init: Initial weights of the trunk: `imagenet`, `random`, or a file.
        measure: Column of `history.csv`.
        pruner: What ends trials that lag; by the median where not given.

    Returns:
        What `search.json` holds.

    Raises:
        RunError: No trial came to its end, the storage holds another search of the recipe's name, or `out` one of another
            storage.
        RecipeError: No epoch has the column `measure`.
        UsageError: The storage cannot be opened.
    """
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kept = _opened(storage)
    try:
        study = _study(recipe, kept, measure, pruner)
        _require_same(study, _told(recipe, space, init, measure) | {"set of pictures": identity_of(recipe, prepared)})
        if (next_run := out / _RUN.format(len(study.trials))).exists():
            raise RunError(f"{next_run} holds a run that the storage knows nothing of; choose another folder or storage")

        def objective(trial: optuna.Trial) -> float:
            chosen = with_values(recipe, {name: one.suggest(trial, name) for name, one in space.items()})
            pruning = Pruning(trial, measure)
            try:
                train(chosen, prepared, out / _RUN.format(trial.number), init, callbacks=[pruning])
            except (KeyboardInterrupt, OSError) as error:
                raise _Interrupted from error
            return max(pruning.values) if study.direction is StudyDirection.MAXIMIZE else min(pruning.values)

        _optimize(study, objective, trials)
        if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            raise RunError(f"of {len(study.trials)} trials none came to its end")
        return _write(study, recipe, measure, out)
    finally:
        kept.remove_session()
        kept.engine.dispose()


def _opened(storage: str) -> optuna.storages.RDBStorage:
    """Optuna's storage. Raises `UsageError`, without its address, which may hold a password."""
    try:
        return optuna.storages.RDBStorage(storage)
    except (SQLAlchemyError, ImportError) as error:
        raise UsageError(
            "--storage is no database that can be opened: a URL of SQLAlchemy whose driver is installed"
        ) from error


def _told(recipe: Recipe, space: Space, init: str, measure: str) -> dict[str, Any]:
    """What all trials of a search have alike, as plain values."""
    fields = {name: one.model_dump(mode="json") for name, one in space.items()}
    return {"recipe": recipe.model_dump(mode="json"), "space": fields, "init": init, "measure": measure}


def _require_same(study: optuna.Study, told: dict[str, Any]) -> None:
    """Raises `RunError` where trials of another search are in a study, which by the same name would be taken up as its own."""
    before = study.user_attrs.get(_TOLD, told)
    finished = bool(study.get_trials(deepcopy=False, states=_FINISHED))
    differing = [name for name, value in told.items() if finished and before.get(name, value) != value]
    if study.direction is not _direction(told["measure"]):
        differing.append("measure")
    if differing:
        raise RunError(f"the storage holds a search with another {differing[0]}; choose another folder or storage")
    study.set_user_attr(_TOLD, told)


def _direction(measure: str) -> StudyDirection:
    return StudyDirection.MAXIMIZE if measure.endswith("accuracy") else StudyDirection.MINIMIZE


def _study(
    recipe: Recipe, storage: optuna.storages.RDBStorage, measure: str, pruner: optuna.pruners.BasePruner | None
) -> optuna.Study:
    """The search as it was left, with a trial waiting for each that was under way."""
    study = optuna.create_study(
        study_name=recipe.name,
        storage=storage,
        load_if_exists=True,
        direction=_direction(measure),
        pruner=pruner or optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=1),
    )
    # A sampler that began with the same seed after a stop would draw the first trials once more.
    seed = recipe.schedule.seed + len(study.get_trials(deepcopy=False))
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study


def _optimize(study: optuna.Study, objective: Callable[[optuna.Trial], float], trials: int) -> None:
    """A network that runs away is a trial that failed, and ends no search."""
    finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
    if trials > finished:
        try:
            study.optimize(objective, n_trials=trials - finished, catch=(Diverged,))
        except _Interrupted as interrupted:
            raise interrupted.__cause__ or interrupted from None


def _write(study: optuna.Study, recipe: Recipe, measure: str, out: Path) -> SearchReport:
    best = {name: _value(study.best_trial, name) for name in study.best_params}
    document = SearchReport(
        recipe=recipe.name,
        measure=measure,
        best=BestTrial(trial=study.best_trial.number, value=study.best_value, values=best),
        trials=tuple(
            TrialResult(
                trial=trial.number,
                state=trial.state.name.lower(),
                value=trial.value,
                epochs=tuple(trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)),
                values={name: _value(trial, name) for name in trial.params},
            )
            for trial in study.trials
        ),
    )
    write_document(out / REPORT, document)
    write_recipe(out / BEST, with_values(recipe, best))
    _draw(study, measure, out)
    return document


def _value(trial: optuna.trial.FrozenTrial, name: str) -> Any:
    value = trial.params[name]
    return json.loads(value) if isinstance(trial.distributions[name], optuna.distributions.CategoricalDistribution) else value


def _draw(study: optuna.Study, measure: str, out: Path) -> None:
    """Optuna's own plots: the best value by trial, every trial's epochs, the trials by each setting, and what matters."""
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as plots

    drawings: dict[str, Callable[[], Any]] = {
        "history": lambda: plots.plot_optimization_history(study, target_name=measure),
        "epochs": lambda: plots.plot_intermediate_values(study),
        "slices": lambda: plots.plot_slice(study, target_name=measure),
    }
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if len(values) > 1:
        drawings["importance"] = lambda: plots.plot_param_importances(study, target_name=measure)
    for name, draw in drawings.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls its plots experimental, and lays them out in an old way
            draw()
            save(plt.gcf(), out / f"{name}.png", tight=True)
