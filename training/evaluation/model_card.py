"""A manifest to the tables and the card that people read; README and card are held to them by a test."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from service.models.evaluation import AgeChecks, Evaluation, Figures, Intervals, Part, Rate
from service.models.manifest import AGE, CANONICAL, Manifest
from training.evaluation.age_checks import MINORS, rules
from training.evaluation.documents import DEFAULT_ATTRIBUTES
from training.evaluation.metrics import Family, Metric, Table, metrics_of
from training.evaluation.predictions import PLAIN, AttributeSpec, Predictions
from training.evaluation.variants import ALL, lossless
from training.provenance import Provenance, lineage

PUBLISHED_ON = "UTKFace"
PUBLISHED: Mapping[str, float] = {"age_rmse": 8.70, "gender_accuracy": 0.9239, "race_accuracy": 0.8307, "race_macro_f1": 0.7110}
"""The best published figures of the system that Facet continues: InceptionV3 with three heads, on its own fifth of UTKFace."""

_SPLITS = {
    "UTKFace": "UTKFace's split is fixed: a picture's SHA-256 decides whether it trains, validates or tests.",
    "All-Age-Faces": "All-Age-Faces is split by its authors' lists.",
}
_DEMOGRAPHICS = {
    "UTKFace": "UTKFace's faces are tightly cropped portraits from the web, most of adults between 20 and 40; the largest "
    "group, 43 % of them, is labelled white.",
    "All-Age-Faces": "All-Age-Faces' are of East Asian people.",
}
"""Which pictures a set has that Facet's own models learnt."""
MISSING_LABELS = "What a set does not say of a picture is left out of training, never guessed."
WARNINGS = (
    "The answer's `warnings` name what raised the error in measurements on degraded pictures; masks, make-up, heavy filters "
    "and costumes were not measured."
)
UNCERTAIN = (
    "A label marked `uncertain` is one whose probability lies below what validation asks of labels that can be relied on."
)

_OTHER_STANDS_FOR: Final[Mapping[str, str]] = {"race": " (Latino, Middle Eastern and whoever else)"}
"""Whom the label `other` stands for, where an attribute's labels are Facet's own."""
_KNOWN_LIMITATIONS: Final[Mapping[str, str]] = {"gender": "Small children's gender is often wrong."}
"""What is known to go wrong with an attribute."""
_AGE_ANNOTATION: Final[Mapping[str, str]] = {"UTKFace": "UTKFace's was estimated by a program and checked by people"}
"""How the ages of a set came about that Facet's own models learnt."""
_NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

_FAMILIES: Final = tuple(Family)
"""Order of the rows."""


def table_row(cells: Iterable[str]) -> str:
    """A row of a Markdown table.

    Args:
        cells: Its texts, such as names of labels and data sets, in which any character may stand.

    Returns:
        The line.
    """
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def headline_table(evaluation: Evaluation, attributes: Sequence[AttributeSpec]) -> str:
    """The headline figures of every data set, as Markdown.

    Args:
        evaluation: What was measured.
        attributes: Those of the model.

    Returns:
        A table: figures with 95 % intervals where they were measured, those over found faces only, without near-duplicates, of
        further data sets, and the published ones.
    """
    columns: dict[str, tuple[Figures | None, Intervals]] = {
        "all pictures": (evaluation.headline, evaluation.intervals.headline),
        "found faces only": (evaluation.found_only, {}),
    }
    if evaluation.without_duplicates is not None:
        columns["without near-duplicates"] = evaluation.without_duplicates.headline, {}
    for name, part in evaluation.also.items():
        columns[name] = part.headline, part.intervals.headline
    if evaluation.data == PUBLISHED_ON:
        columns["published"] = None, {}
    lines = [table_row(["figure", *columns]), f"|---|{'---|' * len(columns)}"]
    counts = ["" if figures is None else f"{figures.count}" for figures, _ in columns.values()]
    lines.append(table_row(["pictures", *counts]))
    for metric in sorted(metrics_of(attributes, Table.CARD), key=lambda metric: _FAMILIES.index(metric.family)):
        cells = [
            _cell(metric, PUBLISHED.get(metric.key) if figures is None else figures.number(metric.place), bounds)
            for figures, bounds in columns.values()
        ]
        if any(cells):
            lines.append(table_row([metric.heading, *cells]))
    return "\n".join(lines)


def _cell(metric: Metric[Predictions], value: float | None, bounds: Intervals) -> str:
    """A figure with its interval, where there is one."""
    if value is None or metric.key not in bounds:
        return "" if value is None else metric.shown(value)
    low, high = bounds[metric.key]
    return f"{metric.shown(value)} ({metric.shown(low)} to {metric.shown(high)})"


def models_table(models: Sequence[tuple[Manifest, Evaluation | None]]) -> str:
    """Several models' main figures on all pictures of the test split, as Markdown.

    Args:
        models: Each with what was measured of it.

    Returns:
        A table, a row a model.
    """
    specs = {one.name: one for manifest, _ in models for one in attributes_of(manifest)}
    metrics = metrics_of(specs.values(), Table.MODELS)
    titles = [metric.heading if first else metric.column_heading for metric, first in _firsts(metrics)]
    lines = [table_row(["model", "input", *titles]), "|---|---|" + "---|" * len(titles)]
    for manifest, evaluation in models:
        size = manifest.input.size if manifest.input else 0
        cells = [_shown(metric, None if evaluation is None else evaluation.headline) for metric in metrics]
        lines.append(table_row([f"`{manifest.name}`, version {manifest.version}", f"{size} by {size}", *cells]))
    return "\n".join(lines)


def group_table(part: Part, attributes: Sequence[AttributeSpec]) -> str:
    """The figures of each label and each band of true years, as Markdown.

    Args:
        part: What was measured on one data set.
        attributes: Those of the model.

    Returns:
        A table, a row a group.
    """
    metrics = metrics_of(attributes, Table.CARD_GROUPS)
    titles = [metric.column_heading for metric in metrics]
    lines = [table_row(["group", "pictures", *titles]), "|---|---|" + "---|" * len(titles)]
    plain = {one.name for one in attributes if one.kind == "labels"}
    for kind, members in part.groups.items():
        for name, figures in members.items():
            title = _group_title(kind, name, kind in plain)
            cells = [_shown(metric, figures, brief=True) for metric in metrics]
            lines.append(table_row([title, f"{figures.count}", *cells]))
    return "\n".join(lines)


def _group_title(kind: str, name: str, labels: bool) -> str:
    """A label alone where it speaks for itself, else with its attribute."""
    return name if labels and kind in PLAIN else f"{kind} {name}"


def _firsts(metrics: Iterable[Metric[Predictions]]) -> Iterator[tuple[Metric[Predictions], bool]]:
    """Each figure, and whether it is the first one of its attribute."""
    seen: set[str | None] = set()
    for metric in metrics:
        yield metric, metric.attribute not in seen
        seen.add(metric.attribute)


def _shown(metric: Metric[Predictions], figures: Figures | None, *, brief: bool = False) -> str:
    """A figure, or nothing where it is missing."""
    value = None if figures is None else figures.number(metric.place)
    return "" if value is None else metric.shown(value, brief=brief)


def attributes_of(manifest: Manifest) -> tuple[AttributeSpec, ...]:
    """What a model is measured by.

    Args:
        manifest: The model's.

    Returns:
        Its attributes.
    """
    return tuple(AttributeSpec.of(one) for one in manifest.attributes)


def card(manifest: Manifest, evaluation: Evaluation) -> str:
    """The model card, as Markdown.

    Args:
        manifest: What the model is.
        evaluation: What was measured of it.

    Returns:
        The text of its README.md.
    """
    attributes = attributes_of(manifest)
    return f"""# {manifest.name}, version {manifest.version}

{manifest.description} Architecture: {manifest.architecture}; input: {_input(manifest)}; made on {manifest.created}.

## Licence

{manifest.licence} Facet's own licence covers the code, not this model.

## Data

{_filled(", ".join(manifest.trained_on) + ".", *_of_each(_SPLITS, manifest), MISSING_LABELS)}
{_made(manifest)}

## Figures

{_filled(*_conditions(evaluation, attributes))}

{headline_table(evaluation, attributes)}
{_remarks(evaluation, attributes)}
{_groups(evaluation, attributes)}
{_variants(manifest, evaluation, attributes)}{_age_checks(evaluation)}
## What the labels mean

{_filled(*_meanings(manifest, attributes))}

## Intended use, and what it is not for

Statistics over many faces, photo software, research. Not for decisions about a person (admission, hiring, policing, credit, an
age gate without a human), not for identification, and not where the law forbids sorting people by these attributes.

## Limits

{_filled(*_of_each(_DEMOGRAPHICS, manifest), *_limits(attributes))}
"""


def age_check_table(checks: AgeChecks) -> str:
    """How often a check for the age of 18 errs, as Markdown.

    Args:
        checks: What was measured.

    Returns:
        A table: a row for each group and band of true ages, with the share of it that each rule is wrong about.
    """
    titles = [rule.title for rule in rules()]
    lines = [table_row(["group", "true age", "faces", *titles]), "|---|---|---|" + "---|" * len(titles)]
    for name, bands in {"all": checks.bands, **checks.groups}.items():
        for band, one in bands.items():
            cells = (_share_wrong(one.adult[rule.key], minors=band == MINORS) for rule in rules())
            lines.append(table_row([name, band, f"{one.count}", *cells]))
    return "\n".join(lines)


def _share_wrong(rate: Rate, *, minors: bool) -> str:
    """Minors taken for adults, or adults for minors, with the interval."""
    if rate.value is None or rate.interval is None:
        return ""
    ends = (rate.value, *rate.interval)
    value, low, high = ends if minors else (1 - ends[0], 1 - ends[2], 1 - ends[1])
    return f"{value * 100:.1f} % ({low * 100:.1f} to {high * 100:.1f})"


def _age_checks(evaluation: Evaluation) -> str:
    """The section on checks for a least age, of each data set that has one."""
    parts = {evaluation.data: evaluation.age_checks, **{name: part.age_checks for name, part in evaluation.also.items()}}
    known = {name: checks for name, checks in parts.items() if checks is not None}
    if not known:
        return ""
    text = _filled(
        "`at_least=18` answers the probability that a face is 18 or older.",
        'A rule takes for adults those whose probability is at least so much, or, by "challenge 25", those estimated at 25 or '
        "older.",
        "The tables have the share of each band that it is wrong about: minors taken for adults, and adults for minors.",
        "In brackets: 95 % bootstrap intervals over the faces found. No rule replaces a human who decides.",
    )
    sections = []
    for name, checks in known.items():
        errors = ", ".join(f"{value:.3f} at {age}" for age, value in checks.calibration_error.items())
        minors = "" if checks.error_of_minors.value is None else f"{checks.error_of_minors.value:.2f} years"
        sections.append(
            f"### {name}\n\nExpected calibration error {errors}."
            + (f" Mean absolute error of the 13 to 17 years old: {minors}." if minors else "")
            + f"\n\n{age_check_table(checks)}\n"
        )
    return "\n## Checks for a least age\n\n" + text + "\n\n" + "\n".join(sections)


def _conditions(evaluation: Evaluation, attributes: Sequence[AttributeSpec]) -> list[str]:
    """How the figures were measured, and what a picture without a face counts as."""
    labels, years = ([_spaced(one) for one in _names(attributes, kind)] for kind in ("labels", "expectation"))
    clauses = [f"{_listed(labels)} {'count' if len(labels) > 1 else 'counts'} as wrong"] if labels else []
    if years:
        counted = "" if labels else " counts"
        clauses += [f"the {_listed(years)}{counted} as the training mean", f"the true {_listed(years)} as outside the interval"]
    return [
        f"Data: {evaluation.data}, split: {evaluation.split}.",
        f"Each picture was posted to the service's own `/predict`, one pass, arithmetic {evaluation.precision}.",
        f"Where no face is found, {_listed(clauses, ', and ')}.",
        "In brackets: 95 % bootstrap intervals over pictures.",
    ]


def _meanings(manifest: Manifest, attributes: Sequence[AttributeSpec]) -> list[str]:
    """What the values of each attribute stand for."""
    sentences = []
    for one in (one for one in attributes if one.kind == "expectation"):
        name = one.name
        if name == AGE:
            made = "".join(f", and {one}" for one in _of_each(_AGE_ANNOTATION, manifest))
            sentences.append(f"The age is apparent: it is how old a face looks{made}.")
        else:
            unit = one.scale.unit and f" in {one.scale.unit}"
            within = "" if one.range is None else f", from {one.range[0]:.15g} to {one.range[1]:.15g}"
            sentences.append(f"The {_spaced(name)} is{unit} as the data sets give it{within}.")
    labels = [one for one in attributes if one.kind == "labels"]
    identities = [one for one in labels if one.name in CANONICAL]
    if identities:
        kinds = [f"{_counted(len(one.labels))} {one.name}s" for one in identities]
        rest = ["many people fit none"]
        for one in identities:
            if "other" in one.labels:
                whom = _OTHER_STANDS_FOR.get(one.name, "") if one in DEFAULT_ATTRIBUTES else ""
                rest.append(f"`other`{whom} is a label of what is left")
        sentences.append(
            f"The {_listed(kinds)} are the data sets' labels, given by onlookers; they say nothing of how a person identifies, "
            f"{_listed(rest, ', and ')}."
        )
    sentences += [
        f"The labels of {_spaced(one.name)}, {_listed(one.labels)}, are the data sets', given by onlookers."
        for one in labels
        if one not in identities
    ]
    return [*sentences, *([UNCERTAIN] if labels else [])]


def _limits(attributes: Sequence[AttributeSpec]) -> list[str]:
    """For whom the model errs, and what of it is known."""
    held = ", and for whom its intervals hold less than they promise" if _names(attributes, "expectation") else ""
    return [
        f"The tables say for whom it errs more{held}: read the row of the group before the headline.",
        *(_KNOWN_LIMITATIONS[one.name] for one in attributes if one.name in _KNOWN_LIMITATIONS),
        WARNINGS,
    ]


def _names(attributes: Sequence[AttributeSpec], kind: str) -> list[str]:
    """Names of the attributes of a kind."""
    return [one.name for one in attributes if one.kind == kind]


def _spaced(name: str) -> str:
    """An attribute's name in words."""
    return name.replace("_", " ")


def _counted(count: int) -> str:
    """A number in words, where it is small."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _listed(words: Sequence[str], last: str = " and ") -> str:
    """Words behind each other: `a, b and c`."""
    return last.join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _of_each(sentences: Mapping[str, str], manifest: Manifest) -> list[str]:
    return [sentences[name] for name in manifest.trained_on if name in sentences]


def _filled(*sentences: str) -> str:
    """A paragraph of them."""
    return textwrap.fill(" ".join(sentences), 128, break_long_words=False, break_on_hyphens=False)


def _made(manifest: Manifest) -> str:
    """Where the weights came from, and how to make them again."""
    if manifest.provenance is None:
        return f"The configuration is in `{manifest.recipe}`."
    lines = "\n".join(lineage(Provenance.model_validate(manifest.provenance)))
    return f"""The weights are

{lines}

The last recipe is in `{manifest.recipe}`, and each by its name in Facet's `training/recipes/`; `docs/training.md` has the
commands."""


def _remarks(evaluation: Evaluation, attributes: Sequence[AttributeSpec]) -> str:
    """What the published figures are, and the main ones in another arithmetic, each where it applies."""
    remarks = []
    if evaluation.data == PUBLISHED_ON:
        remarks.append(
            "The published figures are those of another split of the same data, without a detector before the network."
        )
    for name, figures in evaluation.precisions.items():
        sets = {"": figures} | {
            f"; of {also}: ": part.precisions[name] for also, part in evaluation.also.items() if name in part.precisions
        }
        parts = "".join(f"{of}{_main_figures(one, attributes)}" for of, one in sets.items())
        remarks.append(f"In {name}, on the same pictures: {parts}.")
    return "".join(f"\n{_filled(one)}\n" for one in remarks)


def _main_figures(figures: Figures, attributes: Sequence[AttributeSpec]) -> str:
    """The figures of the card's line of another arithmetic."""
    parts = []
    for metric, first in _firsts(metrics_of(attributes, Table.CARD_PRECISIONS)):
        unit = f" in {metric.unit}" if metric.unit and first else ""
        if shown := _shown(metric, figures):
            parts.append(f"{metric.column_title}{unit} {shown}")
    return ", ".join(parts)


def _groups(evaluation: Evaluation, attributes: Sequence[AttributeSpec]) -> str:
    """The groups of the data, and of every other data set that was measured."""
    tables = [group_table(evaluation, attributes)]
    tables += [f"The same of {name}:\n\n{group_table(part, attributes)}" for name, part in evaluation.also.items()]
    return "\n\n".join(tables)


def _variants(manifest: Manifest, evaluation: Evaluation, attributes: Sequence[AttributeSpec]) -> str:
    """A section on each variant: what it loses, by data set and by band of true values."""
    metrics = metrics_of(attributes, Table.CARD_PRECISIONS)
    sections = []
    for name, variant in evaluation.variants.items():
        text = _filled(
            f"Served by `FACET_PRECISION={name}`{_by_auto(lossless(manifest, variant))}.",
            f"Both arithmetics on the same crops, split: {variant.split}.",
            "The error of an expectation has its mean, with the sign, in brackets.",
        )
        titles = [metric.heading if first else metric.column_heading for metric, first in _firsts(metrics)]
        lines = [table_row(["data", "arithmetic", "faces", *titles]), "|---|---|---|" + "---|" * len(titles)]
        for of, part in variant.sets.items():
            for arithmetic, figures in part.figures.items():
                cells = [_shown(metric, figures) for metric in metrics]
                lines.append(table_row([of, arithmetic, f"{figures.count}", *cells]))
        sections += [f"\n## The {name} variant\n\n{text}\n", "\n".join(lines) + "\n"]
        of_all = variant.sets[ALL].bands if ALL in variant.sets else {}
        sections += [f"{_band_table(attribute, bands, name)}\n" for attribute, bands in of_all.items()]
    return "\n".join(sections)


def _by_auto(chosen: bool) -> str:
    """Whether it is what Facet chooses where the arithmetic is left to it."""
    return ", and by `auto` where the CPU gets its golden answers right, since it loses nothing" if chosen else ""


def _band_table(attribute: str, bands: Mapping[str, Mapping[str, Figures]], variant: str) -> str:
    """Errors of a model and its variant by band of true values."""
    lines = [f"| true {_spaced(attribute)} | faces | error in f32 | in {variant} |", "|---|---|---|---|"]
    for band, figures in bands.items():
        cells = []
        for one in figures.values():
            error, bias = one.number(f"{attribute}_mae"), one.number(f"{attribute}_bias")
            cells.append("" if error is None or bias is None else f"{error:.2f} ({bias:+.2f})")
        lines.append(table_row([band, f"{next(iter(figures.values())).count}", *cells]))
    return "\n".join(lines)


def _input(manifest: Manifest) -> str:
    size = manifest.input.size if manifest.input else 0
    return f"aligned faces, {size} by {size} pixels, RGB"
