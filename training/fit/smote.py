"""Heads trained once more, on features of the finished trunk that SMOTE has balanced.

SMOTE (Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 2002) lays new examples of a rare class between
those that there are. Between two pictures lies no picture, but between their features there may be a face: so the trunk is
kept as it is, and only the branches above it learn, from as many features of every class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from imblearn.over_sampling import SMOTE

from service.arrays import Floats, Ints
from training.datasets.prepared import Prepared
from training.errors import DataSetError
from training.fit.augmentation import resized
from training.fit.callbacks import save_weights
from training.fit.losses import losses_and_metrics
from training.models.heads import TRUNK
from training.models.pixels import scaled
from training.recipe import Recipe

BATCH: Final = 64


def require_classes(recipe: Recipe, train: Prepared, validation: Prepared) -> None:
    """Refuse, before hours of training, what `retrain_heads` could not balance or not choose an epoch by.

    Args:
        recipe: The recipe.
        train: Training pictures.
        validation: Validation pictures.

    Raises:
        DataSetError: A class of train has one picture alone, or train or validation knows none of a head.
    """
    for name in recipe.smote.heads:
        if not (train.labels[name] >= 0).any() or not (validation.labels[name] >= 0).any():
            raise DataSetError(f"SMOTE needs pictures of train and of validation with a label of {name}")
        _counts(train.labels[name])


def retrain_heads(network: keras.Model, recipe: Recipe, train: Prepared, validation: Prepared, path: Path) -> None:
    """Train the heads that a recipe's `smote` names anew, from fresh weights, and write the whole network's weights to `path`.

    The epoch with the least validation loss of a head is kept.

    Args:
        network: The finished network, whose heads are changed.
        recipe: The recipe.
        train: Training pictures.
        validation: Validation pictures.
        path: File of weights.

    Raises:
        DataSetError: A class of train has one picture alone, between which and others of it there is nothing.
    """
    trunk, size = network.get_layer(TRUNK), recipe.network.size
    known, unseen = features_of(trunk, train, size), features_of(trunk, validation, size)
    for name in recipe.smote.heads:
        labels = (train.labels[name], validation.labels[name])
        balanced = oversampled(known, labels[0], recipe.smote.neighbours, recipe.schedule.seed)
        head = _head(network, name, known.shape[1])
        _fit(head, name, recipe, balanced, (unseen, labels[1]))
        for layer in head.layers:
            if layer.weights:
                network.get_layer(layer.name).set_weights(layer.get_weights())
    save_weights(network, path)


def features_of(trunk: keras.Model, data: Prepared, size: int) -> Floats:
    """A trunk's features of every crop.

    Args:
        trunk: A model from pixels [N, S, S, 3] to features [N, F].
        data: The pictures.
        size: Side S.

    Returns:
        Features [N, F].
    """
    parts = []
    for begin in range(0, len(data), BATCH):
        pixels = scaled(np.stack([resized(crop, size) for crop in data.crops[begin : begin + BATCH]]))
        parts.append(np.asarray(keras.ops.convert_to_numpy(trunk(pixels, training=False)), np.float32))
    return np.concatenate(parts)


def oversampled(features: Floats, labels: Floats, neighbours: int, seed: int) -> tuple[Floats, Floats]:
    """Features and labels of which every known class has as many as the largest, the real ones first; unknown labels are left
    out.

    Args:
        features: Features [N, F].
        labels: Labels [N], -1 where unknown.
        neighbours: Nearest features among which a new one is laid; of a class with fewer others, all of them.
        seed: Of what is drawn.

    Returns:
        Features [M, F] and labels [M].

    Raises:
        DataSetError: A class has one picture alone.
    """
    known, counts = labels >= 0, _counts(labels)
    if len(counts) < 2:
        return features[known], labels[known]
    sampler = SMOTE(k_neighbors=min(neighbours, int(counts.min()) - 1), random_state=seed)
    more, classes = sampler.fit_resample(features[known], labels[known].astype(np.int64))
    return np.asarray(more, np.float32), np.asarray(classes, np.float32)


def _counts(labels: Floats) -> Ints:
    """Pictures of each class that is there. Raises `DataSetError` where one of several has a single one."""
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    if len(counts) > 1 and counts.min() < 2:
        raise DataSetError("SMOTE needs two training pictures of every class")
    return counts


def _head(network: keras.Model, name: str, width: int) -> keras.Model:
    """The layers of one head above the trunk, under their names, with fresh weights."""
    features = keras.Input((width,), name="features")
    x: Any = features
    for layer in _branch(network, name):
        x = layer.__class__.from_config(layer.get_config())(x)
    return keras.Model(features, {name: x})


def _branch(network: keras.Model, name: str) -> list[Any]:
    """Layers from the trunk to a head's output, in order."""
    layers: list[Any] = []
    layer = network.get_layer(name)
    while layer.name != TRUNK:
        layers.insert(0, layer)
        layer = layer.input._keras_history.operation
    return layers


def _fit(
    head: keras.Model,
    name: str,
    recipe: Recipe,
    balanced: tuple[Floats, Floats],
    unseen: tuple[Floats, Floats],
) -> None:
    losses, _, metrics = losses_and_metrics(recipe.loss, (name,), recipe.network.age, recipe.attributes)
    head.compile(keras.optimizers.Adam(recipe.smote.learning_rate), losses, metrics=metrics)
    keeper = keras.callbacks.EarlyStopping("val_loss", patience=recipe.smote.epochs, restore_best_weights=True, mode="min")
    head.fit(
        balanced[0],
        {name: balanced[1]},
        validation_data=(unseen[0], {name: unseen[1]}),
        batch_size=min(recipe.schedule.batch_size, len(balanced[0])),
        epochs=recipe.smote.epochs,
        callbacks=[keeper],
        verbose=0,
    )
