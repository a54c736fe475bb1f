"""The table's columns: each has a name of its own, whatever a model calls its attributes and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.inference.columns import FRAME, QUALITY
from service.models.manifest import RESERVED, Attribute
from service.offline.table import Table
from service.video.annotate import FrameTable
from tests.fakes import BMI, GLASSES, REPEATED, ColourNetwork, attributes
from tests.service.offline.made import folder, local, predict, requested


def labels(name: str, *names: str) -> Attribute:
    fields: dict[str, Any] = {"name": name, "kind": "labels", "labels": names, "outputs": [name]}
    return Attribute.model_validate(fields)


def names(*attributes: Attribute, **options: Any) -> list[str]:
    return [column.name for column in Table(attributes, **options).columns]


def test_an_attribute_with_the_name_of_another_column_is_qualified() -> None:
    found = names(labels("face", "round", "long"), labels("x", "a", "b"), labels("age_low", "a", "b"))
    assert {"attribute_face", "attribute_face_confidence", "attribute_face_uncertain", "p_face_round"} <= set(found)
    assert {"attribute_x", "age_low"} <= set(found)
    assert "attribute_age_low" in names(Attribute.model_validate(attributes()[0]), labels("age_low", "a", "b"))


def test_a_label_that_gender_and_race_share_is_qualified_in_both() -> None:
    found = names(labels("gender", "female", "other"), labels("race", "white", "other"))
    assert [name for name in found if name.startswith("p_")] == ["p_female", "p_gender_other", "p_white", "p_race_other"]


def test_a_label_that_two_attributes_share_has_a_column_for_each() -> None:
    found = names(labels("glasses", "no", "yes"), labels("hat", "no", "yes"))
    assert {"p_glasses_no", "p_hat_no"} <= set(found)
    assert "p_attribute_a_b_c" in names(labels("a", "b_c", "d"), labels("a_b", "c", "d"))
    assert {"p_male", "attribute_p_male"} <= set(names(labels("p_male", "a", "b"), labels("gender", "male", "female")))


def test_an_attribute_has_the_same_columns_in_every_table() -> None:
    """Another expectation in years than the age has its bounds in the columns of any other expectation."""
    fields = {"name": "looks", "kind": "expectation", "outputs": ["looks"]}
    declared = [Attribute.model_validate(one) for one in (*attributes(), GLASSES, BMI, fields)]
    of_film = [column for column in FrameTable(declared).columns if column not in (*FRAME, *QUALITY)]
    assert len(of_film) == 3 * len(declared)
    assert [column for column in Table(declared).columns if column in of_film] == of_film


NAMES = st.sampled_from(
    [
        *("age", "gender", "race", "face", "file", "x", "model", "nose", "nose_x", "age_low", "gender_confidence", "p_male"),
        *("a", "a_low", "a_b", "attribute_a", "attribute_face", "p_a_b", "version", "problem", "track", "at"),
    ]
)
LABELS = st.lists(st.sampled_from(["other", "male", "a", "b", "b_c", "c", "least_18"]), min_size=2, max_size=4, unique=True)


@st.composite
def declared(draw: st.DrawFn) -> list[Attribute]:
    """Attributes of one model, with names that are likely to stand for something else."""
    found = []
    for name in draw(st.lists(NAMES.filter(lambda one: one not in RESERVED), min_size=1, max_size=5, unique=True)):
        if name != "age" and (name in ("gender", "race") or draw(st.booleans())):
            found.append(labels(name, *draw(LABELS)))
        else:
            found.append(Attribute(name=name, kind="expectation", outputs=(name, f"{name}_")))
    return found


@given(declared())
def test_no_two_columns_have_one_name_and_names_go_by_the_model_alone(attributes: list[Attribute]) -> None:
    everything = names(*attributes, ages=(18, 21), landmarks=True, distribution=True)
    assert len(set(everything)) == len(everything)
    for one in attributes:
        assert set(names(*attributes, requested=[one.name])) <= set(everything)
    assert [name for name in everything if name in names(*attributes)] == names(*attributes)


def test_every_value_stands_in_its_own_column(tmp_path: Path) -> None:
    network = ColourNetwork(("glasses", "gender", "bmi", "bmi_distribution", "race"))
    local_model = local(requested(), network=network, attributes=REPEATED)
    predict(folder(tmp_path / "photos", 2), predictor=local_model, out=tmp_path / "faces.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    for index, row in enumerate(rows):
        assert row["face"] == 0
        assert row["model"] == "fake"
        assert row["attribute_face"] in ("round", "long")
        assert row["p_face_round"] + row["p_face_long"] == 1
        assert row["p_gender_other"] + row["p_female"] == 1
        assert row["attribute_model"] == pytest.approx(10 + (60 + index) / 255 * 40, abs=1)
        assert row["attribute_model_low"] is None
        assert 0 < row["p_race_other"] < 1
