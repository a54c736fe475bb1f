"""A model of the store to a new version of it: the same weights, another calibration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.models.manifest import Attribute, AttributeCalibration, Manifest
from service.models.runtime import Precision
from service.models.store import UNLISTED, VARIANTS, ModelStore, write_manifest
from training.artifacts import new_version
from training.calibration.photo import NO_LABELS, fit
from training.datasets.base import DataSet, Split
from training.errors import CalibrationError
from training.evaluation.predictions import Predictions
from training.evaluation.service_client import measured_settings, predict, read_manifest, require_labels
from training.recipe import ATTRIBUTES, SelectiveAccuracy, load_recipe


def recalibrate(store: Path, name: str, version: int, data: Sequence[DataSet], detector: str | None = None) -> Path:
    """Write a new version of a model, of the same weights, with a calibration that is fitted again; that of tracks stays.

    An attribute that none of the data sets knows keeps its own: what is fitted of one asks nothing of the others. Its licence
    names the data sets that calibrate it and did not train it.

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
        CalibrationError: No face was found, or the data sets know no attribute of the model.
        EvaluationError: The store holds no such model.
    """
    manifest = read_manifest(store, name, version)
    with copied(store, name, version, {"attributes": calibrated(manifest.attributes, {})}) as folder:
        fitted = fit(validation_predictions(store, folder, data, detector), _accuracies(folder, manifest))
        own = {one.name: one.calibration for one in manifest.attributes}
        licence = licence_with(manifest.licence, manifest.trained_on, data)
        fields = manifest.model_dump(mode="json") | {"version": int(folder.name), "licence": licence}
        write_manifest(folder, fields | {"attributes": calibrated(manifest.attributes, own | fitted)})
    return store / name / folder.name


def validation_predictions(store: Path, folder: Path, data: Sequence[DataSet], detector: str | None) -> list[Predictions]:
    """Predictions of validation splits by a version that is being made, in float32; labels are held to it before the first.

    Args:
        store: Model store, which holds the detector.
        folder: The version's, as `new_version` gives it.
        data: The data sets.
        detector: Name of the detector in the store, or `NAME/VERSION`; the service's default where it is None.

    Returns:
        Predictions of each data set.

    Raises:
        CalibrationError: The data sets know no attribute of the model.
        DataSetError: A validation split has no labelled picture, or a label is none of the model's.
        EvaluationError: The service fails, or refuses every picture.
    """
    draft, chosen = folder.parents[1], {} if detector is None else {"detector": detector}
    settings = measured_settings(
        model_store=draft, model=folder.parent.name, model_version=int(folder.name), precision=Precision.F32, **chosen
    )
    for one in data:
        require_labels(settings, one, Split.VALIDATION)
    _require_known(data, {one.name for one in read_manifest(draft, folder.parent.name, int(folder.name)).attributes})
    finder = settings.detector.partition("/")[0]
    if finder in ModelStore(store).names():
        shutil.copytree(store / finder, draft / finder, dirs_exist_ok=True)
    return [predict(settings, one, Split.VALIDATION).predictions for one in data]


def _require_known(data: Sequence[DataSet], names: Set[str]) -> None:
    """Some picture of validation has a label of one of these attributes."""
    if not any(names & label.values.keys() for one in data for _, label in one.labels(Split.VALIDATION)):
        raise CalibrationError(NO_LABELS)


def licence_with(licence: str, trained_on: Sequence[str], data: Sequence[DataSet]) -> str:
    """A model's licence, with those of the data sets that calibrate it and did not train it.

    Args:
        licence: The text.
        trained_on: Names of the sets that trained it.
        data: The sets that calibrate it.

    Returns:
        The text; a set that it names already comes once.
    """
    more = dict.fromkeys(f"Calibrated with {one.licence}" for one in data if one.name not in trained_on)
    return " ".join([licence, *(one for one in more if one not in licence)]).strip()


def _accuracies(folder: Path, manifest: Manifest) -> dict[str, SelectiveAccuracy]:
    """What the recipe in a model's folder declares; for a model without one, what is known of an attribute by its name."""
    known = {one.name: one.selective_accuracy for one in ATTRIBUTES}
    return known if manifest.recipe is None else known | load_recipe(folder / manifest.recipe).selective_accuracies


@contextmanager
def copied(store: Path, name: str, version: int, fields: Mapping[str, Any]) -> Iterator[Path]:
    """The newest version of a model, as `new_version` makes it: the files of another one, and a manifest of which some fields
    differ.

    Args:
        store: Model store.
        name: The model's.
        version: The version that is copied, but for its evaluation, card and variants, which are of that version alone.
        fields: What differs in the manifest.

    Yields:
        The folder of the new version.

    Raises:
        EvaluationError: The store holds no such model.
        FileExistsError: Another one wrote the version meanwhile.
    """
    manifest = read_manifest(store, name, version)
    source = store / name / str(version)
    newest = max(int(path.name) for path in (store / name).iterdir() if path.name.isdigit())
    left = UNLISTED | set(VARIANTS)
    with new_version(store, name, newest + 1) as folder:
        shutil.copytree(
            source,
            folder,
            ignore=lambda place, names: left & set(names) if Path(place) == source else set(),
            dirs_exist_ok=True,
        )
        write_manifest(folder, manifest.model_dump(mode="json") | dict(fields) | {"version": newest + 1})
        yield folder


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
