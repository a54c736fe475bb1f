"""Measurements of degraded pictures as tables and prose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from service.arrays import Doubles
from service.models.evaluation import Figures
from training.evaluation.degradations import MOST_PIXELS, Degradation
from training.evaluation.documents import Subject, TextTable
from training.evaluation.metrics import Metric, Table, mean, metrics_of, value_of
from training.evaluation.predictions import Predictions
from training.evaluation.robustness.documents import ConditionData, Conditions, DegradedFigures, Robustness, RobustnessData
from training.evaluation.robustness.plots import ROBUSTNESS_PLOT, condition_plot, draw_condition, draw_robustness
from training.evaluation.robustness.statistics import (
    CONDITIONS,
    MIN_FACES,
    Rise,
    finding,
    limits,
    share_attribute,
)
from training.evaluation.scoring import figures
from training.evaluation.service_client import Scored

NOTHING = "–"


def _warned(scored: Scored, weights: Doubles) -> Doubles:
    return mean(np.array([bool(given) for given in scored.warnings], np.bool_), scored.predictions.found, weights)


WARNED: Final[Metric[Scored]] = Metric(key="warned", title="warned", compute=_warned, format=".1%")
"""The share of the found faces that have any warning."""


def robustness(clean: Scored, degraded: Mapping[Degradation, Scored], out: Path, subject: Subject | None = None) -> Robustness:
    """Headline figures of each degradation beside those of the pictures as they are; draws `robustness.png`.

    Args:
        clean: Predictions of the pictures as they are.
        degraded: The same of degraded ones.
        out: Folder to write the plot to.
        subject: The model and the pictures.

    Returns:
        What the page of a report shows.
    """
    judged = clean.predictions.judged()
    base = figures(clean.predictions, judged)
    levels = [(one, figures(scored.predictions, judged), _warned_share(scored)) for one, scored in degraded.items()]
    metrics = [
        metric for metric in metrics_of(clean.predictions.attributes, Table.ROBUSTNESS) if base.number(metric.place) is not None
    ]
    warned = _warned_share(clean)
    rows = [("as they are", "", *(_text(one, base) for one in metrics), WARNED.shown(warned))]
    rows += [
        (one.kind, one.level, *(_text(metric, given, base) for metric in metrics), _shown(WARNED, share, warned))
        for one, given, share in levels
    ]
    panels = {
        f"{_title(metric)}\nas they are: {_text(metric, base)}": (
            [_scale(metric) * _difference(metric, given, base) for _, given, _ in levels],
            "difference" if metric.unit else "difference, points",
        )
        for metric in metrics
        if Table.ROBUSTNESS_PLOT in metric.tables
    }
    draw_robustness([one for one, _, _ in levels], panels, out / ROBUSTNESS_PLOT)
    fallbacks = "".join(f", its {name} as the mean {name} of train" for name in clean.predictions.expectations)
    text = (
        f"{base.count} validation pictures, as they are and made worse in one way at a time, through the whole path: "
        "detection, alignment, network. In brackets, the difference to the pictures as they are. A face that is not found "
        f"counts as wrong{fallbacks}; warned is the share of the faces found that have any warning. "
        "Pixels are the picture's own: in a large photo they cost less than in one of 200 by 200. Brightness and contrast are "
        "factors of the stored, gamma-encoded values; size is the side that is posted; cut is a share of the width or height, "
        f"at one of the four sides. A photo of more than {MOST_PIXELS / 1e6:.1f} megapixels is reduced before it is made worse."
    )
    header = ("Made worse by", "How much", *(_title(metric) for metric in metrics), "Warned")
    return Robustness(
        title="Robustness",
        text=text,
        tables=(TextTable(caption="Validation pictures made worse", header=header, rows=tuple(rows)),),
        plots=(ROBUSTNESS_PLOT,),
        data=RobustnessData(
            clean=_with_warned(base, warned),
            degraded=tuple(
                DegradedFigures(kind=one.kind, level=one.level, figures=_with_warned(given, share))
                for one, given, share in levels
            ),
        ),
        subject=subject,
    )


def _with_warned(given: Figures, share: float) -> Figures:
    """Figures with the share of warned faces among them."""
    return Figures.model_validate(given.model_dump() | {"warned": share})


def _warned_share(scored: Scored) -> float:
    """The share of the found faces that have any warning; 0 where none was found."""
    share = value_of(WARNED, scored)
    return 0.0 if math.isnan(share) else share


def _title(metric: Metric[Predictions]) -> str:
    """A column's title, such as `Age MAE, years`."""
    short = metric.short or metric.title
    name = f"{metric.attribute} {short}" if metric.attribute and not metric.key.startswith("interval_") else short
    return (name[0].upper() + name[1:]) + (f", {metric.unit}" if metric.unit else "")


def _scale(metric: Metric[Predictions]) -> float:
    """Shares are shown in percent."""
    return 1 if metric.unit else 100


def _difference(metric: Metric[Predictions], given: Figures, base: Figures) -> float:
    """A figure less that of the pictures as they are; not a number where one is missing."""
    values = given.number(metric.place), base.number(metric.place)
    return float("nan") if values[0] is None or values[1] is None else values[0] - values[1]


def _text(metric: Metric[Predictions], given: Figures, base: Figures | None = None) -> str:
    """A figure, and its difference to that of the pictures as they are."""
    value, before = given.number(metric.place), None if base is None else base.number(metric.place)
    if value is None:
        return NOTHING
    return metric.shown(value, brief=True) if before is None else _shown(metric, value, before)


def _shown(metric: Metric[Any], value: float, base: float) -> str:
    """A figure with its difference to another one."""
    return f"{metric.shown(value, brief=True)} ({metric.shown_difference(value, base, brief=True)})"


def conditions(
    clean: Sequence[Scored], degraded: Mapping[Degradation, Scored], out: Path, subject: Subject | None = None
) -> Conditions:
    """What each condition costs, where its warning is due, and what the service's warnings are worth; draws the curves.

    Args:
        clean: Predictions of the pictures as they are, by data set; the first are those that were degraded.
        degraded: Predictions of degraded pictures.
        out: Folder to write the plots to.
        subject: The model and the pictures.

    Returns:
        What the page of a report shows.
    """
    findings = [finding(condition, clean, degraded) for condition in CONDITIONS]
    predictions = clean[0].predictions
    # Without any error there is no curve; of pictures that were made worse the share of faces found is drawn all the same.
    drawn = [
        one
        for one in findings
        if one.condition.threshold is not None and one.bins and (one.condition.kinds or any(part.rises for part in one.bins))
    ]
    for one in drawn:
        draw_condition(one, predictions.attributes, out)
    names = limits(predictions)
    stated = ", ".join(f"{100 * limit:.0f} % ({name})" for name, limit in names.items())
    text = (
        "Each curve shows the errors of answers to pictures as they are and made worse, by the value measured of the face in "
        "bins of equal mass, beside the errors of the same pictures as they are, so that it makes no difference who is in a "
        f"bin. A turned head cannot be made: such faces are compared with all faces of their {_strata(predictions)}. Bands "
        "and brackets are 95 % intervals of a bootstrap over pictures, with the count of "
        f"answers; a dash stands for less than {MIN_FACES}. A warning is due from "
        "the mildest value on at which the curve of one attribute, made monotone, has surely (in 95 % of the resamplings) "
        f"risen by its limit: {stated}."
    )
    due = [
        [
            one.condition.warning,
            one.condition.unit,
            *(_number(one.due[name]) for name in names),
            _number(one.threshold),
            _number(one.condition.threshold),
        ]
        for one in findings
    ]
    worth = [
        [one.condition.warning, *(_percent(rises.get(name)) for rises in (one.warned, one.unwarned) for name in names)]
        for one in findings
    ]
    cost = [
        [
            one.condition.warning,
            f"{100 * one.share:.1f} %",
            ", ".join(f"{name} {100 * share:.1f} %" for name, share in one.shares.items()),
            *(_percent(one.clean.get(name)) for name in names),
        ]
        for one in findings
    ]
    of_each = f"Of each {share_attribute(predictions) or 'label'}"
    return Conditions(
        title="Conditions and warnings",
        text=text,
        tables=(
            _table(
                "From where on a warning is due, and from where the service gives it",
                ["Warning", "Measured", *names, "Due from", "The service's"],
                due,
            ),
            _table(
                "Rise over the same pictures as they are, or over others like them, with and without the warning",
                ["Warning", *(f"{name}, {which}" for which in ("warned", "not") for name in names)],
                worth,
            ),
            _table(
                "Pictures as they are: who is warned, and the error of the warned against that of others like them",
                ["Warning", "Warned", of_each, *names],
                cost,
            ),
        ),
        plots=tuple(condition_plot(one.condition) for one in drawn),
        data=tuple(ConditionData.of(one) for one in findings),
        subject=subject,
    )


def _strata(predictions: Predictions) -> str:
    """What faces have in common that are compared with each other, as `statistics.unpaired` chooses them."""
    band = [f"data set and band of {name}" for name in list(predictions.expectations)[:1]] or ["data set"]
    labels = [name for name, one in predictions.labels.items() if len(one.names) > 2]
    return ", ".join([*band, *(f"of their {name} for the error of {name}" for name in labels)])


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> TextTable:
    return TextTable(caption=caption, header=tuple(header), rows=tuple(tuple(row) for row in rows))


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _percent(one: Rise | None) -> str:
    if one is None or one.count < MIN_FACES:
        return NOTHING
    return f"{100 * one.rise:+.0f} % ({100 * one.low:+.0f} to {100 * one.high:+.0f}; {one.count})"
