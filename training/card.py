"""A manifest to the tables and the card that people read; README and card are held to them by a test."""

from __future__ import annotations

from collections.abc import Mapping
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
    ("found", "pictures in which a face was found", "{:.2%}"),
)


def headline_table(quality: Mapping[str, Any]) -> str:
    """Markdown table of the headline figures, of those over found faces only, and of the published ones."""
    headline, found = quality["headline"], quality["found_only"]
    lines = ["| figure | all pictures | found faces only | published |", "|---|---|---|---|"]
    for key, title, form in _ROWS:
        published = form.format(PUBLISHED[key]) if key in PUBLISHED else ""
        lines.append(f"| {title} | {_said(headline, key, form)} | {_said(found, key, form)} | {published} |")
    return "\n".join(lines)


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

{", ".join(manifest.trained_on)}. The split is fixed: a picture's SHA-256 decides whether it trains, validates or tests.

## Figures

Split: {quality["split"]}, {quality["headline"]["count"]} pictures, each posted to the service's own `/predict`, one pass. Where
no face is found, gender and race count as wrong, the age as the training mean, and the true age as outside the interval.

{headline_table(quality)}

The published figures are those of another split of the same data, without a detector before the network.

{group_table(quality)}

## Intended use, and what it is not for

Statistics over many faces, photo software, research. The age is apparent; the two genders and five races are the data set's
labels, and say nothing of how a person identifies. Not for decisions about a person, not for identification, and not where
the law forbids sorting people by these attributes.

## Limits

It saw tightly cropped portraits from the web, mostly of adults between 20 and 40, mostly labelled white. The table says where
it errs more: read the row of the group before the headline. `other` is a label of what is left, and the least sure. What
profiles, masks, make-up, heavy filters and small or blurred faces cost has not been measured.
"""


def _input(manifest: Manifest) -> str:
    size = manifest.input.size if manifest.input else 0
    return f"aligned faces, {size} by {size} pixels, RGB"
