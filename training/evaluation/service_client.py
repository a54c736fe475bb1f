"""A model in the store to predictions: pictures posted to the service's own `POST /predict`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from service.app import create_app
from service.arrays import Doubles
from service.models.manifest import AGE, Manifest
from service.models.store import MANIFEST, ModelStore
from service.settings import Settings
from service.vision.quality import Quality
from training.datasets.base import MAX_AGE, DataSet, Label, Split, require_labelled
from training.datasets.columns import MOST_WORDS
from training.datasets.prepare import distance_to_centre
from training.errors import DataSetError, EvaluationError, raised_as
from training.evaluation.age_checks import AGES
from training.evaluation.documents import DEFAULT_ATTRIBUTES, MeasuredModel, Served
from training.evaluation.predictions import AttributeSpec, ExpectationPredictions, LabelPredictions, Predictions

logger = logging.getLogger(__name__)

ROUTE: Final = "/predict"
REMEDY: Final = "; mend it, or take it out of the set: prepare leaves such pictures out, and its prepare.json names all of them"
"""What is said where no picture can be read."""
MOST_NAMES: Final = 10
"""Names of refused pictures that are logged."""
CONCURRENCY: Final = 4
"""Pictures under way at a time: enough to keep the workers busy."""

_MACHINE: Final = ("threads", "workers", "runtime")  # settings of how predictions are computed here, which do not change them

Change = Callable[[bytes], bytes]
"""Makes the bytes that are posted from those of a file."""
Face = Mapping[str, Any]
"""A face of the service's answer."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions of N pictures, with their files' names.

    Of a picture without a face, `qualities` [N], by name, are not a number, and `warnings` [N] empty. `served` describes the
    model that gave the predictions.
    """

    names: list[str]
    predictions: Predictions
    qualities: dict[str, Doubles]
    warnings: list[list[str]]
    served: Served | None = None

    def __len__(self) -> int:
        return len(self.names)

    def with_fallbacks(self, years: Mapping[str, float]) -> Scored:
        """The same, with what stands for an expectation where no face was found.

        Args:
            years: Years by attribute.

        Returns:
            The predictions.
        """
        return replace(self, predictions=self.predictions.with_fallbacks(years))


class Predict(Protocol):
    """`predict`, once its settings are given."""

    def __call__(self, data: DataSet, split: Split, *, change: Change | None = None) -> Scored:
        """Predictions of a split, of changed pictures where there is a `change`."""
        ...


def measured_settings(**chosen: Any) -> Settings:
    """Settings under which figures are comparable.

    From the environment come only threads, workers and runtime. The deadline is long: a busy machine is no wrong prediction.

    Args:
        **chosen: Settings by name; the others are the defaults, whatever the environment holds.

    Returns:
        The settings.

    Raises:
        EvaluationError: The environment holds a setting that is none.
    """
    fixed = {
        name: info.get_default(call_default_factory=True)
        for name, info in Settings.model_fields.items()
        if name not in _MACHINE
    }
    with raised_as(EvaluationError):
        return Settings(**fixed | {"deadline_s": 600.0} | chosen)


def predict(settings: Settings, data: DataSet, split: Split, limit: int | None = None, change: Change | None = None) -> Scored:
    """Post every labelled picture of a split to the service; of several faces, the one nearest the centre counts.

    A picture that the service refuses, as one that is damaged, has no face, and its name is logged.

    Args:
        settings: Those of the service.
        data: The data set.
        split: The part of it.
        limit: The first pictures alone, so many.
        change: Makes what is posted from a file's bytes, to measure what a degraded picture costs.

    Returns:
        The predictions.

    Raises:
        DataSetError: The split has no labelled picture, or a label is none of the model's.
        EvaluationError: The service fails, or refuses every picture.
        service.errors.FacetError: The store holds no such model.
    """
    total = require_labels(settings, data, split, limit)
    answers, card = asyncio.run(_post(islice(data.labelled(split), limit), total, settings, change))
    manifest = read_manifest(Path(settings.model_store), card["name"], card["version"])
    return scored(
        [one.name for one in answers],
        [one.label for one in answers],
        [one.face for one in answers],
        manifest,
        _served(card, manifest),
    )


def require_labels(
    settings: Settings, data: DataSet, split: Split, limit: int | None = None, *, numbers_alone: bool = False
) -> int:
    """Hold a split's labels to those of the model, by names alone: before hours of predictions.

    Args:
        settings: Those of the service.
        data: The data set.
        split: The part of it.
        limit: The first pictures alone, so many.
        numbers_alone: Whether words are of no matter, as of a split of which means are taken.

    Returns:
        How many pictures have a label.

    Raises:
        DataSetError: There is none; or a label is none of the model's, or no number where the model says one.
        service.errors.FacetError: The store holds no such model.
    """
    require_labelled(data, split)
    manifest, _ = ModelStore(Path(settings.model_store)).find(settings.model, settings.model_version)
    specs = [AttributeSpec.of(one) for one in manifest.attributes]
    labels = [label for _, label in islice(data.labels(split), limit)]
    try:
        for label in labels:
            for one in specs:
                if one.kind == "expectation":
                    label.years(one.name)
                elif not numbers_alone:
                    label.code(one.name, one.labels)
    except DataSetError as error:
        raise DataSetError(f"{data.source}: {error}") from error
    return len(labels)


def expectations_of(settings: Settings) -> list[str]:
    """The numbers that a model predicts.

    Args:
        settings: Those of the service.

    Returns:
        Names of attributes.

    Raises:
        service.errors.FacetError: The store holds no such model.
    """
    manifest, _ = ModelStore(Path(settings.model_store)).find(settings.model, settings.model_version)
    return [one.name for one in manifest.attributes if one.kind == "expectation"]


def read_manifest(store: Path, name: str, version: int) -> Manifest:
    """The manifest of a model.

    Args:
        store: Model store.
        name: The model's.
        version: Its version.

    Returns:
        The manifest.

    Raises:
        EvaluationError: The store holds no such model, or its manifest is damaged.
    """
    path = store / name / str(version) / MANIFEST
    if not path.is_file():
        raise EvaluationError(f"the model store holds no {name}/{version}")
    with raised_as(EvaluationError):
        return Manifest.model_validate_json(path.read_bytes())


def newest_manifest(store: Path, name: str, version: int | None) -> Manifest:
    """The manifest of a model's version, or of its newest one.

    Args:
        store: Model store.
        name: The model's.
        version: Its version; the newest where it is None.

    Returns:
        The manifest.

    Raises:
        EvaluationError: The store holds no such model.
    """
    versions = [int(path.parent.name) for path in (store / name).glob(f"*/{MANIFEST}") if path.parent.name.isdigit()]
    if version is None and not versions:
        raise EvaluationError(f"the model store holds no {name}")
    return read_manifest(store, name, max(versions) if version is None else version)


@dataclass(slots=True)
class _Answer:
    """A picture's name and label, and its central face, once there is one."""

    name: str
    label: Label
    face: Face | None = None


async def _post(
    pictures: Iterator[tuple[str, Label, bytes]], total: int, settings: Settings, change: Change | None
) -> tuple[list[_Answer], dict[str, Any]]:
    """The answers to all pictures, in order, and that of `GET /model`; so many pictures are read as are under way."""
    app, answers, refused, turn = create_app(settings), list[_Answer](), list[str](), asyncio.Lock()
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://facet", timeout=60) as client:
            card = (await client.get("/model")).json()
            query = {"distribution": "true"}
            if any(len(one["outputs"]) > 1 and one["name"] == AGE for one in card["attributes"]):
                query["at_least"] = ",".join(map(str, AGES))
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("predicting", total=total)

                async def work() -> None:
                    while True:
                        async with turn:
                            if (picture := await asyncio.to_thread(next, pictures, None)) is None:
                                return
                            name, label, content = picture
                            answers.append(given := _Answer(name, label))
                        posted = content if change is None else await asyncio.to_thread(change, content)
                        answer = await client.post(ROUTE, content=posted, params=query)
                        progress.advance(task)
                        if answer.is_server_error:
                            raise EvaluationError(f"the service fails at {name}: {answer.status_code} {answer.text}")
                        if answer.is_client_error:
                            refused.append(f"{name}: {answer.status_code} {answer.json()['detail']}")
                        else:
                            given.face = central_face(answer.json())

                await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    if len(refused) == len(answers):
        raise EvaluationError(f"the service refuses {refused[0]}{REMEDY}")
    if refused:
        named = " ".join(sorted(refused)[:MOST_NAMES])
        logger.info("pictures that cannot be read, and count as without a face: %d: %s", len(refused), named)
    return answers, card


def _served(card: Mapping[str, Any], manifest: Manifest) -> Served:
    intervals = [one.calibration.interval for one in manifest.attributes if one.calibration.interval is not None]
    detector = card["serving"]["detector"]
    return Served(
        model=MeasuredModel(name=manifest.name, version=manifest.version),
        precision=card["serving"]["precision"],
        runtime=card["serving"]["runtime"],
        detector=f"{detector['name']}/{detector['version']}",
        promised_coverage=intervals[0].coverage if intervals else None,
    )


def central_face(document: Mapping[str, Any]) -> Face | None:
    """The face whose box's centre is nearest the picture's.

    Args:
        document: The service's answer to a picture.

    Returns:
        The face, or None where there is none.
    """
    image = document["image"]

    def distance(face: Face) -> float:
        box = face["box"]
        corners = np.array([box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]])
        return distance_to_centre(corners, image["width"], image["height"])

    faces: list[Face] = document["faces"]
    return min(faces, key=distance, default=None)


def scored(
    names: Sequence[str],
    labels: Sequence[Label],
    faces: Sequence[Face | None],
    manifest: Manifest | None = None,
    served: Served | None = None,
) -> Scored:
    """Labels and the service's answers as arrays.

    Args:
        names: Of the files [N].
        labels: Of the pictures [N].
        faces: The face of each picture's answer, or None [N].
        manifest: Of the model, whose attributes are looked for; age, gender and race where it is None.
        served: What gave the answers.

    Returns:
        The predictions of the model's attributes, and of those that the labels know beside them, by which there are groups.

    Raises:
        DataSetError: A label is none of the model's.
    """
    predictions = Predictions(found=np.array([face is not None for face in faces], np.bool_))
    specs = DEFAULT_ATTRIBUTES if manifest is None else tuple(AttributeSpec.of(one) for one in manifest.attributes)
    expectations, named = {}, {}
    for one in _with_those_of_labels(specs, labels):
        if one.kind == "expectation":
            expectations[one.name] = _expectation(one, labels, faces)
        else:
            named[one.name] = _labels(one, labels, faces)
    predictions = replace(predictions, expectations=expectations, labels=named)
    qualities = {quality.name: _column(faces, "quality", quality.name) for quality in fields(Quality)}
    return Scored(list(names), predictions, qualities, [list(face["warnings"]) if face else [] for face in faces], served)


def _with_those_of_labels(declared: Sequence[AttributeSpec], labels: Sequence[Label]) -> list[AttributeSpec]:
    """The model's attributes, and those that the labels alone know, whose words are Facet's own or those that there are.

    Columns of a table that are no attributes, such as notes, are left out: by them there are no groups.
    """
    specs = {one.name: one for one in declared}
    defaults = {one.name: one for one in DEFAULT_ATTRIBUTES}
    words: dict[str, set[str]] = {}
    for label in labels:
        for name, value in label.values.items():
            if name not in specs:
                words.setdefault(name, set()).update([value] if isinstance(value, str) else [])
    for name, known in words.items():
        default = defaults.get(name)
        if default is not None and known <= set(default.labels):
            specs[name] = default
        elif 0 < len(known) <= MOST_WORDS:
            with contextlib.suppress(ValidationError):  # one word alone, or a name that no attribute has
                specs[name] = AttributeSpec(name=name, kind="labels", labels=tuple(sorted(known)))
        elif not known:
            specs[name] = AttributeSpec(name=name, kind="expectation")
    return list(specs.values())


def _expectation(spec: AttributeSpec, labels: Sequence[Label], faces: Sequence[Face | None]) -> ExpectationPredictions:
    name = spec.name
    known = [label.years(name) for label in labels]
    nothing = [math.nan] * (MAX_AGE + 1)
    asked = any(_at(face, name, "at_least") is not None for face in faces)
    return ExpectationPredictions(
        label=np.array([math.nan if one is None else one for one in known], np.float64),
        value=_column(faces, name, "years" if name == AGE else "value"),
        low=_column(faces, name, "low"),
        high=_column(faces, name, "high"),
        at_least={age: _column(faces, name, "at_least", str(age)) for age in AGES} if asked else {},
        distribution=np.array([_at(face, name, "distribution") or nothing for face in faces], np.float64).reshape(
            -1, MAX_AGE + 1
        ),
        range=spec.range,
        unit=spec.unit,
    )


def _labels(spec: AttributeSpec, labels: Sequence[Label], faces: Sequence[Face | None]) -> LabelPredictions:
    return LabelPredictions(
        names=spec.labels,
        label=np.array([label.code(spec.name, spec.labels) for label in labels], np.int64),
        probabilities=np.stack([_column(faces, spec.name, "probabilities", label) for label in spec.labels], axis=1),
        uncertain=_column(faces, spec.name, "uncertain") == 1,
    )


def _column(faces: Sequence[Face | None], *path: str) -> Doubles:
    """A number of each face's answer [N]; not a number where it is missing."""
    values = [_at(face, *path) for face in faces]
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _at(document: Any, *path: str) -> Any:
    """What stands at the end of a path of keys, or None."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
