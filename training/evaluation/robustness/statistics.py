"""What a condition of a picture costs, from where on it is worth a warning, and what the service's warnings are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from service.arrays import Bools, Doubles, Ints
from service.vision.quality import BLURRED, BRIGHT, DARK, LOW_CONTRAST, NOISY, ROLL_DEGREES, SMALL_PX, YAW
from training.evaluation.bootstrap import central, poisson_counts
from training.evaluation.degradations import Degradation
from training.evaluation.predictions import Predictions
from training.evaluation.service_client import Scored

LIMITS: Final = {"expectation": 0.20, "labels": 0.25}
"""Relative rise of the mean error of an expectation, and of the share of wrong labels, from which a warning is due."""
BINS: Final = 12
"""Bins, of equal mass, of a curve."""
MIN_FACES: Final = 30
"""Faces that a bin needs; there are fewer bins where there are fewer faces."""
TAIL: Final = np.array([0.25, 0.5, 0.75, 0.9, 0.95, 0.98])
"""Shares of the pictures below the bounds of the bins of what cannot be made worse."""
REPLICATES: Final = 500
"""Resamplings of the pictures, each with all its levels, behind every 95 % interval and threshold."""

_NO_ERROR: Final = 1e-9  # stands for no expected error where one is divided by it


@dataclass(frozen=True, slots=True)
class Condition:
    """A `warning` of the service, the measured `quality` behind it and its `threshold` there.

    `kinds` are the degradations that bring it about; where there is none, faces are compared with others like them (see
    `unpaired`). It is worse below the threshold, or, where `above` is set, above it; a sign is left out of account. Where the
    answer does not hold what was measured, the warning itself, 1 or 0, stands for it, and there is no threshold to find.
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
    Condition("noisy", "noise", "noise, grey levels", NOISY, ("noise",), above=True),
    Condition("low_contrast", "contrast", "contrast", LOW_CONTRAST, ("contrast",)),
    Condition("rolled", "roll", "roll, degrees either way", ROLL_DEGREES, ("rotation",), above=True),
    Condition("turned", "yaw", "yaw, half eye distances either way", YAW, above=True),
    Condition("cut_off", "cut_off", "cut off (1) or not (0)", None, ("cut",), above=True),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Predictions, M in all, to compare with what is expected of them.

    `value` [M] is what was measured of the face; `picture` [M] which picture it is of; `error` and `expected`, by attribute,
    [M] each, are the distance in the attribute's unit, or whether the label is wrong, and its expectation; NaN where one of
    both is unknown. `warned` [M] is whether the service gave the condition's warning.
    """

    value: Doubles
    picture: Ints
    error: Mapping[str, Doubles]
    expected: Mapping[str, Doubles]
    warned: Bools

    def where(self, chosen: Bools) -> Rows:
        """The chosen rows.

        Args:
            chosen: A mask [M].

        Returns:
            Their values.
        """
        error = {name: values[chosen] for name, values in self.error.items()}
        expected = {name: values[chosen] for name, values in self.expected.items()}
        return Rows(self.value[chosen], self.picture[chosen], error, expected, self.warned[chosen])

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, slots=True)
class Rise:
    """Mean error and mean expectation of `count` predictions, the relative `rise` from this to that, and its 95 % interval."""

    count: int
    error: float
    expected: float
    rise: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Part of a curve: predictions whose measured value, `value` in the median, lies together, and their rise by attribute."""

    value: float
    rises: dict[str, Rise]


def errors(predictions: Predictions) -> dict[str, Doubles]:
    """Errors of the found faces.

    Args:
        predictions: Of N pictures.

    Returns:
        By attribute [N]: the distance in its unit, or 1 for a wrong label and 0 for a right one; not a number where no face was
        found, nothing is predicted or the label is not known.
    """
    found = predictions.found
    result = {
        name: np.where(found & one.known, np.abs(one.value - one.label), np.nan)
        for name, one in predictions.expectations.items()
    }
    for name, labels in predictions.labels.items():
        counted = found & labels.known & ~np.isnan(labels.probabilities).any(axis=1)
        result[name] = np.where(counted, ~labels.right(found), np.nan)
    return result


def limits(predictions: Predictions) -> dict[str, float]:
    """The rise of each attribute's error from which a warning is due.

    Args:
        predictions: Of the attributes.

    Returns:
        `LIMITS` by attribute.
    """
    return {one.name: LIMITS[one.kind] for one in predictions.attributes}


def measured(scored: Scored, condition: Condition) -> Doubles:
    """What was measured of each face for a condition, without its sign.

    Args:
        scored: Predictions of N pictures.
        condition: The condition.

    Returns:
        Values [N] in the condition's unit; not a number where no face was found.
    """
    if condition.quality in scored.qualities:
        return np.abs(scored.qualities[condition.quality])
    return np.where(scored.predictions.found, _warned(scored, condition), np.nan)


def paired(condition: Condition, clean: Scored, degraded: Sequence[Scored]) -> Rows:
    """Predictions of pictures as they are and degraded; what is expected of each is the error of the same picture as it is.

    A picture stands in for itself, so that who is in a bin does not confound. Pictures as they are belong to the curve: a value
    that harmless pictures have too, such as a fair skin's brightness, weighs as little as it does in service. Pictures whose
    face was not found in both are left out.

    Args:
        condition: The condition.
        clean: Predictions of N pictures as they are.
        degraded: Predictions of the same N pictures, by level.

    Returns:
        A row for each found face of each level.
    """
    return joined([_rows(condition, one, errors(clean.predictions), clean.predictions.found) for one in (clean, *degraded)])


def unpaired(condition: Condition, clean: Sequence[Scored]) -> Rows:
    """Predictions of pictures as they are; what is expected of each is the mean error of faces like it.

    Like it are its data set's faces of its band of years; for an attribute of three labels or more, those of its label.

    Args:
        condition: The condition.
        clean: Predictions of pictures as they are, by data set.

    Returns:
        A row for each found face.
    """
    parts = [_rows(condition, one, _stratum_errors(one.predictions), one.predictions.found) for one in clean]
    offsets = np.cumsum([0, *(len(one.names) for one in clean)])
    return joined([replace(part, picture=part.picture + offset) for part, offset in zip(parts, offsets, strict=False)])


def _rows(condition: Condition, scored: Scored, expected: Mapping[str, Doubles], comparable: Bools) -> Rows:
    every = Rows(
        measured(scored, condition),
        np.arange(len(scored.names)),
        errors(scored.predictions),
        expected,
        _warned(scored, condition),
    )
    return every.where(comparable & scored.predictions.found)


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows of several parts as one.

    Args:
        parts: The parts; an attribute that one of them lacks is not a number there.

    Returns:
        The rows, in the parts' order; a picture's number means the same in all parts.
    """

    def column(of: Callable[[Rows], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([of(part) for part in parts])

    def by_attribute(of: Callable[[Rows], Mapping[str, Doubles]]) -> dict[str, Doubles]:
        """Not a number where a part does not have the attribute."""
        names = dict.fromkeys(name for part in parts for name in of(part))
        return {name: np.concatenate([of(part).get(name, np.full(len(part), np.nan)) for part in parts]) for name in names}

    return Rows(
        column(lambda part: part.value),
        column(lambda part: part.picture),
        by_attribute(lambda part: part.error),
        by_attribute(lambda part: part.expected),
        column(lambda part: part.warned),
    )


def _warned(scored: Scored, condition: Condition) -> Bools:
    return np.array([condition.warning in given for given in scored.warnings], np.bool_)


def _stratum_errors(predictions: Predictions) -> dict[str, Doubles]:
    """The mean error [N] of the faces of a band of values, and for an attribute of three labels or more, of one label."""
    first = next(iter(predictions.expectations.values()), None)
    one_band = np.zeros(len(predictions), np.int64)
    band = one_band if first is None else first.bands() + 1
    result = {}
    for name, values in errors(predictions).items():
        labels = predictions.labels.get(name)
        stratum = labels.label + 1 if labels is not None and len(labels.names) > 2 else band
        known = np.isfinite(values)
        least = int(stratum.max(initial=0)) + 1
        sums, counts = (np.bincount(stratum[known], part, minlength=least) for part in (values[known], None))
        result[name] = np.where(known, (sums / np.maximum(counts, 1))[stratum], np.nan)
    return result


def rise(rows: Rows, name: str) -> Rise | None:
    """By how much the error of an attribute exceeds its expectation.

    Args:
        rows: The rows.
        name: The attribute's name.

    Returns:
        The relative rise with its 95 % interval; None where nothing is known or no error is expected.
    """
    rows = rows.where(np.isfinite(rows.error[name]) & np.isfinite(rows.expected[name]))
    error, expected = rows.error[name], rows.expected[name]
    if not expected.sum() > 0:
        return None
    above, below = _resampled(rows, name)
    low, high = (end - 1 for end in central(above[below > 0] / below[below > 0]))
    return Rise(
        len(rows), *(float(one) for one in (error.mean(), expected.mean(), error.sum() / expected.sum() - 1, low, high))
    )


def _resampled(rows: Rows, name: str) -> tuple[Doubles, Doubles]:
    """Sums of the error and of its expectation [`REPLICATES`] over pictures drawn anew, each with all its rows."""
    known = np.isfinite(rows.error[name]) & np.isfinite(rows.expected[name])
    times = poisson_counts(1 << int(rows.picture.max(initial=0)).bit_length(), REPLICATES)
    error, expected = (
        times @ np.bincount(rows.picture[known], values[known], minlength=times.shape[1])
        for values in (rows.error[name], rows.expected[name])
    )
    return error, expected


def binned(rows: Rows, tail: bool = False) -> list[Rows]:
    """The rows in bins of the measured value, in its order; equal values stay together.

    Args:
        rows: The rows.
        tail: Whether bins are narrower towards the highest values, which few pictures have; else they are of equal mass.

    Returns:
        The rows of each bin; none where there are no rows.
    """
    if not len(rows):
        return []
    count = max(1, min(BINS, len(rows) // MIN_FACES))
    shares = TAIL[1 - MIN_FACES / len(rows) >= TAIL] if tail else np.arange(1, count) / count
    inner = np.unique(np.quantile(rows.value, shares, method="nearest"))
    of = np.searchsorted(inner, rows.value, side="right")
    return [rows.where(of == index) for index in np.unique(of)]


def curve(parts: Sequence[Rows]) -> list[Bin]:
    """Median of the measured value, and rise of every attribute's error, of each bin.

    Args:
        parts: Rows of each bin.

    Returns:
        A bin for each part.
    """
    return [Bin(float(np.median(part.value)), _rises(part)) for part in parts]


def crossing(values: Doubles, error: Doubles, expected: Doubles, limit: float) -> float:
    """The measured value from which on the error exceeds its expectation by a limit, relatively.

    The rise is first made monotone, by isotonic regression weighted by the expectation (Barlow et al., "Statistical inference
    under order restrictions", 1972), so that noise in one bin sets no threshold. Between the bins it is a straight line.

    Args:
        values: Measured values [B], from harmless to harmful.
        error: Sums of the error [B].
        expected: Sums of its expectation [B].
        limit: Relative rise, such as 0.2.

    Returns:
        The value; not a number where the rise never reaches the limit.
    """
    expected = np.maximum(expected, _NO_ERROR)
    risen = isotonic_regression(error / expected - 1, weights=expected).x
    beyond = np.flatnonzero(risen >= limit)
    if not len(beyond):
        return float("nan")
    first = int(beyond[0])
    if first == 0:
        return float(values[0])
    share = (limit - risen[first - 1]) / (risen[first] - risen[first - 1])
    return float(values[first - 1] + share * (values[first] - values[first - 1]))


def threshold(parts: Sequence[Rows], name: str, above: bool, limit: float) -> float | None:
    """The measured value from which on an attribute's error has surely risen by a limit.

    Surely: in 95 % of the resamplings the curve has crossed the limit by there. A warning that is in doubt is not given.

    Args:
        parts: Rows of each bin, in order of the measured value.
        name: The attribute's name.
        above: Whether larger values are the harmful ones.
        limit: Relative rise, such as 0.2.

    Returns:
        The value without its sign, or None where the error never surely rises so far.
    """
    parts = [part for part in parts if rise(part, name) is not None]
    if not parts:
        return None
    if not above:
        parts = parts[::-1]
    values = np.array([np.median(part.value) for part in parts])
    errors_of, expected_of = (np.stack(sums) for sums in zip(*(_resampled(part, name) for part in parts), strict=True))
    crossings = [crossing(values, *sums, limit) for sums in zip(errors_of.T, expected_of.T, strict=True)]
    worse = np.nan_to_num(np.array(crossings) * (1 if above else -1), nan=np.inf)
    sure = float(np.quantile(worse, 0.95, method="higher"))
    return abs(sure) if math.isfinite(sure) else None


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a condition.

    `bins` is the curve; `due` where each attribute alone would have a warning begin, None for nowhere. `warned` and `unwarned`
    are the rises of the predictions with and without the service's warning. Of the pictures as they are, the warning is given
    to `share`, to `shares` of each label, and `clean` is the rise of these against others like them. `found` is, for the
    pictures as they are and for each level, the median of what was measured and the share of faces found.
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
    """Measure a condition.

    Args:
        condition: The condition.
        clean: Predictions of pictures as they are, by data set; the first set's pictures were degraded.
        degraded: Predictions of the degraded pictures, by degradation.

    Returns:
        What was found.
    """
    first = clean[0]
    levels = [scored for one, scored in degraded.items() if one.kind in condition.kinds]
    as_they_are = unpaired(condition, clean)
    rows = paired(condition, first, levels) if condition.kinds else as_they_are
    parts = binned(rows, tail=not condition.kinds)
    found = first.predictions.found
    warned = _warned(first, condition)[found]
    values = [(measured(one, condition)[one.predictions.found], one.predictions.found.mean()) for one in (first, *levels)]
    due = {
        name: threshold(parts, name, condition.above, limit) if condition.threshold is not None else None
        for name, limit in limits(first.predictions).items()
    }
    return Finding(
        condition,
        curve(parts),
        due,
        _rises(rows.where(rows.warned)),
        _rises(rows.where(~rows.warned)),
        _rises(as_they_are.where(as_they_are.warned)),
        float(warned.mean()) if len(warned) else 0.0,
        _shares(first.predictions, warned),
        [(float(np.median(value)), float(share)) for value, share in values if len(value)],
    )


def share_attribute(predictions: Predictions) -> str | None:
    """The attribute by whose labels the share of warned faces is reported: that of the most labels.

    Args:
        predictions: Of the attributes.

    Returns:
        Its name, or None where there are no labels.
    """
    return max(predictions.labels, key=lambda name: len(predictions.labels[name].names), default=None)


def _shares(predictions: Predictions, warned: Bools) -> dict[str, float]:
    """The share of the found faces [M] of each label that is warned."""
    name = share_attribute(predictions)
    if name is None:
        return {}
    labels = predictions.labels[name].where(predictions.found)
    of = {label: labels.label == number for number, label in enumerate(labels.names)}
    return {label: float(warned[rows].mean()) for label, rows in of.items() if rows.any()}


def _rises(rows: Rows) -> dict[str, Rise]:
    return {name: one for name in rows.error if (one := rise(rows, name)) is not None}
