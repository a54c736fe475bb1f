"""What `GET /model` answers: a model's manifest, its measurements, and how it is served."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.models.evaluation import Evaluation
from service.models.manifest import (
    AGE,
    CANONICAL,
    GENDERS,
    RACES,
    Attribute,
    AttributeCalibration,
    InputContract,
    Manifest,
    TrackCalibration,
)
from service.models.store import Model


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)


class DetectorName(_Document):
    """The model that found the faces."""

    name: str
    version: int


class ServedName(_Document):
    """A model that a request may name as `model`."""

    name: str
    version: int


class Serving(_Document):
    """How this service serves the model."""

    facet: str
    runtime: str
    precision: str
    attributes: list[str]
    min_confidence: Annotated[float, Field(ge=0, le=1)]
    max_faces: int
    min_face_px: float = Field(
        description="Side of the smallest face that is looked for, in pixels of the picture that is searched."
    )
    detection_side_px: int = Field(description="Longest side of the picture that is searched, in pixels.")
    detector: DetectorName
    stream_detector: DetectorName | None = None
    """That of streams, where it is another one."""
    models: list[ServedName] = Field(description="Those that a request may name as `model`, the default one first.")


class ModelCard(_Document):
    """What is served, on what it was trained, and how good it is for whom."""

    name: str
    version: int
    kind: str
    architecture: str
    created: str
    licence: str
    trained_on: list[str]
    description: str
    recipe: str | None
    provenance: dict[str, Any] | None
    input: InputContract | None
    attributes: list[Attribute]
    track: TrackCalibration | None
    outputs: list[str] = Field(deprecated="`attributes` names the outputs of each.")
    genders: list[str] = Field(deprecated="The labels of the attribute `gender`.")
    races: list[str] = Field(deprecated="The labels of the attribute `race`.")
    calibration: dict[str, Any] = Field(deprecated="`attributes` has the calibration of each.")
    quality: dict[str, Any] = Field(deprecated="`evaluation`, or nothing.")
    evaluation: Evaluation | None
    digest: str
    serving: Serving

    @classmethod
    def of(cls, model: Model, serving: Serving) -> ModelCard:
        """Describe a model.

        Args:
            model: A loaded model.
            serving: How it is served.

        Returns:
            The card.
        """
        manifest, evaluation = model.manifest, model.evaluation
        labels = {name: manifest.attribute(name) for name in CANONICAL}
        gender, race = labels["gender"], labels["race"]
        return cls(
            **{name: getattr(manifest, name) for name in cls.model_fields.keys() & Manifest.model_fields.keys()},
            outputs=list(manifest.outputs),
            genders=list(GENDERS if gender is None else gender.labels),
            races=list(RACES if race is None else race.labels),
            calibration=_undeclared(manifest),
            quality={} if evaluation is None else evaluation.model_dump(mode="json", exclude_unset=True),
            evaluation=evaluation,
            digest=model.digest,
            serving=serving,
        )

    def document(self) -> dict[str, Any]:
        """The card as JSON's objects.

        Returns:
            All fields; of the evaluation those that were measured.
        """
        measured = None if self.evaluation is None else self.evaluation.model_dump(mode="json", exclude_unset=True)
        return self.model_dump(mode="json") | {"evaluation": measured}


def _undeclared(manifest: Manifest) -> dict[str, Any]:
    """The calibration as it stood in a manifest of before attributes were declared."""
    age = manifest.attribute(AGE)
    calibration: dict[str, Any] = {}
    for name in CANONICAL:
        attribute = manifest.attribute(name)
        fitted = AttributeCalibration() if attribute is None else attribute.calibration
        calibration |= {f"{name}_temperature": fitted.temperature, f"{name}_threshold": fitted.threshold}
    interval = None if age is None else age.calibration.interval
    calibration["age_interval"] = None if interval is None else interval.model_dump(mode="json")
    track = None
    if manifest.track is not None:
        track = manifest.track.model_dump(mode="json", exclude={"gains"})
        for name in CANONICAL:
            attribute = manifest.attribute(name)
            track[f"{name}_gain"] = 1.0 if attribute is None else manifest.track.gain(attribute)
    calibration["track"] = track
    return calibration
