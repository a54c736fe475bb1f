"""Validation pictures, as they are and made worse, to what each condition costs, and from where on it is worth a warning."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from scipy.optimize import isotonic_regression

from service.vision.quality import BLURRED, BRIGHT, DARK, ROLL_DEGREES, SMALL_PX, YAW
from training.datasets.base import RACES, UNKNOWN, DataSet, Split
from training.evaluation.degradations import DEGRADATIONS, Degradation
from training.evaluation.evaluate import Scored, mean_age_of_train
from training.evaluation.metrics import AGE_BANDS, Answers, figures

mpl.use("Agg")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LIMITS: Final = {"age": 0.20, "gender": 0.25, "race": 0.25}
"""Relative rise of the mean age error, and of the shares of wrong genders and races, from which a warning is due."""
BINS: Final = 12
"""Bins, of equal mass, of a curve."""
LEAST: Final = 30
"""Faces that a bin needs; there are fewer bins where there are fewer faces."""
TAIL: Final = np.array([0.25, 0.5, 0.75, 0.9, 0.95, 0.98])
"""Shares of the pictures below the bounds of the bins of what cannot be made worse."""
REPLICATES: Final = 500
"""Resamplings of the pictures, each with all its levels, behind every 95 % interval and threshold."""

FIGURES: Final = {
    "found": "Faces found",
    "age_mae": "Age MAE, years",
    "age_rmse": "Age RMSE, years",
    "interval_coverage": "Interval coverage",
    "gender_accuracy": "Gender accuracy",
    "race_accuracy": "Race accuracy",
    "warned": "Warned",
}
"""Figures that the table of robustness shows, and what it calls them."""
DRAWN: Final = ("found", "age_mae", "gender_accuracy", "race_accuracy")
"""Those that its plot shows."""
ROBUSTNESS_PLOT: Final = "robustness.png"

_NOTHING: Final = 1e-9  # stands for no expected error where one is divided by it


class Ask(Protocol):
    """What `training.evaluation.evaluate.ask` is once its settings are given."""

    def __call__(self, data: DataSet, split: Split, *, change: Callable[[bytes], bytes] | None = None) -> Scored:
        """Answers of a split, of changed pictures where there is a `change`."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """A `warning` of the service, the measured `quality` behind it and its `threshold` there.

    `kinds` are the degradations that bring it about; where there is none, faces are compared with others of their age and
    race. It is worse below the threshold, or, where `above` is set, above it; a sign is left out of account. Where the answer
    does not say what was measured, the warning itself, 1 or 0, stands for it, and there is no threshold to find.
    """

    warning: str
    quality: str
    unit: str
    threshold: float | None
    kinds: tuple[str, ...] = ()
    above: bool = False


CONDITIONS: Final = (
    Condition("small", "size_px", "box's longer side, pixels", SMALL_PX, ("size",)),
    Condition("blurred", "sharpness", "sharpness", BLURRED, ("blur", "motion")),
    Condition("dark", "brightness", "brightness", DARK, ("dark",)),
    Condition("bright", "brightness", "brightness", BRIGHT, ("bright",), above=True),
    Condition("rolled", "roll", "roll, degrees either way", ROLL_DEGREES, ("rotation",), above=True),
    Condition("turned", "yaw", "yaw, half eye distances either way", YAW, above=True),
    Condition("cut_off", "cut_off", "cut off (1) or not (0)", None, ("cut",), above=True),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Answers, M in all, to compare with what is expected of them.

    `value` [M] is what was measured of the face; `picture` [M] which picture it is of; `error` and `expected`, by attribute,
    [M] each, are the distance in years, or whether the label is wrong, and its expectation; NaN where a label or an answer is
    unknown. `warned` [M] tells whether the service gave the condition's warning.
    """

    value: Floats
    picture: npt.NDArray[np.int64]
    error: Mapping[str, Floats]
    expected: Mapping[str, Floats]
    warned: Bools

    def where(self, chosen: Bools) -> Rows:
        """The chosen rows."""
        error = {name: values[chosen] for name, values in self.error.items()}
        expected = {name: values[chosen] for name, values in self.expected.items()}
        return Rows(self.value[chosen], self.picture[chosen], error, expected, self.warned[chosen])

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Rise:
    """Mean error and mean expectation of `count` answers, the relative `rise` from this to that, and its 95 % interval."""

    count: int
    error: float
    expected: float
    rise: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Part of a curve: answers whose measured value, `value` in the median, lies together, and their rise by attribute."""

    value: float
    rises: dict[str, Rise]


def errors(answers: Answers) -> dict[str, Floats]:
    """Age error in years, and 1 for a wrong gender or race and 0 for a right one; NaN where none was found or none is known."""
    found = answers.found
    aged = found & (answers.age != UNKNOWN)
    gendered = found & ~np.isnan(answers.female) & (answers.gender != UNKNOWN)
    raced = found & ~np.isnan(answers.races).any(axis=1) & (answers.race != UNKNOWN)
    return {
        "age": np.where(aged, np.abs(answers.years - answers.age), np.nan),
        "gender": np.where(gendered, (answers.female > 0.5) != (answers.gender == 1), np.nan),
        "race": np.where(raced, np.nan_to_num(answers.races).argmax(axis=1) != answers.race, np.nan),
    }


def measured(scored: Scored, condition: Condition) -> Floats:
    """What was measured of each face for a condition, without its sign; NaN where none was found."""
    if condition.quality in scored.qualities:
        return np.abs(scored.qualities[condition.quality])
    return np.where(scored.answers.found, _warned(scored, condition), np.nan)


def paired(condition: Condition, clean: Scored, degraded: Sequence[Scored]) -> Rows:
    """Answers to pictures as they are and degraded; what is expected of each is the error of the same picture as it is.

    A picture stands in for itself, so that who is in a bin does not confound; and pictures as they are belong to the curve, so
    that a value which harmless pictures have too, such as a fair skin's brightness, says as little as it does in service.
    Pictures whose face was not found in both are left out.
    """
    return _joined([_rows(condition, one, errors(clean.answers), clean.answers.found) for one in (clean, *degraded)])


def natural(condition: Condition, clean: Sequence[Scored]) -> Rows:
    """Answers to pictures as they are; what is expected of each is the mean error of its data set's faces of its band of age,
    of its race where the race is asked for."""
    parts = [_rows(condition, one, _of_the_like(one.answers), one.answers.found) for one in clean]
    offsets = np.cumsum([0, *(len(one.names) for one in clean)])
    return _joined([replace(part, picture=part.picture + offset) for part, offset in zip(parts, offsets, strict=False)])


def _rows(condition: Condition, scored: Scored, expected: Mapping[str, Floats], comparable: Bools) -> Rows:
    every = Rows(
        measured(scored, condition),
        np.arange(len(scored.names)),
        errors(scored.answers),
        expected,
        _warned(scored, condition),
    )
    return every.where(comparable & scored.answers.found)


def _joined(parts: Sequence[Rows]) -> Rows:
    def column(of: Callable[[Rows], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([of(part) for part in parts])

    return Rows(
        column(lambda part: part.value),
        column(lambda part: part.picture),
        {name: column(lambda part, name=name: part.error[name]) for name in LIMITS},  # type: ignore[misc]
        {name: column(lambda part, name=name: part.expected[name]) for name in LIMITS},  # type: ignore[misc]
        column(lambda part: part.warned),
    )


def _warned(scored: Scored, condition: Condition) -> Bools:
    return np.array([condition.warning in given for given in scored.warnings], np.bool_)


def _of_the_like(answers: Answers) -> dict[str, Floats]:
    band = np.digitize(answers.age, [low for low, _ in AGE_BANDS])
    strata = {"age": band, "gender": band, "race": answers.race}
    result = {}
    for name, values in errors(answers).items():
        known = np.isfinite(values)
        sums, counts = (np.bincount(strata[name][known] + 1, part, minlength=20) for part in (values[known], None))
        result[name] = np.where(known, (sums / np.maximum(counts, 1))[strata[name] + 1], np.nan)
    return result


def rise(rows: Rows, name: str) -> Rise | None:
    """By how much the error of an attribute exceeds its expectation; None where nothing is known or no error is expected."""
    rows = rows.where(np.isfinite(rows.error[name]) & np.isfinite(rows.expected[name]))
    error, expected = rows.error[name], rows.expected[name]
    if not expected.sum() > 0:
        return None
    above, below = _resampled(rows, name)
    low, high = np.quantile((above[below > 0] / below[below > 0]), [0.025, 0.975]) - 1
    return Rise(
        len(rows), *(float(one) for one in (error.mean(), expected.mean(), error.sum() / expected.sum() - 1, low, high))
    )


def _resampled(rows: Rows, name: str) -> tuple[Floats, Floats]:
    """Sums of the error and of its expectation [`REPLICATES`] over pictures drawn anew, each with all its rows."""
    known = np.isfinite(rows.error[name]) & np.isfinite(rows.expected[name])
    times = _times(1 << int(rows.picture.max(initial=0)).bit_length())
    error, expected = (
        times @ np.bincount(rows.picture[known], values[known], minlength=times.shape[1])
        for values in (rows.error[name], rows.expected[name])
    )
    return error, expected


@lru_cache(maxsize=4)
def _times(pictures: int) -> Floats:
    """How often each picture is drawn [`REPLICATES`, pictures]; the first pictures alike however many there are, so that all
    bins of a curve are drawn alike.

    The Poisson bootstrap (Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", Computer
    Methods and Programs in Biomedicine 2006).
    """
    return np.ascontiguousarray(np.random.default_rng(0).poisson(1, (pictures, REPLICATES)).T.astype(np.float64))


def binned(rows: Rows, tail: bool = False) -> list[Rows]:
    """The rows in bins of the measured value, in its order; equal values stay together.

    The bins are of equal mass; with `tail`, narrower towards the highest values, which few pictures have of themselves.
    """
    if not len(rows):
        return []
    count = max(1, min(BINS, len(rows) // LEAST))
    shares = TAIL[1 - LEAST / len(rows) >= TAIL] if tail else np.arange(1, count) / count
    inner = np.unique(np.quantile(rows.value, shares, method="nearest"))
    of = np.searchsorted(inner, rows.value, side="right")
    return [rows.where(of == index) for index in np.unique(of)]


def curve(parts: Sequence[Rows]) -> list[Bin]:
    """Median of the measured value, and rise of every attribute's error, of each bin."""
    return [Bin(float(np.median(part.value)), _rises(part)) for part in parts]


def crossing(values: Floats, error: Floats, expected: Floats, limit: float) -> float:
    """The measured value from which on the error exceeds its expectation by `limit`, relatively; not a number where it never
    does.

    `values` [B] run from harmless to harmful; `error` and `expected` [B] are sums. The rise is first made monotone, by isotonic
    regression weighted by the expectation (Barlow et al., "Statistical inference under order restrictions", 1972), so that
    noise in one bin sets no threshold; between the bins it is a straight line.
    """
    expected = np.maximum(expected, _NOTHING)
    risen = isotonic_regression(error / expected - 1, weights=expected).x
    beyond = np.flatnonzero(risen >= limit)
    if not len(beyond):
        return float("nan")
    first = int(beyond[0])
    if first == 0:
        return float(values[0])
    share = (limit - risen[first - 1]) / (risen[first] - risen[first - 1])
    return float(values[first - 1] + share * (values[first] - values[first - 1]))


def threshold(parts: Sequence[Rows], name: str, above: bool) -> float | None:
    """The measured value from which on an attribute's error has surely risen by its limit, or None where it never has.

    Surely: in 95 % of the resamplings the curve has crossed the limit by there. A warning that is in doubt is not given.
    """
    parts = [part for part in parts if rise(part, name) is not None]
    if not parts:
        return None
    if not above:
        parts = parts[::-1]
    values = np.array([np.median(part.value) for part in parts])
    errors_of, expected_of = (np.stack(sums) for sums in zip(*(_resampled(part, name) for part in parts), strict=True))
    crossings = [crossing(values, *sums, LIMITS[name]) for sums in zip(errors_of.T, expected_of.T, strict=True)]
    worse = np.nan_to_num(np.array(crossings) * (1 if above else -1), nan=np.inf)
    sure = float(np.quantile(worse, 0.95, method="higher"))
    return abs(sure) if math.isfinite(sure) else None


def drawn(data: DataSet, split: Split, limit: int | None) -> DataSet:
    """The data set with so many pictures of a split alone, spread over all of it: files lie in order of age."""
    if limit is None:
        return data
    names = sorted((name for name, _, _ in data.labelled(split)), key=lambda name: sha256(name.encode()).digest())
    chosen = frozenset(names[:limit])
    return replace(data, label_of=lambda name: data.label_of(name) if name in chosen else None)


def study(ask: Ask, sets: Sequence[DataSet], out: Path, limit: int | None = None) -> dict[str, Any]:
    """Ask for the validation split as it is and made worse; write `robustness.json`, `conditions.json` and their plots.

    The first of the sets is made worse; the others are asked as they are, for the conditions that cannot be made. `limit`
    pictures of each, or all. Both documents say under `asked` which model answered, and to what. Returns them by name. Raises
    `ValueError` where a set has no picture to ask for.
    """
    mean_age = mean_age_of_train(sets[0])
    samples = [drawn(one, Split.VALIDATION, limit) for one in sets]
    clean = [ask(one, Split.VALIDATION) for one in samples]
    degraded = {one: ask(samples[0], Split.VALIDATION, change=one) for one in DEGRADATIONS}
    out.mkdir(parents=True, exist_ok=True)
    documents = {
        "robustness": robustness(clean[0], degraded, mean_age, out),
        "conditions": conditions(clean, degraded, out),
    }
    names, count = [one.name for one in sets], len(clean[0].names)
    asked = {**clean[0].served, "data": names, "split": Split.VALIDATION.value, "pictures": count}
    for name, document in documents.items():
        document["asked"] = asked
        (out / f"{name}.json").write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
    return documents


# Robustness of the whole path -------------------------------------------------------------------------------------------


def robustness(clean: Scored, degraded: Mapping[Degradation, Scored], mean_age: float, out: Path) -> dict[str, Any]:
    """Headline figures of each degradation beside those of the pictures as they are; draws `robustness.png`."""
    said = clean.answers.said()

    def known(scored: Scored) -> dict[str, Any]:
        found = [bool(given) for given, found in zip(scored.warnings, scored.answers.found, strict=True) if found]
        return figures(scored.answers, mean_age, said) | {"warned": float(np.mean(found)) if found else 0.0}

    base = known(clean)
    names = [name for name in FIGURES if base.get(name) is not None]
    levels = [(one, known(scored)) for one, scored in degraded.items()]
    rows = [["as they are", "", *(_figure(name, base[name]) for name in names)]]
    rows += [[one.kind, one.level, *(_figure(name, given[name], base[name]) for name in names)] for one, given in levels]
    _draw_robustness(base, levels, [name for name in names if name in DRAWN], out)
    return {
        "title": "Robustness",
        "text": (
            f"{base['count']} validation pictures, as they are and made worse in one way at a time, through the whole path: "
            "detection, alignment, network. In brackets, the difference to the pictures as they are. A face that is not found "
            "counts as wrong, its age as the mean age of train; warned is the share of the faces found that have any warning. "
            "Pixels are those of pictures of 200 by 200; brightness and contrast are factors of the stored, gamma-encoded "
            "values; size is the side that is posted; cut is a share of the width or height, at one of the four sides."
        ),
        "tables": [
            {
                "caption": "Validation pictures made worse",
                "header": ["Made worse by", "How much", *(FIGURES[name] for name in names)],
                "rows": rows,
            }
        ],
        "plots": [ROBUSTNESS_PLOT],
        "data": {
            "clean": base,
            "degraded": [{"kind": one.kind, "level": one.level, "figures": given} for one, given in levels],
        },
    }


def _figure(name: str, value: float, base: float | None = None) -> str:
    """A figure, shares in percent, and its difference to that of the pictures as they are."""
    scale, digits = (1, 2) if name in ("age_mae", "age_rmse") else (100, 1)
    text = f"{scale * value:.{digits}f}" + (" %" if scale == 100 else "")
    return text if base is None else f"{text} ({scale * (value - base):+.{digits}f})"


def _draw_robustness(
    base: dict[str, Any], levels: Sequence[tuple[Degradation, dict[str, Any]]], names: list[str], out: Path
) -> None:
    labels = [f"{one.kind} {one.level}" for one, _ in levels]
    kinds = list(dict.fromkeys(one.kind for one, _ in levels))
    colours = [f"C{kinds.index(one.kind) % 10}" for one, _ in levels]
    figure, axes = plt.subplots(
        1,
        len(names),
        figsize=(2 + 2.6 * len(names), 1.2 + 0.22 * len(labels)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, name in zip(axes[0], names, strict=True):
        scale = 1 if name == "age_mae" else 100
        axis.barh(labels, [scale * (given[name] - base[name]) for _, given in levels], color=colours)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(
            title=f"{FIGURES[name]}\nas they are: {_figure(name, base[name])}",
            xlabel="difference" + (", points" if scale > 1 else ""),
        )
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_ylim(len(labels) - 0.5, -0.5)
    figure.savefig(out / ROBUSTNESS_PLOT, dpi=120)
    plt.close(figure)


# Conditions, curves and thresholds --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a condition.

    `bins` is the curve; `due` where each attribute alone would have a warning begin, None for nowhere. `warned` and `unwarned`
    are the rises of the answers with and without the service's warning. Of the pictures as they are, the warning is given to
    `share`, to `shares` of each race, and `clean` is the rise of these against others like them. `found` is, for the pictures
    as they are and for each level, the median of what was measured and the share of faces found.
    """

    condition: Condition
    bins: list[Bin]
    due: dict[str, float | None]
    warned: dict[str, Rise]
    unwarned: dict[str, Rise]
    clean: dict[str, Rise]
    share: float
    shares: dict[str, float]
    found: list[tuple[float, float]]

    @property
    def threshold(self) -> float | None:
        """The mildest value at which an attribute would have the warning begin."""
        known = [value for value in self.due.values() if value is not None]
        return (min if self.condition.above else max)(known, default=None)


def finding(condition: Condition, clean: Sequence[Scored], degraded: Mapping[Degradation, Scored]) -> Finding:
    """Measure a condition; the first of `clean` are the pictures that were degraded."""
    first = clean[0]
    levels = [scored for one, scored in degraded.items() if one.kind in condition.kinds]
    as_they_are = natural(condition, clean)
    rows = paired(condition, first, levels) if condition.kinds else as_they_are
    parts = binned(rows, tail=not condition.kinds)
    warned = _warned(first, condition)[first.answers.found]
    race = first.answers.race[first.answers.found]
    values = [(measured(one, condition)[one.answers.found], one.answers.found.mean()) for one in (first, *levels)]
    return Finding(
        condition,
        curve(parts),
        {name: threshold(parts, name, condition.above) if condition.threshold is not None else None for name in LIMITS},
        _rises(rows.where(rows.warned)),
        _rises(rows.where(~rows.warned)),
        _rises(as_they_are.where(as_they_are.warned)),
        float(warned.mean()) if len(warned) else 0.0,
        {name: float(warned[race == i].mean()) for i, name in enumerate(RACES) if (race == i).any()},
        [(float(np.median(value)), float(share)) for value, share in values if len(value)],
    )


def conditions(clean: Sequence[Scored], degraded: Mapping[Degradation, Scored], out: Path) -> dict[str, Any]:
    """What each condition costs, where its warning is due, and what the service's warnings are worth; draws the curves."""
    findings = [finding(condition, clean, degraded) for condition in CONDITIONS]
    for one in findings:
        if _drawn(one):
            _draw_condition(one, out)
    limits = ", ".join(f"{100 * limit:.0f} % ({name})" for name, limit in LIMITS.items())
    text = (
        "Each curve shows the errors of answers to pictures as they are and made worse, by the value measured of the face in "
        "bins of equal mass, beside the errors of the same pictures as they are, so that it makes no difference who is in a "
        "bin. A turned head cannot be made: such faces are compared with all faces of their data set and band of age, of their "
        "race for the error of race. Bands and brackets are 95 % intervals of a bootstrap over pictures, with the count of "
        f"answers; a dash stands for less than {LEAST}. A warning is due from "
        "the mildest value on at which the curve of one attribute, made monotone, has surely (in 95 % of the resamplings) "
        f"risen by its limit: {limits}."
    )
    due = [
        [
            one.condition.warning,
            one.condition.unit,
            *(_number(one.due[name]) for name in LIMITS),
            _number(one.threshold),
            _number(one.condition.threshold),
        ]
        for one in findings
    ]
    worth = [
        [one.condition.warning, *(_percent(rises.get(name)) for rises in (one.warned, one.unwarned) for name in LIMITS)]
        for one in findings
    ]
    cost = [
        [
            one.condition.warning,
            f"{100 * one.share:.1f} %",
            ", ".join(f"{name} {100 * share:.1f} %" for name, share in one.shares.items()),
            *(_percent(one.clean.get(name)) for name in LIMITS),
        ]
        for one in findings
    ]
    return {
        "title": "Conditions and warnings",
        "text": text,
        "tables": [
            {
                "caption": "From where on a warning is due, and from where the service gives it",
                "header": ["Warning", "Measured", *LIMITS, "Due from", "The service's"],
                "rows": due,
            },
            {
                "caption": "Rise over the same pictures as they are, or over others like them, with and without the warning",
                "header": ["Warning", *(f"{name}, {which}" for which in ("warned", "not") for name in LIMITS)],
                "rows": worth,
            },
            {
                "caption": "Pictures as they are: who is warned, and the error of the warned against that of others like them",
                "header": ["Warning", "Warned", "Of each race", *LIMITS],
                "rows": cost,
            },
        ],
        "plots": [_plot(one.condition) for one in findings if _drawn(one)],
        "data": [{"warning": one.condition.warning, **_plain(one)} for one in findings],
    }


def _rises(rows: Rows) -> dict[str, Rise]:
    return {name: one for name in LIMITS if (one := rise(rows, name)) is not None}


def _plain(one: Finding) -> dict[str, Any]:
    return asdict(one) | {"condition": one.condition.quality}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _percent(one: Rise | None) -> str:
    if one is None or one.count < LEAST:
        return "–"
    return f"{100 * one.rise:+.0f} % ({100 * one.low:+.0f} to {100 * one.high:+.0f}; {one.count})"


def _plot(condition: Condition) -> str:
    return f"condition_{condition.warning}.png"


def _drawn(one: Finding) -> bool:
    return bool(one.bins) and one.condition.threshold is not None


def _draw_condition(one: Finding, out: Path) -> None:
    """Error and expected error by measured value, one panel an attribute, and the share of faces found at each level."""
    names = [name for name in LIMITS if any(name in part.rises for part in one.bins)]
    panels = len(names) + bool(one.condition.kinds)
    figure, axes = plt.subplots(1, panels, figsize=(4 * panels, 3.6), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=False):
        _draw_curve(axis, one, name)
    if one.condition.kinds:
        values, shares = zip(*one.found, strict=True)
        axes[0][-1].plot(values, [100 * share for share in shares], "o", color="#2f9e44")
        axes[0][-1].set(title="faces found, by level", ylabel="%", ylim=(0, 103))
    for axis in axes[0]:
        axis.axvline(one.condition.threshold, color="#e8590c", label="the service's threshold")
        if one.threshold is not None:
            axis.axvline(one.threshold, color="#e8590c", linestyle=":", label="due by this measurement")
        axis.set_xlabel(one.condition.unit)
        axis.grid(alpha=0.3)
        if one.condition.warning in ("small", "blurred"):  # the harmful end is a narrow one
            axis.set_xscale("log")
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_locator(NullLocator())
    axes[0][0].legend(fontsize=8)
    figure.suptitle(one.condition.warning)
    figure.savefig(out / _plot(one.condition), dpi=120)
    plt.close(figure)


def _draw_curve(axis: Axes, one: Finding, name: str) -> None:
    parts = [part for part in one.bins if name in part.rises]
    values = [part.value for part in parts]
    scale, unit = (1, "mean error, years") if name == "age" else (100, "wrong, %")
    answers, expected = (
        np.array([scale * getattr(part.rises[name], which) for part in parts]) for which in ("error", "expected")
    )
    low, high = (expected * [1 + getattr(part.rises[name], end) for part in parts] for end in ("low", "high"))
    like = "the same pictures as they are" if one.condition.kinds else "all faces like them"
    axis.plot(values, expected, color="#868e96", linestyle="--", marker=".", label=like)
    axis.plot(values, answers, color="#1971c2", marker="o", markersize=4, label="these answers")
    axis.fill_between(values, low, high, color="#1971c2", alpha=0.2)
    axis.set(title=name, ylabel=unit)
    axis.set_ylim(0, 1.7 * max(1e-3, *expected, *answers))  # a wide band does not hide the curve
