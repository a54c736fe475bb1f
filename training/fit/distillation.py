"""Trained networks to a teacher: their mean probabilities for each crop but those of test, for another network to learn.

A network that learns another's probabilities beside the labels (Hinton et al., "Distilling the knowledge in a neural network",
2015) learns how sure one may be of a picture, and labels that are wrong weigh less; where a data set has no label, it learns
the teacher's probabilities alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from keras import ops
from rich.progress import track
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from service.arrays import Floats, Ints, Pixels
from service.files import replacing
from training.datasets.base import Split
from training.datasets.prepared import CROPS, EMBEDDINGS, TEACHER, beside, labels_of, open_faces
from training.errors import DataSetError, UsageError, WeightsError
from training.fit.teacher_networks import Probabilities, TeacherNetwork, attributes_of
from training.models import label_head
from training.models.architectures import ARCHITECTURES, Trunk
from training.models.pixels import scaled
from training.provenance import record_teachers
from training.recipe import ATTRIBUTES, RECIPE, Attribute, load_recipe

BATCH: Final = 64
FOLDS: Final = 5
FEWEST: Final = 10
"""Pictures of train that two labels need each, so that whatever four fifths a small network learns from have some of both."""
FACE_SIZE: Final = 224


def write_teacher_predictions(
    runs: Sequence[Path],
    prepared: Path,
    embeddings: bool = False,
    recognition: Path | None = None,
    trunk: Trunk = ARCHITECTURES["mobilenet"],
) -> Path:
    """Write `teacher.npz` beside the crops, and `teachers.json`, which lists the teachers.

    It holds the mean of the runs' best networks' probabilities, each for a crop and its mirror image, and of those of small
    networks on features.

    Arrays of float16 in the crops' order, by attribute, all probabilities: `age` [N, 101], of the runs alone, [N, 1] of the
    second of two labels, [N, K] of K others; zero, or of no worth, for the crops of test. `labels/NAME` are the labels in
    their order, and `range/NAME` the ends of a range.

    Args:
        runs: Folders of finished runs, which learn the same attributes.
        prepared: Folder that `prepare` wrote.
        embeddings: Whether face embeddings are features (see `training.fit.face_embeddings`).
        recognition: Weights of a face recognition network whose features are used (see `training.fit.weight_conversion`).
        trunk: Makes that network, of an input of `FACE_SIZE` pixels.

    Returns:
        The file.

    Raises:
        UsageError: No teacher is given.
        DataSetError: No run predicts an attribute, and of too few pictures is it known to learn it from features.
        RunError: A run lacks a head or has no distribution of ages, or the runs learn different attributes.
        WeightsError: The file of weights is not the face recognition network's.
        FileNotFoundError: A run, the crops, the embeddings or the weights are not there.
    """
    features = [np.load(beside(prepared, EMBEDDINGS)).astype(np.float32)] if embeddings else []
    if recognition is not None:
        features.append(_recognition_features(recognition, prepared, trunk))
    if not runs and not features:
        raise UsageError("a teacher needs a run, face embeddings or a face recognition network")
    attributes = _attributes_of(runs)
    members = [_from_run(run, prepared) for run in runs]
    if features:
        members.append(from_features(features, prepared, attributes))
    arrays: dict[str, Any] = {}
    for attribute in attributes:
        name = attribute.name
        probabilities = [member[name] for member in members if name in member]
        if attribute.labels and not probabilities:
            raise DataSetError(
                f"too few training pictures have a label of {name} for a small network to learn it: two labels of {FEWEST} "
                "pictures each, at least"
            )
        if probabilities:
            arrays[name] = np.mean(probabilities, axis=0).astype(np.float16)
            if attribute.labels:
                arrays[f"labels/{name}"] = np.array(attribute.labels, np.str_)
            if attribute.range is not None:
                arrays[f"range/{name}"] = np.array(attribute.range)
    path = prepared / TEACHER
    with replacing(path) as new:
        np.savez(new, **arrays)
    record_teachers(prepared, runs, embeddings, recognition)
    return path


def _attributes_of(runs: Sequence[Path]) -> tuple[Attribute, ...]:
    """The attributes that all runs learn; age, gender and race where there is no run."""
    return attributes_of({run: load_recipe(run / RECIPE) for run in runs}) if runs else ATTRIBUTES


def _from_run(run: Path, prepared: Path) -> Probabilities:
    """A run's probabilities for every crop."""
    teacher, probabilities = TeacherNetwork(run), Probabilities()
    for rows, crops, count in _batches(prepared, f"{run.name}: predicting"):
        for name, values in teacher.probabilities(crops, mirror=True).items():
            probabilities.setdefault(name, np.zeros((count, values.shape[1]), np.float32))[rows] = values
    return probabilities


def _batches(prepared: Path, title: str) -> Iterator[tuple[Ints, Pixels, int]]:
    """Rows and crops of train and validation, `BATCH` at a time, and how many rows there are; those of test are left out."""
    crops = np.load(prepared / CROPS, mmap_mode="r")
    with open_faces(prepared) as table:
        chosen = np.flatnonzero(table["split"] != Split.TEST.value)
    for begin in track(range(0, len(chosen), BATCH), title):
        rows = chosen[begin : begin + BATCH]
        yield rows, crops[rows], len(crops)


def _recognition_features(weights: Path, prepared: Path, make: Trunk) -> Floats:
    """Features [N, F] of every crop by the trunk of a recognition network."""
    if not weights.is_file():
        raise FileNotFoundError(f"no weights at {weights}")
    try:
        trunk = make(FACE_SIZE, str(weights))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{weights} does not hold the weights of the recognition network") from error
    features = np.zeros((0, 0), np.float32)
    for rows, crops, count in _batches(prepared, "computing features"):
        values = ops.convert_to_numpy(trunk(scaled(np.stack([_enlarged(crop) for crop in crops])), training=False))
        if not len(features):
            features = np.zeros((count, values.shape[1]), np.float32)
        features[rows] = values
    return features


def _enlarged(crop: Pixels) -> Pixels:
    """The crop at the size at which the face recognition network was trained."""
    return cv2.resize(crop, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def from_features(features: Sequence[Floats], prepared: Path, attributes: Sequence[Attribute] = ATTRIBUTES) -> Probabilities:
    """Probabilities of labels by a small network on features of the prepared crops, which has seen four fifths of train.

    A training picture's are those of the network that has not seen it, so that a wrong label is not repeated; any other's are
    the mean of all five. What lacks a feature, all its numbers being zero, is given each label's share of train. An attribute
    of which train knows less than two labels of `FEWEST` pictures each is left out.

    Args:
        features: Features [N, F] of every crop.
        prepared: Folder that `prepare` wrote.
        attributes: Those of labels are predicted.

    Returns:
        By attribute the probability of the second of two labels [N, 1], or of each of K [N, K].
    """
    joined = np.concatenate(features, axis=1)
    known, probabilities = np.all([(part != 0).any(axis=1) for part in features], axis=0), {}
    with open_faces(prepared) as table:
        train = table["split"] == Split.TRAIN.value
        labels = {one.name: labels_of(table, one, prepared).astype(np.int64) for one in attributes if one.kind == "labels"}
    for attribute in attributes:
        if attribute.kind == "labels":
            label = labels[attribute.name]
            learnt = train & known & (label >= 0)
            if np.count_nonzero(np.bincount(label[learnt], minlength=1) >= FEWEST) < 2:
                continue
            shares = _out_of_fold(joined, known, label, learnt, len(attribute.labels))
            probabilities[attribute.name] = (shares[:, 1:] if label_head.width(attribute) == 1 else shares).astype(np.float32)
    return probabilities


def _out_of_fold(features: Floats, known: Any, label: Ints, learnt: Any, classes: int) -> Any:
    """Probabilities [N, classes], of the `learnt` pictures by networks that have not seen them."""
    rows = np.flatnonzero(learnt)
    share = np.bincount(label[rows], minlength=classes) / len(rows)
    own = np.tile(share, (len(features), 1))
    others = np.zeros_like(own)
    for learnt_rows, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(rows):
        probe = make_pipeline(StandardScaler(), MLPClassifier((128,), alpha=3.0, early_stopping=True, random_state=0))
        probe.fit(features[rows[learnt_rows]], label[rows[learnt_rows]])
        columns = probe.classes_
        own[np.ix_(rows[held_out], columns)] = probe.predict_proba(features[rows[held_out]])
        others[:, columns] += probe.predict_proba(features) / FOLDS
    rest = known.copy()
    rest[rows] = False
    own[rest] = others[rest]
    return own
