"""A manifest to the tables and the card that people read; README and card are held to them by a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.model_store import Manifest

PUBLISHED: Mapping[str, float] = {"age_rmse": 8.70, "gender_accuracy": 0.9239, "race_accuracy": 0.8307, "race_macro_f1": 0.7110}
"""The best published figures of the system that Facet continues: InceptionV3 with three heads, on its own fifth of UTKFace."""

_ROWS = (
    ("age_mae", "age: mean absolute error [years]", "{:.2f}"),
    ("age_rmse", "age: root mean square error [years]", "{:.2f}"),
    ("age_within_5", "age: within 5 years", "{:.1%}"),
    ("interval_coverage", "age: true age inside the 80 % interval", "{:.1%}"),
    ("gender_accuracy", "gender: accuracy", "{:.4f}"),
    ("gender_auc", "gender: area under the ROC", "{:.4f}"),
    ("gender_ece", "gender: expected calibration error", "{:.4f}"),
    ("race_accuracy", "race: accuracy", "{:.4f}"),
    ("race_macro_f1", "race: macro F1", "{:.4f}"),
    ("race_ece", "race: expected calibration error", "{:.4f}"),
    ("gender_certain_share", "gender: faces whose label is not marked uncertain", "{:.1%}"),
    ("gender_certain_accuracy", "gender: accuracy of those", "{:.4f}"),
    ("race_certain_share", "race: faces whose label is not marked uncertain", "{:.1%}"),
    ("race_certain_accuracy", "race: accuracy of those", "{:.4f}"),
    ("found", "pictures in which a face was found", "{:.2%}"),
)


def headline_table(quality: Mapping[str, Any]) -> str:
    """Markdown table of the headline figures, with 95 % intervals where they were measured, beside those over found faces
    only, without near-duplicates, of further data sets, and the published ones."""
    columns: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "all pictures": (quality["headline"], quality.get("intervals", {}).get("headline", {})),
        "found faces only": (quality["found_only"], {}),
    }
    if "without_duplicates" in quality:
        columns["without near-duplicates"] = quality["without_duplicates"]["headline"], {}
    for name, part in quality.get("also", {}).items():
        columns[name] = part["headline"], part.get("intervals", {}).get("headline", {})
    columns["published"] = PUBLISHED, {}
    lines = [f"| figure | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    counts = [f"{figures['count']}" if "count" in figures else "" for figures, _ in columns.values()]
    lines.append(f"| pictures | {' | '.join(counts)} |")
    for key, title, form in _ROWS:
        cells = [_with_interval(figures, bounds, key, form) for figures, bounds in columns.values()]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(figures: Mapping[str, Any], bounds: Mapping[str, Any], key: str, form: str) -> str:
    said = _said(figures, key, form)
    if not said or key not in bounds:
        return said
    return f"{said} ({form.format(bounds[key][0])} to {form.format(bounds[key][1])})"


def models_table(models: Sequence[Manifest]) -> str:
    """Markdown table of several models' main figures on all pictures of the test split."""
    lines = [
        "| model | input | " + " | ".join(title for _, title, _ in _MODEL_CELLS) + " |",
        "|---|---|" + "---|" * len(_MODEL_CELLS),
    ]
    for one in models:
        size = one.input.size if one.input else 0
        cells = [_said(one.quality.get("headline", {}), key, form) for key, _, form in _MODEL_CELLS]
        lines.append(f"| `{one.name}`, version {one.version} | {size} by {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


_MODEL_CELLS = (
    ("age_mae", "age: mean absolute error [years]", "{:.2f}"),
    ("age_rmse", "root mean square [years]", "{:.2f}"),
    ("gender_accuracy", "gender: accuracy", "{:.4f}"),
    ("gender_auc", "area under the ROC", "{:.4f}"),
    ("race_accuracy", "race: accuracy", "{:.4f}"),
    ("race_macro_f1", "macro F1", "{:.4f}"),
)


def group_table(quality: Mapping[str, Any]) -> str:
    """Markdown table of the figures for each gender, race and band of true age."""
    lines = [
        "| group | pictures | age error [years] | interval coverage | gender accuracy | race accuracy |",
        "|---|---|---|---|---|---|",
    ]
    for kind, members in quality["groups"].items():
        for name, figures in members.items():
            title = f"age {name}" if kind == "age" else name
            cells = [_said(figures, key, form) for key, form in _GROUP_CELLS]
            lines.append(f"| {title} | {figures['count']} | {' | '.join(cells)} |")
    return "\n".join(lines)


_GROUP_CELLS = (
    ("age_mae", "{:.2f}"),
    ("interval_coverage", "{:.1%}"),
    ("gender_accuracy", "{:.3f}"),
    ("race_accuracy", "{:.3f}"),
)


def _said(figures: Mapping[str, Any], key: str, form: str) -> str:
    value = figures.get(key)
    return "" if value is None else form.format(value)


def card(manifest: Manifest) -> str:
    """The model card, Markdown."""
    quality = manifest.quality
    return f"""# {manifest.name}, version {manifest.version}

{manifest.description} Architecture: {manifest.architecture}; input: {_input(manifest)}; made on {manifest.created}.

## Licence

{manifest.licence} Facet's own licence covers the code, not this model.

## Data

{", ".join(manifest.trained_on)}. UTKFace's split is fixed: a picture's SHA-256 decides whether it trains, validates or tests;
All-Age-Faces, where it was used, is split by its authors' lists. What a set does not say of a picture is left out of training,
never guessed. The configuration is in `{manifest.recipe}`; `prepare`, `train`, `export` and `evaluate` make the model anew.

## Figures

Split: {quality["split"]}. Each picture was posted to the service's own `/predict`, one pass, arithmetic
{quality.get("precision", "auto")}. Where no face is found, gender and race count as wrong, the age as the training mean, and
the true age as outside the interval. In brackets: 95 % bootstrap intervals over pictures.

{headline_table(quality)}

The published figures are those of another split of the same data, without a detector before the network.{_other(quality)}

{group_table(quality)}

## What the labels mean

The age is apparent: UTKFace's was estimated by a program and checked by people, and nobody was asked. The two genders and five
races are the data sets' labels, given by onlookers; they say nothing of how a person identifies, many people fit none, and
`other` (Latino, Middle Eastern and whoever else) is a label of what is left. A label marked `uncertain` is one whose
probability lies below what validation asks of labels that can be relied on.

## Intended use, and what it is not for

Statistics over many faces, photo software, research. Not for decisions about a person (admission, hiring, policing, credit, an
age gate without a human), not for identification, and not where the law forbids sorting people by these attributes.

## Limits

It saw tightly cropped portraits from the web, mostly of adults between 20 and 40, mostly labelled white, and where
All-Age-Faces joined them, of East Asian faces. The table says where it errs more: read the row of the group before the
headline. Small children's gender is close to a guess. The answer's `warnings` name what raised the error in measurements on
degraded pictures; masks, make-up, heavy filters and costumes were not measured.
"""


def _other(quality: Mapping[str, Any]) -> str:
    """The main figures in another arithmetic, where they were measured."""
    lines = [
        f" In {name}, on the same pictures: age error {figures['age_mae']:.2f} years (root mean square "
        f"{figures['age_rmse']:.2f}), gender accuracy {figures['gender_accuracy']:.4f}, "
        f"race accuracy {figures['race_accuracy']:.4f}."
        for name, figures in quality.get("precisions", {}).items()
    ]
    return "".join(lines)


def _input(manifest: Manifest) -> str:
    size = manifest.input.size if manifest.input else 0
    return f"aligned faces, {size} by {size} pixels, RGB"
