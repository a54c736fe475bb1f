"""A model of the store back to a run that training goes on from: what was served can be learnt further."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from service.arrays import Floats
from training.artifacts import write_document
from training.datasets.documents import PreparedReport
from training.datasets.prepare import read_report
from training.datasets.prepared import REPORT
from training.errors import WeightsError
from training.evaluation.service_client import read_manifest
from training.export.export import folding_pairs, plain
from training.fit.callbacks import save_weights
from training.fit.weight_averaging import require_no_run
from training.fit.weight_conversion import neutral, training_pixels, unfold
from training.models.heads import TRUNK, build
from training.provenance import WEIGHTS, Provenance, record_reopened
from training.recipe import RECIPE, load_recipe, write_recipe

_VARIABLE: Final = "halves/{}/.ATTRIBUTES/VARIABLE_VALUE"


def reopen(store: Path, name: str, version: int, prepared: Path, run: Path) -> Path:
    """Write the weights of a model as those of a run, with its recipe, provenance and licence, and the template that it learnt.

    The model's normalisations are folded into its convolutions. They are unfolded by the statistics of training faces: what
    the network answers stays, but for the rounding of its weights to float16.

    Args:
        store: Model store.
        name: The model's.
        version: Its version.
        prepared: Folder that `prepare` wrote, for the training faces.
        run: Folder to write.

    Returns:
        The weights file, for `train --start`.

    Raises:
        DataSetError: There is no training face.
        EvaluationError: The store holds no such model.
        RunError: `run` holds a training run.
        WeightsError: The model was not made by `export`, or another version of it wrote the weights otherwise.
    """
    require_no_run(run)
    manifest = read_manifest(store, name, version)
    folder = store / name / str(version)
    if manifest.recipe is None or manifest.input is None:
        raise WeightsError(f"{name}/{version} has no recipe: only what `export` wrote can be opened again")
    recipe = load_recipe(folder / manifest.recipe)
    network = build(recipe.network, attributes=recipe.attributes)
    served = plain(network, recipe.network, recipe.attributes)
    served.trainable = True
    _fill([*served.trainable_variables, *served.non_trainable_variables], _halves(folder), f"{name}/{version}")
    trunk, folded = network.get_layer(TRUNK), served.get_layer(TRUNK)
    pairs = folding_pairs(trunk)
    norms = {convolution: norm for norm, convolution in pairs.items()}
    for layer in trunk.layers:
        if layer.name in norms:
            _unfolded(layer, trunk.get_layer(norms[layer.name]), folded.get_layer(layer.name).get_weights())
        elif layer.name not in pairs and layer.get_weights() and not isinstance(layer, layers.Dropout):
            layer.set_weights(folded.get_layer(layer.name).get_weights())
    for layer in served.layers:
        if layer.name != TRUNK:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    unfold(trunk, training_pixels(prepared, recipe.network.size))
    run.mkdir(parents=True, exist_ok=True)
    save_weights(network, run / WEIGHTS)
    write_recipe(run / RECIPE, recipe)
    if (prepared / REPORT).exists():
        licences = read_report(prepared).sets
        write_document(run / REPORT, PreparedReport(sets=licences, template=manifest.input.template))
    before = None if manifest.provenance is None else Provenance.model_validate(manifest.provenance)
    record_reopened(run, f"{name}/{version}", before, manifest.licence)
    return run / WEIGHTS


def _halves(folder: Path) -> list[Floats]:
    """The weights that a SavedModel of `export` holds, in their order."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    known, found = reader.get_variable_to_shape_map(), list[Floats]()
    while (key := _VARIABLE.format(len(found))) in known:
        found.append(np.asarray(reader.get_tensor(key), np.float32))
    return found


def _fill(variables: list[Any], values: list[Floats], title: str) -> None:
    if [tuple(one.shape) for one in variables] != [one.shape for one in values]:
        raise WeightsError(f"{title} holds other weights than a network of its recipe has")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _unfolded(convolution: keras.Layer, norm: keras.Layer, weights: list[Floats]) -> None:
    """Take a convolution and its bias apart into one without, or with none, and a normalisation that adds the bias."""
    *kernels, bias = weights
    convolution.set_weights([*kernels, np.zeros_like(bias)] if convolution.use_bias else kernels)
    neutral(norm, bias)
