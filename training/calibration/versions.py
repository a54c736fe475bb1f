"""A model of the store to a new version of it: the same weights, another calibration."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.models.manifest import Attribute, AttributeCalibration, Manifest
from service.models.runtime import Precision
from service.models.store import UNLISTED, VARIANTS, write_manifest
from training.artifacts import whole_folder
from training.calibration.photo import fit
from training.datasets.base import DataSet, Split
from training.evaluation.service_client import measured_settings, predict, read_manifest
from training.recipe import ATTRIBUTES, SelectiveAccuracy, load_recipe


def recalibrate(store: Path, name: str, version: int, data: Sequence[DataSet], detector: str | None = None) -> Path:
    """Write a new version of a model, of the same weights, with a calibration that is fitted again; that of tracks stays.

    Its licence names the data sets that calibrate it and did not train it.

    What was measured of the old version does not hold for it, and is not copied.

    Args:
        store: Model store.
        name: The model's.
        version: Its version, which stays as it is.
        data: Data sets on whose validation splits the calibration is fitted, through the service.
        detector: Name of the detector in the store, or `NAME/VERSION`; the service's default where it is None.

    Returns:
        The folder of the new version.

    Raises:
        CalibrationError: No face was found.
        EvaluationError: The store holds no such model.
    """
    manifest = read_manifest(store, name, version)
    made = copied(store, name, version, {"attributes": calibrated(manifest.attributes, {})})
    with whole_folder(made):
        chosen = {} if detector is None else {"detector": detector}
        settings = measured_settings(
            model_store=store, model=name, model_version=int(made.name), precision=Precision.F32, **chosen
        )
        parts = [predict(settings, one, Split.VALIDATION).predictions for one in data]
        fitted = fit(parts, _accuracies(made, manifest))
        licences = [one.licence for one in data if one.name not in manifest.trained_on]
        licence = " ".join([manifest.licence, *(f"Calibrated with {one}" for one in licences)])
        fields = manifest.model_dump(mode="json") | {"version": int(made.name), "licence": licence}
        write_manifest(made, fields | {"attributes": calibrated(manifest.attributes, fitted)})
    return made


def _accuracies(folder: Path, manifest: Manifest) -> dict[str, SelectiveAccuracy]:
    """What the recipe in a model's folder declares; for a model without one, what is known of an attribute by its name."""
    known = {one.name: one.selective_accuracy for one in ATTRIBUTES}
    return known if manifest.recipe is None else known | load_recipe(folder / manifest.recipe).selective_accuracies


def copied(store: Path, name: str, version: int, fields: Mapping[str, Any]) -> Path:
    """Write the newest version of a model: the files of another one, and a manifest of which some fields differ.

    Args:
        store: Model store.
        name: The model's.
        version: The version that is copied, but for its evaluation, card and variants, which are of that version alone.
        fields: What differs in the manifest.

    Returns:
        The folder of the new version.

    Raises:
        EvaluationError: The store holds no such model.
    """
    manifest = read_manifest(store, name, version)
    folder = store / name / str(version)
    newest = max(int(path.name) for path in (store / name).iterdir() if path.name.isdigit())
    made: Path = store / name / str(newest + 1)
    left = UNLISTED | set(VARIANTS)
    with whole_folder(made):
        shutil.copytree(folder, made, ignore=lambda place, names: left & set(names) if Path(place) == folder else set())
        write_manifest(made, manifest.model_dump(mode="json") | dict(fields) | {"version": newest + 1})
    return made


def calibrated(attributes: Sequence[Attribute], calibrations: Mapping[str, AttributeCalibration]) -> list[dict[str, Any]]:
    """Attributes as a manifest's fields, with what was fitted for them.

    Args:
        attributes: Declared ones.
        calibrations: By attribute; one that is not there loses its calibration.

    Returns:
        Fields by attribute.
    """
    return [
        one.model_copy(update={"calibration": calibrations.get(one.name, AttributeCalibration())}).model_dump(mode="json")
        for one in attributes
    ]
