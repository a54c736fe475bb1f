"""A CPU whose bfloat16 is wrong: the golden answers say so, and the service answers in float32."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.app import load_model
from service.errors import GoldenMismatch
from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import ModelStore
from service.settings import Settings


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


def settings(store: Path, precision: Precision) -> Settings:
    return Settings(model_store=store, model="tiny", precision=precision)


def test_where_the_precision_is_left_open_it_serves_in_float32_and_says_so(
    tiny_store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "facet"):
        model = load_model(ModelStore(tiny_store), settings(tiny_store, Precision.AUTO), wrong, exact)
    assert model.networks["faces"].precision == "f32"
    (line,) = (record.getMessage() for record in caplog.records if record.name.startswith("facet"))
    assert "golden answer in bf16" in line
    assert "serving in f32" in line


def test_where_it_is_asked_for_a_wrong_one_is_refused(tiny_store: Path) -> None:
    with pytest.raises(GoldenMismatch, match="in bf16"):
        load_model(ModelStore(tiny_store), settings(tiny_store, Precision.BF16), wrong, exact)


def test_what_is_wrong_in_float32_too_is_refused(tiny_store: Path) -> None:
    with pytest.raises(GoldenMismatch):
        load_model(ModelStore(tiny_store), settings(tiny_store, Precision.AUTO), wrong, wrong)


def test_what_is_right_is_served_as_it_is(tiny_store: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(ModelStore(tiny_store), settings(tiny_store, Precision.AUTO), exact, wrong)
    assert model.networks["faces"].precision == "f32"
    assert not [record for record in caplog.records if record.name.startswith("facet")]
