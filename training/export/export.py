"""Trained weights to a model in the store: folded, halved, wrapped, calibrated, and held to golden answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from service.arrays import Floats, Pixels
from service.files import replacing
from service.models.manifest import YEARS, Declaration, Manifest
from service.models.runtime import Precision
from service.models.runtime.tensorflow import loader
from service.models.store import GOLDEN, write_manifest
from service.vision.align import align
from service.vision.detection import Detector, locate
from service.vision.image import decode
from training.artifacts import new_version
from training.calibration.photo import fit
from training.calibration.versions import calibrated, licence_with, validation_predictions
from training.datasets.documents import PreparedReport
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.errors import ExportError
from training.export.tolerance import TOLERANCE
from training.models import age_head as ages
from training.models import label_head
from training.models.heads import TRUNK, assemble, build, dtype_policy, load_weights
from training.models.pixels import scaled_tensor
from training.provenance import licences_of, of_run
from training.recipe import ATTRIBUTES, RECIPE, Attribute, NetworkSection, Recipe, write_recipe

MAX_BYTES: Final = 50_000_000
RESEARCH: Final = "Trained on data for research alone."

CONVOLUTIONS: Final = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)


class _Identity(layers.Layer):  # type: ignore[misc]
    """Stands where a batch normalisation or dropout stood, and takes the arguments that it took."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return inputs


def folding_pairs(model: keras.Model) -> dict[str, str]:
    """The normalisations that can become the bias of a convolution: those that alone follow one, plain, depthwise or separable.

    Args:
        model: A trunk.

    Returns:
        The convolutions' names by the normalisations'.
    """
    return {
        layer.name: layer.input._keras_history.operation.name
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
        and isinstance(layer.input._keras_history.operation, CONVOLUTIONS)
        and len(layer.input._keras_history.operation._outbound_nodes) == 1
        and layer.input._keras_history.operation.activation is keras.activations.linear
    }


def folded(model: keras.Model) -> keras.Model:
    """The same function without dropout and batch normalisation: each normalisation that alone follows a convolution, plain,
    depthwise or separable, becomes that one's bias.

    `kernel * gamma / sqrt(variance + epsilon)` and `beta - mean * gamma / sqrt(variance + epsilon)`, in float64.

    Args:
        model: A trained trunk, which stays as it is.

    Returns:
        Another trunk.
    """
    pairs = folding_pairs(model)
    norms = {convolution: model.get_layer(norm) for norm, convolution in pairs.items()}

    def rebuilt(layer: Any) -> Any:
        if layer.name in pairs or isinstance(layer, layers.Dropout):
            return _Identity(name=layer.name)
        config = layer.get_config()
        return layer.__class__.from_config(config | {"use_bias": True} if layer.name in norms else config)

    result = keras.models.clone_model(model, clone_function=rebuilt)
    for layer in model.layers:
        if layer.name in norms:
            result.get_layer(layer.name).set_weights(_folded_weights(layer, norms[layer.name]))
        elif layer.get_weights() and layer.name not in pairs and not isinstance(layer, layers.Dropout):
            result.get_layer(layer.name).set_weights(layer.get_weights())
    return result


def plain(model: keras.Model, section: NetworkSection, attributes: Sequence[Attribute] = ATTRIBUTES) -> keras.Model:
    """A trained network as it is served: its trunk folded, its heads without dropout.

    Args:
        model: The trained network.
        section: Its section of the recipe.
        attributes: What the recipe declares.

    Returns:
        Another network, from pixels in [-1, 1] to logits.
    """
    served = assemble(folded(model.get_layer(TRUNK)), section, 0, attributes)
    for layer in served.layers:
        if layer.name != TRUNK:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return served


def _folded_weights(convolution: Any, norm: Any) -> list[Any]:
    """Kernel and bias of a convolution that does the normalisation behind it too."""
    weights = [weight.astype(np.float64) for weight in convolution.get_weights()]
    before, (kernel, *bias) = (weights[:1], weights[1:]) if isinstance(convolution, layers.SeparableConv2D) else ([], weights)
    mean, variance = (np.asarray(value, np.float64) for value in (norm.moving_mean, norm.moving_variance))
    gain = (np.asarray(norm.gamma, np.float64) if norm.scale else 1.0) / np.sqrt(variance + norm.epsilon)
    beta = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    shape = kernel.shape[2:] if isinstance(convolution, layers.DepthwiseConv2D) else (-1,)  # [H, W, channels, multiplier]
    return [*before, kernel * gain.reshape(shape), beta + ((bias[0] if bias else 0.0) - mean) * gain]


def rounded(weight: Floats) -> Floats:
    """A kernel in bfloat16's eight significant bits, so that arithmetic in bf16 rounds activations alone.

    What rounding takes from a weight is added to the next one of the same output, so that each output's weights keep their sum:
    what a kernel reads is rarely zero in the mean, and the errors would not cancel.

    Args:
        weight: float32, a kernel [..., outputs], or [H, W, channels, 1] of a depthwise convolution; or a vector.

    Returns:
        float32 of the same shape; a vector, such as biases, as it is.
    """
    if weight.ndim < 2:
        return weight
    axis = 2 if weight.ndim == 4 and weight.shape[3] == 1 else -1
    moved = np.moveaxis(weight.astype(np.float32), axis, 0)
    rows = moved.reshape(len(moved), -1)
    result = np.empty_like(rows)
    left = np.zeros(len(rows), np.float32)
    for index in range(rows.shape[1]):
        wanted = rows[:, index] + left
        result[:, index] = wanted.astype(tf.bfloat16.as_numpy_dtype).astype(np.float32)
        left = wanted - result[:, index]
    return np.moveaxis(result.reshape(moved.shape), 0, axis)


def _served(model: keras.Model, section: NetworkSection, attributes: Sequence[Attribute]) -> Any:
    """A network as the service sees it: uint8 crops in, years and probabilities out, weights held as float16.

    With `mirror`, both are means over a crop and its mirror image, two rows of one batch.

    A tf.Module that holds the halves alone; the network is known to its function only, or its float32 variables would be
    saved too.
    """
    module = tf.Module()
    model.trainable = True  # what cannot learn, such as the statistics of a normalisation that stayed, is listed last
    weights = [*model.trainable_variables, *model.non_trainable_variables]
    learnt = len(model.trainable_variables)
    module.halves = [tf.Variable(tf.cast(rounded(np.asarray(weight)), tf.float16), trainable=False) for weight in weights]

    def serve(faces: Any) -> dict[str, Any]:
        weights = [tf.cast(half, tf.float32) for half in module.halves]
        pixels = scaled_tensor(faces)
        if section.mirror:
            pixels = tf.concat([pixels, pixels[:, :, ::-1]], axis=0)
        logits, _ = model.stateless_call(weights[:learnt], weights[learnt:], pixels, training=False)
        outputs: dict[str, Any] = {}
        for attribute in attributes:
            name = attribute.name
            if name in logits and attribute.kind == "labels":
                outputs[name] = label_head.probabilities(logits[name], attribute)
            elif name in logits:
                form, scale = section.form_of(attribute), attribute.scale
                steps = ages.years(logits[name], form)
                outputs[name] = steps if scale == YEARS else scale.origin + scale.step * steps
                if form.form != "regression":
                    outputs[f"{name}_distribution"] = ages.distribution(logits[name], form)
        return {name: _mean_of_halves(value) for name, value in outputs.items()} if section.mirror else outputs

    shape = [None, section.size, section.size, 3]
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec(shape, tf.uint8, name="faces")])
    return module


def _mean_of_halves(values: Any) -> Any:
    """Mean [N, ...] of the first and the second half of a batch [2N, ...]."""
    first, second = tf.split(values, 2, axis=0)
    return (first + second) / 2


def write_saved_model(
    model: keras.Model,
    section: NetworkSection,
    folder: Path,
    attributes: Sequence[Attribute] = ATTRIBUTES,
    max_bytes: int = MAX_BYTES,
) -> list[str]:
    """Write a SavedModel with float16 weights.

    Args:
        model: A network as `plain` makes it.
        section: Its section of the recipe.
        folder: Folder to write to.
        attributes: What the recipe declares.
        max_bytes: Most bytes that its files may have.

    Returns:
        Names of its outputs, in the alphabet's order.

    Raises:
        ExportError: It has more than `max_bytes`.
    """
    served = _served(model, section, attributes)
    signature = served.serve.get_concrete_function()
    tf.saved_model.save(served, str(folder), signatures=signature)
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if written > max_bytes:
        raise ExportError(f"the SavedModel has {written} bytes; the limit is {max_bytes}")
    return sorted(signature.structured_outputs)


def export(
    recipe: Recipe,
    weights: Path,
    prepared: PreparedReport,
    examples: Path,
    detector: Detector,
    store: Path,
    version: int,
    created: str,
    data: Sequence[Path] = (),
    max_bytes: int = MAX_BYTES,
    detector_title: str | None = None,
) -> Manifest:
    """Write `store/NAME/VERSION`.

    Golden inputs are the faces of the public-domain photos in `examples`; their answers are TensorFlow's in float32.

    Args:
        recipe: Recipe of the run.
        weights: Weights file of the run.
        prepared: What `prepare` reported: the template, and the licence of every data set.
        examples: Folder of photos.
        detector: What finds the faces in them.
        store: The model store.
        version: Version to write.
        created: Date, such as 2026-09-01.
        data: Data sets on whose validation splits the calibration is fitted, through the service; none where empty.
        max_bytes: Most bytes that the SavedModel may have.
        detector_title: Detector in the store by which the calibration finds faces; the service's default where it is None.

    Returns:
        The manifest.

    Raises:
        FileExistsError: The version is there already.
        ExportError: The SavedModel is too large, or a data set of the recipe is not among the prepared ones.
        FileNotFoundError: The weights are not there.
        WeightsError: They are another network's.
    """
    target = store / recipe.name / str(version)
    template = prepared.template
    if missing := [name for name in recipe.data.train if name not in prepared.sets]:
        raise ExportError(f"{missing[0]}, which the recipe learns from, is not among the prepared data sets")
    made = of_run(weights.parent)
    learnt = [prepared.sets[name] for name in dict.fromkeys(recipe.data.train)]
    licences = [*learnt, *(() if made is None else licences_of(made))]
    if target.exists():
        raise FileExistsError(f"{target} exists, and versions never change once written")
    with dtype_policy("float32"):
        network = build(recipe.network, attributes=recipe.attributes)
        load_weights(network, weights)
        served = plain(network, recipe.network, recipe.attributes)
    with new_version(store, recipe.name, version) as folder:
        size = recipe.network.size
        outputs = write_saved_model(served, recipe.network, folder, recipe.attributes, max_bytes)
        crops = golden_crops(examples, detector, np.array(template, np.float32), size)
        answers = loader(threads=2)(folder)(crops)
        golden = {"faces/input": crops} | {f"faces/{name}": value for name, value in answers.items()}
        with replacing(folder / GOLDEN) as new:
            np.savez_compressed(new, **golden)  # type: ignore[arg-type]
        write_recipe(folder / RECIPE, recipe)
        fields: dict[str, Any] = {
            "name": recipe.name,
            "version": version,
            "kind": "attributes",
            "architecture": recipe.network.architecture,
            "created": created,
            "licence": _licence(licences, recipe.origin),
            "trained_on": list(dict.fromkeys(recipe.data.train)),
            "description": _description(recipe.network.outputs),
            "recipe": RECIPE,
            "provenance": None if made is None else made.model_dump(mode="json"),
            "networks": {"faces": "."},
            "input": {"size": size, "template": template},
            "attributes": [_declared(attribute, outputs) for attribute in recipe.learnt],
            "tolerance": {precision: most for precision, most in TOLERANCE.items() if precision != Precision.INT8.value},
        }
        manifest = write_manifest(folder, fields)
        if data:
            sets = [open_data_set(one) for one in data]
            calibration = fit(validation_predictions(store, folder, sets, detector_title), recipe.selective_accuracies)
            fields["licence"] = licence_with(fields["licence"], fields["trained_on"], sets)
            manifest = write_manifest(folder, fields | {"attributes": calibrated(manifest.attributes, calibration)})
    return manifest


def _declared(attribute: Attribute, outputs: Sequence[str]) -> dict[str, Any]:
    """An attribute as the manifest declares it; an expectation has a distribution where the network gives one."""
    named = [attribute.name, f"{attribute.name}_distribution"] if attribute.kind == "expectation" else [attribute.name]
    given = [name for name in named if name in outputs]
    return attribute.model_dump(include=set(Declaration.model_fields)) | {"outputs": given}


def golden_crops(examples: Path, detector: Detector, template: Any, size: int) -> Pixels:
    """Crops [N, size, size, 3] of the portraits in a folder, photos of one face, and one of noise, which no face resembles.

    Portraits alone: in bf16 a network may move single faces of a group further than the tolerance, without being less right
    on the whole; `tests/service/models/runtime/test_parity.py` measures by how much.

    Args:
        examples: Folder of photos.
        detector: What finds the faces in them.
        template: Landmarks [5, 2] in fractions of the crop.
        size: Side of the crops in pixels.

    Returns:
        uint8 RGB [N, size, size, 3].
    """
    crops = []
    for path in sorted(examples.glob("*.jpg")):
        image = decode(path.read_bytes(), max_pixels=MAX_PIXELS, side=1280)
        faces = locate(image.pixels, detector, 1280)
        if len(faces) == 1:
            crops.append(align(image.pixels, faces[0].landmarks, template, size))
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return np.stack([*crops, noise])


def _licence(licences: Sequence[str], origin: str) -> str:
    """The licence text of a model: that of its data and of all that its weights came of, and of its initial weights where they
    came from somewhere; what another text says already comes once.
    """
    text = RESEARCH if any("research" in one for one in licences) else ""
    for one in (*licences, origin):
        if (more := one.removeprefix(RESEARCH).strip()) not in text:
            text = f"{text} {more}".strip()
    return text


def _description(outputs: Sequence[str]) -> str:
    *first, last = outputs
    names = f"{', '.join(first)} and {last}" if first else last
    return f"Apparent {names} of an aligned face."
