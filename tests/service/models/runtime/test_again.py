"""A network that is had once more answers as the first one does, to the bit, and is not the first one."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.arrays import Floats, Pixels
from service.errors import ModelIncompatible
from service.models.runtime import Precision, Repeatable, Runtime, again, loader

PLACES = (
    ("centerface/2/int8/faces.xml", Precision.INT8, (1, 96, 128, 3)),
    ("centerface/2/faces", Precision.BF16, (1, 96, 128, 3)),
    ("centerface/2/onet", Precision.F32, (3, 48, 48, 3)),
    ("mtcnn/2/pnet", Precision.F32, (2, 40, 60, 3)),
)


@pytest.mark.parametrize(("place", "precision", "shape"), PLACES)
def test_the_same_network_answers_once_more(root: Path, place: str, precision: Precision, shape: tuple[int, ...]) -> None:
    first = loader(Runtime.OPENVINO, precision, 1)(root / "model_store" / place)
    second = again(first, 1)
    assert second is not first
    assert second.precision == first.precision == precision.value
    assert isinstance(second, Repeatable)
    for side in (1, 2):  # of a network that takes any size, both keep what they have compiled for one
        sized = (shape[0], *(n * side for n in shape[1:3]), 3) if "onet" not in place else shape
        batch: Pixels = np.random.default_rng(side).integers(0, 256, sized, np.uint8)
        expected, found = first(batch), second(batch)
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert np.array_equal(found[name], values), name


def test_it_needs_no_files_and_neither_waits_for_the_other(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "onet"
    shutil.copytree(root / "model_store/centerface/2/onet", copy)
    first = loader(Runtime.OPENVINO, Precision.F32, 2)(copy)
    shutil.rmtree(copy)
    networks = [first, again(first, 1), again(again(first, 1), 2)]
    batch: Pixels = np.full((16, 48, 48, 3), 99, np.uint8)
    expected = first(batch)
    begin = threading.Barrier(len(networks))

    def repeated(index: int) -> list[dict[str, Floats]]:
        begin.wait(20)
        return [networks[index](batch) for _ in range(20)]

    with ThreadPoolExecutor(len(networks)) as pool:
        for answers in pool.map(repeated, range(len(networks))):
            assert all(np.allclose(one[name], values, atol=1e-5) for one in answers for name, values in expected.items())


def test_a_network_of_a_library_with_one_pool_is_its_own_second(root: Path) -> None:
    class Pooled:
        precision = "f32"

        def __call__(self, batch: Pixels) -> dict[str, Floats]:
            return {}

    pooled = Pooled()
    assert again(pooled, 1) is pooled


def test_what_cannot_be_compiled_again_is_a_model_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.models.runtime import openvino

    first = loader(Runtime.OPENVINO, Precision.F32, 1)(root / "model_store/centerface/2/rnet")

    class Refusing:
        def import_model(self, *_: object) -> None:
            raise RuntimeError("Exception from a.cpp:1:\nno room")

    monkeypatch.setattr(openvino, "_CORE", Refusing())
    with pytest.raises(ModelIncompatible, match=r"cannot compile a network again: no room$"):
        again(first, 1)
