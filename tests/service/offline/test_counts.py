"""Counts instead of faces: their expectations, how far off they may be, and that no face is in them."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.api.schemas import ExpectationAnswer
from service.offline.counts import Counts, age_bands, band_probabilities
from service.offline.errors import OutputError
from tests.fakes import BMI, GLASSES, ColourNetwork, attributes
from tests.service.offline.made import folder, local, predict, requested


def test_bands_have_names() -> None:
    assert age_bands((3, 13, 14)) == ("0-2", "3-12", "13", "14+")
    assert age_bands(()) == ("0+",)


@pytest.mark.skipif(sys.platform == "win32", reason="names are counted otherwise there")
def test_a_name_that_is_too_long_is_refused_before_the_first_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = local(requested(aggregate=True))
    monkeypatch.setattr(model, "predict", lambda *_: pytest.fail("a photo was looked at"))
    with pytest.raises(OutputError, match="too long"):
        predict(folder(tmp_path / "photos", 1), predictor=model, out=tmp_path / f"{'x' * 247}.csv", aggregate=True)


def test_counts_are_expectations_over_the_probabilities(tmp_path: Path) -> None:
    folder(tmp_path / "photos/one", 8)
    folder(tmp_path / "photos/two", 5)
    options = {"recursive": True, "at_least": (18, 40)}
    predict(tmp_path / "photos", out=tmp_path / "faces.jsonl", **options)
    predict(tmp_path / "photos", out=tmp_path / "counts.jsonl", aggregate=True, **options)
    faces = [row for row in map(json.loads, (tmp_path / "faces.jsonl").read_text().splitlines()) if row["face"] is not None]
    counts = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    cells = {(row["folder"], row["attribute"], row["label"], row["age_band"]): row for row in counts}
    assert len(cells) == len(counts)
    for place in (None, (tmp_path / "photos/one").as_posix(), (tmp_path / "photos/two").as_posix()):
        these = [face for face in faces if place is None or face["file"].startswith(f"{place}/")]
        assert cells[place, "faces", None, None]["expected"] == len(these)
        for label in ("male", "female"):
            p = np.array([face[f"p_{label}"] for face in these])
            cell = cells[place, "gender", label, None]
            assert cell["expected"] == pytest.approx(p.sum(), abs=1e-3)
            assert cell["deviation"] == pytest.approx(math.sqrt((p * (1 - p)).sum()), abs=1e-3)
            band = p * np.array([face["p_at_least_18"] - face["p_at_least_40"] for face in these])
            assert cells[place, "gender", label, "18-39"]["expected"] == pytest.approx(band.sum(), abs=1e-3)
        total = sum(cells[place, "age", None, band]["expected"] for band in age_bands((18, 40)))
        assert total == pytest.approx(len(these), abs=0.01)
    assert cells[None, "photos", None, None]["expected"] == 13


def test_the_deviation_is_that_of_the_number_of_faces() -> None:
    """Against draws: of faces that are each of a label with their own probability."""
    p = np.linspace(0.02, 0.98, 60)
    drawn = (np.random.default_rng(1).random((4000, 60)) < p).sum(axis=1)
    counts = Counts(())
    cells = counts.rows()
    assert cells == []
    assert math.sqrt((p * (1 - p)).sum()) == pytest.approx(drawn.std(), rel=0.05)


def test_no_face_is_in_the_table(tmp_path: Path) -> None:
    predict(folder(tmp_path / "photos", 9), out=tmp_path / "counts.csv", aggregate=True)
    text = (tmp_path / "counts.csv").read_text()
    assert text.startswith("folder,attribute,label,age_band,expected,deviation\n")
    assert ".png" not in text
    assert "18-24" in text


def test_a_model_without_ages_is_counted_without_bands(tmp_path: Path) -> None:
    predict(folder(tmp_path / "photos", 4), out=tmp_path / "counts.csv", aggregate=True, attributes=["gender"])
    text = (tmp_path / "counts.csv").read_text()
    assert "gender,female" in text
    assert ",age," not in text


def expectation(**fields: Any) -> ExpectationAnswer:
    """An answer for an attribute from 10 to 60."""
    return ExpectationAnswer.model_validate({"value": 30.0, "unit": "kg/m²", "range": (10, 60), **fields})


def test_an_expectation_is_counted_in_tenths_of_its_range() -> None:
    distribution = [0.0] * 101
    distribution[39], distribution[40], distribution[41] = 0.2, 0.4, 0.4
    found = band_probabilities(expectation(distribution=distribution))
    assert list(found)[:2] == ["10 to 15", "15 to 20"]
    assert found["25 to 30"] == pytest.approx(0.4), "half of the step at 30, and the one below it"
    assert found["30 to 35"] == pytest.approx(0.6)
    assert sum(found.values()) == pytest.approx(1)


def test_without_a_distribution_the_interval_says_how_far_off_it_may_be() -> None:
    found = band_probabilities(expectation(low=25.0, high=40.0, coverage=0.8))
    assert found["30 to 35"] + found["35 to 40"] == pytest.approx(0.4)
    assert found["25 to 30"] == pytest.approx(0.4)
    assert sum(found.values()) == pytest.approx(1)
    assert band_probabilities(expectation())["30 to 35"] == 1
    assert band_probabilities(expectation(value=70.0))["55 to 60"] == 1


def test_a_further_expectation_is_counted(tmp_path: Path) -> None:
    """Its bands are labels, crossed with bands of age as those of any attribute; the model says it beside the age."""
    declared = [attributes()[0], GLASSES, BMI]
    network = ColourNetwork(("age", "age_distribution", "glasses", "bmi", "bmi_distribution"))
    request = requested(aggregate=True)
    model = local(request, network=network, attributes=declared)
    predict(folder(tmp_path / "photos", 8), predictor=model, out=tmp_path / "counts.jsonl", aggregate=True)
    counts = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    (faces,) = (row["expected"] for row in counts if (row["folder"], row["attribute"]) == (None, "faces"))
    whole = [row for row in counts if (row["folder"], row["attribute"], row["age_band"]) == (None, "bmi", None)]
    assert [row["label"] for row in whole][:3] == ["10 to 14", "14 to 18", "18 to 22"]
    assert sum(row["expected"] for row in whole) == pytest.approx(faces, abs=0.01)
    assert max(row["deviation"] for row in whole) > 0.3
    crossed = [row for row in counts if (row["folder"], row["label"]) == (None, "18 to 22") and row["age_band"]]
    (alone,) = (row["expected"] for row in whole if row["label"] == "18 to 22")
    assert sum(row["expected"] for row in crossed) == pytest.approx(alone, abs=0.01)
    assert {row["label"] for row in counts if row["attribute"] == "glasses"} == {"no", "yes"}


def test_what_is_switched_off_is_not_counted(tmp_path: Path) -> None:
    model = local(requested(aggregate=True), "gender")
    predict(folder(tmp_path / "photos", 3), predictor=model, out=tmp_path / "counts.jsonl", aggregate=True)
    counts = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    assert {row["attribute"] for row in counts} == {"photos", "faces", "gender"}
    assert {row["age_band"] for row in counts} == {None}


def test_a_model_that_says_no_age_at_all_is_counted(tmp_path: Path) -> None:
    network = ColourNetwork(("glasses", "bmi", "bmi_distribution"))
    model = local(requested(aggregate=True), network=network, attributes=[GLASSES, BMI])
    predict(folder(tmp_path / "photos", 3), predictor=model, out=tmp_path / "counts.csv", aggregate=True)
    text = (tmp_path / "counts.csv").read_text()
    assert "glasses,no" in text
    assert "bmi,18 to 22" in text


def test_an_age_without_a_distribution_is_counted_by_its_interval(tmp_path: Path) -> None:
    calibration = {"interval": {"coverage": 0.8, "unit": "years", "bands": [{"below": 1000, "low": -5, "high": 5}]}}
    age = {"name": "age", "kind": "expectation", "outputs": ["age"], "calibration": calibration}
    model = local(requested(aggregate=True), network=ColourNetwork(("age",)), attributes=[age])
    predict(folder(tmp_path / "photos", 3), predictor=model, out=tmp_path / "counts.jsonl", aggregate=True)
    counts = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    ages = {row["age_band"]: row["expected"] for row in counts if (row["folder"], row["attribute"]) == (None, "age")}
    assert sum(ages.values()) == pytest.approx(3, abs=0.01)
    assert max(ages, key=lambda band: ages[band]) == "18-24"
