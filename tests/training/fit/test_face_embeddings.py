"""Descriptors: each face's own, none of test, and a network that learns to give them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from tests.conftest import encoded
from tests.fakes import TEMPLATE, SquareDetector
from tests.training import made
from training.datasets.base import Split
from training.datasets.prepare import prepare
from training.datasets.prepared import load_prepared
from training.errors import DataSetError, TrainingError
from training.fit import face_embeddings as module
from training.fit.face_embeddings import LENGTH, Item, standardised, write_embeddings
from training.fit.train import train
from training.models.heads import EMBEDDING, build

pytestmark = pytest.mark.usefixtures("architecture")
LABELS = b"file,age,split\na.png,30,train\n"


def corner(items: list[Item]) -> npt.NDArray[np.float32]:
    """A descriptor that is nothing but the box's upper left corner."""
    values = np.zeros((len(items), LENGTH), np.float32)
    for row, (data, box) in enumerate(items):
        assert data[:4] == bytes([0x89]) + b"PNG"
        values[row, :2] = box[:2]
    return values


def test_each_face_has_its_own_and_those_of_test_none(tmp_path: Path) -> None:
    places = {Split.TRAIN: (20, 30), Split.VALIDATION: (30, 20), Split.TEST: (24, 24)}
    files = [(made.names(split, 1)[0], encoded(made.square_picture(*place))) for split, place in places.items()]
    source = made.folder_of(tmp_path / "UTKFace", files)
    prepare([source], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1)
    write_embeddings([source], tmp_path / "out", 1, corner)
    (train, validation, test) = (load_prepared(tmp_path / "out", split, embeddings=True).embedding for split in places)
    assert train is not None
    assert validation is not None
    assert test is not None
    # Of one face of train the mean is itself; validation's lies 10 to the right of it and 10 above.
    assert not train.any()
    np.testing.assert_allclose(validation[0, :2], np.array([1, -1]) / np.sqrt(2), atol=1e-3)
    assert not test.any()


def test_sets_are_those_that_were_prepared(tmp_path: Path) -> None:
    """Of others every embedding would be zero, and of one alone those of the other would go."""
    picture = encoded(made.square_picture(20, 30))
    sets = [made.folder_of(tmp_path / name, [("a.png", picture), ("labels.csv", LABELS)]) for name in ("club", "team", "crowd")]
    prepare(
        sets[:2], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1, template=np.array(TEMPLATE, np.float32)
    )
    for given, message in (([sets[0]], "holds faces of team, too: name it with --data"), (sets, "comes from crowd")):
        with pytest.raises(DataSetError, match=message):
            write_embeddings(given, tmp_path / "out", 1, corner)
    assert write_embeddings(sets[:2], tmp_path / "out", 1, corner).exists()


def test_pictures_are_read_as_they_are_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a set's files were in memory before the first was embedded."""
    monkeypatch.setattr(module, "CHUNK", 2)
    files = [(name, encoded(made.square_picture(20, 30))) for name in made.names(Split.TRAIN, 6)]
    source = made.folder_of(tmp_path / "UTKFace", files)
    prepare([source], tmp_path / "out", SquareDetector(), size=48, side=1280, workers=1)
    chunks: list[int] = []

    def embed(items: list[Item]) -> npt.NDArray[np.float32]:
        if not chunks:
            for path in list(source.iterdir()):
                path.unlink()  # what is read later is not there
        chunks.append(len(items))
        return corner(items)

    with pytest.raises(FileNotFoundError):
        write_embeddings([source], tmp_path / "out", 1, embed)
    assert chunks == [2]


def test_what_all_have_in_common_is_taken_out() -> None:
    random = np.random.default_rng(0)
    given = random.normal([50, -20, 0], [1, 10, 0.1], (400, 3)).astype(np.float32)
    given[7] = 0
    train = np.arange(400) < 300
    values = standardised(given, train)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), np.where(np.arange(400) == 7, 0, 1), atol=1e-5)
    np.testing.assert_allclose(np.square(values).mean(axis=0), 1 / 3, atol=0.04)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=0.06)


def test_without_dlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.prepared(tmp_path / "prepared", 3, 1)
    np.savez(folder / "faces.npz", **dict(np.load(folder / "faces.npz")), box=np.zeros((4, 4), np.float32))
    for package in ("dlib", "face_recognition_models"):  # None is how Python marks a package that cannot be imported
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrainingError, match=r"make extra EXTRA=face-embeddings"):
        write_embeddings([made.folder_of(tmp_path / "UTKFace", [])], folder, 1)
    assert module.LENGTH == 128


def test_a_network_learns_the_descriptor_and_is_gone_on_from_with_and_without(tmp_path: Path) -> None:
    folder = made.prepared(tmp_path / "prepared", 64, 16)
    embeddings = np.zeros((80, 6), np.float32)
    embeddings[:, 2] = -1
    np.save(folder / "hints.npy", embeddings)
    recipe = made.recipe(network={"hint_units": 6}, loss={"hint_weight": 5.0}, schedule={"epochs": 4})
    plain = made.recipe(schedule={"epochs": 1})
    first = train(plain, folder, tmp_path / "first", "random")
    second = train(recipe, folder, tmp_path / "second", "random", first)
    network = build(recipe.network)
    network.load_weights(second)
    crops = load_prepared(folder, Split.VALIDATION).crops[:, :32, :32].astype(np.float32) / 127.5 - 1
    answers = ops.convert_to_numpy(ops.normalize(network(crops)[EMBEDDING], axis=-1))
    assert answers[:, 2].mean() < -0.8
    assert train(plain, folder, tmp_path / "third", "random", second).exists()
