"""Trained networks to a teacher: their mean answer for every crop that is no test, from which another network learns.

A network that learns another's probabilities beside the labels (Hinton et al., "Distilling the knowledge in a neural network",
2015) learns how sure one may be of a picture, and labels that are wrong weigh less; where a data set has no label, it learns
the teacher's answer alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from rich.progress import track
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.datasets.base import HINTS, TAUGHT, Split
from training.fit.augmentation import resized
from training.fit.losses import female_logit
from training.models import age_head as ages
from training.models.architectures import ARCHITECTURES
from training.models.heads import UNITS, build, dtype_policy
from training.provenance import record_teachers
from training.recipe import AgeSection, Recipe

BATCH: Final = 64
FOLDS: Final = 5
FACE_SIZE: Final = 224

Answers = dict[str, npt.NDArray[np.float32]]


def teach(runs: Sequence[Path], prepared: Path, descriptors: bool = False, face: Path | None = None) -> Path:
    """Write `taught.npz` beside the crops: the mean of the runs' best networks' answers, each for a crop and its mirror image,
    and of what is learnt from features: the descriptors of `training.fit.face_embeddings`, where `descriptors`, and those of
    the face recognition network whose weights `training.fit.weight_conversion` wrote to `face`. `taught.json` says who was
    asked.

    Arrays of float16 in the crops' order: `age` [N, 101], of the runs alone, `gender` [N, 1] and `race` [N, 5], all
    probabilities; zero, or of no worth, for those of test. Raises `FileNotFoundError` where a run, the crops or the
    descriptors are not there, and `ValueError` where a network lacks one of the heads or nobody is asked.
    """
    features = [np.load(prepared / HINTS).astype(np.float32)] if descriptors else []
    if face is not None:
        features.append(_face_features(face, prepared))
    if not runs and not features:
        raise ValueError("a teacher needs a run, descriptors or a face recognition network")
    members = [_from_run(run, prepared) for run in runs]
    if features:
        members.append(from_features(features, prepared))
    path = prepared / TAUGHT
    names = [name for name in UNITS if any(name in member for member in members)]
    mean = {name: np.mean([member[name] for member in members if name in member], axis=0) for name in names}
    np.savez(path, **{name: values.astype(np.float16) for name, values in mean.items()})
    record_teachers(prepared, runs, descriptors, face)
    return path


def _from_run(run: Path, prepared: Path) -> Answers:
    """A run's answers to every crop."""
    recipe = Recipe.model_validate_json((run / "recipe.json").read_text())
    if set(recipe.network.outputs) != set(UNITS):
        raise ValueError(f"{run} has the heads {', '.join(recipe.network.outputs)} alone; a teacher needs all three")
    if recipe.network.age.form == "regression":
        raise ValueError(f"{run} says an age in years alone; a teacher needs its distribution")
    with dtype_policy(recipe.schedule.policy):
        network = build(recipe.network)
        network.load_weights(run / "best.weights.h5")
        answers: Answers = {}
        for rows, crops, count in _batches(prepared, f"{run.name}: answering"):
            for name, values in _answers(network, crops, recipe.network.size, recipe.network.age).items():
                answers.setdefault(name, np.zeros((count, values.shape[1]), np.float32))[rows] = values
    return answers


def _batches(prepared: Path, title: str) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8], int]]:
    """Rows and crops of train and validation, `BATCH` at a time, and how many rows there are; of test nobody is asked."""
    crops = np.load(prepared / "crops.npy", mmap_mode="r")
    with np.load(prepared / "faces.npz") as table:
        wanted = np.flatnonzero(table["split"] != Split.TEST.value)
    for begin in track(range(0, len(wanted), BATCH), title):
        rows = wanted[begin : begin + BATCH]
        yield rows, crops[rows], len(crops)


def _face_features(weights: Path, prepared: Path) -> npt.NDArray[np.float32]:
    """Features [N, F] of every crop by a MobileNet trunk."""
    trunk, features = ARCHITECTURES["mobilenet"](FACE_SIZE, str(weights)), np.zeros((0, 0), np.float32)
    for rows, crops, count in _batches(prepared, "describing faces"):
        pixels = np.stack([_enlarged(crop) for crop in crops]).astype(np.float32) / 127.5 - 1
        values = ops.convert_to_numpy(trunk(pixels, training=False))
        if not len(features):
            features = np.zeros((count, values.shape[1]), np.float32)
        features[rows] = values
    return features


def _enlarged(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The crop at the size at which the face recognition network was trained."""
    return cv2.resize(crop, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def from_features(features: Sequence[npt.NDArray[np.float32]], prepared: Path) -> Answers:
    """Gender [N, 1] and race [N, 5] by a small network on features [N, F] of the prepared crops, which has seen four fifths of
    train.

    Of a training picture the answer is that of the network that has not seen it, so that a wrong label is not repeated; of
    any other the mean of all five. What lacks a feature, all its numbers being zero, is given each label's share of train.
    """
    joined = np.concatenate(features, axis=1)
    known, answers = np.all([(part != 0).any(axis=1) for part in features], axis=0), {}
    with np.load(prepared / "faces.npz") as table:
        train, labels = table["split"] == Split.TRAIN.value, {name: table[name] for name in ("gender", "race")}
    for name, label in labels.items():
        learnt = np.flatnonzero(train & known & (label >= 0))
        classes = np.arange(2 if name == "gender" else UNITS[name])
        share = np.bincount(label[learnt], minlength=len(classes)) / len(learnt)
        own = np.tile(share, (len(joined), 1))
        others = np.zeros_like(own)
        for seen, unseen in KFold(FOLDS, shuffle=True, random_state=0).split(learnt):
            probe = make_pipeline(StandardScaler(), MLPClassifier((128,), alpha=3.0, early_stopping=True, random_state=0))
            probe.fit(joined[learnt[seen]], label[learnt[seen]])
            columns = probe.classes_
            own[np.ix_(learnt[unseen], columns)] = probe.predict_proba(joined[learnt[unseen]])
            others[:, columns] += probe.predict_proba(joined) / FOLDS
        rest = known.copy()
        rest[learnt] = False
        own[rest] = others[rest]
        answers[name] = (own[:, 1:] if name == "gender" else own).astype(np.float32)
    return answers


def _answers(network: keras.Model, crops: npt.NDArray[np.uint8], size: int, form: AgeSection) -> Answers:
    """Probabilities of each head, [B, units], the mean of those for the crops and for their mirror images."""
    pixels = np.stack([resized(crop, size) for crop in crops]).astype(np.float32) / 127.5 - 1
    both = [network(pixels, training=False), network(pixels[:, :, ::-1], training=False)]
    squash = {
        "age": lambda outputs: ages.distribution(outputs, form),
        "gender": lambda outputs: ops.sigmoid(female_logit(outputs))[:, None],
        "race": ops.softmax,
    }
    return {
        name: np.mean([ops.convert_to_numpy(squash[name](logits[name])) for logits in both], axis=0, dtype=np.float32)
        for name in squash
    }
