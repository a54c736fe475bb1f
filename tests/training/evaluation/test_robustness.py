"""Curves and thresholds on answers whose errors are known, and the command from pictures to the report's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.training import made
from training.datasets.base import DataSet, Label, Split
from training.datasets.readers import open_data_set
from training.evaluation.bootstrap import poisson_counts
from training.evaluation.degradations import DEGRADATIONS, Degradation
from training.evaluation.documents import MeasuredModel, Served
from training.evaluation.robustness import statistics
from training.evaluation.robustness.statistics import (
    CONDITIONS,
    MIN_FACES,
    Condition,
    Finding,
    Rise,
    Rows,
    binned,
    crossing,
    curve,
    errors,
    finding,
    measured,
    paired,
    rise,
    threshold,
    unpaired,
)
from training.evaluation.robustness.study import sampled, study
from training.evaluation.robustness.tables import conditions, robustness
from training.evaluation.service_client import Scored, measured_settings, predict
from training.evaluation.service_client import scored as scored_of

Floats = npt.NDArray[np.float64]

SMALL = Condition("small", "size_px", "pixels", 40, ("size",))
TURNED = Condition("turned", "yaw", "yaw", 0.5, above=True)


def face(years: float, size: float = 100, female: float = 0.9, race: int = 2, yaw: float = 0.0, **more: Any) -> dict[str, Any]:
    """One face of the service's answer."""
    names = ("white", "black", "asian", "indian", "other")
    return {
        "age": {"years": years, "low": years - 5, "high": years + 5},
        "gender": {"probabilities": {"female": female, "male": 1 - female}},
        "race": {"probabilities": {name: 0.6 if i == race else 0.1 for i, name in enumerate(names)}},
        "quality": {"size_px": size, "sharpness": 10, "brightness": 0.5, "roll": 0, "yaw": yaw},
        "warnings": ["small"] if size < 40 else [],
    } | more


def answered(faces: list[dict[str, Any] | None], ages: list[int] | None = None) -> Scored:
    """Answers to pictures of Asian women, 30 years old unless another age is given."""
    labels = [Label({"age": age, "gender": "female", "race": "asian"}) for age in ages or [30] * len(faces)]
    return scored_of([f"{i}.jpg" for i in range(len(faces))], labels, faces)


def rows_of(value: Floats, error: Floats, expected: Floats | float) -> Rows:
    """Answers whose age alone is known."""
    nothing = np.full(len(value), np.nan)
    wanted = np.broadcast_to(np.asarray(expected, np.float64), value.shape)
    return Rows(
        value,
        np.arange(len(value)),
        {"age": error, "gender": nothing, "race": nothing},
        {"age": wanted, "gender": nothing, "race": nothing},
        np.zeros(len(value), np.bool_),
    )


def test_errors_are_years_and_wrong_labels_of_found_faces() -> None:
    given = errors(answered([face(36), face(28, female=0.2), face(30, race=0), None]).predictions)
    assert given["age"].tolist()[:3] == [6, 2, 0]
    assert given["gender"].tolist()[:3] == [0, 1, 0]
    assert given["race"].tolist()[:3] == [0, 0, 1]
    assert all(np.isnan(values[3]) for values in given.values())


def test_a_label_that_the_set_lacks_is_no_error() -> None:
    scored = scored_of(["a"], [Label({"age": 30, "gender": "female"})], [face(30)])
    assert np.isnan(errors(scored.predictions)["race"][0])
    assert errors(scored.predictions)["gender"][0] == 0
    nameless = errors(scored_of(["a"], [Label({"race": "white"})], [face(30)]).predictions)
    assert np.isnan([nameless["age"][0], nameless["gender"][0]]).all()


def test_a_degraded_picture_is_compared_with_itself() -> None:
    clean = answered([face(32), face(34), None, face(40)])
    worse = answered([face(35, size=20), None, face(30, size=20), face(45, size=30)])
    rows = paired(SMALL, clean, [worse])
    assert rows.picture.tolist() == [0, 1, 3, 0, 3]  # as they are, and degraded; those not found in both are left out
    assert rows.value.tolist() == [100, 100, 100, 20, 30]
    assert rows.error["age"].tolist() == [2, 4, 10, 5, 15]
    assert rows.expected["age"].tolist() == [2, 4, 10, 2, 10]
    assert rows.warned.tolist() == [False, False, False, True, True]
    found = rise(rows.where(rows.warned), "age")
    assert found is not None
    assert (found.count, found.error, found.expected) == (2, 10, 6)
    assert found.rise == pytest.approx(20 / 12 - 1)


def test_who_is_in_a_bin_does_not_confound() -> None:
    """Small faces are of the old here, whose ages are harder, and reduction costs nothing: there is no rise."""
    ages = [20] * 50 + [80] * 50
    faces: list[dict[str, Any] | None] = [face(age + (2 if age == 20 else 9), size=90 if age == 20 else 30) for age in ages]
    clean = answered(faces, ages)
    parts = curve(binned(paired(SMALL, clean, [clean])))
    assert [part.rises["age"].error for part in parts] == [9, 2]
    assert [part.rises["age"].rise for part in parts] == [0, 0]


def test_faces_as_they_are_are_compared_with_their_like() -> None:
    ages = [25] * 4 + [75] * 4
    off = [1, 1, 1, 5, 8, 8, 8, 16]
    yaws = [0.1, -0.1, 0.1, -0.9, 0.1, 0.1, -0.1, 0.9]
    clean = answered([face(age + more, yaw=yaw) for age, more, yaw in zip(ages, off, yaws, strict=True)], ages)
    other = scored_of(["x"], [Label({"age": 25, "gender": "male"})], [face(65, yaw=0.8)])
    rows = unpaired(TURNED, [clean, other])
    assert rows.value.tolist() == pytest.approx([abs(yaw) for yaw in yaws] + [0.8])
    assert rows.expected["age"].tolist() == [2] * 4 + [10] * 4 + [40]
    assert rows.picture.tolist() == list(range(9))
    turned = rise(rows.where(rows.value > 0.5), "age")
    assert turned is not None
    assert turned.rise == pytest.approx((5 + 16 + 40) / (2 + 10 + 40) - 1)
    assert np.isnan(rows.error["race"][8])


def test_a_condition_without_a_measure_is_its_warning() -> None:
    condition = Condition("cut_off", "cut_off", "", None)
    scored = answered([face(30, warnings=["cut_off"]), face(30), None])
    assert measured(scored, condition).tolist()[:2] == [1, 0]
    assert np.isnan(measured(scored, condition)[2])


def test_a_curve_has_bins_of_equal_mass_and_keeps_equal_values_together() -> None:
    value = np.concatenate([np.full(100, 1.0), np.linspace(2, 3, 100)])
    parts = curve(binned(rows_of(value, value * 2, value)))
    assert [part.rises["age"].count for part in parts] == [100, 33, 33, 34]
    assert parts[0].value == 1
    assert all(part.rises["age"].rise == pytest.approx(1) for part in parts)
    assert [part.value for part in parts] == sorted(part.value for part in parts)
    few = binned(rows_of(np.arange(2.0 * MIN_FACES), np.ones(2 * MIN_FACES), 1.0))
    assert [len(part) for part in few] == [MIN_FACES, MIN_FACES]
    assert binned(rows_of(np.zeros(0), np.zeros(0), 1.0)) == []


def test_what_few_pictures_have_is_seen_in_narrow_bins() -> None:
    every = rows_of(np.arange(3000.0), np.ones(3000), 1.0)
    assert [len(part) for part in binned(every, tail=True)] == pytest.approx([750, 750, 750, 450, 150, 90, 60], abs=1)
    fewer = every.where(every.value < 400)  # the last 30 of 400 are more than a twentieth
    assert [len(part) for part in binned(fewer, tail=True)] == pytest.approx([100, 100, 100, 60, 40], abs=1)


def test_the_interval_of_a_rise_holds_it_and_narrows_with_more_pictures() -> None:
    random = np.random.default_rng(1)

    def of(count: int) -> Rise:
        found = rise(rows_of(np.ones(count), random.exponential(6, count), 5.0), "age")
        assert found is not None
        return found

    few, many = of(100), of(10_000)
    assert few.low < few.rise < few.high
    assert many.low < 0.2 < many.high
    assert many.high - many.low == pytest.approx(2 * 1.96 * 6 / 5 / 100, rel=0.15)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.4)


def test_levels_of_one_picture_are_drawn_together() -> None:
    """Four copies of each answer tell no more than one."""
    error = np.random.default_rng(1).exponential(6, 200)
    once = rows_of(np.ones(200), error, 5.0)
    alone, four = rise(once, "age"), rise(statistics.joined([once] * 4), "age")
    assert alone is not None
    assert four is not None
    assert four.count == 800
    assert four.high - four.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_all_bins_are_drawn_alike() -> None:
    assert (poisson_counts(8, 500) == poisson_counts(16, 500)[:, :8]).all()


def test_no_rise_of_nothing() -> None:
    assert rise(rows_of(np.ones(3), np.zeros(3), 0.0), "age") is None
    assert rise(rows_of(np.ones(3), np.ones(3), 1.0), "race") is None


@pytest.mark.parametrize(
    ("rises", "expected"),
    [
        ([0.0, 0.1, 0.3, 0.4], 25),  # a line from 0.1 at 20 to 0.3 at 30
        ([0.0, 0.0, 0.1, 0.1], None),
        ([0.3, 0.4, 0.4, 0.4], 10),  # the mildest bin is over the limit already
        ([0.0, 0.24, 0.0, 0.4], 30 + 10 * 0.08 / 0.28),  # a lone bump is noise: 0.12 with its neighbour
    ],
)
def test_a_curve_made_monotone_crosses_the_limit(rises: list[float], expected: float | None) -> None:
    values, sums = np.array([10.0, 20, 30, 40]), np.full(4, 50.0)
    found = crossing(values, sums * (1 + np.array(rises)), sums, 0.2)
    assert math.isnan(found) if expected is None else found == pytest.approx(expected)
    mirrored = crossing(-values, sums * (1 + np.array(rises)), sums, 0.2)
    assert math.isnan(mirrored) if expected is None else mirrored == pytest.approx(-expected)


def test_bins_count_by_the_errors_expected() -> None:
    error, expected = np.array([10.0, 5.0, 1.0, 20.0]), np.array([10.0, 1.0, 10.0, 10.0])
    pooled = (0 + 4 - 9) / 21  # the lone 5 of 1 weighs little against 10 and 1 of 10
    assert crossing(np.arange(4.0), error, expected, 0.2) == pytest.approx(2 + (0.2 - pooled) / (1 - pooled))


def stepped(count: int, noise: float, harm: float = 0.4) -> Rows:
    """Answers with a rise of `harm` where the value is below 40 of 100, and noise about it."""
    random = np.random.default_rng(4)
    value = random.uniform(0, 100, count)
    return rows_of(value, 5 * (1 + harm * (value < 40)) + random.normal(0, noise, count), 5.0)


def test_a_threshold_is_where_the_rise_begins() -> None:
    parts = binned(stepped(3000, noise=1.0))
    assert threshold(parts, "age", above=False, limit=0.2) == pytest.approx(40, abs=5)
    turned = [replace(part, value=100 - part.value) for part in parts[::-1]]
    assert threshold(turned, "age", above=True, limit=0.2) == pytest.approx(60, abs=5)
    assert threshold(parts, "race", above=False, limit=0.2) is None


def test_what_may_be_chance_sets_no_threshold() -> None:
    noisy = binned(stepped(300, noise=8.0, harm=0.0))
    sums = [(part.error["age"].sum(), part.expected["age"].sum()) for part in noisy]
    assert max(error / expected for error, expected in sums) > 1.2, "some bin has risen by chance"
    assert threshold(noisy, "age", above=False, limit=0.2) is None
    assert threshold(binned(stepped(300, noise=1.0, harm=0.15)), "age", above=False, limit=0.2) is None


def test_more_pictures_make_a_threshold_surer_and_milder() -> None:
    few, many = (threshold(binned(stepped(count, noise=6.0)), "age", above=False, limit=0.2) for count in (400, 8000))
    assert many == pytest.approx(40, abs=5)
    assert few is None or few < 40


def test_a_finding_says_what_the_services_warning_is_worth() -> None:
    clean = answered([face(32, size=38 if i < 5 else 100) for i in range(100)])
    halved = answered([face(32, size=50) for _ in range(100)])
    reduced = answered([face(38, size=20) if i % 4 else None for i in range(100)])
    levels = {Degradation("size", name, lambda picture: picture): one for name, one in {"1/2": halved, "1/5": reduced}.items()}
    levels[Degradation("blur", "σ 9 px", lambda picture: picture)] = answered([face(90) for _ in range(100)])
    found = finding(SMALL, [clean], levels)
    assert found.warned["age"].count == 75 + 5
    assert found.warned["age"].error == pytest.approx((75 * 8 + 5 * 2) / 80)
    assert found.unwarned["age"].rise == 0
    assert found.due == {"age": found.threshold, "gender": None, "race": None}
    assert found.threshold is not None
    assert 20 < found.threshold < 50
    assert (found.share, found.shares) == (0.05, {"asian": 0.05})
    assert found.clean["age"].rise == 0
    assert found.found == [(100, 1), (50, 1), (20, 0.75)]


@pytest.mark.parametrize(("above", "expected"), [(False, 40), (True, 30)])
def test_the_mildest_attribute_sets_the_threshold(above: bool, expected: float) -> None:
    condition = Condition("small", "size_px", "", 40, above=above)
    found = Finding(condition, [], {"age": 30, "gender": None, "race": 40}, {}, {}, {}, 0.0, {}, [])
    assert found.threshold == expected
    assert replace(found, due={"age": None}).threshold is None


def test_robustness_counts_lost_faces_as_wrong(tmp_path: Path) -> None:
    clean = answered([face(32), face(30), face(33, female=0.1), face(31)])
    worse = answered([face(32), None, face(33, female=0.1), None])
    fallbacks = {"age": 40.0}
    given = robustness(clean.with_fallbacks(fallbacks), {DEGRADATIONS[0]: worse.with_fallbacks(fallbacks)}, tmp_path)
    document = given.model_dump()
    (table,) = document["tables"]
    first, second = (dict(zip(table["header"], row, strict=True)) for row in table["rows"])
    assert (first["Faces found"], first["Age MAE, years"], first["Gender accuracy"]) == ("100.00%", "1.50", "0.750")
    assert second["Faces found"] == "50.00% (-50.00)"
    assert second["Age MAE, years"] == "6.25 (+4.75)"  # the lost ones are ten years off
    assert second["Gender accuracy"] == "0.250 (-0.500)"
    assert document["data"]["degraded"][0]["figures"]["age_mae"] == 6.25


def test_a_part_is_drawn_from_the_whole_split(tmp_path: Path) -> None:
    names = [name for age in range(20, 40) for name in made.names(Split.VALIDATION, 1, age)]
    data = open_data_set(made.folder_of(tmp_path / "set", [(name, b"") for name in sorted(names)]))

    def of(limit: int | None) -> list[str]:
        return [name for name, _ in sampled(data, Split.VALIDATION, limit).labels(Split.VALIDATION)]

    assert of(None) == sorted(names)
    some = of(6)
    assert len(some) == 6
    assert set(some) < set(of(12))
    assert some != sorted(names)[:6]


def test_every_condition_is_brought_about_or_found_and_every_warning_has_one() -> None:
    kinds = {one.kind for one in DEGRADATIONS}
    assert all(set(condition.kinds) <= kinds for condition in CONDITIONS)
    assert [condition.warning for condition in CONDITIONS] == [
        *("small", "blurred", "dark", "bright", "noisy", "low_contrast", "rolled", "turned", "cut_off"),
    ]


def test_the_study_writes_what_the_report_shows(store: Path, pictures: Path, tmp_path: Path) -> None:
    chosen = [one for one in DEGRADATIONS if (one.kind, one.level) in {("size", "1/4"), ("blur", "σ 4 px"), ("cut", "30 %")}]
    out = tmp_path / "report"
    settings = measured_settings(model_store=store, model="tiny", model_version=1)
    study(partial(predict, settings), [open_data_set(pictures)], out, 3, chosen)
    documents = {name: json.loads((out / f"{name}.json").read_text()) for name in ("robustness", "conditions")}
    for document in documents.values():
        assert set(document) == {"title", "text", "tables", "plots", "data", "subject"}
        assert document["subject"]["model"] == {"name": "tiny", "version": 1}
        assert (document["subject"]["data"], document["subject"]["pictures"]) == (["UTKFace"], 3)
        for table in document["tables"]:
            assert set(table) == {"caption", "header", "rows"}
            assert all(len(row) == len(table["header"]) for row in table["rows"])
            assert all(isinstance(cell, str) for row in table["rows"] for cell in row)
        for name in document["plots"]:
            plot = np.asarray(Image.open(out / name).convert("RGB"))
            assert (plot != 255).any(axis=2).mean() > 0.01
    assert [row[:2] for row in documents["robustness"]["tables"][0]["rows"]] == [
        ["as they are", ""],
        ["size", "1/4"],
        ["blur", "σ 4 px"],
        ["cut", "30 %"],
    ]
    assert documents["robustness"]["data"]["clean"]["count"] == 3
    (small,) = (one for one in documents["conditions"]["data"] if one["warning"] == "small")
    (found, whole), (fewer, _) = small["found"]
    assert (whole, small["bins"][0]["rises"]["age"]["count"]) == (1, 6)  # three as they are, three at a quarter
    assert fewer == pytest.approx(found / 4, rel=0.1)
    assert {"condition_small.png", "condition_turned.png"} <= set(documents["conditions"]["plots"])


def test_each_document_counts_the_pictures_of_its_own_data_sets(pictures: Path, tmp_path: Path) -> None:
    served = Served(model=MeasuredModel(name="tiny", version=1), precision="f32", runtime="openvino")

    def predict(data: DataSet, split: Split, *, change: Callable[[bytes], bytes] | None = None) -> Scored:
        return replace(answered([face(31)] * (2 if data.name == "UTKFace" else 3)), served=served)

    data = open_data_set(pictures)
    documents = study(predict, [data, replace(data, name="Other")], tmp_path, degradations=DEGRADATIONS[:1])
    subjects = {name: document.subject for name, document in documents.items()}
    assert {name: (one.data, one.pictures) for name, one in subjects.items() if one} == {
        "robustness": (("UTKFace",), 2),
        "conditions": (("UTKFace", "Other"), 5),
    }


def test_answers_without_an_error_have_no_curve_and_end_no_study(tmp_path: Path) -> None:
    alone = {"gender": {"probabilities": {"female": 0.9, "male": 0.1}}, "warnings": []}
    right = scored_of(
        [f"{i}.jpg" for i in range(3)],
        [Label({"gender": "female"})] * 3,
        [{"quality": face(30)["quality"]} | alone] * 3,
    )
    document = conditions([right], dict.fromkeys(DEGRADATIONS, right), tmp_path)
    assert "condition_blurred.png" in document.plots  # with the share of faces found alone
    assert "condition_turned.png" not in document.plots
    assert {path.name for path in tmp_path.iterdir()} == set(document.plots)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_predicted(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        study(never_asked, [open_data_set(pictures)], tmp_path / "file")


def never_asked(data: DataSet, split: Split, *, change: Callable[[bytes], bytes] | None = None) -> Scored:
    raise AssertionError


def test_the_test_split_is_never_predicted(pictures: Path, tmp_path: Path) -> None:
    called = []

    def predict(data: DataSet, split: Split, *, change: Callable[[bytes], bytes] | None = None) -> Scored:
        called.append((data.name, split, change))
        return answered([face(31), face(32)])

    data = open_data_set(pictures)
    study(predict, [data, data], tmp_path, degradations=DEGRADATIONS[:2])
    assert [split for _, split, _ in called] == [Split.VALIDATION] * 4
    assert [change for _, _, change in called] == [None, None, *DEGRADATIONS[:2]]
