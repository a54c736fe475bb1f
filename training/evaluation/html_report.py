"""A report to a page: one HTML file with its plots inside, that loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from service.models.evaluation import Figures, Intervals, Rate
from training.artifacts import write_text
from training.errors import EvaluationError
from training.evaluation.age_checks import rules
from training.evaluation.documents import REPORT, MeasuredModel, Report, ReportPart, Supplement, WrongYears
from training.evaluation.metrics import Family, Metric, Table, metrics_of
from training.evaluation.predictions import AttributeSpec, Predictions

PAGE: Final = "report.html"
SUPPLEMENTS: Final = ("conditions.json", "robustness.json")
"""Measurements that the page shows where they lie beside its report (`documents.Supplement`). One of another model is left out,
and the page notes it."""

Cell = str | tuple[str, str]
"""Text, or text and what is written small below it."""
Column = tuple[str, Figures, Intervals]
"""A title, and the figures and intervals below it."""

_CAPTIONS: Final = {
    "error.png": "Mean absolute error by true year, and how many faces have it",
    "scatter.png": "Predicted by true years; on the line they are equal",
    "coverage.png": "Share of true values inside the interval, by band of true years, with 95 % intervals",
    "confusion.png": "Confusion matrices of the found faces: counts, and shares of the label",
    "roc.png": "Receiver operating characteristic of each label against the rest",
    "reliability.png": "Reliability: accuracy by confidence",
}
_NOTHING: Final = "–"
_STYLE: Final = """
:root { color-scheme: light dark; --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --back: #fff; --head: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --faint: #9198a1; --line: #3d444d; --back: #0d1117; --head: #151b23; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; color: var(--text);
  background: var(--back); }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: right; vertical-align: top; }
th { background: var(--head); }
th:first-child, td:first-child { text-align: left; }
small { display: block; color: var(--faint); white-space: nowrap; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; background: #fff; border-radius: 4px; }
figcaption { color: var(--faint); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--faint); }
dd { margin: 0; }
ul.names { columns: 20rem; font-size: .9rem; overflow-wrap: anywhere; }
"""


def write_page(folder: Path) -> Path:
    """Write `report.html` of the `report.json`, the plots and the `SUPPLEMENTS` in a folder.

    Args:
        folder: Where they lie.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: There is no report.
        EvaluationError: One of the files is not what it should be.
    """
    path = folder / PAGE
    try:
        report = Report.model_validate_json((folder / REPORT).read_bytes())
    except ValidationError as error:
        raise EvaluationError(f"{folder / REPORT} is no report that the page can show: {error}") from error
    write_text(path, page(report, folder))
    return path


def page(report: Report, folder: Path) -> str:
    """The page.

    Args:
        report: What it shows.
        folder: Where plots and `SUPPLEMENTS` lie.

    Returns:
        HTML.

    Raises:
        EvaluationError: A supplement is not one.
    """
    model = report.model
    title = f"Evaluation of {model.name}, version {model.version}" if model else "Evaluation"
    sections = [
        _summary(report),
        *_headline(report),
        *_groups(report),
        *_certain(report),
        *_age_checks(report),
        *_calibration(report, folder),
        *_drawn(report, folder),
        *_duplicates(report),
        *_worst(report),
        *_not_found(report),
        *(line for name in SUPPLEMENTS if (folder / name).is_file() for line in _supplement(folder, name, model)),
    ]
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
"""


def _summary(report: Report) -> str:
    facts = [
        ("data", report.data),
        ("split", report.split),
        ("pictures", str(report.headline.count)),
        ("precision", report.precision),
        ("runtime", report.runtime),
        ("detector", report.detector),
        ("created", report.created),
    ]
    units = {one.name: one.scale.unit for one in report.attributes}
    facts += [
        (f"mean {name} of train", f"{mean:.2f} {units.get(name, '')}".rstrip()) for name, mean in report.means_of_train.items()
    ]
    return (
        f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in facts if value is not None)}</dl>"
    )


def _columns(report: Report) -> Iterator[Column]:
    """Of the headline's table."""
    yield "all pictures", report.headline, report.intervals.headline
    yield "found faces only", report.found_only, report.intervals.found_only
    if report.without_duplicates is not None:
        yield "without near-duplicates", report.without_duplicates.headline, report.without_duplicates.intervals
    for name, part in report.also.items():
        yield name, part.headline, part.intervals.headline
        if part.without_duplicates is not None:
            alone = part.without_duplicates
            yield f"{name} without near-duplicates", alone.headline, alone.intervals


def _headline(report: Report) -> Iterator[str]:
    columns = list(_columns(report))
    yield _heading("Headline")
    yield _paragraph(
        "Each picture is posted to the service's own /predict, one pass; of several faces, the one nearest the centre counts. "
        "Where no face is found, labels count as wrong, the age as the training mean, and the true age as outside "
        "the interval; the interval's width, the area under the ROC and calibration are over found faces. Below each figure "
        "is its 95 % interval: the percentile bootstrap over pictures."
    )
    # Certainty has a table of its own, and scores of single labels too.
    metrics = [one for one in metrics_of(report.attributes) if one.family is not Family.CERTAINTY and not one.path]
    yield _table(
        ("figure", *(title for title, _, _ in columns)),
        [("pictures", *(str(figures.count) for _, figures, _ in columns)), *_figure_rows(metrics, columns)],
    )


def _figure_rows(metrics: Iterable[Metric[Predictions]], columns: Sequence[Column]) -> Iterator[tuple[Cell, ...]]:
    """A row of each figure that a column has."""
    for metric in metrics:
        if any(figures.has(metric.place) for _, figures, _ in columns):
            yield metric.heading, *(_figure(metric, figures, intervals) for _, figures, intervals in columns)


def _figure(metric: Metric[Predictions], figures: Figures, intervals: Intervals, *, brief: bool = False) -> Cell:
    value, interval = figures.number(metric.place), intervals.get(metric.key)
    if value is None:
        return _NOTHING
    text = metric.shown(value, brief=brief)
    return text if interval is None else (text, " – ".join(metric.shown(end, brief=brief) for end in interval))


def _groups(report: Report) -> Iterator[str]:
    metrics = metrics_of(report.attributes, Table.GROUPS)
    yield _heading("Groups")
    for name, part in report.parts().items():
        shown = [
            metric
            for metric in metrics
            if any(one.number(metric.place) is not None for members in part.groups.values() for one in members.values())
        ]
        rows = [
            (
                f"{kind} {group}",
                str(figures.count),
                *(_figure(metric, figures, part.intervals.groups[kind][group], brief=True) for metric in shown),
            )
            for kind, members in part.groups.items()
            for group, figures in members.items()
        ]
        yield _table(("group", "pictures", *(metric.heading for metric in shown)), rows, name)


def _certain(report: Report) -> Iterator[str]:
    columns = [(name, part.found_only, part.intervals.found_only) for name, part in report.parts().items()]
    rows = list(_figure_rows([one for one in metrics_of(report.attributes) if one.family is Family.CERTAINTY], columns))
    if rows:
        yield _heading("Uncertain labels")
        yield _paragraph(
            "A label whose probability is below the model's threshold is marked as uncertain. How many found faces keep a "
            "certain label, and how often those labels are right. Of a model without thresholds all labels are certain."
        )
        yield _table(("found faces", *(name for name, _, _ in columns)), rows)


def _age_checks(report: Report) -> Iterator[str]:
    parts = {name: part.age_checks for name, part in report.parts().items() if part.age_checks is not None}
    if parts:
        yield _heading("Checks for a least age")
        yield _paragraph(
            "Share of each band of true ages that is taken for 18 or older, by the least probability that is asked for, or, by "
            '"challenge 25", by an estimate of at least 25 years. Below each share is its 95 % interval.'
        )
    for name, checks in parts.items():
        rows = [
            (group, band, str(one.count), *(_rate(one.adult[rule.key]) for rule in rules()))
            for group, bands in {"all": checks.bands, **checks.groups}.items()
            for band, one in bands.items()
        ]
        errors = ", ".join(f"{value:.3f} at {age}" for age, value in checks.calibration_error.items())
        yield _paragraph(f"{name}: expected calibration error {errors}.")
        yield _table(("group", "true age", "faces", *(rule.title for rule in rules())), rows, name)


def _rate(rate: Rate) -> Cell:
    if rate.value is None or rate.interval is None:
        return _NOTHING
    return f"{rate.value * 100:.1f} %", " – ".join(f"{end * 100:.1f} %" for end in rate.interval)


def _calibration(report: Report, folder: Path) -> Iterator[str]:
    plots = list(_images(report, folder, ("reliability.png", "coverage.png")))
    promised = report.promised_coverage
    if plots or promised is not None:
        yield _heading("Calibration")
        yield _paragraph(
            "Of labels that are predicted with a confidence of 80 %, 80 % should be right. The expected calibration error, "
            "in the table above, is the mean distance from that, over 15 bins of equal mass."
        )
        if promised is not None:
            yield _paragraph(f"Intervals promise to hold the true value in {promised * 100:.0f} % of cases.")
        yield from plots


def _drawn(report: Report, folder: Path) -> Iterator[str]:
    plots = list(_images(report, folder, ("error.png", "scatter.png", "confusion.png", "roc.png")))
    if plots:
        yield _heading("Ages and labels")
        for name, part in report.parts().items():
            yield from _score_tables(part.headline, name)
            yield from _confusion_tables(part, report.attributes, name)
        yield from plots


def _score_tables(headline: Figures, name: str) -> Iterator[str]:
    """Precision, recall and F1 of each label, where there are such."""
    for attribute, labels in headline.scores().items():
        rows = [(label, *(f"{value:.4f}" for value in (of.precision, of.recall, of.f1))) for label, of in labels.items()]
        yield _table((attribute, "precision", "recall", "F1"), rows, f"Each {attribute}, all pictures: {name}")


def _confusion_tables(part: ReportPart, attributes: Sequence[AttributeSpec], name: str) -> Iterator[str]:
    """Counts of predictions by label."""
    names = {one.name: one.labels for one in attributes}
    for attribute, matrix in part.confusion.items():
        labels = names.get(attribute, tuple(str(number) for number in range(len(matrix))))
        rows = [(label, *(str(count) for count in counts)) for label, counts in zip(labels, matrix, strict=True)]
        yield _table((f"{attribute}: label, predicted as", *labels), rows, f"Found faces, {attribute}: {name}")


def _images(report: Report, folder: Path, endings: Iterable[str]) -> Iterator[str]:
    for ending in endings:
        for name in report.plots:
            if name.endswith(ending):
                yield _image(folder / name, _CAPTIONS[ending])


def _duplicates(report: Report) -> Iterator[str]:
    parts = [(name, part.duplicates, part) for name, part in report.parts().items() if part.duplicates is not None]
    if not parts:
        return
    first = parts[0][1]
    yield _heading("Near-duplicates")
    yield _paragraph(
        f"Pictures of the same photo as one of {' or '.join(first.compared_with)}: the {first.bits}-bit perceptual "
        f"hashes, of one of them mirrored or not, differ in {first.threshold} bits at most. A model may remember such a "
        "picture; where its labels differ from its twin's, the difference shows how sure the labels are."
    )
    rows: list[tuple[str, list[str]]] = [
        ("pictures", [str(part.headline.count) for _, _, part in parts]),
        ("pictures with a twin", [str(one.pictures) for _, one, _ in parts]),
        ("pairs", [str(one.pairs) for _, one, _ in parts]),
        ("mirrored pairs", [str(one.mirrored) for _, one, _ in parts]),
        ("pairs with different labels", [str(one.differing.any) for _, one, _ in parts]),
        *(
            (f"pairs with a different {attribute}", [str(one.differing.of(attribute)) for _, one, _ in parts])
            for attribute in first.differing.attributes
        ),
        (
            "mean difference of the ages [years]",
            [_NOTHING if one.differing.years is None else f"{one.differing.years:.2f}" for _, one, _ in parts],
        ),
    ]
    yield _table(("", *(name for name, _, _ in parts)), [(title, *cells) for title, cells in rows])
    for name, one, _ in parts:
        if one.twins:
            pairs = [(twin.name, twin.other, str(twin.bits), "yes" if twin.mirrored else "") for twin in one.twins]
            table = _table(("picture", "twin", "bits", "mirrored"), pairs)
            yield f"<details><summary>{escape(name)}: {len(pairs)} pairs</summary>{table}</details>"


def _worst(report: Report) -> Iterator[str]:
    tables = []
    for name, part in report.parts().items():
        for attribute in report.attributes:
            rows = part.worst(attribute.name)
            if rows:
                years, digits = attribute.kind == "expectation", attribute.scale.digits
                header = ("file", "label", "prediction", "off by" if years else "confidence")
                title = f"{attribute.name}s".capitalize() if years else f"Wrong {attribute.name}s"
                cells = [
                    (one.name, f"{one.age:.15g}", f"{one.years:.{digits}f}", f"{one.years - one.age:+.{digits}f}")
                    if isinstance(one, WrongYears)
                    else (one.name, one.label, one.answer, f"{one.confidence:.1%}")
                    for one in rows
                ]
                tables.append(_table(header, cells, f"{title}, {name}"))
    if tables:
        yield _heading("Worst errors")
        yield _paragraph("The values that are furthest off, and the wrong labels that the service is surest of.")
        yield from tables


def _not_found(report: Report) -> Iterator[str]:
    for name, part in report.parts().items():
        if part.not_found:
            yield _heading(f"No face found: {name}")
            yield f'<ul class="names">{"".join(f"<li>{escape(file)}</li>" for file in part.not_found)}</ul>'


def _supplement(folder: Path, name: str, model: MeasuredModel | None) -> Iterator[str]:
    """The sections of a measurement beside the report of `model`. Raises `EvaluationError` where it is not one."""
    try:
        extra = Supplement.model_validate_json((folder / name).read_bytes())
    except ValidationError as error:
        raise EvaluationError(f"{folder / name} is no report that the page can show: {error}") from error
    yield _heading(extra.title)
    subject = extra.subject
    if subject is not None:
        measured = f"{subject.model.name}, version {subject.model.version}"
        if subject.model != model:
            yield _paragraph(f"{name} is a measurement of {measured}, and is left out.")
            return
        by = ", ".join(one for one in (measured, subject.precision, subject.detector) if one is not None)
        pictures = f"{subject.pictures} pictures of {' and '.join(subject.data)}, {subject.split}"
        yield _paragraph(f"Measured: {by}; {pictures}.")
    for text in extra.text.split("\n\n"):
        yield _paragraph(text)
    for table in extra.tables:
        yield _table(table.header, table.rows, table.caption)
    for plot in extra.plots:
        yield _image(folder / plot, Path(plot).stem.replace("_", " "))


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(header: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> str:
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    text, small = cell
    return f"{escape(text)}<small>{escape(small)}</small>"


def _image(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
