"""What is known of a model: `model.json` beside its files, whose SHA-256 is the model's digest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, model_validator

RESERVED: Final = frozenset(
    {"age_of_track_ms", "answers", "box", "confidence", "first_s", "frames", "id", "landmarks", "last_s", "quality", "size_px"}
    | {"track", "warnings"}
)
"""Names that stand for something else in the answer to a face, or in a table of tracks."""


def _unreserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"an attribute cannot be named {name!r}: answers have something else of that name")
    return name


AttributeName = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,31}$"), AfterValidator(_unreserved)]

AGE: Final = "age"
"""The expectation whose JSON is fixed, in whole years, and which alone has probabilities of being at least so much."""
GENDERS: Final = ("male", "female")
RACES: Final = ("white", "black", "asian", "indian", "other")
CANONICAL: Final[Mapping[str, tuple[str, ...]]] = {"gender": GENDERS, "race": RACES}
"""Attributes of labels whose name stands in the contract, and the labels that it gives them."""
STEPS: Final = 100
"""Steps of a range, between the values that the distribution of an expectation with a range is over."""


class Section(BaseModel):
    """A part of a document: frozen, and without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ManifestSection(Section):
    """A part of a manifest: its numbers are finite, as those of JSON are, in which `GET /model` answers them."""

    model_config = ConfigDict(allow_inf_nan=False)


Fraction = Annotated[float, Field(ge=-1, le=2)]
"""A place in fractions of a crop, which may lie outside it; a template in pixels is none of such."""


class InputContract(ManifestSection):
    """What an attribute network is fed: square uint8 RGB crops of `size` pixels, cut by `template`, five points
    `(x, y)` in fractions of the crop (see `service.vision.align.align`).
    """

    size: int = Field(ge=16, le=1024)
    template: tuple[tuple[Fraction, Fraction], ...] = Field(min_length=5, max_length=5)
    color: Literal["RGB"] = "RGB"

    @model_validator(mode="after")
    def _points_differ(self) -> Self:
        if len(set(self.template)) == 1:
            raise ValueError("the points of the template are all one")
        return self


class IntervalBand(ManifestSection):
    """Quantiles of the error of an expectation, for predictions below `below`: the bounds lie at `value + low * unit` and
    `value + high * unit`.
    """

    below: float
    low: float
    high: float


class AgeInterval(ManifestSection):
    """How an expectation becomes an interval that holds the true value in a share `coverage` of cases.

    Everything in it is counted in steps, which are years of an age and hundredths of any other range. `unit` is `deviation`,
    the standard deviation of the face's own distribution, or `years` or `steps` for single steps. Bands are in order; the last
    one serves what lies above.
    """

    coverage: float = Field(gt=0, lt=1)
    unit: Literal["deviation", "years", "steps"]
    bands: tuple[IntervalBand, ...] = Field(min_length=1)


class AtLeastCalibration(ManifestSection):
    """How the tail of an age distribution becomes the probability that the age is at least n: the logarithm of the tail's odds
    times `slope`, plus the offset at n, which is interpolated between `ages`. As it stands here it changes nothing.
    """

    slope: float = Field(default=1.0, gt=0)
    ages: tuple[int, ...] = Field(default=(18,), min_length=1)
    offsets: tuple[float, ...] = Field(default=(0.0,), min_length=1)

    @model_validator(mode="after")
    def _an_offset_for_each_age(self) -> Self:
        if len(self.ages) != len(self.offsets) or sorted(set(self.ages)) != list(self.ages):
            raise ValueError("the ages of `at_least` rise, and each has an offset")
        return self


class ThresholdBand(ManifestSection):
    """The threshold of faces whose predicted age is below `below` years."""

    below: float
    threshold: float = Field(ge=0, le=1)


class LabelThresholds(ManifestSection):
    """Thresholds of single labels and of bands of predicted age, beside the one that all share: the largest of those that apply
    to a face is its own.
    """

    labels: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    """By label, of faces for which it is the most probable one."""
    bands: tuple[ThresholdBand, ...] = ()
    """In order; the last one serves what lies above."""


class AttributeCalibration(ManifestSection):
    """Fitted on validation, for one attribute; what its kind does not know stays as it is here."""

    temperature: float = Field(default=1.0, gt=0)
    """Divides the logits of labels (Guo et al., "On calibration of modern neural networks", ICML 2017)."""
    threshold: float = Field(default=0.0, ge=0, le=1)
    """Probability below which any label is uncertain."""
    thresholds: LabelThresholds = LabelThresholds()
    """Higher ones, for labels and ages at which that is not enough."""
    interval: AgeInterval | None = None
    """How an expectation becomes an interval."""
    at_least: AtLeastCalibration | None = None
    """How the distribution of the age becomes probabilities of being so old; None leaves the distribution's own."""


class Scale(NamedTuple):
    """The values of an expectation: step `k` is at `origin + k * step`, in the unit `unit`. A `bounded` one ends with its
    range, which may be 0 to 100 years, too.
    """

    origin: float = 0.0
    step: float = 1.0
    unit: str = "years"
    bounded: bool = False

    @property
    def digits(self) -> int:
        """Digits behind the point that an answer has: one more than a step needs."""
        return max(0, 1 - math.floor(math.log10(self.step)))

    def position(self, value: float) -> float:
        """Where a value lies.

        Args:
            value: In `unit`.

        Returns:
            Steps from the origin, not rounded.
        """
        return value if self == YEARS else (value - self.origin) / self.step

    def at(self, position: int) -> float:
        """The value of a step.

        Args:
            position: Steps from the origin.

        Returns:
            The value in `unit`, rounded to `digits`; a whole number of years.
        """
        return position if self == YEARS else round(self.origin + position * self.step, self.digits)


YEARS: Final = Scale()


def scale_of(range_: tuple[float, float] | None, unit: str) -> Scale:
    """The values of an expectation with a range.

    Args:
        range_: Lowest and highest value; None where it is in years, from 0.
        unit: What they are in.

    Returns:
        The scale, of `STEPS` steps over the range.
    """
    return YEARS if range_ is None else Scale(range_[0], (range_[1] - range_[0]) / STEPS, unit, bounded=True)


class Declaration(ManifestSection):
    """What is declared of an attribute, wherever one is: by a model, a recipe or a report."""

    name: AttributeName
    """The name in answers and queries."""
    kind: Literal["expectation", "labels"]
    """An expected value, or the probabilities of `labels`."""
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Labels in the order of the network's output; none of an expectation."""
    range: tuple[float, float] | None = None
    """Lowest and highest value of an expectation; None where it is in years, from 0."""
    unit: str = Field(default="", max_length=16)
    """What a `range` is in, such as `kg`; empty for a plain number."""

    @model_validator(mode="after")
    def _kind_and_labels_agree(self) -> Self:
        if self.kind == "labels" and (len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels)):
            raise ValueError(f"the attribute {self.name!r} needs two labels or more, each once")
        if self.kind == "expectation" and self.labels:
            raise ValueError(f"the attribute {self.name!r} is an expectation, which has no labels")
        if self.name == AGE and self.kind != "expectation":
            raise ValueError(f"the attribute {AGE!r} is an expectation, in years")
        if self.name in CANONICAL and self.kind != "labels":
            raise ValueError(f"the attribute {self.name!r} is one of labels")
        return self

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        if self.range is None:
            if self.unit:
                raise ValueError(f"the attribute {self.name!r} has a unit, and needs the range that it is of")
        elif self.kind == "labels" or self.name == AGE:
            raise ValueError(f"the attribute {self.name!r} has a range, which only an expectation beside {AGE} has")
        elif not all(map(math.isfinite, self.range)) or self.range[0] >= self.range[1]:
            raise ValueError(f"the range of {self.name!r} is to be two numbers that rise")
        return self

    @property
    def scale(self) -> Scale:
        """The values of an expectation."""
        return scale_of(self.range, self.unit)


class Attribute(Declaration):
    """One thing that a model says of a face."""

    outputs: tuple[str, ...] = Field(min_length=1, max_length=2)
    """The network's outputs. Of an expectation: its value [N], and where there is one its distribution [N, K]: over whole years
    from 0, or, of one with a range, over 101 values spread evenly over it. Of labels: their probabilities [N, K], or, of two
    labels, the probability of the second one [N]."""
    calibration: AttributeCalibration = AttributeCalibration()

    @model_validator(mode="after")
    def _labels_have_one_output(self) -> Self:
        if self.kind == "labels" and len(self.outputs) != 1:
            raise ValueError(f"the attribute {self.name!r} has one output, its labels' probabilities")
        return self


DOUBLINGS: Final[Mapping[str, float]] = {
    "small": 1.0,
    "blurred": 1.11,
    "dark": 1.46,
    "bright": 0.66,
    "rolled": 0.0,
    "turned": 0.42,
    "cut_off": 0.39,
}


GAIN_OF_TWO: Final = 1.051
GAIN_OF_MORE: Final = 0.988


class TrackCalibration(ManifestSection):
    """How the answers to many frames of one face become one.

    `correlation` is that of any two frames' age errors, and `scale` the interval's width at one frame over that of a photo's;
    the gains, by attribute, multiply the mean logits of many frames (see `gain`). For each of
    `service.tracking.aggregation.impairments`,
    `doublings` has how often one unit of it doubles the variance of a frame's error. The defaults are for models that bring
    none (see docs/measurements.md).
    """

    correlation: float = Field(default=0.825, ge=0, le=1)
    scale: float = Field(default=1.16, gt=0)
    gains: dict[str, Annotated[float, Field(gt=0)]] = {}
    doublings: dict[str, float] = dict(DOUBLINGS)

    @model_validator(mode="before")
    @classmethod
    def _gains_by_attribute(cls, fields: Any) -> Any:
        """Gains stood in a field for each of two attributes once."""
        if not isinstance(fields, Mapping) or not {"gender_gain", "race_gain"} & set(fields):
            return fields
        gains = {name: fields[f"{name}_gain"] for name in CANONICAL if f"{name}_gain" in fields}
        return {key: value for key, value in fields.items() if not key.endswith("_gain")} | {"gains": gains}

    def gain(self, attribute: Declaration) -> float:
        """What the mean logits of many frames are multiplied by.

        Args:
            attribute: One of labels.

        Returns:
            The fitted gain; without one, the default for two labels or for more.
        """
        return self.gains.get(attribute.name, GAIN_OF_TWO if len(attribute.labels) == 2 else GAIN_OF_MORE)


class Tolerance(ManifestSection):
    """Largest difference from the golden answers, for one precision: of expectations in steps, which are years of an age and
    hundredths of any other range, and of every other output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_by_name=True)

    expectation: float = Field(validation_alias=AliasChoices("expectation", "age"))
    """Also read as `age`, as it was called when the age was the only expectation."""
    other: float


class Manifest(ManifestSection):
    """Everything that is known of a model when it is made; it never changes after.

    Manifests of before attributes were declared are read as well: their outputs, labels and calibrations are those of age,
    gender and race.
    """

    name: str
    version: int = Field(ge=1)
    kind: Literal["attributes", "detector"]
    architecture: str
    created: str
    licence: str
    trained_on: tuple[str, ...]
    description: str = ""
    recipe: str | None = None
    provenance: dict[str, Any] | None = None
    """How the weights came about, as `training.provenance` records it."""
    networks: dict[str, str]
    """Folder, in the model's own, of each network's SavedModel."""
    input: InputContract | None = None
    attributes: tuple[Attribute, ...] = ()
    """What an attribute model says, in the order of answers; a detector says nothing of a face."""
    track: TrackCalibration | None = None
    tolerance: dict[str, Tolerance]
    files: dict[str, str]
    """SHA-256, in hexadecimal, of every other file of the model, except `evaluation.json` and the card."""

    @model_validator(mode="before")
    @classmethod
    def _read_undeclared(cls, fields: Any) -> Any:
        return declared(fields) if isinstance(fields, Mapping) and "attributes" not in fields else fields

    @model_validator(mode="after")
    def _attributes_differ(self) -> Self:
        names = [attribute.name for attribute in self.attributes]
        outputs = [output for attribute in self.attributes for output in attribute.outputs]
        if len(set(names)) != len(names) or len(set(outputs)) != len(outputs):
            raise ValueError("attributes have different names and outputs")
        return self

    @property
    def title(self) -> str:
        """What the model is called where several are, NAME/VERSION."""
        return f"{self.name}/{self.version}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs."""
        return tuple(output for attribute in self.attributes for output in attribute.outputs)

    def outputs_of(self, name: str) -> tuple[str, ...]:
        """The network's outputs for an attribute.

        Args:
            name: Of the attribute.

        Returns:
            Names of outputs; none where the model does not say the attribute.
        """
        found = self.attribute(name)
        return () if found is None else found.outputs

    def attribute(self, name: str) -> Attribute | None:
        """Find an attribute by its name.

        Args:
            name: Of the attribute.

        Returns:
            Its declaration, or None where the model does not have it.
        """
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


class Variant(ManifestSection):
    """A model's networks in another arithmetic: a document in the folder of that name, beside the manifest.

    Its own SHA-256 is the digest of what is served in this arithmetic. It holds the manifest's, so that it pins both.
    """

    name: str
    version: int = Field(ge=1)
    precision: Literal["int8"]
    manifest: str = Field(pattern="^[0-9a-f]{64}$")
    """SHA-256, in hexadecimal, of the model's `model.json`."""
    created: str
    made_by: str
    """Program that made it, with its version."""
    calibrated_on: tuple[str, ...]
    """Data sets of whose training pictures the ranges of values were measured."""
    pictures: int = Field(ge=1)
    """How many there were."""
    networks: dict[str, str]
    """OpenVINO IR (.xml) of each network, in this folder."""
    lossless: bool = False
    """Whether validation shows no loss against the model in float32, so that `FACET_PRECISION=auto` serves it."""
    tolerance: Tolerance
    """Largest difference from the golden answers of this arithmetic, which lie in this folder, too."""
    files: dict[str, str]
    """SHA-256, in hexadecimal, of every other file of the folder."""


OUTPUTS: Final = (AGE, "age_distribution", *CANONICAL)


def declared(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a manifest of before attributes were declared into today's form.

    Args:
        fields: The old manifest's fields.

    Returns:
        The fields with `attributes` and `track`, without measurements, which stand in `evaluation.json` now.

    Raises:
        ValueError: An output belongs to no attribute, or the outputs or the calibration have another structure.
    """
    old = ("outputs", "genders", "races", "calibration", "quality")
    given, calibration = fields.get("outputs", ()), fields.get("calibration", {})
    if not isinstance(given, list | tuple) or not isinstance(calibration, Mapping):
        raise ValueError("outputs are a list, and a calibration is an object")
    if unknown := [output for output in given if output not in OUTPUTS]:
        raise ValueError(f"an output has no attribute that declares it: {unknown[0]!r}")
    attributes: list[dict[str, Any]] = []
    if "age" in given:
        outputs = [output for output in ("age", "age_distribution") if output in given]
        fitted = {"interval": calibration.get("age_interval")}
        attributes.append({"name": "age", "kind": "expectation", "outputs": outputs, "calibration": fitted})
    for name, labels in (("gender", fields.get("genders", GENDERS)), ("race", fields.get("races", RACES))):
        if name in given:
            fitted = {
                key: calibration[f"{name}_{key}"] for key in ("temperature", "threshold") if f"{name}_{key}" in calibration
            }
            attributes.append({"name": name, "kind": "labels", "labels": labels, "outputs": [name], "calibration": fitted})
    return {
        **{key: value for key, value in fields.items() if key not in old},
        "attributes": attributes,
        "track": calibration.get("track"),
    }
