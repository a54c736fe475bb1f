"""The networks that can be trained, by name; each ends in the heads that a recipe asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import keras
from keras import layers

from training.data import MAX_AGE, RACES
from training.recipe import NetworkSection

TRUNK: Final = "trunk"
"""Name of the part below the heads."""
IMAGENET: Final = "imagenet"
RANDOM: Final = "random"

UNITS: Final = {"age": MAX_AGE + 1, "gender": 1, "race": len(RACES)}
"""Logits of each head: a distribution over whole years, the odds of female, and the races."""


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Keras's dtype policy inside the block; whatever it was behind it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable("facet")
class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """Keras's batch normalisation by TensorFlow's one fused operation, in and out of training.

    Keras composes it of elementary operations, which on a CPU costs a fifth of InceptionV3's training step, and in bfloat16
    it rounds the batch's mean and variance to 8 bits, and training was seen to diverge. The fused operation keeps both in
    float32 at any precision of its input. Channels last only; other backends keep Keras's own.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        mean, variance = (tf.cast(v.value, tf.float32) for v in (self.moving_mean, self.moving_variance))
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros_like(mean)
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones_like(mean)
        learning = bool(training) and self.trainable
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=self.epsilon, is_training=learning
        )
        if learning:
            count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
            batch_variance *= (count - 1) / count  # the operation's has Bessel's correction, Keras's has not
            self.moving_mean.assign(mean + (batch_mean - mean) * (1 - self.momentum))
            self.moving_variance.assign(variance + (batch_variance - variance) * (1 - self.momentum))
        return outputs


def _fused(layer: Any) -> Any:
    """The layer anew, with batch normalisation fused."""
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        return FusedBatchNormalization.from_config(config)
    return layer.__class__.from_config(config)


def _inceptionv3(size: int, init: str) -> keras.Model:
    """InceptionV3 without its top (Szegedy et al., "Rethinking the Inception architecture", CVPR 2016), pooled."""
    weights = {IMAGENET: "imagenet", RANDOM: None}.get(init, init)
    trunk = keras.applications.InceptionV3(
        include_top=False, weights=weights, input_shape=(size, size, 3), pooling="avg", name=TRUNK
    )
    fused = keras.models.clone_model(trunk, clone_function=_fused)
    fused.set_weights(trunk.get_weights())
    fused.name = TRUNK
    return fused


ARCHITECTURES: Final[dict[str, Callable[[int, str], keras.Model]]] = {"inceptionv3": _inceptionv3}
"""Trunks: (input size, initial weights) to a model from float pixels in [-1, 1], [N, S, S, 3], to features [N, F]."""


def build(section: NetworkSection, init: str = RANDOM) -> keras.Model:
    """The network of a recipe: pixels in [-1, 1], [N, S, S, 3], to a dictionary of logits.

    `init` is `imagenet` (fetched by Keras), `random`, or the path of a weights file of the trunk. Raises `ValueError` for an
    unknown architecture or another network's weights, and `FileNotFoundError` for a weights file that is not there.
    """
    if section.architecture not in ARCHITECTURES:
        raise ValueError(f"no architecture {section.architecture!r}; there is: {', '.join(sorted(ARCHITECTURES))}")
    if init not in (IMAGENET, RANDOM) and not Path(init).is_file():
        raise FileNotFoundError(f"no initial weights at {init}")
    try:
        trunk = ARCHITECTURES[section.architecture](section.size, init)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no {section.architecture} of {section.size} pixels with the weights {init}: {str(error).partition('. ')[0]}"
        ) from error
    return assemble(trunk, section, section.dropout)


def assemble(trunk: keras.Model, section: NetworkSection, dropout: float) -> keras.Model:
    """The heads of a recipe on a trunk; without dropout layers where `dropout` is 0, as in serving."""
    pixels = keras.Input((section.size, section.size, 3), name="pixels")
    features = trunk(pixels)
    outputs = {}
    for name in section.outputs:
        branch = layers.Dense(section.head_units, activation="relu", name=f"{name}_hidden")(features)
        if dropout > 0:
            branch = layers.Dropout(dropout, name=f"{name}_dropout")(branch)
        outputs[name] = layers.Dense(UNITS[name], dtype="float32", name=name)(branch)
    return keras.Model(pixels, outputs, name=section.architecture)
