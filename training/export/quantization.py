"""A model of the store to its int8 variant: quantised by training crops, and held to the model itself on validation."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from service.arrays import Pixels
from service.extras import install_command
from service.files import replacing
from service.models.evaluation import Figures, VariantEvaluation, VariantPart, read_evaluation
from service.models.manifest import Manifest, Tolerance, Variant
from service.models.runtime import Loader, Network, Precision, cpu_quota
from service.models.runtime import openvino as runtime
from service.models.store import GOLDEN, VARIANT, ModelStore, file_digest
from training.artifacts import new_folder, whole_folder, write_text
from training.datasets.base import Split
from training.datasets.prepared import Prepared, load_prepared
from training.errors import EvaluationError, ExportError, MissingPackage
from training.evaluation.crops import beside_labels, network_answers
from training.evaluation.metrics import Table, value_of
from training.evaluation.predictions import Predictions, groups
from training.evaluation.recording import write_evaluation
from training.evaluation.scoring import applicable
from training.evaluation.variants import ALL, losses, lossless
from training.export.tolerance import TOLERANCE
from training.fit.augmentation import resized
from training.recipe import Attribute

NETWORK: Final = "faces.xml"
MOST_BYTES: Final = 25_000_000
CONVOLUTIONS: Final = frozenset({"Convolution", "GroupConvolution"})
SIGNED: Final = frozenset({"Elu", "Gelu", "HSwish", "Mish", "Negative", "PRelu", "Swish", "Tanh"})
"""Operations, such as those of a PReLU, whose values lie unevenly about zero: they need a zero point of their own."""


def quantize(
    store: Path, name: str, version: int, prepared: Path, created: str, sets: Sequence[str] | None = None, pictures: int = 300
) -> VariantEvaluation:
    """Write `store/NAME/VERSION/int8`, which `FACET_PRECISION=int8` serves.

    What lies behind the last convolution stays in float32: heads, softmax, and the sum that makes an age of a distribution,
    which quantised would pull the ages of old people down. What was measured goes into the model's evaluation and card, where
    it has any.

    Args:
        store: Model store.
        name: The model's.
        version: Its version.
        prepared: Folder that `prepare` wrote.
        created: Date, such as 2026-09-01.
        sets: Data sets to calibrate and measure on; those that the model was trained on where it is None.
        pictures: Training crops by which the ranges of values are measured.

    Returns:
        Figures on validation, beside those of the model in float32.

    Raises:
        ModelError: The store holds no such model, or it is damaged.
        FileExistsError: It has an int8 variant.
        MissingPackage: NNCF is not installed.
        ExportError: The variant is too large, or loses too much.
        FileNotFoundError: `prepare` wrote nothing.
        DataSetError: A set has no picture of a split.
    """
    model = ModelStore(store).load(name, version, _loader(Precision.F32))
    manifest, folder = model.manifest, store / name / str(version)
    target = folder / Precision.INT8.value
    if target.exists():
        raise FileExistsError(f"{target} exists, and versions never change once written")
    size = 0 if manifest.input is None else manifest.input.size
    chosen = list(sets or manifest.trained_on)
    attributes = tuple(Attribute(**one.model_dump(include=set(Attribute.model_fields))) for one in manifest.attributes)
    train = load_prepared(prepared, Split.TRAIN, chosen, attributes=attributes, most=pictures)
    validation = load_prepared(prepared, Split.VALIDATION, chosen, attributes=attributes)
    with new_folder(store, target) as draft:
        write_network(folder / manifest.networks["faces"], list(_crops(train, size)[:, np.newaxis]), draft / NETWORK)
        variant = _loader(Precision.INT8)(draft / NETWORK)
        measured = _measured(manifest, validation, {"f32": model.networks["faces"], "int8": variant}, size)
        _require_small_loss(manifest, measured.sets[ALL])
        write_golden(folder, draft, variant)
        document = Variant(
            name=name,
            version=manifest.version,
            precision="int8",
            manifest=model.digest,
            created=created,
            made_by=f"nncf {metadata.version('nncf')}",
            calibrated_on=tuple(chosen),
            pictures=len(train),
            networks={"faces": NETWORK},
            lossless=lossless(manifest, measured),
            tolerance=Tolerance(**TOLERANCE["int8"]),
            files={path.name: file_digest(path) for path in sorted(draft.iterdir())},
        )
        write_text(draft / VARIANT, document.model_dump_json(indent=2) + "\n")
    with whole_folder(target):
        ModelStore(store).load(name, version, _loader(Precision.INT8), variant="int8")
    evaluation = read_evaluation(folder)
    if evaluation is not None:
        variants = evaluation.variants | {"int8": measured}
        write_evaluation(store, name, manifest.version, evaluation.model_copy(update={"variants": variants}))
    return measured


def _loader(precision: Precision) -> Loader:
    return runtime.loader(precision, cpu_quota())


def write_network(saved_model: Path, batches: Sequence[Pixels], target: Path, *, fast: bool = False) -> None:
    """Quantise a SavedModel by what it makes of pictures, and write it as OpenVINO IR.

    Args:
        saved_model: Its folder.
        batches: uint8 [1, H, W, 3] each.
        target: The .xml that is written; its .bin lies beside it.
        fast: Whether biases are corrected by the fast way, which leaves the old half a year younger.

    Raises:
        MissingPackage: NNCF is not installed.
        ExportError: It is too large.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # or NNCF reports its use to its makers
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise MissingPackage(f"an int8 variant needs {error.name}: {install_command('quantize')}") from error
    import openvino as ov

    nncf.set_log_level(logging.WARNING)  # it names every layer that it leaves in float32
    model = ov.Core().read_model(str(saved_model))
    _fold_weights(model)
    signed = bool(SIGNED & {node.get_type_name() for node in model.get_ordered_ops()})
    quantized = nncf.quantize(
        model,
        nncf.Dataset(list(batches)),
        preset=nncf.QuantizationPreset.MIXED if signed else nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(batches),
        fast_bias_correction=fast,
        ignored_scope=nncf.IgnoredScope(names=behind_convolutions(model), validate=False),
    )
    with TemporaryDirectory(dir=target.parent) as folder:  # OpenVINO maps what it writes
        ov.save_model(quantized, str(Path(folder) / target.name), compress_to_fp16=True)
        for path in list(Path(folder).iterdir()):
            path.rename(target.parent / path.name)
    written = sum(path.stat().st_size for path in target.parent.iterdir())
    if written > MOST_BYTES:
        raise ExportError(f"the variant has {written} bytes; the limit is {MOST_BYTES}")


def _fold_weights(model: Any) -> None:
    """Make float32 constants of float16 weights that the graph casts: NNCF quantises the weights that are constants."""
    import openvino as ov
    from openvino.passes import ConstantFolding, Manager

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convert" and node.input_value(0).get_node().get_type_name() == "Constant":
            value = np.asarray(node.input_value(0).get_node().get_data(), np.float32)
            node.output(0).replace(ov.opset13.constant(value).output(0))
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def behind_convolutions(model: Any) -> list[str]:
    """The operations of a network that no convolution depends on: pooling, heads, and what makes answers of them.

    Args:
        model: An `openvino.Model`.

    Returns:
        Their names, without constants, parameters and results.
    """
    needed: set[str] = set()
    behind = []
    for node in reversed(model.get_ordered_ops()):
        readers = {port.get_node().get_friendly_name() for output in node.outputs() for port in output.get_target_inputs()}
        if node.get_type_name() in CONVOLUTIONS or readers & needed:
            needed.add(node.get_friendly_name())
        elif node.get_type_name() not in ("Constant", "Parameter", "Result"):
            behind.append(node.get_friendly_name())
    return behind


def _crops(data: Prepared, size: int) -> Pixels:
    """The crops [N, size, size, 3] as the network takes them."""
    return np.stack([resized(crop, size) for crop in data.crops])


def _measured(manifest: Manifest, data: Prepared, networks: Mapping[str, Network], size: int) -> VariantEvaluation:
    """Figures of a model and its variant on the same crops, of each data set and of all."""
    found = {}
    for name, network in networks.items():
        given = network_answers(network, data, size)
        found[name] = beside_labels(data, {one.name: given[one.outputs[0]] for one in manifest.attributes})
    rows = {ALL: np.ones(len(data), np.bool_)} | {str(name): data.sets == name for name in dict.fromkeys(data.sets.tolist())}
    parts = {
        name: VariantPart(
            figures={key: _figures(one.where(chosen), Table.CARD_PRECISIONS) for key, one in found.items()},
            bands={
                attribute: {
                    band: {
                        key: _figures(one.where(chosen).where(mask), Table.CARD_GROUPS, attribute) for key, one in found.items()
                    }
                    for band, mask in members.items()
                }
                for attribute, members in groups(found["f32"].where(chosen)).items()
                if attribute in found["f32"].expectations
            },
        )
        for name, chosen in rows.items()
    }
    return VariantEvaluation(split=Split.VALIDATION.value, sets=parts)


def _figures(predictions: Predictions, table: Table, attribute: str | None = None) -> Figures:
    """The main figures of some faces, and how far the expectations lie beside on the whole."""
    biases = {f"{name}_bias" for name in predictions.expectations}
    values: dict[str, Any] = {"count": len(predictions)}
    for metric in applicable(predictions):
        if (
            (table in metric.tables or metric.key in biases)
            and attribute in (None, metric.attribute)
            and "." not in metric.place
        ):
            value = value_of(metric, predictions)
            values[metric.place] = None if np.isnan(value) else round(value, 5)
    return Figures.model_validate(values)


def _require_small_loss(manifest: Manifest, part: VariantPart) -> None:
    found = list(losses(manifest, part))
    if not found:
        raise EvaluationError("validation has no label of what the model says")
    for name, lost, most in found:
        if lost > most:
            raise ExportError(f"the variant loses {lost:.4g} of {name} on validation; {most:.4g} is the limit")


def write_golden(folder: Path, target: Path, variant: Network, outputs: Collection[str] | None = None) -> None:
    """Write a variant's own answers to the golden input of the model's network `faces`.

    Args:
        folder: Of the model.
        target: Of the variant.
        variant: The network.
        outputs: Those of its answers that are held; None for all.
    """
    with np.load(folder / GOLDEN, allow_pickle=False) as golden:
        crops = golden["faces/input"]
    answers = {name: value for name, value in variant(crops).items() if outputs is None or name in outputs}
    arrays = {"faces/input": crops} | {f"faces/{name}": value for name, value in answers.items()}
    with replacing(target / GOLDEN) as new:
        np.savez_compressed(new, **arrays)
