"""The table's columns: each has a name of its own, or there is no table."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import InvalidParameter
from service.models.manifest import Attribute
from service.offline.table import columns


def labels(name: str, *names: str) -> Attribute:
    fields: dict[str, Any] = {"name": name, "kind": "labels", "labels": names, "outputs": [name]}
    return Attribute.model_validate(fields)


@pytest.mark.parametrize(
    "attributes",
    [
        [labels("face", "round", "long")],
        [labels("model", "a", "b")],
        [labels("brightness", "low", "high")],
        [labels("gender", "female", "other"), labels("race", "white", "other")],
    ],
    ids=["face", "model", "brightness", "other-twice"],
)
def test_a_name_that_would_stand_twice_is_refused(attributes: list[Attribute]) -> None:
    with pytest.raises(InvalidParameter, match="two columns"):
        columns(attributes)


def test_a_label_that_two_attributes_share_has_a_column_for_each() -> None:
    names = [column.name for column in columns([labels("glasses", "no", "yes"), labels("hat", "no", "yes")])]
    assert {"p_glasses_no", "p_hat_no"} <= set(names)
    assert len(names) == len(set(names))
