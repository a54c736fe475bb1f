"""A model's int8 variant: files and digest of its own, verified as the model's own are; unasked only where nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from service.errors import GoldenMismatch, ModelDamaged, ModelIncompatible, StoreUnreachable
from service.inference.memory import MemoryBudget
from service.models.evaluation import read_evaluation
from service.models.manifest import Manifest, Variant
from service.models.remote import RemoteStore
from service.models.runtime import Network
from service.models.store import GOLDEN, MANIFEST, VARIANT, Model, ModelStore, file_digest
from service.reloading import ModelSource
from service.settings import Settings
from tests.fakes import ColourNetwork, engine_factory
from tests.service.models.test_store import Off, golden, shipped
from training.evaluation.variants import lossless


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


# Where the arithmetic is left to Facet ------------------------------------------------------------------------------------


def left_open(root: Path | ModelStore, int8: Network, digest: str | None = None) -> Model:
    """What is served of the model where `auto` chooses; its own network is one in float32."""
    store = ModelStore(root) if isinstance(root, Path) else root
    own = Loads(ColourNetwork())
    source = ModelSource(store, "colour", None, digest, None, 9, own, own, MemoryBudget(2**30), int8=Loads(int8))
    return source.load(None)


def test_a_variant_that_loses_nothing_is_served_where_it_is_left_open(tmp_path: Path) -> None:
    folder = with_variant(tmp_path, lossless=True)
    model = left_open(tmp_path, Off("age", 0.4, "int8"))
    assert model.networks["faces"].precision == "int8"
    assert model.digest == file_digest(folder.parent / MANIFEST)  # the same model on every CPU


def test_a_variant_that_loses_something_is_served_only_where_it_is_asked_for(tmp_path: Path) -> None:
    with_variant(tmp_path)
    assert left_open(tmp_path, Off("age", 0.0, "int8")).networks["faces"].precision == "f32"


def test_where_int8_is_wrong_the_model_itself_is_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with_variant(tmp_path, lossless=True)
    with caplog.at_level(logging.INFO, "facet"):
        assert left_open(tmp_path, Off("age", 0.6, "int8")).networks["faces"].precision == "f32"
    assert "golden answer in int8. This CPU has no exact int8" in caplog.text


def test_a_pinned_manifest_is_served_without_its_variant(tmp_path: Path) -> None:
    """The manifest has no hash of the variant's files, so that whoever may write into the store could change them."""
    digest = file_digest(with_variant(tmp_path, lossless=True).parent / MANIFEST)
    assert left_open(tmp_path, Off("age", 0.0, "int8"), digest).networks["faces"].precision == "f32"


def test_a_damaged_variant_is_refused_where_it_would_be_served(tmp_path: Path) -> None:
    folder = with_variant(tmp_path, lossless=True)
    (folder / "faces.bin").write_bytes(b"damaged")
    with pytest.raises(ModelDamaged, match="int8 variant of colour/1"):
        left_open(tmp_path, Off("age", 0.0, "int8"))


def test_a_store_without_the_variant_any_more_serves_the_model_itself(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    made = with_variant(tmp_path / "made", lossless=True)
    system.put(str(made.parent), "/lossless/colour/1", recursive=True)
    store = RemoteStore("memory://lossless", tmp_path / "cache")
    try:
        assert left_open(store, Off("age", 0.0, "int8")).networks["faces"].precision == "int8"
        system.rm("/lossless/colour/1/int8", recursive=True)
        assert left_open(store, Off("age", 0.0, "int8")).networks["faces"].precision == "f32"
    finally:
        system.rm("/lossless", recursive=True)


class Unreachable(ModelStore):
    """A store whose address cannot be read just when a variant is asked for."""

    reachable = False

    def variant(self, name: str, version: int | None, precision: str) -> tuple[Variant, str]:
        if not self.reachable:
            raise StoreUnreachable("The model store cannot be read: OSError.")
        return super().variant(name, version, precision)


def test_a_variant_that_cannot_be_fetched_now_is_served_after_the_next_reload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = with_variant(tmp_path, lossless=True)
    store, own, int8 = Unreachable(tmp_path), Loads(ColourNetwork()), Loads(Off("age", 0.0, "int8"))
    source = ModelSource(store, "colour", None, None, None, 9, own, own, MemoryBudget(2**30), int8=int8)
    model = source.load(None)
    assert (model.networks["faces"].precision, model.variant) == ("f32", None)
    assert "The int8 variant of colour is not looked for" in caplog.text
    engine = engine_factory(model.networks["faces"], **model.manifest.model_dump())(Settings())
    served = dataclasses.replace(engine, model=model, source=source)
    assert source.renewed(served, None) is None
    store.reachable = True
    renewed = source.renewed(served, None)
    assert renewed is not None
    assert (renewed.precision, renewed.model.variant) == ("int8", file_digest(folder / VARIANT))
    assert source.renewed(renewed, None) is None


def test_a_variant_that_openvino_cannot_read_is_said_and_the_model_itself_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_variant(tmp_path, lossless=True)
    answers = Off("gender", 0.0, "int4")  # an arithmetic that the variant has no golden answers for
    assert left_open(tmp_path, answers).networks["faces"].precision == "f32"
    assert "colour/1 has no golden answers for int4. The int8 variant of colour is not served" in caplog.text


# Those that ship --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mobilefacenet/1", "mobilenet/5"])
def test_what_makes_an_age_of_a_distribution_is_not_quantised(root: Path, name: str) -> None:
    """Nor are the heads, but every convolution is."""
    folder = root / "model_store" / name / "int8"
    variant = Variant.model_validate_json((folder / VARIANT).read_bytes())
    operations = ov.Core().read_model(str(folder / variant.networks["faces"])).get_ordered_ops()

    def fed_by(node: Any) -> set[str]:
        return {source.get_node().get_type_name() for source in node.input_values()}

    heads = [one for one in operations if one.get_type_name() in ("MatMul", "Softmax", "ReduceSum", "Sigmoid")]
    assert {one.get_type_name() for one in heads} == {"MatMul", "Softmax", "ReduceSum", "Sigmoid"}
    assert [one.get_friendly_name() for one in heads if "FakeQuantize" in fed_by(one)] == []
    convolutions = [one for one in operations if one.get_type_name() in ("Convolution", "GroupConvolution")]
    assert [one.get_friendly_name() for one in convolutions if not {"FakeQuantize", "Pad"} & fed_by(one)] == []


@pytest.mark.parametrize("name", ["mobilefacenet/1", "mobilenet/5"])
def test_a_variant_calls_itself_lossless_by_its_figures(root: Path, name: str) -> None:
    folder = root / "model_store" / name
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    evaluation = read_evaluation(folder)
    assert evaluation is not None
    variant = Variant.model_validate_json((folder / "int8" / VARIANT).read_bytes())
    assert variant.lossless == lossless(manifest, evaluation.variants["int8"]) == (name == "mobilenet/5")


def test_what_was_not_measured_may_have_lost_anything(root: Path) -> None:
    folder = root / "model_store/mobilenet/5"
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    evaluation = read_evaluation(folder)
    assert evaluation is not None
    measured = evaluation.variants["int8"]
    assert not lossless(manifest, measured.model_copy(update={"sets": {}}))
    whole = measured.sets["all"]

    def changed(**figures: float | None) -> bool:
        int8 = whole.figures["int8"].model_copy(update=figures)
        part = whole.model_copy(update={"figures": whole.figures | {"int8": int8}})
        return lossless(manifest, measured.model_copy(update={"sets": measured.sets | {"all": part}}))

    age, race = (whole.figures["f32"].number(key) for key in ("age_mae", "race_accuracy"))
    assert age is not None
    assert race is not None
    assert changed(age_mae=age + 0.019, race_accuracy=race - 0.0009)
    assert not changed(age_mae=age + 0.021)
    assert not changed(race_accuracy=race - 0.0011)
    assert not changed(race_accuracy=None)
