"""Export: the same function in a smaller form, read by both runtimes, in a store that the service accepts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import openvino as ov
import pytest
import tensorflow as tf
from keras import layers
from openvino import opset13 as operations

from service.arrays import Floats
from service.models.runtime import Precision, Runtime, loader
from service.models.store import ModelStore
from service.vision.detection import Face
from tests.fakes import TEMPLATE, SquareDetector
from tests.training import made
from tests.training.evaluation.made import predictions_of
from training.calibration.photo import fit
from training.datasets.documents import PreparedReport
from training.datasets.readers import open_data_set
from training.errors import ExportError, TrainingError
from training.evaluation.predictions import Predictions
from training.export import centerface
from training.export.export import export, folded, plain, rounded, write_saved_model
from training.models.heads import build
from training.models.normalization import FusedBatchNormalization
from training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("architecture")


@pytest.fixture(scope="module")
def recipe(run: Path) -> Recipe:
    return Recipe.model_validate_json((run / "recipe.json").read_text())


@pytest.fixture(scope="module")
def network(run: Path, recipe: Recipe) -> keras.Model:
    trained = build(recipe.network)
    trained.load_weights(run / "best.weights.h5")
    return trained


@pytest.fixture(scope="module")
def crops() -> made.Pixels:
    return np.random.default_rng(0).integers(0, 256, (3, made.SIDE, made.SIDE, 3), np.uint8)


def scrambled(model: keras.Model) -> keras.Model:
    """The model with weights and statistics that no layer starts with."""
    random = np.random.default_rng(4)
    for variable in model.variables:
        low = 0.2 if variable.name in ("moving_variance", "gamma") else -1.0
        variable.assign(random.uniform(low, 1.5, variable.shape))
    return model


def norms(model: keras.Model) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


# Folding ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}])
def test_folded_is_the_same_function(bias: bool, options: dict[str, Any]) -> None:
    pixels = keras.Input((9, 9, 3))
    x = layers.Conv2D(4, 3, use_bias=bias)(pixels)
    x = layers.Activation("relu")(FusedBatchNormalization(**options)(x))
    x = layers.BatchNormalization(**options)(layers.Conv2D(5, 3, strides=2, use_bias=bias)(x))
    model = scrambled(keras.Model(pixels, x))
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 9, 9, 3)).astype(np.float32)
    smaller = folded(model)
    assert (norms(model), norms(smaller)) == (2, 0)
    np.testing.assert_allclose(smaller(inputs, training=False), model(inputs, training=False), atol=1e-4)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolutions_are_folded_too(multiplier: int) -> None:
    pixels = keras.Input((9, 9, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, use_bias=False)(pixels)
    model = scrambled(keras.Model(pixels, layers.PReLU(shared_axes=[1, 2])(FusedBatchNormalization()(x))))
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 9, 9, 3)).astype(np.float32)
    smaller = folded(model)
    assert norms(smaller) == 0
    np.testing.assert_allclose(smaller(inputs, training=False), model(inputs, training=False), atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_separable_convolutions_are_folded_and_dropout_is_dropped(bias: bool) -> None:
    pixels = keras.Input((9, 9, 3))
    x = FusedBatchNormalization()(layers.SeparableConv2D(4, 3, use_bias=bias)(pixels))
    model = scrambled(keras.Model(pixels, layers.Dropout(0.5)(layers.SpatialDropout2D(0.3)(x))))
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 9, 9, 3)).astype(np.float32)
    smaller = folded(model)
    assert norms(smaller) == 0
    assert not [layer for layer in smaller.layers if isinstance(layer, layers.Dropout)]
    np.testing.assert_allclose(smaller(inputs, training=True), model(inputs, training=False), atol=1e-4)


def test_what_cannot_be_folded_is_served_all_the_same(tmp_path: Path, crops: made.Pixels) -> None:
    pixels = keras.Input((made.SIDE, made.SIDE, 3))
    normalised = FusedBatchNormalization()(pixels)  # no convolution before it
    network = keras.Model(pixels, {"gender": layers.Dense(1, name="gender")(layers.Flatten()(normalised))})
    random = np.random.default_rng(6)
    network.set_weights([random.uniform(0, 1, weight.shape) - 0.5 * (weight.ndim > 1) for weight in network.get_weights()])
    assert write_saved_model(network, made.recipe().network, tmp_path) == ["gender"]
    logits = np.asarray(network(crops / np.float32(127.5) - 1, training=False)["gender"])[:, 0]
    expected = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(loader(Runtime.OPENVINO, Precision.F32, 1)(tmp_path)(crops)["gender"], expected, atol=0.005)


def test_what_cannot_be_folded_stays() -> None:
    pixels = keras.Input((9, 9, 3))
    shared = layers.Conv2D(4, 3, use_bias=False)(pixels)
    active = layers.Conv2D(4, 3, activation="relu")(pixels)
    pooled = layers.MaxPooling2D(2)(shared)
    outputs = [FusedBatchNormalization()(x) for x in (shared, active, pooled, pixels)]
    model = scrambled(keras.Model(pixels, [*outputs, layers.Activation("relu")(shared)]))
    inputs = np.random.default_rng(1).uniform(-1, 1, (2, 9, 9, 3)).astype(np.float32)
    assert norms(folded(model)) == 4
    for mine, given in zip(folded(model)(inputs), model(inputs, training=False), strict=True):
        np.testing.assert_allclose(mine, given, atol=1e-5)


def test_served_network_has_no_normalisation_and_no_dropout(network: keras.Model, recipe: Recipe, crops: made.Pixels) -> None:
    served = plain(network, recipe.network)
    assert norms(network.get_layer("trunk")) == 2
    assert norms(served.get_layer("trunk")) == 0
    assert not [layer for layer in served.layers if isinstance(layer, layers.Dropout)]
    inputs = crops / 127.5 - 1
    mine, given = served(inputs), network(inputs, training=False)
    for name, logits in given.items():
        np.testing.assert_allclose(mine[name], logits, atol=1e-4)


# SavedModel ------------------------------------------------------------------------------------------------------------


def test_weights_are_held_as_float16_alone(store: Path) -> None:
    reader = tf.train.load_checkpoint(str(store / "tiny/1/variables/variables"))
    kinds = {name: kind for name, kind in reader.get_variable_to_dtype_map().items() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}
    assert len(kinds) == 16  # kernel and bias of two convolutions and of three heads of two layers
    assert set(kinds.values()) == {tf.float16}
    kernels = [reader.get_tensor(name) for name in kinds if len(reader.get_variable_to_shape_map()[name]) > 1]
    assert len(kernels) == 8
    for kernel in kernels:
        np.testing.assert_array_equal(kernel, in_bfloat16(kernel.astype(np.float32)))


def in_bfloat16(values: Floats) -> Floats:
    """The nearest numbers of bfloat16, as TensorFlow rounds."""
    return tf.cast(tf.cast(values, tf.bfloat16), tf.float32).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("shape", "axis"), [((40, 6), 1), ((3, 3, 8, 6), 3), ((3, 3, 6, 1), 2), ((1, 1, 200, 5), 3)], ids=str)
def test_what_rounding_takes_from_a_kernel_goes_to_the_next_weight_of_the_same_output(
    shape: tuple[int, ...], axis: int
) -> None:
    kernel = np.random.default_rng(3).uniform(0.5, 1, shape).astype(np.float32)
    result = rounded(kernel)
    assert (result.shape, result.dtype) == (kernel.shape, kernel.dtype)
    np.testing.assert_array_equal(result, in_bfloat16(result))
    step = 2.0**-8  # of bfloat16 from 0.5 to 1
    others = tuple(place for place in range(kernel.ndim) if place != axis)
    assert np.abs(result - kernel).max() <= 1.01 * step
    assert np.abs((result - kernel).sum(axis=others)).max() <= 0.51 * step
    assert np.abs((in_bfloat16(kernel) - kernel).sum(axis=others)).max() > 0.51 * step


def test_a_vector_is_not_rounded_and_weights_of_unlike_sizes_keep_their_sum() -> None:
    biases = np.linspace(-1, 1, 7, dtype=np.float32)
    np.testing.assert_array_equal(rounded(biases), biases)
    kernel = np.array([[1.001], [1e-4], [-1.0], [3e-3]], np.float32)
    assert abs((rounded(kernel) - kernel).sum()) < 2e-5


def test_a_variant_alone_says_how_far_int8_may_lie(store: Path) -> None:
    manifest = json.loads((store / "tiny/1/model.json").read_text())
    assert sorted(manifest["tolerance"]) == ["bf16", "f16", "f32"]


def test_signature(store: Path) -> None:
    signature = tf.saved_model.load(str(store / "tiny/1")).signatures["serving_default"]
    _, inputs = signature.structured_input_signature
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in inputs.items()} == {
        "faces": ([None, 32, 32, 3], tf.uint8)
    }
    assert {name: (spec.shape.as_list(), spec.dtype) for name, spec in signature.structured_outputs.items()} == {
        "age": ([None], tf.float32),
        "age_distribution": ([None, 101], tf.float32),
        "gender": ([None], tf.float32),
        "race": ([None, 5], tf.float32),
    }


@pytest.mark.parametrize("runtime", [Runtime.TENSORFLOW, Runtime.OPENVINO])
def test_both_runtimes_answer_as_the_trained_network(
    store: Path, network: keras.Model, crops: made.Pixels, runtime: Runtime
) -> None:
    answers = loader(runtime, Precision.F32, 2)(store / "tiny/1")(crops)
    logits = {name: np.array(value, np.float64) for name, value in network(crops / 127.5 - 1, training=False).items()}
    powers = {name: np.exp(value - value.max(axis=1, keepdims=True)) for name, value in logits.items()}
    ages = powers["age"] / powers["age"].sum(axis=1, keepdims=True)
    assert set(answers) == {"age", "age_distribution", "gender", "race"}
    np.testing.assert_allclose(answers["age_distribution"], ages, atol=0.002)
    np.testing.assert_allclose(answers["age"], ages @ np.arange(101), atol=0.1)
    np.testing.assert_allclose(answers["gender"], 1 / (1 + np.exp(-logits["gender"][:, 0])), atol=0.005)
    np.testing.assert_allclose(answers["race"], powers["race"] / powers["race"].sum(axis=1, keepdims=True), atol=0.005)


def test_heads_that_a_network_lacks_are_no_outputs(tmp_path: Path, crops: made.Pixels) -> None:
    section = made.recipe(network={"outputs": ["gender"]}).network
    assert write_saved_model(plain(build(section), section), section, tmp_path) == ["gender"]
    assert set(loader(Runtime.OPENVINO, Precision.F32, 1)(tmp_path)(crops)) == {"gender"}


@pytest.mark.parametrize("runtime", [Runtime.TENSORFLOW, Runtime.OPENVINO])
def test_a_mirrored_network_answers_the_mean_for_a_crop_and_its_mirror_image(
    tmp_path: Path, network: keras.Model, recipe: Recipe, crops: made.Pixels, runtime: Runtime
) -> None:
    section = recipe.network.model_copy(update={"mirror": True})
    for folder, one in (("once", recipe.network), ("both", section)):
        write_saved_model(plain(network, one), one, tmp_path / folder)
    once, both = (loader(runtime, Precision.F32, 1)(tmp_path / folder) for folder in ("once", "both"))
    mirrored = np.ascontiguousarray(crops[:, :, ::-1])
    answers, given, turned = both(crops), once(crops), once(mirrored)
    assert np.abs(given["age"] - turned["age"]).max() > 0.001  # or the network saw no difference
    for name, values in answers.items():
        np.testing.assert_allclose(values, (given[name] + turned[name]) / 2, atol=1e-4)
        np.testing.assert_allclose(both(mirrored)[name], values, atol=1e-4)


# Store -----------------------------------------------------------------------------------------------------------------


def test_the_store_accepts_what_was_written(store: Path, run: Path, root: Path) -> None:
    model = ModelStore(store).load("tiny", 1, loader(Runtime.AUTO, Precision.F32, 2))
    manifest = model.manifest
    assert (manifest.name, manifest.version, manifest.kind, manifest.architecture) == ("tiny", 1, "attributes", "tiny")
    assert manifest.created == "2026-01-01"
    assert manifest.outputs == ("age", "age_distribution", "gender", "race")
    assert manifest.input is not None
    assert (manifest.input.size, manifest.input.template) == (made.SIDE, TEMPLATE)
    age, gender, race = manifest.attributes
    assert (age.labels, gender.labels, race.labels[2]) == ((), ("male", "female"), "asian")
    assert "non-commercial" in manifest.licence
    assert json.loads((store / "tiny/1/recipe.json").read_text()) == json.loads((run / "recipe.json").read_text())
    with np.load(store / "tiny/1/golden.npz") as golden:
        assert golden["faces/input"].shape == (10, made.SIDE, made.SIDE, 3)  # nine portraits, and noise
        assert golden["faces/age_distribution"].sum(axis=1) == pytest.approx(1, abs=1e-3)


def test_calibration_was_fitted_on_validation(store: Path) -> None:
    manifest = ModelStore(store).load("tiny", 1, loader(Runtime.AUTO, Precision.F32, 2)).manifest
    age, gender, race = (attribute.calibration for attribute in manifest.attributes)
    assert gender.temperature != 1
    assert race.temperature != 1
    assert age.interval is not None
    assert age.interval.coverage == 0.8


def test_calibration_is_over_the_faces_that_were_found() -> None:
    nan = np.nan
    distribution = np.zeros((4, 101))
    distribution[:, [28, 32]] = 0.5  # a deviation of two years
    distribution[3] = nan
    predictions = predictions_of(
        age=np.array([28.0, 30, 32, 99]),
        gender=np.array([0, 1, 1, 0]),
        race=np.array([0, 1, 2, 3]),
        found=np.array([True, True, True, False]),
        years=np.array([30.0, 30, 30, nan]),
        low=np.full(4, nan),
        high=np.full(4, nan),
        female=np.array([0.3, 0.6, 0.7, nan]),
        races=np.vstack([np.eye(5)[:3] * 0.75 + 0.05, np.full((1, 5), nan)]),
    )
    age = replace(predictions.expectations["age"], distribution=distribution)
    calibration = fit([replace(predictions, expectations={"age": age})])
    interval = calibration["age"].interval
    assert interval is not None
    (band,) = interval.bands
    assert -1 <= band.low < 0 < band.high <= 1  # errors of two years are one deviation


def test_calibration_joins_data_sets_and_each_head_asks_those_that_know_its_label() -> None:
    """Two sets, the second without races, whose answers contradict the first one's genders: all faces share a temperature, and
    the races' is the first one's alone."""
    random = np.random.default_rng(0)
    races = random.dirichlet(np.full(5, 0.3), 400)

    def scored(knows_race: bool, right: float) -> Predictions:
        female = random.uniform(0.05, 0.95, 400)
        return predictions_of(
            age=np.full(400, 30.0),
            gender=np.where(random.uniform(size=400) < right, female > 0.5, female <= 0.5).astype(np.int64),
            race=races.argmax(axis=1) if knows_race else np.full(400, -1),
            found=np.full(400, True),
            **dict.fromkeys(("years", "low", "high"), np.full(400, np.nan)),
            female=female,
            races=races,
        )

    first, second = scored(True, 0.99), scored(False, 0.6)
    alone, other, both = fit([first]), fit([second]), fit([first, second])
    assert alone["gender"].temperature < both["gender"].temperature < other["gender"].temperature
    assert both["race"].temperature == alone["race"].temperature != 1
    assert "race" not in other


def written(tmp_path: Path, run: Path, recipe: Recipe, **changes: Any) -> Path:
    """Export to a store of its own, from one photo on which a square is the face."""
    examples = tmp_path / "examples"
    examples.mkdir(exist_ok=True)
    (examples / "square.jpg").write_bytes(made.encoded(made.square_picture(20, 20)))
    store = tmp_path / "store"
    detector = changes.pop("detector", SquareDetector())
    described = PreparedReport(template=TEMPLATE, sets={"UTKFace": ""})
    export(recipe, run / "best.weights.h5", described, examples, detector, store, 1, "2026-01-01", **changes)
    return store


def test_a_version_is_never_written_again(tmp_path: Path, run: Path, recipe: Recipe) -> None:
    store = written(tmp_path, run, recipe)
    before = (store / "tiny/1/model.json").read_bytes()
    with pytest.raises(FileExistsError, match="versions never change"):
        written(tmp_path, run, recipe)
    assert (store / "tiny/1/model.json").read_bytes() == before
    manifest = ModelStore(store).load("tiny", 1, loader(Runtime.AUTO, Precision.F32, 2)).manifest
    assert [attribute.calibration.interval for attribute in manifest.attributes] == [None] * 3
    assert keras.config.dtype_policy().name == "float32"


def test_a_set_that_calibrates_and_did_not_train_is_named_in_the_licence(
    tmp_path: Path, run: Path, recipe: Recipe, root: Path
) -> None:
    shutil.copytree(root / "model_store/centerface", tmp_path / "store/centerface")
    pictures = made.folder_of(tmp_path / "club", [("a.jpg", made.face_picture())])
    (pictures / "labels.csv").write_text("file,age,split\na.jpg,30,validation\n")
    store = written(tmp_path, run, recipe, data=[pictures])
    licence = json.loads((store / "tiny/1/model.json").read_text())["licence"]
    assert licence == f"Calibrated with {open_data_set(pictures).licence}"


def test_a_network_that_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path, run: Path, recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match=r"the SavedModel has \d+ bytes; the limit is 10000"):
        written(tmp_path, run, recipe, max_bytes=10_000)
    assert not (tmp_path / "store/tiny/1").exists()


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, run: Path, recipe: Recipe) -> None:
    class Broken(SquareDetector):
        def detect(self, pixels: made.Pixels) -> list[Face]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, run, recipe, detector=Broken())
    assert not (tmp_path / "store/tiny/1").exists()


def test_each_operation_of_centerface_is_converted_with_its_weights(tmp_path: Path) -> None:
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Floats:
        """Such as float16 holds: kernels are written so."""
        return random.uniform(-0.5, 0.5, shape).astype(np.float16).astype(np.float32)

    def convolved(x: Any, channels: int, stride: int = 1) -> Any:
        kernel = weights(channels, x.shape[1], 3, 3)
        biased = operations.convolution(x, kernel, [stride] * 2, [1, 1], [1, 1], [1, 1])
        return operations.add(biased, weights(1, channels, 1, 1))

    pixels = operations.parameter([1, 3, 64, 96], np.float32)
    x = operations.relu(convolved(pixels, 8, stride=2))
    x = operations.group_convolution(x, weights(8, 1, 1, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1])
    x = operations.add(x, convolved(x, 8))
    x = operations.convolution_backprop_data(x, weights(8, 4, 2, 2), [2, 2])
    statistics = [weights(4), weights(4), weights(4), weights(4) + np.float32(1)]
    x = operations.relu(operations.batch_norm_inference(x, *statistics, 1e-3))
    outputs = [operations.sigmoid(convolved(x, 1)), *(convolved(x, channels) for channels in (2, 2, 10))]
    for name, output in zip(("537", "538", "539", "540"), outputs, strict=True):
        output.output(0).get_tensor().set_names({name})
    model = ov.Model(outputs, [pixels])
    centerface.convert(model, tmp_path / "faces")
    photo = random.integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = centerface.answers_of(model, photo)
    assert {name: values.shape[1:3] for name, values in expected.items()} == dict.fromkeys(expected, (32, 48))
    for runtime in (Runtime.OPENVINO, Runtime.TENSORFLOW):
        given = loader(runtime, Precision.F32, 1)(tmp_path / "faces")(photo)
        assert set(given) == set(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(given[name], values, atol=1e-4 * np.abs(values).max())


def test_another_file_is_no_centerface(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(ExportError, match=r"not the centerface\.onnx"):
        centerface.export(tmp_path, 1, tmp_path / "other.onnx", tmp_path, np.zeros((256, 256, 3), np.uint8), "")
    assert not (tmp_path / "centerface/1").exists()
