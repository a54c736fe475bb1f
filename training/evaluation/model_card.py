"""A manifest to the tables and the card that people read; README and card are held to them by a test."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from service.models.manifest import Manifest
from training.provenance import Provenance, told

PUBLISHED_ON = "UTKFace"
PUBLISHED: Mapping[str, float] = {"age_rmse": 8.70, "gender_accuracy": 0.9239, "race_accuracy": 0.8307, "race_macro_f1": 0.7110}
"""The best published figures of the system that Facet continues: InceptionV3 with three heads, on its own fifth of UTKFace."""

_SPLITS = {
    "UTKFace": "UTKFace's split is fixed: a picture's SHA-256 decides whether it trains, validates or tests.",
    "All-Age-Faces": "All-Age-Faces is split by its authors' lists.",
}
_SHOWS = {
    "UTKFace": "UTKFace's faces are tightly cropped portraits from the web, most of adults between 20 and 40; the largest "
    "group, 43 % of them, is labelled white.",
    "All-Age-Faces": "All-Age-Faces' are of East Asian people.",
}
"""What can be said of the pictures of a set that Facet's own models learnt."""
LEFT_OUT = "What a set does not say of a picture is left out of training, never guessed."
LIMITS = (
    "The tables say for whom it errs more, and for whom its intervals hold less than they promise: read the row of the group "
    "before the headline. Small children's gender is often wrong. The answer's `warnings` name what raised the error in "
    "measurements on degraded pictures; masks, make-up, heavy filters and costumes were not measured."
)

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
    if quality["data"] == PUBLISHED_ON:
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


def models_table(models: Sequence[tuple[Manifest, Mapping[str, Any]]]) -> str:
    """Markdown table of several models' main figures on all pictures of the test split."""
    lines = [
        "| model | input | " + " | ".join(title for _, title, _ in _MODEL_CELLS) + " |",
        "|---|---|" + "---|" * len(_MODEL_CELLS),
    ]
    for one, quality in models:
        size = one.input.size if one.input else 0
        cells = [_said(quality.get("headline", {}), key, form) for key, _, form in _MODEL_CELLS]
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


def card(manifest: Manifest, quality: Mapping[str, Any]) -> str:
    """The model card, Markdown."""
    return f"""# {manifest.name}, version {manifest.version}

{manifest.description} Architecture: {manifest.architecture}; input: {_input(manifest)}; made on {manifest.created}.

## Licence

{manifest.licence} Facet's own licence covers the code, not this model.

## Data

{_filled(", ".join(manifest.trained_on) + ".", *_of_each(_SPLITS, manifest), LEFT_OUT)}
{_made(manifest)}

## Figures

Data: {quality["data"]}, split: {quality["split"]}. Each picture was posted to the service's own `/predict`, one pass,
arithmetic {quality.get("precision", "auto")}. Where no face is found, gender and race count as wrong, the age as the training
mean, and the true age as outside the interval. In brackets: 95 % bootstrap intervals over pictures.

{headline_table(quality)}
{_remarks(quality)}
{_groups(quality)}

## What the labels mean

The age is apparent: it is how old a face looks, and UTKFace's was estimated by a program and checked by people. The two genders
and five races are the data sets' labels, given by onlookers; they say nothing of how a person identifies, many people fit none,
and `other` (Latino, Middle Eastern and whoever else) is a label of what is left. A label marked `uncertain` is one whose
probability lies below what validation asks of labels that can be relied on.

## Intended use, and what it is not for

Statistics over many faces, photo software, research. Not for decisions about a person (admission, hiring, policing, credit, an
age gate without a human), not for identification, and not where the law forbids sorting people by these attributes.

## Limits

{_filled(*_of_each(_SHOWS, manifest), LIMITS)}
"""


def _of_each(sentences: Mapping[str, str], manifest: Manifest) -> list[str]:
    return [sentences[name] for name in manifest.trained_on if name in sentences]


def _filled(*sentences: str) -> str:
    """A paragraph of them."""
    return textwrap.fill(" ".join(sentences), 128, break_long_words=False, break_on_hyphens=False)


def _made(manifest: Manifest) -> str:
    """Where the weights came from, and how to make them again."""
    if manifest.provenance is None:
        return f"The configuration is in `{manifest.recipe}`."
    lines = "\n".join(told(Provenance.model_validate(manifest.provenance)))
    return f"""The weights are

{lines}

The last recipe is in `{manifest.recipe}`, and each by its name in Facet's `training/recipes/`; `docs/training.md` has the
commands."""


def _remarks(quality: Mapping[str, Any]) -> str:
    """What the published figures are, and the main ones in another arithmetic, each where it applies."""
    remarks = []
    if quality["data"] == PUBLISHED_ON:
        remarks.append(
            "The published figures are those of another split of the same data, without a detector before the network."
        )
    for name, figures in quality.get("precisions", {}).items():
        said = [f"{title} {_said(figures, key, form)}" for key, title, form in _OTHER_CELLS if figures.get(key) is not None]
        remarks.append(f"In {name}, on the same pictures: {', '.join(said)}.")
    return "".join(f"\n{_filled(one)}\n" for one in remarks)


_OTHER_CELLS = (
    ("age_mae", "age error in years", "{:.2f}"),
    ("age_rmse", "root mean square", "{:.2f}"),
    ("gender_accuracy", "gender accuracy", "{:.4f}"),
    ("race_accuracy", "race accuracy", "{:.4f}"),
)


def _groups(quality: Mapping[str, Any]) -> str:
    """The groups of the data, and of every other data set that was asked."""
    tables = [group_table(quality)]
    tables += [f"The same of {name}:\n\n{group_table(part)}" for name, part in quality.get("also", {}).items()]
    return "\n\n".join(tables)


def _input(manifest: Manifest) -> str:
    size = manifest.input.size if manifest.input else 0
    return f"aligned faces, {size} by {size} pixels, RGB"
