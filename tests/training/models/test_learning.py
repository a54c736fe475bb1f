"""Trunks can learn: small ones by heart, large ones by what their features tell apart.

They have a file, and so a process, of their own: beside the trunks of `test_architectures` they would take gigabytes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from training.models.architectures import ARCHITECTURES, mobilefacenet
from training.models.architectures.inception_resnet_v1 import assembled
from training.models.heads import assemble
from training.recipe import NetworkSection

SMALL = ("base_cnn", "d_cnn", "m_cnn", "mobilefacenet", "own_cnn", "separable_cnn")
LARGE = ("inception_resnet_v1", "inceptionv3", "mobilenet", "xception")


@functools.cache
def shallow() -> keras.Model:
    """Inception-ResNet-v1 with one block of each kind, for 80 pixels: all twenty take long to build and to differentiate."""
    keras.utils.set_random_seed(2)
    return assembled(80, (1, 1, 1))


def pictures(size: int, count: int = 64) -> np.ndarray[Any, Any]:
    """Pixels in [-1, 1] of pictures of coarse patterns, each unlike the others."""
    coarse = np.random.default_rng(3).uniform(-1, 1, (count, 4, 4, 3)).astype(np.float32)
    index = np.arange(size) * 4 // size
    return coarse[:, index][:, :, index]


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    """Behind each test its network goes: its parts refer to one another, and wait for the collector otherwise."""
    yield
    keras.backend.clear_session()  # which runs it


@pytest.mark.parametrize("name", SMALL)
def test_64_pictures_are_learnt_by_heart(name: str) -> None:
    """MobileFaceNet with one bottleneck of each kind: all fifteen take half a minute to compile."""
    size = 32
    keras.utils.set_random_seed(2)
    once = [(expansion, wide, 1, stride) for expansion, wide, _, stride in mobilefacenet.STAGES]
    trunk = mobilefacenet.assembled(size, once) if name == "mobilefacenet" else ARCHITECTURES[name](size, "random")
    section = NetworkSection(architecture=name, size=size, outputs=("gender",), head_units=32)
    network = assemble(trunk, section, dropout=0)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(3e-3), {"gender": loss}, jit_compile=False)
    labels = np.random.default_rng(4).integers(0, 2, (64, 1)).astype(np.float32)
    network.optimizer.build(network.trainable_variables)  # TensorFlow traces a step twice that makes variables
    network.compute_loss(y={"gender": labels}, y_pred={"gender": labels})
    first = last = float(network.train_on_batch(pictures(size), {"gender": labels}))
    for _ in range(120):
        if last < 0.3:
            break
        last = float(network.train_on_batch(pictures(size), {"gender": labels}))
    assert first > 0.5
    assert last < 0.3


@pytest.mark.parametrize("name", LARGE)
def test_a_trunk_that_is_frozen_tells_24_pictures_apart(name: str) -> None:
    """So that heads alone can learn whatever is asked: a linear map takes its features to any labels."""
    keras.utils.set_random_seed(1)
    given = shallow() if name == "inception_resnet_v1" else ARCHITECTURES[name](75, "random")
    before = given.get_weights()
    features = np.asarray(given(pictures(given.input.shape[1], 24), training=True), np.float64)
    given.set_weights(before)  # but for its statistics, which the call moved, it is as it was
    labels = np.random.default_rng(4).integers(0, 2, 24)
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    design = np.hstack([scaled, np.ones((24, 1))])
    weights = np.linalg.lstsq(design, labels, rcond=1e-4)[0]
    np.testing.assert_allclose(design @ weights, labels, atol=0.1)


def test_a_step_reaches_every_weight_of_inception_resnet_v1() -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(shallow()(pictures(80, 4), training=True)))
    gradients = tape.gradient(loss, [variable.value for variable in shallow().trainable_variables])
    assert all(gradient is not None and np.abs(gradient).max() > 0 for gradient in gradients)
