"""A model's int8 variant: files and digest of its own, verified as the model's own are, and never served unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.errors import GoldenMismatch, ModelDamaged, ModelIncompatible
from service.models.manifest import Variant
from service.models.remote import RemoteStore
from service.models.runtime import Network, Precision
from service.models.store import GOLDEN, MANIFEST, VARIANT, Model, ModelStore, file_digest
from service.settings import Settings
from tests.fakes import ColourNetwork
from tests.service.models.test_store import Off, golden, shipped

CPU = Path("/proc/cpuinfo")
VNNI = CPU.is_file() and "_vnni" in CPU.read_text()
"""Whether the CPU sums products of bytes exactly; on others the golden answers refuse the variant."""


def with_variant(root: Path, **changes: Any) -> Path:
    """A model in a store, with an int8 variant; returns the variant's folder."""
    model = shipped(root)
    folder = model / "int8"
    folder.mkdir()
    (folder / "faces.xml").write_text("graph")
    (folder / "faces.bin").write_bytes(b"weights")
    np.savez(folder / GOLDEN, **golden())
    fields = {
        "name": "colour",
        "version": 1,
        "precision": "int8",
        "manifest": file_digest(model / MANIFEST),
        "created": "2026-01-01",
        "made_by": "hand",
        "calibrated_on": ["nothing"],
        "pictures": 1,
        "networks": {"faces": "faces.xml"},
        "tolerance": {"expectation": 0.5, "other": 0.02},
        "files": {name: file_digest(folder / name) for name in ("faces.xml", "faces.bin", GOLDEN)},
    }
    (folder / VARIANT).write_text(json.dumps(fields | changes))
    return folder


class Loads:
    """A loader that remembers what it was given."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.places: list[Path] = []

    def __call__(self, place: Path) -> Network:
        self.places.append(place)
        return self.network


def load(root: Path, network: Network | None = None, **options: Any) -> Model:
    given = network or Off("age", 0.0, "int8")
    return ModelStore(root).load("colour", 1, Loads(given), variant="int8", **options)


# What is served ---------------------------------------------------------------------------------------------------------


def test_a_variant_has_the_digest_of_its_own_document(tmp_path: Path) -> None:
    folder = with_variant(tmp_path)
    model = load(tmp_path, digest=file_digest(folder / VARIANT))
    assert model.digest == file_digest(folder / VARIANT) == ModelStore(tmp_path).find("colour", 1, "int8")[1]
    assert model.networks["faces"].precision == "int8"
    assert ModelStore(tmp_path).variants(model.manifest) == {"int8": 12 + (folder / GOLDEN).stat().st_size}


def test_the_model_itself_stays_what_it_was(tmp_path: Path) -> None:
    """What operators pinned before there was a variant is served on, and the variant is no part of it."""
    folder = with_variant(tmp_path)
    digest = file_digest(folder.parent / MANIFEST)
    (folder / "faces.bin").write_bytes(b"damaged")
    loads = Loads(ColourNetwork())
    assert ModelStore(tmp_path).load("colour", 1, loads, digest=digest).digest == digest
    assert loads.places == [folder.parent]
    with pytest.raises(ModelDamaged, match="int8 variant of colour/1 is not the pinned one"):
        load(tmp_path, digest=digest)


# What is refused --------------------------------------------------------------------------------------------------------


def test_a_model_without_the_variant_is_refused(tmp_path: Path) -> None:
    shipped(tmp_path)
    with pytest.raises(ModelIncompatible, match="colour/1 has no int8 variant"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("faces.bin", None, r"lacks faces\.bin"),
        ("faces.xml", b"another", r"hash of faces\.xml"),
        (GOLDEN, b"another", r"hash of golden\.npz"),
        ("more.bin", b"code", r"does not list: more\.bin"),
        (VARIANT, b"{}", "not the document of a variant"),
    ],
)
def test_a_damaged_variant_is_refused_before_it_is_loaded(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = with_variant(tmp_path) / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    loads = Loads(Off("age", 0.0, "int8"))
    with pytest.raises(ModelDamaged, match=reason):
        ModelStore(tmp_path).load("colour", 1, loads, variant="int8")
    assert loads.places == []


@pytest.mark.parametrize(
    "changes",
    [{"manifest": "0" * 64}, {"version": 2}, {"name": "other"}, {"networks": {"faces": "../saved_model.xml"}}],
    ids=["another manifest", "another version", "another model", "a network outside"],
)
def test_the_variant_of_another_model_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with_variant(tmp_path, **changes)
    with pytest.raises(ModelDamaged, match="int8 variant of colour/1"):
        load(tmp_path)


@pytest.mark.parametrize(("by", "right"), [(0.4, True), (0.6, False)])
def test_a_variant_is_held_to_golden_answers_of_its_own(tmp_path: Path, by: float, right: bool) -> None:
    with_variant(tmp_path)
    if right:
        assert load(tmp_path, Off("age", by, "int8")).networks
    else:
        with pytest.raises(GoldenMismatch, match="in int8"):
            load(tmp_path, Off("age", by, "int8"))


# Copies -----------------------------------------------------------------------------------------------------------------


def test_a_variant_is_copied_out_of_a_store_that_gains_one(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    made = with_variant(tmp_path / "made")
    system.put(str(made.parent), "/variants/colour/1", recursive=True)
    store = RemoteStore("memory://variants", tmp_path / "cache")
    copy = tmp_path / "cache/colour/1/int8"
    try:
        store.load("colour", 1, Loads(ColourNetwork()))
        assert not copy.exists()
        model = store.load("colour", 1, Loads(Off("age", 0.0, "int8")), variant="int8")
        assert model.digest == file_digest(made / VARIANT)
        (copy / "faces.bin").write_bytes(b"damaged")
        assert store.find("colour", 1, "int8")[1] == model.digest
        assert (copy / "faces.bin").read_bytes() == b"weights"
    finally:
        system.rm("/variants", recursive=True)


# Those that ship --------------------------------------------------------------------------------------------------------


def shipped_variants() -> list[Path]:
    return sorted((Settings().model_store).glob("*/*/int8"))


@pytest.mark.parametrize("folder", shipped_variants(), ids=lambda path: "/".join(path.parts[-3:-1]))
def test_what_makes_an_age_of_a_distribution_is_not_quantised(folder: Path) -> None:
    """Nor the heads: nothing behind the last convolution is, and every convolution has inputs that are."""
    export = pytest.importorskip("training.export.quantization")
    variant = Variant.model_validate_json((folder / VARIANT).read_bytes())
    model = ov.Core().read_model(str(folder / variant.networks["faces"]))
    behind = set(export.behind_convolutions(model))
    operations = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    kinds = {operations[name].get_type_name() for name in behind}
    assert {"Softmax", "MatMul", "ReduceSum"} <= kinds
    assert "FakeQuantize" not in kinds
    convolutions = [node for node in operations.values() if node.get_type_name() in export.CONVOLUTIONS]
    inputs = [node.input_value(0).get_node() for node in convolutions]
    before = [node.input_value(0).get_node() if node.get_type_name() == "Pad" else node for node in inputs]
    quantised = [node for node in before if node.get_type_name() == "FakeQuantize"]
    assert len(quantised) > 0.9 * len(convolutions)


@pytest.mark.skipif(not VNNI, reason="this CPU does not sum products of bytes exactly")
def test_int8_is_served_where_it_is_asked_for(root: Path, tmp_path: Path) -> None:
    for name in ("mobilenet/3", "mtcnn/2"):
        shutil.copytree(root / "model_store" / name, tmp_path / name)
    settings = Settings(model_store=tmp_path, precision=Precision.INT8, threads=1, workers=1)
    with TestClient(create_app(settings)) as client:
        card, metrics = client.get("/model").json(), client.get("/metrics").text
    digest = file_digest(tmp_path / "mobilenet/3/int8" / VARIANT)
    assert (card["serving"]["precision"], card["digest"]) == ("int8", digest)
    figures = card["evaluation"]["variants"]["int8"]["sets"]["all"]["figures"]
    assert abs(figures["int8"]["age_mae"] - figures["f32"]["age_mae"]) < 0.1
    (line,) = (line for line in metrics.splitlines() if line.startswith("facet_model_info{"))
    assert f'digest="{digest[:12]}"' in line
    assert 'precision="int8"' in line
