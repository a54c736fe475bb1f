"""What was measured of a model: `evaluation.json` beside its manifest, outside of the digest.

A model never changes, and what is known of it grows: figures are recorded, and recorded anew, without a new version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from service.models.manifest import Section

EVALUATION: Final = "evaluation.json"

Interval = tuple[float, float]
"""Lower and upper bound of a figure's 95 % interval, from a bootstrap over pictures."""
Intervals = dict[str, Interval]
"""Intervals by the key of their figure."""
Share = Annotated[float, Field(ge=0, le=1)]
Figure = Annotated[float | None, WithJsonSchema({"type": ["number", "null"]})]
"""None where nothing could be counted. In one word, for openapi-generator makes no Python of a choice of three with null."""


class LabelScores(Section):
    """How well one label is predicted."""

    precision: Share
    recall: Share
    f1: Share


def names_of(key: str) -> list[str]:
    """Where a figure stands, name by name.

    Args:
        key: Such as `age_mae`; or, of one label, `gender.female.f1`. A label may have dots in it, which the others have not.

    Returns:
        The name of the figure; or the attribute, the label and the score.
    """
    attribute, dot, rest = key.partition(".")
    label, _, score = rest.rpartition(".")
    return [attribute, label, score] if dot else [attribute]


class Figures(BaseModel):
    """Figures by key, in years or as shares, beside the count of pictures that they are of.

    A figure is None where nothing could be counted, and missing where the model or the labels do not have its attribute. Under
    the name of an attribute stand the scores of each of its labels.
    """

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, Figure | dict[str, LabelScores]] = Field(init=False)

    count: int = Field(ge=0)
    """Pictures, those without a face included."""

    def number(self, key: str) -> float | None:
        """A figure by its key.

        Args:
            key: Such as `age_mae`; or, of one label, `gender.female.f1`.

        Returns:
            The figure, or None where it is missing or nothing could be counted.
        """
        name, *path = names_of(key)
        value = self.__pydantic_extra__.get(name)
        if isinstance(value, dict):
            scores = value.get(path[0]) if len(path) == 2 else None
            return None if scores is None or path[1] not in LabelScores.model_fields else float(getattr(scores, path[1]))
        return None if path else value

    def has(self, key: str) -> bool:
        """Whether a figure is among them, if only as None.

        Args:
            key: See `number`.

        Returns:
            False of one that the model or the labels do not have.
        """
        return self.number(key) is not None or ("." not in key and key in self.__pydantic_extra__)

    def scores(self) -> Mapping[str, Mapping[str, LabelScores]]:
        """Scores by attribute and label.

        Returns:
            Those attributes alone of whose labels there are scores.
        """
        return {name: value for name, value in self.__pydantic_extra__.items() if isinstance(value, dict)}


Groups = dict[str, dict[str, Figures]]
"""Figures by attribute and by label or band of years, of the groups that have pictures."""


class PartIntervals(Section):
    """Intervals of the figures of one data set; those of groups are drawn from the group alone."""

    headline: Intervals
    found_only: Intervals
    groups: dict[str, dict[str, Intervals]]


class WithoutDuplicates(Section):
    """Figures of the pictures that have no near-duplicate among those that the model was made with."""

    count: int = Field(ge=0)
    headline: Figures
    intervals: Intervals


class Rate(Section):
    """A mean over faces, in years or as a share, with its 95 % interval; None where there was no face."""

    value: float | None
    interval: Interval | None = None


class AgeBand(Section):
    """Faces of one band of true ages: the share taken for adults, by the rule that decides.

    A rule is a least probability of being 18, or `challenge 25`, which takes for adults those estimated at 25 years or more.
    """

    count: int = Field(ge=0)
    adult: dict[str, Rate]


class AgeChecks(Section):
    """How often a check for a least age errs, over the faces found."""

    calibration_error: dict[str, Share]
    """Expected calibration error of `at_least`, by the age that is asked for."""
    error_of_minors: Rate
    """Mean absolute error of the 13 to 17 years old, in years."""
    bands: dict[str, AgeBand]
    """By band of true ages."""
    groups: dict[str, dict[str, AgeBand]]
    """The same by pairs of labels of two attributes, such as `male, asian`."""


class Part(Section):
    """Figures of one data set."""

    headline: Figures
    """Of all pictures: one without a face counts as wrong, its age as the mean of train."""
    found_only: Figures
    """Of the pictures in which a face was found."""
    groups: Groups
    intervals: PartIntervals
    mean_age_of_train: float | None
    """Years; None of a data set without ages."""
    means_of_train: dict[str, float] = Field(default={})
    """Means over train by expectation, the age among them: what stands for a prediction where no face was found."""
    precisions: dict[str, Figures] = Field(default={})
    """Headline figures of the same pictures in another arithmetic, by its name."""
    without_duplicates: WithoutDuplicates | None = None
    age_checks: AgeChecks | None = None
    """None of a model that gives no distribution over ages."""


class Measured(Section):
    """A mean over films, and its 95 % interval."""

    value: float
    interval: Interval


class TrackFigures(BaseModel):
    """Figures of tracks of one length, by key: means over films, and expected calibration errors of labels."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, Measured | Figure] = Field(init=False)

    frames: int = Field(ge=1)
    """Frames of a track."""


class TrackEvaluation(Section):
    """What a mean over the frames of a track brings, from films made of validation pictures.

    The films of each fifth are measured with what was fitted on the others.
    """

    data: str
    """The data set."""
    precision: str
    """Arithmetic of the network."""
    pictures: int = Field(ge=0)
    """Pictures that films were made of."""
    films: int = Field(ge=0)
    """Those with a face in every frame."""
    frames: int = Field(ge=1)
    """Frames of a film."""
    correlation_of_errors: float | None
    """Mean correlation of the errors of two frames of a film; None of a model without expectations."""
    tracks: tuple[TrackFigures, ...]
    """By the length of a track."""


class VariantPart(Section):
    """A model and its variant on the same faces of a data set."""

    figures: dict[str, Figures]
    """Main figures by arithmetic: `f32`, the model's, and the variant's."""
    bands: dict[str, dict[str, dict[str, Figures]]] = Field(default={})
    """The same by expectation and by band of its true values."""


class VariantEvaluation(Section):
    """What a variant loses against the model itself in float32, on crops that are the same for both."""

    split: str
    """Part of the data sets; `validation`."""
    sets: dict[str, VariantPart]
    """By data set; `all` is all together."""


class Sample(Section):
    """On what figures were measured, and in which arithmetic."""

    data: str
    """The data set."""
    split: str
    """The part of it, `test` of a model that is published."""
    precision: str
    """Arithmetic of the network."""


class Evaluation(Part, Sample):
    """Everything that was measured of a model."""

    also: dict[str, Part] = Field(default={})
    """Figures of further data sets, by name."""
    tracks: TrackEvaluation | None = None
    variants: dict[str, VariantEvaluation] = Field(default={})
    """What variants lose, by their arithmetic."""


class _OldManifest(BaseModel):
    """A manifest of before measurements had a file of their own; nothing else of it is read."""

    quality: Evaluation | None = None


def read_evaluation(folder: Path) -> Evaluation | None:
    """What was measured of the model in a folder.

    Args:
        folder: NAME/VERSION in the model store.

    Returns:
        The document, or None where nothing was recorded.

    Raises:
        pydantic.ValidationError: `evaluation.json` is not such a document.
        OSError: It cannot be read.
    """
    path = folder / EVALUATION
    return Evaluation.model_validate_json(path.read_bytes()) if path.is_file() else None


def evaluation_of_manifest(content: bytes) -> Evaluation | None:
    """What a manifest of before `evaluation.json` holds of measurements.

    Args:
        content: The manifest's file.

    Returns:
        The document; None where there is none, or one of another structure.
    """
    try:
        return _OldManifest.model_validate_json(content).quality
    except ValidationError:
        return None


def evaluation_json(evaluation: Evaluation) -> str:
    """The text of `evaluation.json`: what is not known is left out, except a figure that is None.

    Args:
        evaluation: What was measured.

    Returns:
        JSON, with a newline at its end.
    """
    return evaluation.model_dump_json(indent=2, exclude_unset=True) + "\n"
