"""Prepared pictures to the batches of an epoch: drawn, augmented, scaled and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from service.arrays import Floats, Ints, Pixels
from service.models.manifest import AGE
from training.datasets.base import UNKNOWN
from training.datasets.prepared import Prepared
from training.fit.augmentation import augmented, mixed_pairs, resized
from training.fit.batch_composition import Composition
from training.fit.sampling import draw, picture_weights, sampling_probabilities
from training.fit.teacher_networks import TeacherNetwork, mean_probabilities
from training.models.heads import EMBEDDING
from training.models.pixels import scaled
from training.recipe import AugmentSection, Recipe


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled, augmented batches of a training set, or plain ones in order where `augment` is None.

    Order and augmentation come from the seed, `epoch` and the batch's number alone, so that a run that is taken up again
    sees what it would have seen. Of a shuffled set, a last batch that is not full is left out, unless it is the only one.
    An age that is known as a range is drawn from it anew each time; a plain batch has its middle.

    Args:
        data: The pictures and their labels.
        outputs: Names of the network's heads, whose labels a batch holds.
        size: Side of the pixels in a batch.
        batch_size: Pictures of a batch.
        augment: What a picture goes through.
        seed: Of order and augmentation.
        recipe: May ask for other draws and weights (see `training.fit.sampling` and `training.fit.batch_composition`), and for
            fewer steps.
        teachers: Networks whose predictions for a batch's pictures stand behind its labels, in the place of those of the data.
    """

    def __init__(
        self,
        data: Prepared,
        outputs: Sequence[str],
        size: int,
        batch_size: int,
        augment: AugmentSection | None = None,
        seed: int = 0,
        recipe: Recipe | None = None,
        teachers: Sequence[TeacherNetwork] = (),
    ) -> None:
        super().__init__()
        self.data, self.outputs, self.size, self.batch_size = data, outputs, size, batch_size
        self.augment, self.seed, self.epoch = augment, seed, 0
        self.teachers = teachers
        self.probabilities = None if recipe is None else sampling_probabilities(recipe, data)
        self.weights = {} if recipe is None else picture_weights(data, recipe.balance.class_weights)
        groups = None if recipe is None else recipe.balance.groups
        self.composition = None if recipe is None or groups is None else Composition(recipe, groups, data)
        self.most = 0 if recipe is None else recipe.schedule.epoch_steps

    def __len__(self) -> int:
        full, rest = divmod(len(self.data), self.batch_size)
        batches = full if rest == 0 or (self.augment and full) else full + 1
        return min(batches, self.most) if self.most else batches

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.augment is None:
            rows = np.arange(len(self.data))[chosen]
            crops = [resized(self.data.crops[row], self.size) for row in rows]
            predicted = self._predicted(rows)
            labels = {name: self._labels(name, rows, predicted) for name in self.outputs}
        else:
            rows = self._drawn(index)
            crops, labels = self._varied(rows, self.augment, np.random.default_rng([self.seed, self.epoch, index]))
        pixels = scaled(np.stack(crops))
        if not self.weights:
            return pixels, labels
        ones = np.ones(len(rows), np.float32)
        return pixels, labels, {name: self.weights[name][rows] if name in self.weights else ones for name in self.outputs}

    def _varied(
        self, rows: Ints, augment: AugmentSection, random: np.random.Generator
    ) -> tuple[list[Pixels], dict[str, Floats]]:
        """Variants of pictures, with their labels and what the teachers predict of the variants."""
        side = max([self.size, *(teacher.size for teacher in self.teachers)])
        pictures = [augmented(self.data.crops[row], side, augment, random) for row in rows]
        mixed = np.zeros(len(rows), bool)
        if augment.mix > 0:
            pictures, mixed = mixed_pairs(pictures, augment.mix, random)
        predicted = mean_probabilities(self.teachers, pictures) if self.teachers else self._predicted(rows)
        labels = {name: self._labels(name, rows, predicted) for name in self.outputs}
        if AGE in labels:
            self._draw_ages(labels[AGE], rows, random)
        for name, values in labels.items():
            values[(mixed, 0) if values.ndim > 1 and name != EMBEDDING else mixed] = 0 if name == EMBEDDING else UNKNOWN
        return [resized(picture, self.size) for picture in pictures], labels

    def _drawn(self, index: int) -> Ints:
        """Rows of a shuffled batch."""
        if self.composition is not None:
            return self.composition.rows(self.epoch * len(self) + index)
        random, count = np.random.default_rng([self.seed, self.epoch]), len(self.data)
        order = random.permutation(count) if self.probabilities is None else draw(self.probabilities, count, random)
        return order[index * self.batch_size : (index + 1) * self.batch_size]

    def _draw_ages(self, labels: Floats, rows: Ints, random: np.random.Generator) -> None:
        """Put a whole year out of its range in the place of every age that is known as a range."""
        if self.data.ages is None:
            return
        low, high = self.data.ages[rows].T.astype(np.int64)
        wide = np.flatnonzero(high > low)
        if len(wide):
            years = random.integers(low[wide], high[wide] + 1)
            labels[(wide, 0) if labels.ndim > 1 else wide] = years

    def _predicted(self, rows: Ints) -> dict[str, Floats]:
        """What was predicted of the crops as they are [B, K], by attribute."""
        return {name: values[rows] for name, values in (self.data.teacher or {}).items()}

    def _labels(self, name: str, rows: Ints, predicted: Mapping[str, Floats]) -> Floats:
        """Labels [B], or [B, 1 + K] with a teacher's probabilities behind them; of the face embedding, itself [B, D]."""
        if name == EMBEDDING and self.data.embedding is not None:
            return self.data.embedding[rows]
        labels = self.data.labels[name][rows]
        if name not in predicted:
            return labels
        return np.concatenate([labels[:, np.newaxis], predicted[name]], axis=1)
