"""A further figure is one object: it is made here, and stands in everything that shows figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.arrays import Doubles
from service.models.evaluation import Evaluation
from service.models.manifest import Attribute, Manifest
from training.comparison.documents import ComparisonReport
from training.comparison.report import figures_table
from training.evaluation.degradations import DEGRADATIONS
from training.evaluation.documents import Report
from training.evaluation.evaluate import report_part
from training.evaluation.html_report import page
from training.evaluation.metrics import Metric, mean, metrics_of, registered
from training.evaluation.model_card import card
from training.evaluation.predictions import AttributeSpec, ExpectationPredictions, LabelPredictions, Predictions
from training.evaluation.robustness.tables import robustness
from training.evaluation.scoring import bootstrap_intervals, by_group, figures
from training.evaluation.service_client import Scored

RACES = ("black", "east asian", "indian", "latino", "middle eastern", "southeast asian", "white")
COUNT = 60


def certain_mistakes(attribute: AttributeSpec) -> Iterator[Metric[Predictions]]:
    """The share of labels that are wrong with a probability of more than 0.6."""

    def compute(predictions: Predictions, weights: Doubles) -> Doubles:
        one = predictions.labels[attribute.name]
        sure = np.nan_to_num(one.probabilities).max(axis=1) > 0.6
        return mean(sure & ~one.right(predictions.found), one.known & predictions.found, weights)

    yield Metric(
        key=f"{attribute.name}_certain_mistakes",
        title="mistakes that are certain",
        compute=compute,
        attribute=attribute.name,
        requires=attribute.name,
        format=".1%",
        better="lower",
    )


@pytest.fixture
def predictions() -> Predictions:
    """Of an age, seven races and glasses, in 60 pictures."""
    random = np.random.default_rng(0)

    def labels(names: tuple[str, ...]) -> LabelPredictions:
        return LabelPredictions(names, random.integers(0, len(names), COUNT), random.dirichlet(np.full(len(names), 0.5), COUNT))

    years = random.uniform(1, 80, COUNT)
    age = ExpectationPredictions(np.rint(years), years + 2, years - 6, years + 6, fallback=35.0)
    return Predictions(np.ones(COUNT, np.bool_), {"age": age}, {"race": labels(RACES), "glasses": labels(("no", "yes"))})


@pytest.fixture
def scored(predictions: Predictions) -> Scored:
    return Scored([f"{number}.jpg" for number in range(COUNT)], predictions, {}, [[] for _ in range(COUNT)])


def documents(scored: Scored) -> tuple[Report, Evaluation]:
    """A report, and what is recorded of it."""
    part = report_part(scored)
    fields = part.model_dump(exclude_unset=True)
    report = Report(data="club", split="test", created="2026-01-01", attributes=scored.predictions.attributes, **fields)
    names = ("headline", "found_only", "groups", "intervals", "mean_age_of_train")
    recorded = {name: fields[name] for name in names}
    return report, Evaluation(data="club", split="test", precision="f32", **recorded)


def manifest(predictions: Predictions) -> Manifest:
    attributes = [
        Attribute(name=one.name, kind=one.kind, labels=one.labels, outputs=(one.name,)) for one in predictions.attributes
    ]
    fields: dict[str, Any] = {key: {} for key in ("networks", "tolerance", "files")}
    fields |= {"name": "made", "version": 1, "kind": "attributes", "architecture": "tiny", "created": "2026-01-01"}
    return Manifest(**fields, licence="", trained_on=("club",), attributes=tuple(attributes))


def comparison(predictions: Predictions) -> ComparisonReport:
    """One recipe on one data set."""
    given = figures(predictions).model_dump()
    row: dict[str, Any] = {
        **dict.fromkeys(("system", "published", "differs", "architecture"), ""),
        **dict.fromkeys(("size", "batch", "pictures", "cpu_seconds", "weights", "multiply_adds"), 1),
        "name": "one",
        "init": "random",
        "state": "finished",
        "unfrozen": False,
        "outputs": (),
        "follows": (),
        "runs": (),
    }
    return ComparisonReport(
        split="test",
        budget={"minutes": 1},
        cpus=1,
        data={"club": {"train": 1, "test": COUNT}},
        override={},
        constant_baseline={"club": given},
        recipes=(row | {"figures": {"club": given}},),
        attributes=predictions.attributes,
    )


def test_a_figure_that_is_registered_stands_everywhere(predictions: Predictions, scored: Scored, tmp_path: Path) -> None:
    key, title = "glasses_certain_mistakes", "glasses: mistakes that are certain"
    one = predictions.labels["glasses"]
    expected = float(((one.probabilities.max(axis=1) > 0.6) & (one.probabilities.argmax(axis=1) != one.label)).mean())
    with registered("labels", certain_mistakes):
        assert figures(predictions).number(key) == pytest.approx(expected)
        low, high = bootstrap_intervals(predictions)[key]
        assert low < expected < high
        assert by_group(predictions)["glasses"]["yes"].number(key) is not None
        report, evaluation = documents(scored)
        shown = f"{expected:.1%}"
        assert f"<td>{title}</td><td>{shown}<small>{low:.1%} – {high:.1%}</small></td>" in page(report, tmp_path)
        assert f"| {title} | {shown} ({low:.1%} to {high:.1%}) |" in card(manifest(predictions), evaluation)
        table = figures_table(comparison(predictions), "club")
        assert "mistakes that are certain" in table
        assert shown in table
        robust = robustness(scored, {DEGRADATIONS[0]: scored}, tmp_path).tables[0]
        column = robust.header.index("Glasses mistakes that are certain")
        assert [row[column] for row in robust.rows] == [shown, f"{shown} (+0.0)"]
    assert key not in {metric.key for metric in metrics_of(predictions.attributes)}


def test_attributes_that_no_line_of_code_names_are_scored_reported_and_carded(
    predictions: Predictions, scored: Scored, tmp_path: Path
) -> None:
    given = figures(predictions)
    for key in ("age_mae", "race_accuracy", "race_macro_f1", "glasses_accuracy", "glasses_auc", "glasses_ece"):
        assert given.number(key) is not None
    assert list(given.scores()) == ["glasses"]
    assert "glasses_auc" in bootstrap_intervals(predictions)
    assert set(by_group(predictions)) == {"race", "glasses", "age"}
    report, evaluation = documents(scored)
    shown, written = page(report, tmp_path), card(manifest(predictions), evaluation)
    for text in ("glasses: accuracy", "race: macro F1"):
        assert text in shown
        assert text in written
    assert "| glasses yes |" in written
    assert "| southeast asian |" in written


def test_a_bar_in_the_name_of_a_label_or_a_set_divides_no_cell(predictions: Predictions, scored: Scored) -> None:
    barred = replace(predictions.labels["glasses"], names=("no", "sun|reading"))
    named = replace(predictions, labels=predictions.labels | {"glasses": barred})
    part = report_part(replace(scored, predictions=named))
    evaluation = documents(scored)[1].model_copy(update={"groups": part.groups, "also": {"my|set": part}})
    rows = [line for line in card(manifest(named), evaluation).splitlines() if line.startswith("|")]
    assert sum(r"| glasses sun\|reading |" in line for line in rows) == 2
    assert r"| figure | all pictures | found faces only | my\|set |" in rows


def test_the_prose_of_a_card_goes_by_the_attributes(predictions: Predictions, scored: Scored) -> None:
    _, evaluation = documents(scored)
    prose = " ".join(card(manifest(predictions), evaluation).split())
    counts = "race and glasses count as wrong, the age as the training mean, and the true age as outside the interval."
    assert f"Where no face is found, {counts}" in prose
    assert "The age is apparent: it is how old a face looks. The seven races are the data sets' labels" in prose
    assert "many people fit none. The labels of glasses, no and yes, are the data sets', given by onlookers." in prose
    assert "gender" not in prose


def test_the_prose_of_a_card_without_expectations_or_without_labels(predictions: Predictions, scored: Scored) -> None:
    _, evaluation = documents(scored)
    labels, years = (manifest(replace(predictions, **{kind: {}})) for kind in ("expectations", "labels"))
    prose = " ".join(card(labels, evaluation).split())
    assert "Where no face is found, race and glasses count as wrong. In brackets" in prose
    assert "for whom it errs more: read" in prose
    prose = " ".join(card(years, evaluation).split())
    assert "the age counts as the training mean, and the true age as outside the interval." in prose
    assert "it is how old a face looks. ## Intended use" in prose


def test_every_figure_has_a_key_and_a_place_of_its_own(predictions: Predictions) -> None:
    metrics = metrics_of(predictions.attributes)
    assert len({metric.key for metric in metrics}) == len({metric.place for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.compute(predictions, np.ones((3, COUNT))).shape == (3,)
