"""A model is served only if it is exactly the one that was shipped; whatever is wrong with it has a name."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.errors import GoldenMismatch, ModelDamaged, ModelError, ModelIncompatible, ModelNotFound
from service.inference.attributes import CONTRACT, describe
from service.models.manifest import Manifest
from service.models.runtime import Network
from service.models.store import GOLDEN, MANIFEST, Model, ModelStore, file_digest, write_manifest
from tests.fakes import CROP, TEMPLATE, ColourNetwork

OUTPUTS = ("age", "age_distribution", "gender", "race")
AGE = {"name": "age", "kind": "expectation", "outputs": ["age"]}
ENDLESS = {"coverage": 0.8, "unit": "years", "bands": [{"below": math.inf, "low": -5, "high": 5}]}


class Loads:
    """A loader of `ColourNetwork`; remembers the folders that it was given."""

    def __init__(self, network: Network | None = None) -> None:
        self.network = network
        self.folders: list[Path] = []

    def __call__(self, folder: Path) -> Network:
        self.folders.append(folder)
        outputs = tuple((folder / "saved_model.pb").read_text().split())
        return self.network or ColourNetwork(outputs)


class Off(ColourNetwork):
    """Answers that lie beside the golden ones."""

    def __init__(self, name: str, by: float, precision: str = "f32") -> None:
        super().__init__()
        self.name, self.by, self.precision = name, by, precision

    def __call__(self, batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        answers = super().__call__(batch)
        return answers | {self.name: answers[self.name] + np.float32(self.by)}


def golden(outputs: tuple[str, ...] = OUTPUTS, size: int = CROP) -> dict[str, npt.NDArray[Any]]:
    """Golden crops and the answers of `ColourNetwork`."""
    crops = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    answers = ColourNetwork(outputs)(crops)
    return {"faces/input": crops, **{f"faces/{name}": value for name, value in answers.items()}}


def shipped(root: Path, name: str = "colour", version: int = 1, outputs: tuple[str, ...] = OUTPUTS, **changes: Any) -> Path:
    """A model of the store whose SavedModel is a list of its outputs; returns its folder."""
    folder = root / name / str(version)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(" ".join(outputs))
    (folder / "variables/variables.index").write_bytes(b"index")
    arrays = changes.pop("golden", None) or golden(outputs)
    np.savez(folder / GOLDEN, **arrays)
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "kind": "attributes",
        "architecture": "mean colour",
        "created": "2026-01-01",
        "licence": "none",
        "trained_on": ["nothing"],
        "networks": {"faces": "."},
        "input": {"size": CROP, "template": TEMPLATE},
        "outputs": outputs,
        "tolerance": {"f32": {"age": 0.05, "other": 0.005}, "bf16": {"age": 1.0, "other": 0.05}},
    }
    write_manifest(folder, fields | changes)
    return folder


def edited(folder: Path, **changes: Any) -> None:
    """Change fields of the manifest, by hand."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def load(
    root: Path, *, name: str = "colour", version: int | None = None, network: Network | None = None, **options: Any
) -> Model:
    return ModelStore(root).load(name, version, Loads(network), **options)


# What is served ---------------------------------------------------------------------------------------------------------


def test_a_model_as_it_was_shipped_is_served(tmp_path: Path) -> None:
    folder = shipped(tmp_path)
    model = load(tmp_path)
    assert (model.manifest.name, model.manifest.version) == ("colour", 1)
    assert set(model.networks) == {"faces"}
    assert model.digest == file_digest(folder / MANIFEST)
    assert [attribute.name for attribute in model.manifest.attributes] == ["age", "gender", "race"]


def test_the_newest_version_is_served_where_none_is_named(tmp_path: Path) -> None:
    for version in (2, 10, 9):
        shipped(tmp_path, version=version)
    (tmp_path / "colour/11.tmp").mkdir()
    (tmp_path / "colour/12").write_text("a file")
    store = ModelStore(tmp_path)
    assert store.versions("colour") == [2, 9, 10]
    assert load(tmp_path).manifest.version == 10
    assert load(tmp_path, version=9).manifest.version == 9


def test_a_version_that_is_being_written_is_not_the_newest(tmp_path: Path) -> None:
    """Its manifest comes last."""
    shipped(tmp_path, version=1)
    (shipped(tmp_path, version=2) / MANIFEST).unlink()
    assert load(tmp_path).manifest.version == 1
    with pytest.raises(ModelNotFound, match="colour/2"):
        load(tmp_path, version=2)


@pytest.mark.parametrize(
    ("outputs", "present"),
    [
        (("age",), {"age"}),
        (("age", "age_distribution"), {"age"}),
        (("gender",), {"gender"}),
        (("race", "gender"), {"gender", "race"}),
    ],
)
def test_a_model_with_fewer_outputs_is_served_and_says_less(
    tmp_path: Path, outputs: tuple[str, ...], present: set[str]
) -> None:
    shipped(tmp_path, outputs=outputs)
    model = load(tmp_path)
    answer = model.networks["faces"](golden()["faces/input"][:1])
    person = describe({name: value[0] for name, value in answer.items()}, model.manifest, CONTRACT)
    assert set(person) == present


def test_a_network_in_a_folder_of_its_own_is_found(tmp_path: Path) -> None:
    folder = shipped(tmp_path)
    (folder / "net").mkdir()
    shutil.move(folder / "saved_model.pb", folder / "net/saved_model.pb")
    fields = json.loads((folder / MANIFEST).read_text()) | {"networks": {"faces": "net"}}
    write_manifest(folder, fields)
    loads = Loads()
    ModelStore(tmp_path).load("colour", 1, loads)
    assert loads.folders == [folder / "net"]


def test_a_readme_beside_it_does_no_harm(tmp_path: Path) -> None:
    (shipped(tmp_path) / "README.md").write_text("a model")
    load(tmp_path)


def test_the_pinned_digest_is_that_of_the_manifest(tmp_path: Path) -> None:
    folder = shipped(tmp_path)
    digest = file_digest(folder / MANIFEST)
    load(tmp_path, digest=digest)
    load(tmp_path, digest=digest.upper())
    with pytest.raises(ModelDamaged, match="pinned"):
        load(tmp_path, digest="0" * 64)
    edited(folder, licence="anything goes")
    with pytest.raises(ModelDamaged, match="pinned"):
        load(tmp_path, digest=digest)


def test_the_store_lists_what_it_holds(tmp_path: Path) -> None:
    shipped(tmp_path, "alpha", 2)
    shipped(tmp_path, "alpha", 1)
    shipped(tmp_path, "beta", 7)
    (tmp_path / "notes.txt").write_text("not a model")
    (tmp_path / "empty").mkdir()
    assert [(one.name, one.version) for one in ModelStore(tmp_path).manifests()] == [("alpha", 1), ("alpha", 2), ("beta", 7)]
    assert list(ModelStore(tmp_path / "nowhere").manifests()) == []


def test_an_unreadable_manifest_does_not_hide_the_others(tmp_path: Path) -> None:
    (shipped(tmp_path, "alpha") / MANIFEST).write_text("{")
    (shipped(tmp_path, "beta") / MANIFEST).unlink()
    shipped(tmp_path, "gamma")
    assert [one.name for one in ModelStore(tmp_path).manifests()] == ["gamma"]


class Volume(ModelStore):
    """A store at the root of a volume, whose own folder is root's alone."""

    def versions(self, name: str) -> list[int]:
        if name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return super().versions(name)


def test_a_closed_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    shipped(tmp_path, "alpha")
    assert [one.name for one in Volume(tmp_path).manifests()] == ["alpha"]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    folder = shipped(tmp_path)
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    assert set(manifest.files) == {"saved_model.pb", "variables/variables.index", GOLDEN}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in manifest.files.values())


# What is not there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing", "../colour", "..", "", "a/b", "/etc", "colour/1", ".", "colour\x00"])
@pytest.mark.parametrize("version", [None, 1])
def test_a_name_that_is_none_is_not_found(tmp_path: Path, name: str, version: int | None) -> None:
    shipped(tmp_path / "store")
    shipped(tmp_path)  # what "../colour" would reach
    with pytest.raises(ModelNotFound):
        load(tmp_path / "store", name=name, version=version)


def test_a_version_that_is_none_is_not_found(tmp_path: Path) -> None:
    shipped(tmp_path)
    with pytest.raises(ModelNotFound, match="colour/2"):
        load(tmp_path, version=2)


def test_a_store_that_is_none_has_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        load(tmp_path / "nowhere")


# What is not right ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", GOLDEN])
def test_a_changed_file_is_refused_before_it_is_loaded(tmp_path: Path, name: str) -> None:
    path = shipped(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    loads = Loads()
    with pytest.raises(ModelDamaged, match=re.escape(name)):
        ModelStore(tmp_path).load("colour", 1, loads)
    assert loads.folders == []


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", GOLDEN])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    (shipped(tmp_path) / name).unlink()
    with pytest.raises(ModelDamaged, match=re.escape(name)):
        load(tmp_path)


@pytest.mark.parametrize("name", ["extra.pb", "variables/more", "assets/words.txt", "variables/model.json", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(tmp_path: Path, name: str) -> None:
    path = shipped(tmp_path) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("code")
    with pytest.raises(ModelDamaged, match=re.escape(name)):
        load(tmp_path)


def test_a_network_outside_the_model_is_refused(tmp_path: Path) -> None:
    other = shipped(tmp_path, "other")
    folder = shipped(tmp_path)
    edited(folder, networks={"faces": "../../other/1"})
    with pytest.raises(ModelDamaged):
        load(tmp_path)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edited(folder, files=files | {"../../other/1/saved_model.pb": file_digest(other / "saved_model.pb")})
    with pytest.raises(ModelDamaged):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "name"),
        ('{"model": "of another program"}', "required"),
    ],
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (shipped(tmp_path) / MANIFEST).write_text(content)
    with pytest.raises(ModelIncompatible, match=complaint):
        load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"name": "other"},
        {"kind": "poem"},
        {"input": {"size": 4, "template": TEMPLATE}},
        {"input": {"size": CROP, "template": TEMPLATE[:4]}},
        {"input": {"size": CROP, "template": TEMPLATE, "color": "BGR"}},
        {"input": None},
        {"outputs": []},
        {"outputs": ["age", "mood"]},
        {"networks": {"eyes": "."}},
        {"calibration": {"gender_temperature": 0}},
        {"calibration": {"age_interval": {"coverage": 1.5, "unit": "years", "bands": []}}},
        {"unknown": 1},
    ],
)
def test_a_manifest_that_says_something_else_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    edited(shipped(tmp_path), **changes)
    with pytest.raises(ModelIncompatible):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"attributes": [AGE | {"calibration": {"threshold": math.nan}}]}, "calibration.threshold: .* finite number"),
        ({"attributes": [AGE | {"calibration": {"interval": ENDLESS}}]}, "bands.0.below: .* finite number"),
        (
            {"input": {"size": CROP, "template": [[38.3, 51.7], *TEMPLATE[1:]]}},
            "input.template.0.0: .* less than or equal to 2",
        ),
        ({"input": {"size": CROP, "template": [TEMPLATE[0]] * 5}}, "the points of the template are all one"),
        ({"attributes": [AGE | {"kind": "labels", "labels": ["young", "old"]}]}, "'age' is an expectation, in years"),
        ({"attributes": [AGE | {"name": "race"}]}, "'race' is one of labels"),
    ],
)
def test_a_manifest_by_which_nothing_could_be_answered_is_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    edited(shipped(tmp_path), **changes)
    with pytest.raises(ModelIncompatible, match=complaint):
        load(tmp_path)


def test_a_detector_is_no_attribute_model_nor_the_other_way_round(tmp_path: Path, root: Path) -> None:
    shipped(tmp_path)
    with pytest.raises(ModelIncompatible, match="kind"):
        load(tmp_path, kind="detector")
    with pytest.raises(ModelIncompatible, match="kind"):
        load(root / "model_store", name="mtcnn")


# What answers otherwise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "by"), [("age", 0.06), ("gender", 0.006), ("race", -0.006), ("age_distribution", 0.01)])
def test_an_answer_beside_the_golden_one_is_refused(tmp_path: Path, name: str, by: float) -> None:
    shipped(tmp_path)
    with pytest.raises(GoldenMismatch, match=name):
        load(tmp_path, network=Off(name, by))


@pytest.mark.parametrize(("name", "by"), [("age", 0.04), ("gender", 0.004)])
def test_an_answer_within_the_tolerance_is_served(tmp_path: Path, name: str, by: float) -> None:
    shipped(tmp_path)
    load(tmp_path, network=Off(name, by))


def test_the_tolerance_is_that_of_the_precision(tmp_path: Path) -> None:
    shipped(tmp_path)
    load(tmp_path, network=Off("age", 0.9, "bf16"))
    with pytest.raises(GoldenMismatch, match="bf16"):
        load(tmp_path, network=Off("age", 1.1, "bf16"))
    with pytest.raises(ModelIncompatible, match="f16"):
        load(tmp_path, network=Off("age", 0, "f16"))


def test_an_answer_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    shipped(tmp_path)
    with pytest.raises(GoldenMismatch):
        load(tmp_path, network=Off("age", np.nan))


def test_colours_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    class Swapped(ColourNetwork):
        def __call__(self, batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
            return super().__call__(batch[..., ::-1])

    shipped(tmp_path)
    with pytest.raises(GoldenMismatch):
        load(tmp_path, network=Swapped())


@pytest.mark.parametrize("outputs", [("age",), ("age", "gender", "race")])
def test_outputs_other_than_the_manifests_are_refused(tmp_path: Path, outputs: tuple[str, ...]) -> None:
    shipped(tmp_path)
    with pytest.raises(ModelIncompatible):
        load(tmp_path, network=ColourNetwork(outputs))


def test_golden_answers_for_fewer_outputs_are_refused(tmp_path: Path) -> None:
    """Or an output would go unchecked."""
    shipped(tmp_path, golden=golden(("age", "age_distribution", "gender")))
    with pytest.raises(ModelIncompatible):
        load(tmp_path)


def test_golden_crops_of_no_face_are_refused(tmp_path: Path) -> None:
    """Or any network would pass."""
    shipped(tmp_path, golden={name: values[:0] for name, values in golden().items()})
    with pytest.raises(ModelIncompatible, match="is empty"):
        load(tmp_path)


def test_no_golden_crops_are_refused(tmp_path: Path) -> None:
    shipped(tmp_path, golden={"faces/age": np.zeros(3, np.float32)})
    with pytest.raises(ModelIncompatible):
        load(tmp_path)


def test_an_output_of_another_shape_is_refused(tmp_path: Path) -> None:
    arrays = golden()
    shipped(tmp_path, golden=arrays | {"faces/race": arrays["faces/race"][:, :4]})
    with pytest.raises(ModelIncompatible, match="race"):
        load(tmp_path)


def test_labels_that_do_not_fit_the_outputs_are_refused(tmp_path: Path) -> None:
    shipped(tmp_path, races=("white", "black", "asian", "indian"))
    with pytest.raises(ModelIncompatible, match="race"):
        load(tmp_path)


def test_golden_crops_of_another_size_than_the_input_are_refused(tmp_path: Path) -> None:
    shipped(tmp_path, golden=golden(size=CROP + 8))
    with pytest.raises(ModelIncompatible, match="size"):
        load(tmp_path)


def test_a_network_that_fails_on_the_golden_crops_is_refused(tmp_path: Path) -> None:
    class Failing(ColourNetwork):
        def __call__(self, batch: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
            raise RuntimeError("Check 'false' failed at src/inference/src/cpp/infer_request.cpp:79")

    shipped(tmp_path)
    with pytest.raises(ModelIncompatible) as caught:
        load(tmp_path, network=Failing())
    assert "infer_request" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(100), b"an array"])
def test_golden_answers_that_are_no_archive_are_refused(tmp_path: Path, content: bytes) -> None:
    folder = shipped(tmp_path)
    (folder / GOLDEN).write_bytes(content)
    if content == b"an array":
        with (folder / GOLDEN).open("wb") as file:
            np.save(file, np.zeros(3))
    edited(folder, files=json.loads((folder / MANIFEST).read_text())["files"] | {GOLDEN: file_digest(folder / GOLDEN)})
    with pytest.raises(ModelDamaged, match=re.escape(GOLDEN)):
        load(tmp_path)


def test_golden_answers_run_no_code(tmp_path: Path) -> None:
    """A pickled object in the archive is a program."""
    shipped(tmp_path, golden=golden() | {"faces/age": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(ModelError):
        load(tmp_path)


# The models of the checkout ---------------------------------------------------------------------------------------------


def test_the_shipped_detector_is_whole(root: Path, mtcnn_networks: dict[str, Network]) -> None:
    assert set(mtcnn_networks) == {"pnet", "rnet", "onet"}
    manifest = next(one for one in ModelStore(root / "model_store").manifests() if one.name == "mtcnn")
    assert manifest.kind == "detector"


def test_every_shipped_model_names_its_licence_data_and_labels(root: Path) -> None:
    for manifest in ModelStore(root / "model_store").manifests():
        assert manifest.licence
        assert manifest.trained_on
        named = {attribute.name: attribute.labels for attribute in manifest.attributes}
        expected = {"age": (), "gender": ("male", "female"), "race": ("white", "black", "asian", "indian", "other")}
        assert named == (expected if manifest.kind == "attributes" else {})
        assert set(manifest.tolerance) <= {"f32", "bf16", "f16"}
        assert manifest.tolerance["f32"].expectation <= 0.05
        assert manifest.tolerance["f32"].other <= 0.005
