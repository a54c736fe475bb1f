"""A report to a page: one HTML file with its plots inside, that loads nothing from anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from training.datasets.base import GENDERS, RACES
from training.evaluation.metrics import AGE_BINS

REPORT: Final = "report.json"
PAGE: Final = "report.html"
EXTRAS: Final = ("conditions.json", "robustness.json")
"""Reports of other measurements, which the page shows where they lie beside its own: `title`, `text` (paragraphs with a blank
line between), `tables` (`caption`, `header`, `rows`, all strings) and `plots` (names of PNG files in the same folder). What
`asked` says to be of another model than the report is left out, and that is said."""

Cell = str | tuple[str, str]
"""Text, or text and what is written small below it."""

_ROWS: Final = (
    ("found", "pictures in which a face was found", "{:.2%}"),
    ("age_mae", "age: mean absolute error [years]", "{:.2f}"),
    ("age_mse", "age: mean square error [years²]", "{:.1f}"),
    ("age_rmse", "age: root mean square error [years]", "{:.2f}"),
    ("age_bias", "age: mean error [years]", "{:+.2f}"),
    ("age_within_5", "age: within 5 years", "{:.1%}"),
    ("age_exact", "age: the very year", "{:.1%}"),
    *(
        (f"age_bins_{count}", f"age: the right one of {count} classes, from {', '.join(map(str, starts))} on", "{:.1%}")
        for count, starts in AGE_BINS.items()
    ),
    ("interval_coverage", "age: true age inside the interval", "{:.1%}"),
    ("interval_width", "age: mean width of the interval [years]", "{:.1f}"),
    ("gender_accuracy", "gender: accuracy", "{:.2%}"),
    ("gender_auc", "gender: area under the ROC", "{:.4f}"),
    ("gender_ece", "gender: expected calibration error", "{:.4f}"),
    ("race_accuracy", "race: accuracy", "{:.2%}"),
    ("race_macro_f1", "race: macro F1", "{:.4f}"),
    ("race_ece", "race: expected calibration error", "{:.4f}"),
)
_GROUP_COLUMNS: Final = (
    ("age_mae", "age: mean absolute error [years]", "{:.2f}"),
    ("age_rmse", "age: root mean square error [years]", "{:.2f}"),
    ("interval_coverage", "age: inside the interval", "{:.1%}"),
    ("gender_accuracy", "gender: accuracy", "{:.1%}"),
    ("gender_auc", "gender: area under the ROC", "{:.3f}"),
    ("race_accuracy", "race: accuracy", "{:.1%}"),
)
_CERTAIN_ROWS: Final = tuple(
    (f"{name}_{key}", f"{name}: {title}", "{:.1%}")
    for name in ("gender", "race")
    for key, title in (
        ("accuracy", "accuracy of all labels"),
        ("certain_share", "share of labels that are certain"),
        ("certain_accuracy", "accuracy of those"),
    )
)
_PLOTS: Final = {
    "age_error.png": "Mean absolute age error by year of true age, and how many faces have it",
    "age_scatter.png": "Answered by true age; on the line they are equal",
    "coverage.png": "Share of true ages inside the interval, by band of true age, with 95 % intervals",
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
    """Write `report.html` of the `report.json`, the plots and the `EXTRAS` in a folder; returns its path.

    Raises `FileNotFoundError` where there is no report, and `ValueError` where one of the files is not what it should be.
    """
    path = folder / PAGE
    path.write_text(page(json.loads((folder / REPORT).read_text()), folder), encoding="utf-8")
    return path


def page(document: Mapping[str, Any], folder: Path) -> str:
    """The page as HTML; plots and `EXTRAS` are taken from `folder`."""
    model = document.get("model")
    title = f"Evaluation of {model['name']}, version {model['version']}" if model else "Evaluation"
    sections = [
        _facts(document),
        *_headline(document),
        *_groups(document),
        *_certain(document),
        *_calibration(document, folder),
        *_drawn(document, folder),
        *_duplicates(document),
        *_worst(document),
        *_not_found(document),
        *(line for name in EXTRAS if (folder / name).is_file() for line in _extra(folder, name, model)),
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


def _facts(document: Mapping[str, Any]) -> str:
    titles = ("data", "split", "precision", "runtime", "created")
    facts = [(title, str(document[title])) for title in titles if document.get(title) is not None]
    facts.insert(2, ("pictures", str(document["headline"]["count"])))
    if document["mean_age_of_train"] is not None:
        facts.append(("mean age of train", f"{document['mean_age_of_train']:.2f} years"))
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in facts)}</dl>"


def _columns(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Title, figures and intervals of each column of the headline's table."""
    columns = [
        ("all pictures", document["headline"], document["intervals"]["headline"]),
        ("found faces only", document["found_only"], document["intervals"]["found_only"]),
    ]
    alone = document.get("without_duplicates")
    if alone is not None:
        columns.append(("without near-duplicates", alone["headline"], alone["intervals"]))
    for name, part in document.get("also", {}).items():
        columns.append((name, part["headline"], part["intervals"]["headline"]))
        alone = part.get("without_duplicates")
        if alone is not None:
            columns.append((f"{name} without near-duplicates", alone["headline"], alone["intervals"]))
    return columns


def _headline(document: Mapping[str, Any]) -> Iterator[str]:
    columns = _columns(document)
    yield _heading("Headline")
    yield _paragraph(
        "Each picture is posted to the service's own /predict, one pass; of several faces, the one nearest the centre counts. "
        "Where no face is found, gender and race count as wrong, the age as the training mean, and the true age as outside "
        "the interval; the interval's width, the area under the ROC and calibration are over found faces. Below each figure "
        "is its 95 % interval: the percentile bootstrap over pictures."
    )
    yield _table(
        ("figure", *(title for title, _, _ in columns)),
        [("pictures", *(str(figures["count"]) for _, figures, _ in columns)), *_figure_rows(_ROWS, columns)],
    )


def _figure_rows(
    rows: Iterable[tuple[str, str, str]], columns: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]
) -> Iterator[tuple[Cell, ...]]:
    """A row of each figure that a column has."""
    for key, title, form in rows:
        if any(key in figures for _, figures, _ in columns):
            yield title, *(_figure(figures, intervals, key, form) for _, figures, intervals in columns)


def _figure(figures: Mapping[str, Any], intervals: Mapping[str, Any], key: str, form: str) -> Cell:
    value, interval = figures.get(key), intervals.get(key)
    if value is None:
        return _NOTHING
    return form.format(value) if interval is None else (form.format(value), " – ".join(form.format(end) for end in interval))


def _groups(document: Mapping[str, Any]) -> Iterator[str]:
    yield _heading("Groups")
    for name, part in _parts(document):
        groups = {kind: members for kind, members in part["groups"].items() if members}
        rows = [
            row for kind, members in groups.items() for row in _group_rows(kind, members, part["intervals"]["groups"][kind])
        ]
        said = [place for place in range(len(_GROUP_COLUMNS)) if any(row[place + 2] != _NOTHING for row in rows)]
        yield _table(
            ("group", "pictures", *(_GROUP_COLUMNS[place][1] for place in said)),
            [(*row[:2], *(row[place + 2] for place in said)) for row in rows],
            name,
        )


def _group_rows(
    kind: str, members: Mapping[str, Mapping[str, Any]], intervals: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Cell, ...]]:
    for name, figures in members.items():
        cells = (_figure(figures, intervals[name], key, form) for key, _, form in _GROUP_COLUMNS)
        yield f"{kind} {name}", str(figures["count"]), *cells


def _parts(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each data set's name and figures."""
    return [(document.get("data", "all pictures"), document), *document.get("also", {}).items()]


def _certain(document: Mapping[str, Any]) -> Iterator[str]:
    columns = [(name, part["found_only"], part["intervals"]["found_only"]) for name, part in _parts(document)]
    rows = list(_figure_rows(_CERTAIN_ROWS, columns))
    if rows:
        yield _heading("Uncertain labels")
        yield _paragraph(
            "A label whose probability is below the model's threshold is marked as uncertain. How many found faces keep a "
            "certain label, and how often those labels are right. Of a model without thresholds all labels are certain."
        )
        yield _table(("found faces", *(name for name, _, _ in columns)), rows)


def _calibration(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    plots = list(_images(document, folder, ("reliability.png", "coverage.png")))
    promised = document.get("promised_coverage")
    if plots or promised is not None:
        yield _heading("Calibration")
        yield _paragraph(
            "Of labels that are answered with a confidence of 80 %, 80 % should be right. The expected calibration error, "
            "in the table above, is the mean distance from that, over 15 bins of equal mass."
        )
        if promised is not None:
            yield _paragraph(f"The age interval promises to hold the true age in {promised * 100:.0f} % of cases.")
        yield from plots


def _drawn(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    plots = list(_images(document, folder, ("age_error.png", "age_scatter.png", "confusion.png", "roc.png")))
    if plots:
        yield _heading("Ages and labels")
        for name, part in _parts(document):
            yield from _gender_table(part["headline"], name)
            yield from _confusion_tables(part["confusion"], name)
        yield from plots


def _gender_table(headline: Mapping[str, Any], name: str) -> Iterator[str]:
    """Precision, recall and F1 of each gender, where the model says one."""
    if "gender" in headline:
        rows = [
            (gender, *(f"{of[key]:.4f}" for key in ("precision", "recall", "f1"))) for gender, of in headline["gender"].items()
        ]
        yield _table(("gender", "precision", "recall", "F1"), rows, f"Each gender, all pictures: {name}")


def _confusion_tables(matrices: Mapping[str, Sequence[Sequence[int]]], name: str) -> Iterator[str]:
    """Counts of answers by label."""
    for attribute, matrix in matrices.items():
        names = GENDERS if attribute == "gender" else RACES
        rows = [(label, *(str(count) for count in counts)) for label, counts in zip(names, matrix, strict=True)]
        yield _table((f"{attribute}: label, answered as", *names), rows, f"Found faces, {attribute}: {name}")


def _images(document: Mapping[str, Any], folder: Path, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name in document.get("plots", ()):
            yield _image(folder / name, _PLOTS[name])


def _duplicates(document: Mapping[str, Any]) -> Iterator[str]:
    parts = [(name, part["duplicates"], part) for name, part in _parts(document) if "duplicates" in part]
    if not parts:
        return
    first = parts[0][1]
    yield _heading("Near-duplicates")
    yield _paragraph(
        f"Pictures of the same photo as one of {' or '.join(first['compared_with'])}: the {first['bits']}-bit perceptual "
        f"hashes, of one of them mirrored or not, differ in {first['threshold']} bits at most. A model may remember such a "
        "picture; where its labels differ from its twin's, the difference says how sure the labels are."
    )
    rows: list[tuple[str, list[str]]] = [
        ("pictures", [str(part["headline"]["count"]) for _, _, part in parts]),
        ("pictures with a twin", [str(one["pictures"]) for _, one, _ in parts]),
        ("pairs", [str(one["pairs"]) for _, one, _ in parts]),
        ("mirrored pairs", [str(one["mirrored"]) for _, one, _ in parts]),
        ("pairs with different labels", [str(one["differing"]["any"]) for _, one, _ in parts]),
        *(
            (f"pairs with a different {label}", [str(one["differing"][label]) for _, one, _ in parts])
            for label in ("age", "gender", "race")
        ),
        ("mean difference of the ages [years]", [_number(one["differing"]["years"]) for _, one, _ in parts]),
    ]
    yield _table(("", *(name for name, _, _ in parts)), [(title, *cells) for title, cells in rows])
    for name, one, _ in parts:
        if one["twins"]:
            pairs = [
                (twin["name"], twin["other"], str(twin["bits"]), "yes" if twin["mirrored"] else "") for twin in one["twins"]
            ]
            table = _table(("picture", "twin", "bits", "mirrored"), pairs)
            yield f"<details><summary>{escape(name)}: {len(pairs)} pairs</summary>{table}</details>"


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _worst(document: Mapping[str, Any]) -> Iterator[str]:
    kinds = (("worst_ages", "Ages"), ("worst_genders", "Wrong genders"), ("worst_races", "Wrong races"))
    tables = []
    for name, part in _parts(document):
        for key, title in kinds:
            if part.get(key):
                header = ("file", "label", "answer", "off by" if key == "worst_ages" else "confidence")
                tables.append(_table(header, [_worst_row(one) for one in part[key]], f"{title}, {name}"))
    if tables:
        yield _heading("Worst errors")
        yield _paragraph("The ages that are furthest off, and the wrong labels that the service is surest of.")
        yield from tables


def _worst_row(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if "years" in one:
        return one["name"], f"{one['age']:.0f}", f"{one['years']:.1f}", f"{one['years'] - one['age']:+.1f}"
    return one["name"], one["label"], one["answer"], f"{one['confidence']:.1%}"


def _not_found(document: Mapping[str, Any]) -> Iterator[str]:
    for name, part in _parts(document):
        if part["not_found"]:
            yield _heading(f"No face found: {name}")
            yield f'<ul class="names">{"".join(f"<li>{escape(file)}</li>" for file in part["not_found"])}</ul>'


def _extra(folder: Path, name: str, model: Mapping[str, Any] | None) -> Iterator[str]:
    """The sections of a report of `EXTRAS` beside that of `model`. Raises `ValueError` where it is not one."""
    try:
        extra = json.loads((folder / name).read_text())
        yield _heading(extra["title"])
        asked = extra.get("asked", {})
        if "model" in asked:
            who = f"{asked['model']['name']}, version {asked['model']['version']}"
            if asked["model"] != model:
                yield _paragraph(f"{name} is a measurement of {who}, and is left out.")
                return
            of = f"{asked['pictures']} pictures of {' and '.join(asked['data'])}, {asked['split']}"
            yield _paragraph(f"Asked: {who}, {asked['precision']}; {of}.")
        for text in extra["text"].split("\n\n"):
            yield _paragraph(text)
        for table in extra["tables"]:
            yield _table(table["header"], table["rows"], table["caption"])
        for plot in extra["plots"]:
            if Path(plot).name != plot:
                raise ValueError(f"{plot} is no name of a file beside it")
            yield _image(folder / plot, Path(plot).stem.replace("_", " "))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / name} is no report that the page can show: {error}") from error


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
