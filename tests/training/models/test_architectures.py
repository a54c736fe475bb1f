"""Trunks: how they make themselves known, that each is as described, what it costs, and that it can learn."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from training.errors import TrainingError
from training.fit.transfer import freeze
from training.models import architectures
from training.models.architectures import ARCHITECTURES, SIZES, discover
from training.models.architectures.light_cnns import PARTS
from training.models.complexity import multiply_adds, row
from training.models.heads import build
from training.recipe import NetworkSection, TransferSection

FEATURES = {
    "base_cnn": 256,
    "d_cnn": 256,
    "inception_resnet_v1": 1792,
    "inceptionv3": 2048,
    "m_cnn": 512,
    "mobilefacenet": 128,
    "mobilenet": 1024,
    "own_cnn": 256,
    "separable_cnn": 512,
    "xception": 2048,
}


@functools.cache
def trunk(name: str) -> keras.Model:
    """The trunk at the size for which it was described, with random weights; tests do not change them."""
    keras.utils.set_random_seed(1)
    return ARCHITECTURES[name](SIZES[name], "random")


# Registry --------------------------------------------------------------------------------------------------------------


def test_every_file_of_the_package_declares_its_trunks() -> None:
    assert set(FEATURES) <= set(ARCHITECTURES)
    folder = Path(architectures.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "registry"}
    assert {trunk.__module__.rpartition(".")[2] for name, trunk in ARCHITECTURES.items() if name in FEATURES} == files


def test_a_new_architecture_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "families"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "brand_new.py").write_text(
        "import keras\n"
        "from training.models.architectures.registry import architecture, initialised\n\n\n"
        "@architecture(size=40)\n"
        "def brand_new(size, init):\n"
        "    pixels = keras.Input((size, size, 3))\n"
        "    return initialised(keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(pixels)), 'brand_new', init)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        discover("families", [str(package)])
        assert SIZES["brand_new"] == 40
        assert ARCHITECTURES["brand_new"](40, "random").output.shape == (None, 3)
    finally:
        ARCHITECTURES.pop("brand_new", None)
        SIZES.pop("brand_new", None)
        for name in ("families", "families.brand_new"):
            sys.modules.pop(name, None)


def test_two_architectures_of_one_name_are_an_error() -> None:
    def own_cnn(size: int, init: str) -> keras.Model:
        raise NotImplementedError

    with pytest.raises(
        ValueError, match=r"two architectures are called 'own_cnn': in training\.models\.architectures\.own_cnn"
    ):
        architectures.architecture(size=32)(own_cnn)
    assert ARCHITECTURES["own_cnn"] is not own_cnn


# As described ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEATURES)
def test_features(name: str) -> None:
    assert trunk(name).input.shape == (None, SIZES[name], SIZES[name], 3)
    assert trunk(name).output.shape == (None, FEATURES[name])


@pytest.mark.parametrize("name", ["own_cnn", "base_cnn", "d_cnn", "m_cnn", "separable_cnn", "inception_resnet_v1"])
def test_what_was_never_trained_on_imagenet_says_so(name: str) -> None:
    with pytest.raises(TrainingError, match=f"{name} has no ImageNet weights; use random or a weights file"):
        ARCHITECTURES[name](SIZES[name], "imagenet")


def kinds(model: keras.Model, *wanted: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, wanted)]


def test_mobilefacenet_row_by_row() -> None:
    """(input, operator, expansion t, channels c, repeats n, stride s), as published."""
    table = [
        (62, "conv3x3", None, 48, 1, 2),
        (31, "depthwise3x3", None, 48, 1, 1),
        (31, "bottleneck", 2, 48, 5, 2),
        (16, "bottleneck", 4, 96, 1, 2),
        (8, "bottleneck", 2, 96, 6, 1),
        (8, "bottleneck", 4, 96, 1, 2),
        (4, "bottleneck", 2, 96, 2, 1),
        (4, "conv1x1", None, 512, 1, 1),
        (4, "depthwise4x4", None, 512, 1, 1),
        (1, "conv1x1", None, 128, 1, 1),
    ]
    expected, channels = [], 3
    for side, operator, expansion, wide, repeats, stride in table:
        for index in range(repeats):
            step = stride if index == 0 else 1
            before = side if index == 0 else -(-side // stride)
            if operator == "bottleneck":
                inner = expansion * channels
                expected += [
                    (before, 1, 1, inner, False),
                    (before, 3, step, inner, True),
                    (-(-before // step), 1, 1, wide, False),
                ]
            else:
                expected.append((before, int(operator[-1]), step, wide, operator.startswith("depthwise")))
            channels = wide
    given = [
        (layer.input.shape[1], layer.kernel_size[0], layer.strides[0], layer.output.shape[-1], kind)
        for layer in kinds(trunk("mobilefacenet"), layers.Conv2D, layers.DepthwiseConv2D)
        for kind in [isinstance(layer, layers.DepthwiseConv2D)]
    ]
    assert given == expected


def test_xception_is_keras_applications_own() -> None:
    assert trunk("xception").count_params() == 20_861_480  # as keras.applications documents without its top
    assert len(kinds(trunk("xception"), layers.SeparableConv2D)) == 34


def test_first_52_layers_of_inceptionv3_are_keras_own() -> None:
    """Freezing counts them."""
    own = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(128, 128, 3), pooling="avg")
    for mine, given in zip(trunk("inceptionv3").layers[:53], own.layers[:53], strict=True):
        assert isinstance(mine, type(given))
        assert mine.output.shape == given.output.shape
        assert [weight.shape for weight in mine.weights] == [weight.shape for weight in given.weights]


def test_inception_resnet_v1_is_facenets() -> None:
    given = trunk("inception_resnet_v1")
    # FaceNet with an embedding of 128 has 22,808,144; that layer and its normalisation's 3 by 128 are left out.
    assert given.count_params() == 22_808_144 - 1792 * 128 - 3 * 128
    joins = [tuple(layer.output.shape[1:]) for layer in kinds(given, layers.Add)]
    assert joins == [(17, 17, 256)] * 5 + [(8, 8, 896)] * 10 + [(3, 3, 1792)] * 6
    scales = [layer.scale for layer in kinds(given, layers.Rescaling)]
    assert scales == [0.17] * 5 + [0.1] * 10 + [0.2] * 5


def test_own_cnn_has_the_published_kinds_of_layers() -> None:
    assert {type(layer) for layer in trunk("own_cnn").layers} == {
        layers.InputLayer,
        layers.Conv2D,
        layers.MaxPooling2D,
        layers.GlobalAveragePooling2D,
    }


def test_deeper_is_deeper() -> None:
    depth = {name: len(kinds(trunk(name), layers.Conv2D)) for name in ("base_cnn", "d_cnn")}
    assert depth == {"base_cnn": 4, "d_cnn": 10}
    assert SIZES["d_cnn"] == 160


def test_m_cnn_sees_four_inputs_of_64_pixels() -> None:
    views = [trunk("m_cnn").get_layer(name).output for name in ("whole", *PARTS)]
    assert [view.shape for view in views] == [(None, 64, 64, 3)] * 4
    crop = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
    whole, centre, eyes, mouth = (view.numpy() for view in keras.Model(trunk("m_cnn").input, views)(crop))
    np.testing.assert_allclose(whole[0, 3, 5], crop[0, 6:8, 10:12].mean(axis=(0, 1)), atol=1e-6)
    np.testing.assert_array_equal(centre, crop[:, 32:96, 32:96])
    np.testing.assert_array_equal(eyes, crop[:, 19:83, 32:96])
    np.testing.assert_array_equal(mouth, crop[:, 64:, 32:96])
    with pytest.raises(TrainingError, match="97 pixels are odd"):
        ARCHITECTURES["m_cnn"](97, "random")


def test_separable_cnn_drops_whole_channels_behind_separable_convolutions() -> None:
    convolutions = kinds(trunk("separable_cnn"), layers.SeparableConv2D)
    dropouts = kinds(trunk("separable_cnn"), layers.SpatialDropout2D)
    assert len(convolutions) == len(dropouts) == 4
    assert [layer.rate for layer in dropouts] == [0.2, 0.25, 0.3, 0.35]


# Cost ------------------------------------------------------------------------------------------------------------------


def test_multiply_adds() -> None:
    pixels = keras.Input((9, 9, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(pixels)  # 5 by 5 places of 3 by 3 by 3 by 4
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)  # 3 by 3 places of 3 by 3 by 8
    x = layers.SeparableConv2D(5, 2)(x)  # 2 by 2 places of 2 by 2 by 8, and 8 by 5
    inner = keras.Model(pixels, layers.Dense(7)(layers.Flatten()(x)))  # 20 by 7
    outer = keras.Model(pixels, layers.Dense(2)(inner(pixels)))
    expected = 25 * 108 + 9 * 72 + 4 * (32 + 40) + 140 + 14
    assert multiply_adds(outer) == expected


@pytest.mark.parametrize("name", FEATURES)
def test_the_table_says_what_it_costs(name: str, root: Path) -> None:
    """`python -m training architectures` prints it."""
    assert row(name, trunk(name)) in (root / "docs/architectures.md").read_text().splitlines()


# Freezing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frozen", "learning"), [(0, 12), (4, 9), ("all", 0)])
def test_frozen_layers_of_the_trunk_do_not_learn(frozen: Any, learning: int) -> None:
    """Of base_cnn's layers the first four are the input, a convolution, its normalisation (two weights) and a rectifier."""
    section = NetworkSection(architecture="base_cnn", size=32, outputs=("gender",), head_units=4)
    network = build(section)
    freeze(network, TransferSection(frozen_layers=frozen))
    assert len(network.get_layer("trunk").trainable_variables) == learning
    assert len(network.trainable_variables) == learning + 4
    with pytest.raises(TrainingError, match=r"99 layers cannot be frozen: base_cnn has \d+"):
        freeze(network, TransferSection(frozen_layers=99))
