"""A CPU whose bfloat16 is wrong: the golden answers say so, and the service answers in float32."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.errors import GoldenMismatch
from service.inference.memory import MemoryBudget
from service.models.runtime import Loader, Network, Precision, Runtime, loader
from service.models.store import Model, ModelStore
from service.reloading import ModelSource


class Wrong:
    """A network whose quick arithmetic loses a year."""

    precision = "bf16"

    def __init__(self, exact: Network) -> None:
        self._exact = exact

    def __call__(self, batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        outputs = self._exact(batch)
        return {name: values + np.float32(9) if name == "age" else values for name, values in outputs.items()}


def exact(folder: Path) -> Network:
    return loader(Runtime.OPENVINO, Precision.F32, 1)(folder)


def wrong(folder: Path) -> Network:
    return Wrong(exact(folder))


def loaded(store: Path, quick: Loader, slow: Loader | None) -> Model:
    """The model as the service loads it; `slow` is None where a precision is asked for."""
    return ModelSource(ModelStore(store), "tiny", None, None, None, 100, quick, slow, MemoryBudget(2**30)).load(None)


def test_where_the_precision_is_left_open_it_serves_in_float32_and_says_so(
    tiny_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "facet"):
        model = loaded(tiny_store, wrong, exact)
    assert model.networks["faces"].precision == "f32"
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("facet"))
    assert "golden answer in bf16" in line
    assert "serving in f32" in line


def test_where_it_is_asked_for_a_wrong_one_is_refused(tiny_store: Path) -> None:
    with pytest.raises(GoldenMismatch, match="in bf16"):
        loaded(tiny_store, wrong, None)


def test_what_is_wrong_in_float32_too_is_refused(tiny_store: Path) -> None:
    with pytest.raises(GoldenMismatch):
        loaded(tiny_store, wrong, wrong)


def test_what_is_right_is_served_as_it_is(tiny_store: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = loaded(tiny_store, exact, wrong)
    assert model.networks["faces"].precision == "f32"
    assert not [record for record in caplog.records if record.name.startswith("facet")]
