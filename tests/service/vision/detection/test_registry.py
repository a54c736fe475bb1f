"""A detector is a file, a manifest, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.arrays import Floats, Pixels
from service.errors import ModelDamaged, ModelIncompatible, ModelNotFound
from service.models.manifest import Manifest
from service.models.runtime import Network, Precision, Runtime, loader
from service.models.store import MANIFEST, ModelStore, write_manifest
from service.vision.detection.centerface import CenterFaceDetector
from service.vision.detection.mtcnn import MtcnnDetector
from service.vision.detection.registry import architectures, load_detector
from service.vision.detection.sharing import SharingDetector
from service.vision.image import decode
from tests.conftest import encoded

LOAD = loader(Runtime.OPENVINO, Precision.F32, 1)

BRIGHTEST = '''
"""The brightest pixel's neighbourhood is the face."""

import numpy as np

from service.vision.detection import Face


class Brightest:
    def __init__(self, side):
        self.side = side

    def detect(self, pixels):
        y, x = np.unravel_index(pixels.sum(axis=2).argmax(), pixels.shape[:2])
        box = np.array([x, y, x + self.side, y + self.side], np.float32)
        landmarks = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.35, 0.7], [0.65, 0.7]], np.float32)
        return [Face(box, landmarks * self.side + box[:2], 0.99)]


def create(networks, min_face_px):
    assert set(networks) == {"pnet", "rnet", "onet"}
    return Brightest(min_face_px)
'''


def store_with(folder: Path, root: Path, architecture: str) -> ModelStore:
    """A store with one detector model, `other/1`, whose networks are MTCNN's."""
    model = folder / "store" / "other" / "1"
    shutil.copytree(root / "model_store/mtcnn/1", model)
    fields = Manifest.model_validate_json((model / MANIFEST).read_text()).model_dump(exclude={"files"})
    write_manifest(model, fields | {"name": "other", "architecture": architecture})
    return ModelStore(folder / "store")


def test_the_shipped_detector_is_found_by_its_manifest(root: Path) -> None:
    assert "mtcnn" in architectures()
    assert "registry" not in architectures()
    found, model = load_detector(ModelStore(root / "model_store"), "mtcnn/1", LOAD, 32)
    assert isinstance(found, MtcnnDetector)
    assert found.min_face == 32
    assert (model.manifest.name, model.manifest.version) == ("mtcnn", 1)


@pytest.mark.parametrize("title", ["mtcnn/", "mtcnn/0", "mtcnn/one", "mtcnn/" + "9" * 5000])
def test_a_title_of_another_form_is_no_detectors(root: Path, title: str) -> None:
    with pytest.raises(ModelNotFound, match="holds no detector"):
        load_detector(ModelStore(root / "model_store"), title, LOAD)


class Claiming:
    """A network that is said to run in another arithmetic."""

    def __init__(self, network: Network, precision: str) -> None:
        self.network, self.precision = network, precision

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        return self.network(batch)


@pytest.mark.parametrize(
    ("title", "precision", "quick"),
    [("mtcnn/2", "bf16", True), ("mtcnn/2", "f32", False), ("mtcnn/1", "bf16", False)],
    ids=["another arithmetic", "the same arithmetic", "no golden answers in it"],
)
def test_networks_in_quick_arithmetic_are_used_where_they_are_verified(
    root: Path, title: str, precision: str, quick: bool
) -> None:
    def rounded(folder: Path) -> Network:
        return Claiming(LOAD(folder), precision)

    found, model = load_detector(ModelStore(root / "model_store"), title, LOAD, quick=rounded)
    assert isinstance(found, MtcnnDetector)
    assert (found.quick_pnet is not None) == quick
    assert (found.pnet, found.rnet, found.onet) == tuple(model.networks.values()), "what is answered is exact"


def test_networks_that_are_wrong_in_quick_arithmetic_are_not_used(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Claiming):
        def __call__(self, batch: Pixels) -> dict[str, Floats]:
            return {name: values + 1 for name, values in super().__call__(batch).items()}

    found, _ = load_detector(ModelStore(root / "model_store"), "mtcnn", LOAD, quick=lambda folder: Wrong(LOAD(folder), "bf16"))
    assert isinstance(found, MtcnnDetector)
    assert found.quick_pnet is None
    assert "f32, which is slower" in caplog.text


def test_faces_are_proposed_by_the_variant_where_it_is_right(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its other networks, which place boxes and landmarks, stay in float32; the digest is the model's own."""
    store = ModelStore(root / "model_store")
    found, model = load_detector(store, "centerface", LOAD, int8=loader(Runtime.OPENVINO, Precision.INT8, 1))
    assert isinstance(found, CenterFaceDetector)
    assert (found.faces.precision, found.rnet.precision, found.onet.precision) == ("int8", "f32", "f32")
    assert model.digest == store.find("centerface", None)[1]
    assert set(model.networks) == {"faces", "rnet", "onet"}
    assert not caplog.messages


def test_those_that_share_the_cpus_are_the_same_detector_again(root: Path) -> None:
    """Of networks of their own, which nothing was read for: of the same answers, in the same arithmetic."""
    store, read = ModelStore(root / "model_store"), list[Path]()

    def recorded(place: Path) -> Network:
        read.append(place)
        return LOAD(place)

    int8 = loader(Runtime.OPENVINO, Precision.INT8, 1)
    found, model = load_detector(store, "centerface", recorded, int8=int8, shared=2)
    assert [place.name for place in read] == ["rnet", "onet"]
    assert isinstance(found, SharingDetector)
    detectors = found.each()
    assert len(detectors) == 3
    pixels = decode((root / "examples/group.jpg").read_bytes(), max_pixels=10**8, side=640).pixels
    expected = detectors[0].detect(pixels)
    assert len(expected) > 1
    for one in detectors[1:]:
        assert isinstance(one, CenterFaceDetector)
        assert (one.faces.precision, one.rnet.precision, one.onet.precision) == ("int8", "f32", "f32")
        assert not {id(one.faces), id(one.rnet), id(one.onet)} & {id(network) for network in model.networks.values()}
        for face, known in zip(one.detect(pixels), expected, strict=True):
            assert np.array_equal(face.box, known.box)
            assert np.array_equal(face.landmarks, known.landmarks)
            assert face.confidence == known.confidence


class Shifted(Claiming):
    """A network whose answers are wrong."""

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        return {name: values + 1 for name, values in super().__call__(batch).items()}


@pytest.mark.parametrize(("quick", "precision"), [(True, "bf16"), (False, "f32")])
def test_a_variant_that_is_wrong_is_replaced_by_the_next_best(
    root: Path, caplog: pytest.LogCaptureFixture, quick: bool, precision: str
) -> None:
    def wrong(place: Path) -> Network:
        return Shifted(loader(Runtime.OPENVINO, Precision.INT8, 1)(place), "int8")

    def rounded(place: Path) -> Network:
        return Claiming(LOAD(place), "bf16")

    store = ModelStore(root / "model_store")
    found, _ = load_detector(store, "centerface", LOAD, quick=rounded if quick else None, int8=wrong)
    assert isinstance(found, CenterFaceDetector)
    assert (found.faces.precision, found.rnet.precision, found.onet.precision) == (precision, "f32", precision)
    assert "slower one" in caplog.text


class Moved(Claiming):
    """A network whose answers in bf16 lie a little from the right ones."""

    def __init__(self, network: Network, by: float) -> None:
        super().__init__(network, "bf16")
        self.by = np.float32(by)

    def __call__(self, batch: Pixels) -> dict[str, Floats]:
        return {name: values + self.by for name, values in super().__call__(batch).items()}


@pytest.mark.parametrize(("by", "precision"), [(0.01, "bf16"), (0.03, "f32")])
def test_landmarks_are_read_in_bf16_where_it_is_right_to_a_fiftieth_of_the_window(
    root: Path, caplog: pytest.LogCaptureFixture, by: float, precision: str
) -> None:
    """The model's own tolerance in bf16 is that of its first network, fifteen times as much."""
    int8 = loader(Runtime.OPENVINO, Precision.INT8, 1)
    store = ModelStore(root / "model_store")
    found, model = load_detector(store, "centerface", LOAD, quick=lambda place: Moved(LOAD(place), by), int8=int8)
    assert isinstance(found, CenterFaceDetector)
    assert (found.faces.precision, found.rnet.precision, found.onet.precision) == ("int8", "f32", precision)
    assert set(model.networks) == {"faces", "rnet", "onet"}
    assert ("of centerface/2 is 0.03 from its golden answer in bf16" in caplog.text) == (precision == "f32")


def test_bf16_moves_a_face_by_less_than_a_hundredth_of_its_side(root: Path) -> None:
    """Wherever the CPU multiplies it, or the library rounds as if it did."""
    store = ModelStore(root / "model_store")
    exact, _ = load_detector(store, "centerface", LOAD)
    quick, _ = load_detector(store, "centerface", LOAD, quick=loader(Runtime.OPENVINO, Precision.BF16, 1))
    assert isinstance(exact, CenterFaceDetector)
    assert isinstance(quick, CenterFaceDetector)
    if quick.onet.precision != "bf16":
        pytest.skip("this CPU has no bf16, or is wrong in it")
    quick = replace(quick, faces=exact.faces)  # O-Net alone differs
    for name in ("astronaut", "group"):
        pixels = decode((root / f"examples/{name}.jpg").read_bytes(), max_pixels=10**8, side=1280).pixels
        before, after = exact.detect(pixels), quick.detect(pixels)
        assert len(before) == len(after) > 0
        for one, other in zip(before, after, strict=True):
            side = float(np.max(one.box[2:] - one.box[:2]))
            assert np.abs(one.box - other.box).max() < 0.01 * side
            assert np.abs(one.landmarks - other.landmarks).max() < 0.01 * side
            assert abs(one.confidence - other.confidence) < 0.01


@pytest.mark.parametrize("title", ["centerface", "mtcnn"])
def test_a_detector_without_a_variant_is_served_without(root: Path, tmp_path: Path, title: str) -> None:
    shutil.copytree(root / "model_store" / title / "2", tmp_path / title / "2", ignore=shutil.ignore_patterns("int8"))
    found, model = load_detector(ModelStore(tmp_path), title, LOAD, int8=loader(Runtime.OPENVINO, Precision.INT8, 1))
    assert {network.precision for network in model.networks.values()} == {"f32"}
    assert found.detect(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_variant_that_was_changed_is_refused(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "model_store/centerface", tmp_path / "centerface")
    with (tmp_path / "centerface/2/int8/faces.bin").open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(ModelDamaged):
        load_detector(ModelStore(tmp_path), "centerface", LOAD, int8=loader(Runtime.OPENVINO, Precision.INT8, 1))


def test_an_architecture_that_no_file_has_is_refused_with_those_that_are_there(tmp_path: Path, root: Path) -> None:
    with pytest.raises(ModelIncompatible, match=r"architecture 'brightest' of other/1; there is: .*mtcnn"):
        load_detector(store_with(tmp_path, root, "brightest"), "other", LOAD)


def test_a_version_that_is_not_there_is_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(ModelNotFound, match="other/2"):
        load_detector(store_with(tmp_path, root, "mtcnn"), "other/2", LOAD)


@pytest.mark.model
def test_a_detector_is_served_by_a_file_a_manifest_and_a_setting(tmp_path: Path, root: Path) -> None:
    """The command of a copy of the service, with a file more in its folder of detectors."""
    shutil.copytree(root / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "service/vision/detection/brightest.py").write_text(BRIGHTEST)
    store = store_with(tmp_path, root, "brightest").root
    shutil.copytree(root / "model_store/mobilenet", store / "mobilenet")
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[30:70, 50:90] = 200
    (tmp_path / "picture.png").write_bytes(encoded(picture))
    settings = {"FACET_MODEL_STORE": str(store), "FACET_DETECTOR": "other", "FACET_MIN_FACE_PX": "40"}
    command = [sys.executable, "-m", "service.cli", "predict", "--json", "--attributes", "age", "picture.png"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (face,) = json.loads(done.stdout)["faces"]
    assert face["box"] == {"x": 50, "y": 30, "width": 40, "height": 40}
    assert "age" in face
