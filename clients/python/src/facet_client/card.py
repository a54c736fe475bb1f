"""The answer of `Client.model`: what is served, on what it was trained, and how good it is for whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from facet_client.base import Answer

Interval = tuple[float, float]
"""Lower and upper bound of a figure's 95 % interval."""
Intervals = dict[str, Interval]
"""Intervals by the key of their figure."""


class InputContract(Answer):
    """Square crops of `size` pixels, cut by `template`: five points (x, y) in fractions of the crop."""

    size: int
    template: tuple[tuple[float, float], ...]
    color: Literal["RGB"] = "RGB"


class IntervalBand(Answer):
    """Quantiles of the error for predictions below `below`, in the interval's unit."""

    below: float
    low: float
    high: float


class AgeInterval(Answer):
    """How an expectation becomes an interval that holds the true one in a share `coverage` of cases."""

    coverage: float
    unit: Literal["deviation", "years", "steps"]
    bands: tuple[IntervalBand, ...]


class AtLeastCalibration(Answer):
    """How the tail of an age distribution becomes the probability of being at least so old."""

    slope: float = 1.0
    ages: tuple[int, ...] = (18,)
    offsets: tuple[float, ...] = (0.0,)


class ThresholdBand(Answer):
    """The threshold of faces whose predicted age is below `below` years."""

    below: float
    threshold: float


class LabelThresholds(Answer):
    """Thresholds of single labels and of bands of predicted age: the largest that applies to a face counts."""

    labels: dict[str, float] = Field(default={})
    bands: tuple[ThresholdBand, ...] = ()


class AttributeCalibration(Answer):
    """What was fitted for one attribute: labels have a temperature and thresholds, expectations the rest."""

    temperature: float = 1.0
    threshold: float = 0.0
    thresholds: LabelThresholds = LabelThresholds()
    interval: AgeInterval | None = None
    at_least: AtLeastCalibration | None = None


class Attribute(Answer):
    """One attribute of the model: an expectation, in years or in `unit` over `range`, or the probabilities of `labels`."""

    name: str
    kind: Literal["expectation", "labels"]
    labels: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    unit: str = ""
    outputs: tuple[str, ...]
    calibration: AttributeCalibration = AttributeCalibration()


class TrackCalibration(Answer):
    """How the answers to many frames of one face become one."""

    correlation: float = 0.825
    scale: float = 1.16
    gains: dict[str, float] = Field(default={})
    doublings: dict[str, float] = Field(default={})


class LabelScores(Answer):
    """How well one label is predicted, as shares."""

    precision: float
    recall: float
    f1: float


Figure = Annotated[float | dict[str, LabelScores] | JsonValue, Field(union_mode="left_to_right")]


class Figures(Answer):
    """Figures of `count` pictures. Which there are goes by the attributes of the model."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Figure] = Field(init=False)

    count: int

    @property
    def numbers(self) -> Mapping[str, float]:
        """Figures by key, such as `age_mae` in years or `gender_accuracy` as a share; those that could be counted."""
        return {key: value for key, value in self.__pydantic_extra__.items() if isinstance(value, float)}

    @property
    def scores(self) -> Mapping[str, Mapping[str, LabelScores]]:
        """Scores by attribute and label."""
        found = {}
        for name, value in self.__pydantic_extra__.items():
            if isinstance(value, dict):
                found[name] = {label: scores for label, scores in value.items() if isinstance(scores, LabelScores)}
        return found


Groups = dict[str, dict[str, Figures]]
"""Figures by attribute and by label or band of years."""


class PartIntervals(Answer):
    """Intervals of the figures of one data set."""

    headline: Intervals
    found_only: Intervals
    groups: dict[str, dict[str, Intervals]]


class WithoutDuplicates(Answer):
    """Figures of the pictures that have no near-duplicate among those that the model was made with."""

    count: int
    headline: Figures
    intervals: Intervals


class Rate(Answer):
    """A mean over faces, in years or as a share, with its 95 % interval."""

    value: float | None
    interval: Interval | None = None


class AgeBand(Answer):
    """Faces of one band of true ages: the share taken for adults, by the rule that decides."""

    count: int
    adult: dict[str, Rate]


class AgeChecks(Answer):
    """How often a check for a least age errs, over the faces found."""

    calibration_error: dict[str, float]
    error_of_minors: Rate
    bands: dict[str, AgeBand]
    groups: dict[str, dict[str, AgeBand]]


class Part(Answer):
    """Figures of one data set: of all pictures, of those in which a face was found, and of groups."""

    headline: Figures
    found_only: Figures
    groups: Groups
    intervals: PartIntervals
    mean_age_of_train: float | None
    means_of_train: dict[str, float] = Field(default={})
    precisions: dict[str, Figures] = Field(default={})
    without_duplicates: WithoutDuplicates | None = None
    age_checks: AgeChecks | None = None


class Measured(Answer):
    """A mean over films, and its 95 % interval."""

    value: float
    interval: Interval


TrackFigure = Annotated[Measured | float | JsonValue, Field(union_mode="left_to_right")]


class TrackFigures(Answer):
    """Figures of tracks of one length."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, TrackFigure] = Field(init=False)

    frames: int

    @property
    def measured(self) -> Mapping[str, Measured]:
        """Means over films, by key."""
        return {key: value for key, value in self.__pydantic_extra__.items() if isinstance(value, Measured)}

    @property
    def numbers(self) -> Mapping[str, float]:
        """Figures without an interval, by key."""
        return {key: value for key, value in self.__pydantic_extra__.items() if isinstance(value, float)}


class TrackEvaluation(Answer):
    """What a mean over the frames of a track brings."""

    data: str
    precision: str
    pictures: int
    films: int
    frames: int
    correlation_of_errors: float | None
    tracks: tuple[TrackFigures, ...]


class VariantPart(Answer):
    """A model and its variant on the same faces: figures by arithmetic, and by expectation and band of its true values."""

    figures: dict[str, Figures]
    bands: dict[str, dict[str, dict[str, Figures]]] = Field(default={})


class VariantEvaluation(Answer):
    """What a variant loses against the model itself in float32: by data set, of which `all` is all together."""

    split: str
    sets: dict[str, VariantPart]


class Evaluation(Part):
    """Everything that was measured of the model: on `data`, and, under `also`, on further data sets by name."""

    data: str
    split: str
    precision: str
    also: dict[str, Part] = Field(default={})
    tracks: TrackEvaluation | None = None
    variants: dict[str, VariantEvaluation] = Field(default={})


class DetectorName(Answer):
    """The model that finds the faces."""

    name: str
    version: int


class ServedName(Answer):
    """A model that a request may name as `model`."""

    name: str
    version: int


class Serving(Answer):
    """How the service serves the model; `attributes` are those that its operator allows.

    `models` are those that a request may name, the default one first.
    """

    facet: str
    runtime: str
    precision: str
    attributes: list[str]
    min_confidence: float
    max_faces: int
    min_face_px: float
    detection_side_px: int
    detector: DetectorName
    stream_detector: DetectorName | None = None
    models: list[ServedName]


class ModelCard(Answer):
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
    evaluation: Evaluation | None
    digest: str
    serving: Serving
    outputs: list[str] = Field(deprecated="`attributes` names the outputs of each.")
    genders: list[str] = Field(deprecated="The labels of the attribute `gender`.")
    races: list[str] = Field(deprecated="The labels of the attribute `race`.")
    calibration: dict[str, Any] = Field(deprecated="`attributes` has the calibration of each.")
    quality: dict[str, Any] = Field(deprecated="`evaluation`, or nothing.")

    def attribute(self, name: str) -> Attribute | None:
        """Find an attribute by its name.

        Args:
            name: Of the attribute.

        Returns:
            Its declaration, or None where the model does not have it.
        """
        return next((attribute for attribute in self.attributes if attribute.name == name), None)
