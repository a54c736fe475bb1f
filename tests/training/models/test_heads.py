"""Networks: what they are called, what they answer, and batch normalisation that equals Keras's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.training import made
from training.errors import TrainingError, WeightsError
from training.models.architectures.registry import registered
from training.models.heads import ARCHITECTURES, assemble, build, dtype_policy
from training.models.normalization import FusedBatchNormalization
from training.recipe import NetworkSection


def section(**changes: Any) -> NetworkSection:
    return NetworkSection.model_validate({"architecture": "tiny", "size": made.SIDE, "head_units": 4} | changes)


@pytest.mark.usefixtures("architecture")
def test_heads_are_those_of_the_recipe() -> None:
    network = build(section())
    logits = network(np.zeros((2, made.SIDE, made.SIDE, 3), np.float32))
    assert {name: tuple(value.shape) for name, value in logits.items()} == {"age": (2, 101), "gender": (2, 1), "race": (2, 5)}
    assert set(build(section(outputs=("gender",))).output) == {"gender"}


@pytest.mark.usefixtures("architecture")
def test_dropout_is_left_out_where_it_is_zero() -> None:
    def dropouts(network: keras.Model) -> int:
        return sum(isinstance(layer, layers.Dropout) for layer in network.layers)

    assert dropouts(build(section())) == 3
    assert dropouts(build(section(dropout=0))) == 0


@pytest.mark.usefixtures("architecture")
def test_heads_are_float32_in_any_policy() -> None:
    with dtype_policy("mixed_bfloat16"):
        network = build(section())
    assert keras.config.dtype_policy().name == "float32"
    assert network.get_layer("trunk").compute_dtype == "bfloat16"
    logits = network(np.zeros((1, made.SIDE, made.SIDE, 3), np.float32))
    assert {value.dtype.name for value in logits.values()} == {"float32"}
    assert {variable.dtype for variable in network.variables if "seed" not in variable.name} == {"float32"}


@pytest.mark.usefixtures("architecture")
def test_initial_weights_are_those_of_the_file(tmp_path: Path) -> None:
    trunk = made.tiny(made.SIDE, "random")
    trunk.save_weights(tmp_path / "trunk.weights.h5")
    network = build(section(), str(tmp_path / "trunk.weights.h5"))
    for mine, given in zip(network.get_layer("trunk").get_weights(), trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, given)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(TrainingError, match=r"no architecture 'vgg'; there is: .*inceptionv3, m_cnn"):
        build(section(architecture="vgg"))
    with pytest.raises(FileNotFoundError, match=r"no initial weights at nowhere\.h5"):
        build(section(architecture="inceptionv3"), "nowhere.h5")


def test_weights_that_cannot_be_fetched() -> None:
    """Keras raises a bare Exception then, which no other failure is taken for."""

    def offline(_: int, __: str) -> keras.Model:
        raise Exception("URL fetch failure on https://example.org/weights.h5")

    def broken(_: int, __: str) -> keras.Model:
        raise KeyError("a bug")

    with registered("away", offline), pytest.raises(WeightsError, match=r"URL fetch failure .*needs no download: --init"):
        build(section(architecture="away"), "imagenet")
    with registered("away", broken), pytest.raises(KeyError):
        build(section(architecture="away"), "imagenet")


@pytest.mark.usefixtures("architecture")
@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras warns before it raises
def test_a_weights_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "other.weights.h5"
    made.tiny(2 * made.SIDE, "random").save_weights(other)
    assert build(section(), str(other)) is not None  # a trunk's weights fit any size
    keras.Sequential([keras.Input((3, 3, 3)), layers.Conv2D(5, 3)]).save_weights(other)
    with pytest.raises(TrainingError, match=r"no tiny of 32 pixels with the weights .*other\.weights\.h5: A total of"):
        build(section(), str(other))
    other.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"other\.weights\.h5: Unable to"):
        build(section(), str(other))


def test_inceptionv3_is_keras_applications_own_with_fused_normalisation() -> None:
    trunk = ARCHITECTURES["inceptionv3"](75, "random")
    fused = [layer for layer in trunk.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(fused) == 94
    assert {type(layer) for layer in fused} == {FusedBatchNormalization}
    assert tuple(trunk.output.shape) == (None, 2048)
    assert trunk.count_params() == 21_802_784  # as keras.applications documents without its top


def test_mobilefacenet_is_as_published() -> None:
    trunk = ARCHITECTURES["mobilefacenet"](62, "random")
    assert tuple(trunk.output.shape) == (None, 128)
    depthwise = [layer for layer in trunk.layers if isinstance(layer, layers.DepthwiseConv2D)]
    # The stem's, one for each of fifteen bottlenecks, and the global one of 4 by 4.
    assert [tuple(layer.output.shape[1:]) for layer in depthwise] == [
        (31, 31, 48),
        (16, 16, 96),
        *[(16, 16, 96)] * 4,
        (8, 8, 192),
        *[(8, 8, 192)] * 6,
        (4, 4, 384),
        *[(4, 4, 192)] * 2,
        (1, 1, 512),
    ]
    assert depthwise[-1].kernel_size == (4, 4)
    assert sum(isinstance(layer, layers.Add) for layer in trunk.layers) == 4 + 6 + 2
    assert trunk.layers[-3].name.startswith("conv2d"), "the embedding is linear"
    with pytest.raises(TrainingError, match="no ImageNet weights"):
        ARCHITECTURES["mobilefacenet"](62, "imagenet")


def pair(**options: Any) -> tuple[layers.Layer, layers.Layer]:
    """Keras's layer and ours with the same odd weights."""
    random = np.random.default_rng(1)
    one, other = layers.BatchNormalization(**options), FusedBatchNormalization(**options)
    for layer in (one, other):
        layer.build((None, 5, 6, 3))
    for mine, keras_own in zip(other.variables, one.variables, strict=True):
        keras_own.assign(random.uniform(0.4, 2, 3))
        mine.assign(keras_own)
    return one, other


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "epsilon": 0.01}, {"scale": False}, {"center": False}])
@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_equals_keras_own(options: dict[str, Any], training: bool) -> None:
    random = np.random.default_rng(2)
    inputs = tf.constant(random.normal(3, 2, (4, 5, 6, 3)).astype(np.float32))
    towards = tf.constant(random.normal(0, 1, (4, 5, 6, 3)).astype(np.float32))
    results = []
    for layer in pair(**options):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(outputs * towards)
        gradients = tape.gradient(loss, [inputs, *(v.value for v in layer.trainable_variables)])
        results.append([outputs, *gradients, *(variable.value for variable in layer.non_trainable_variables)])
    for keras_own, mine in zip(*results, strict=True):
        np.testing.assert_allclose(mine, keras_own, rtol=1e-4, atol=1e-4)


def test_fused_normalisation_that_is_frozen_does_not_learn() -> None:
    _, layer = pair()
    layer.trainable = False
    before = [variable.numpy() for variable in layer.variables]
    layer(np.random.default_rng(0).normal(3, 2, (4, 5, 6, 3)).astype(np.float32), training=True)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_fused_normalisation_keeps_its_statistics_in_float32() -> None:
    random = np.random.default_rng(3)
    inputs = random.normal(3, 2, (8, 5, 6, 3)).astype(np.float32)
    exact = FusedBatchNormalization(momentum=0.99)
    short = FusedBatchNormalization(momentum=0.99, dtype="mixed_bfloat16")
    for _ in range(20):  # each moves the mean by less than bfloat16 can tell
        exact(inputs, training=True)
        assert short(inputs, training=True).dtype == "bfloat16"
    np.testing.assert_allclose(short.moving_mean.numpy(), exact.moving_mean.numpy(), rtol=1e-2)
    np.testing.assert_allclose(short.moving_variance.numpy(), exact.moving_variance.numpy(), rtol=1e-2)


@pytest.mark.usefixtures("architecture")
def test_assembling_shares_the_trunk() -> None:
    trunk = made.tiny(made.SIDE, "random")
    assert assemble(trunk, section(), dropout=0).get_layer("trunk") is trunk
