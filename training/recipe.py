"""The configuration of one training run: a TOML file, checked, and named by the model it makes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from service.models.manifest import AGE, CANONICAL, GENDERS, RACES, Declaration
from training.artifacts import write_text
from training.errors import RecipeError, raised_as


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


def _renamed(fields: Any, old: str, new: str) -> Any:
    """Fields of a section in which an old name, where it is given, stands for a new one."""
    if not isinstance(fields, Mapping) or old not in fields:
        return fields
    return {key: value for key, value in fields.items() if key != old} | {new: fields[old]}


def _by_attribute(fields: Any, ending: str, table: str) -> Any:
    """Fields of a section in which old ones of single attributes, such as `gender_weight`, stand in a table by attribute."""
    if not isinstance(fields, Mapping) or not isinstance(fields.get(table, {}), Mapping):
        return fields
    old = {name: f"{name}_{ending}" for name in CANONICAL if f"{name}_{ending}" in fields}
    # What every recipe of before had written out says nothing about an attribute that it does not declare.
    given = {name: fields[key] for name, key in old.items() if fields[key] != 1}
    kept = {key: value for key, value in fields.items() if key not in old.values()}
    return kept | {table: {**kept.get(table, {}), **given}} if old else fields


class SelectiveAccuracy(_Section):
    """Share of the labels not marked uncertain that has to be right on validation, where any threshold reaches it (selective
    classification, El-Yaniv and Wiener, JMLR 2010).
    """

    overall: float = Field(default=0.95, gt=0, le=1)
    """Share of all of them together."""
    group: float = Field(default=0.90, gt=0, le=1)
    """Share of each label's, and of those in each band of predicted age."""


class Attribute(Declaration):
    """One thing that is learnt of a face; `age`, `gender` and `race` are known by their name alone.

    The name is that of its head, of its column in a table of labels, and of what the served model answers. The labels are
    words of the data sets in the order of the network's output, two or more. An expectation beside the age has a range.
    """

    kind: Literal["expectation", "labels"] = "labels"
    """`expectation`, a number, or one of `labels`."""
    selective_accuracy: SelectiveAccuracy = SelectiveAccuracy()
    """Accuracy that the labels not marked uncertain are calibrated to have; of no matter for an expectation."""

    @model_validator(mode="before")
    @classmethod
    def _known_by_name(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        return _KNOWN.get(str(fields.get("name")), {}) | dict(fields)

    @field_validator("name")
    @classmethod
    def _no_other_layer(cls, name: str) -> str:
        if name in _RESERVED or name.endswith(_ENDINGS):
            raise ValueError(f"the name {name!r} is that of another layer, output or figure")
        return name

    @model_validator(mode="after")
    def _expectations_have_a_range(self) -> Self:
        if self.name != AGE and self.kind == "expectation" and self.range is None:
            raise ValueError(f"the attribute {self.name!r} is an expectation, and needs a range")
        return self


_KNOWN: Final[Mapping[str, dict[str, Any]]] = {
    AGE: {"kind": "expectation"},
    "gender": {"labels": GENDERS, "selective_accuracy": {"overall": 0.97, "group": 0.95}},
    "race": {"labels": RACES, "selective_accuracy": {"overall": 0.93, "group": 0.90}},
}
_RESERVED: Final = ("trunk", "pixels", "embedding", "hint", "count", "found")
_ENDINGS: Final = ("_hidden", "_dropout", "_years", "_classes", "_distribution")
ATTRIBUTES: Final = tuple(Attribute(name=name) for name in _KNOWN)
"""What a recipe that declares nothing else learns."""


class AgeSection(_Section):
    """The age head's output form."""

    form: Literal["classes", "regression", "both"] = "classes"
    """Probabilities of classes of years, whose expectation is the age; the years by one rectified unit; or both, where the unit
    gives the age and the classes its distribution."""
    first: int = Field(default=0, ge=0, le=99)
    """First year that a class holds."""
    last: int = Field(default=100, ge=1, le=100)
    """Last year that a class holds."""
    bins: tuple[int, ...] = ()
    """First year of each class, in order, the first of them `first`; a class for every year where none is given."""
    outside: Literal["nearest", "unknown"] = "nearest"
    """What a label outside `first` to `last` counts as: the nearest year, or no label."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first >= self.last:
            raise ValueError(f"there is no year from {self.first} to {self.last}; an age needs two")
        years = (*self.bins, self.last + 1)
        if self.bins and (len(self.bins) < 2 or self.bins[0] != self.first or list(years) != sorted(set(years))):
            raise ValueError(f"bins are at least two first years that rise from {self.first} to at most {self.last}")
        return self


class NetworkSection(_Section):
    """What is trained."""

    architecture: str
    """Name in `training.models.heads.ARCHITECTURES`."""
    size: int = Field(ge=32, le=512)
    """Side of the square input in pixels; InceptionV3 needs 75."""
    head_units: int = Field(default=128, ge=1)
    """Units of each branch's hidden layer."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of a branch's units that a training step leaves out."""
    embedding_units: int = Field(default=0, ge=0)
    """Numbers of the face embedding (see `training.fit.face_embeddings`) that the trunk learns to give beside the heads; 0 for
    none. Also read as `hint_units`."""
    outputs: tuple[str, ...] = Field(default=tuple(_KNOWN), min_length=1)
    """Attributes that the network has a head for; all that the recipe declares where not given."""
    age: AgeSection = AgeSection()
    """The age head's output form."""
    pair_units: dict[str, Literal[1, 2]] = {}
    """Units of the head of two labels, by attribute; 1 where not given: one, the odds of the second label, or two, one for each
    label, of categorical cross-entropy. `gender_units` is read as that of gender."""
    mirror: bool = False
    """Whether the exported network's answer is the mean of those for a crop and its mirror image, at twice the arithmetic."""
    norm_momentum: float = Field(default=1.0, ge=0, le=1)
    """Highest momentum of the batch normalisation's moving statistics, where the architecture's own is higher: a run of few
    steps ends before slow ones have forgotten what they began with."""

    @model_validator(mode="before")
    @classmethod
    def _read_alias(cls, fields: Any) -> Any:
        return _by_attribute(_renamed(fields, "hint_units", "embedding_units"), "units", "pair_units")

    def form_of(self, attribute: Attribute) -> AgeSection:
        """The output form of an expectation's head.

        Args:
            attribute: The expectation.

        Returns:
            That of the recipe for the age; classes for all others, one for each hundredth of the range.
        """
        return self.age if attribute.name == AGE else AgeSection()


class DataSection(_Section):
    """What of the prepared pictures is used."""

    train: tuple[str, ...] = Field(default=("UTKFace",), min_length=1)
    """Data sets whose training split is learnt; one that is named twice is seen twice an epoch."""
    validation: tuple[str, ...] = Field(default=("UTKFace",), min_length=1)
    """Data sets whose validation split is measured after every epoch, and chooses the weights that are kept."""
    shares: tuple[float, ...] = ()
    """Shares of an epoch's pictures that come from each set of `train`, in its order; by how many each has where not given."""
    age: Literal["apparent", "real"] = "apparent"
    """Which age is learnt where a set gives both."""
    validation_pictures: int = Field(default=0, ge=0)
    """Most pictures of validation that are measured after an epoch, spread evenly over it; 0 for all."""
    min_face_px: float = Field(default=0.0, ge=0)
    """Side of the box, in pixels, below which a face is left out of training and validation."""
    min_sharpness: float = Field(default=0.0, ge=0)
    """Sharpness of the crop (see `service.vision.quality`, which calls less than 3.3 blurred) below which it is left out."""

    @model_validator(mode="after")
    def _one_share_each(self) -> DataSection:
        """Shares belong to sets, and a set with a share stands there once."""
        if self.shares and (len(self.shares) != len(self.train) or len(set(self.train)) != len(self.train)):
            raise ValueError("shares need one number for each set of train, and each set once")
        if self.shares and (min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6):
            raise ValueError("shares are above 0, and their sum is 1")
        return self


class CountSection(_Section):
    """How many pictures of each group of ages a batch has."""

    up_to: int = Field(ge=0)
    """Oldest age of these groups."""
    each: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    """Pictures of each group, from each of the pools, in their order."""


class PhaseSection(_Section):
    """What batches are composed of from some step on."""

    step: int = Field(ge=0)
    """First step of the phase."""
    counts: tuple[CountSection, ...] = Field(min_length=1)
    """From the youngest groups to the oldest."""


class GroupsSection(_Section):
    """Batches with a fixed number of pictures of every group of ages (see `training.fit.batch_composition`)."""

    pools: tuple[tuple[str, ...], ...] = Field(min_length=1)
    """Data sets that each part of a batch comes from; all of them are in `data.train`."""
    lowest: int = Field(ge=0)
    """Youngest age of the first group; who is younger is not drawn."""
    width: int = Field(ge=1)
    """Ages of a group."""
    phases: tuple[PhaseSection, ...] = Field(min_length=1)
    """In order of their first steps; the first begins at 0."""


class BalanceSection(_Section):
    """What is done about groups that the training split has few of (see `training.fit.sampling`)."""

    class_weights: tuple[str, ...] = ()
    """Attributes whose loss weighs each class, an age by its decade, by the inverse of how many pictures of train have it."""
    repeat: tuple[str, ...] = ()
    """Attributes whose rare crossings, ages by decade, are drawn more often, each time augmented anew."""
    evenness: float = Field(default=1.0, ge=0, le=1)
    """Power of that: 1 draws all crossings alike, 0 each as often as it is there."""
    groups: GroupsSection | None = None
    """Batches that are composed group by group; not beside `repeat` or `data.shares`."""


class SmoteSection(_Section):
    """Heads that are trained once more on the features of the finished trunk, balanced by SMOTE (see `training.fit.smote`)."""

    heads: tuple[str, ...] = ()
    """Attributes of labels; none where it is not wanted."""
    neighbours: int = Field(default=5, ge=1)
    """Nearest features of the same class among which a new one is laid."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the balanced features."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Adam's, all the while."""


class ScheduleSection(_Section):
    """How long and how fast."""

    epochs: int = Field(ge=1)
    """Passes over the training split."""
    epoch_steps: int = Field(default=0, ge=0)
    """Most steps of an epoch, each epoch drawn anew from the whole split; 0 for as many as there are batches."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures a step."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule, where it begins or where the warm-up ends."""
    rate: Literal["cosine", "constant", "step", "halving", "inverse", "plateau"] = "cosine"
    """How the rate goes on: linear warm-up, then a cosine to zero; always the same; by `steps`; by `rate_factor` every
    `rate_epochs`; `learning_rate / (1 + rate_decay * epoch)`; or by `rate_factor` after `rate_epochs` epochs without a lower
    validation loss."""
    warmup_epochs: float = Field(default=0.5, ge=0)
    """Length of the cosine's warm-up in epochs."""
    steps: tuple[tuple[int, float], ...] = ()
    """Epochs, counted from 0 and in order, and the rate from each on; `learning_rate` before the first."""
    rate_factor: float = Field(default=0.5, gt=0, lt=1)
    """By what halving and plateau multiply the rate."""
    rate_epochs: int = Field(default=5, ge=1)
    """After how many epochs they do."""
    rate_decay: float = Field(default=0.0, ge=0)
    """Decay of the inverse schedule, in 1/epoch."""
    least_rate: float = Field(default=0.0, ge=0)
    """Rate below which no schedule but the cosine falls."""
    stop_epochs: int = Field(default=0, ge=0)
    """Epochs without a lower validation loss after which a run ends before its last one; 0 for never."""
    parts: int = Field(default=1, ge=1)
    """Parts of the training split, too large for memory as a whole, that are learnt one after the other, each for `epochs` and
    from the best weights of the one before; a part is every `parts`th picture."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW (Loshchilov and Hutter, ICLR 2019), Adam (Kingma and Ba, ICLR 2015), or stochastic gradient descent."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of stochastic gradient descent."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled decay, of kernels only."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Largest global norm of a step's gradient; 0 for any."""
    ema_momentum: float = Field(default=0.999, ge=0, lt=1)
    """Momentum of the running mean of the weights, which is what is kept."""
    policy: Literal["float32", "mixed_bfloat16"] = "float32"
    """Keras dtype policy: the precision of a step's arithmetic; weights are float32 in both."""
    seed: int = Field(default=1, ge=0, lt=2**32)
    """Seed of order, augmentation and initial weights."""

    @model_validator(mode="after")
    def _steps_in_order(self) -> Self:
        epochs = [epoch for epoch, _ in self.steps]
        if bool(epochs) != (self.rate == "step") or epochs != sorted(set(epochs)) or any(rate <= 0 for _, rate in self.steps):
            raise ValueError("the rate 'step', and no other, has steps: epochs that rise, each with a rate above 0")
        return self


class TransferSection(_Section):
    """What becomes of the weights that a run begins with."""

    frozen_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """First layers of the trunk that do not learn; `all` for the whole trunk."""
    replaced: tuple[str, ...] = ()
    """Attributes whose output nodes begin anew where the run goes on from another network, such as one of other age classes;
    all the rest of it is kept."""


class LossSection(_Section):
    """What is minimised: the sum of the heads' losses, each with its weight."""

    age_distribution_weight: float = Field(default=0.4, ge=0)
    """Weight of the loss of the age's classes, in 1/nat; of no matter where there are none."""
    age_error_weight: float = Field(default=0.08, ge=0)
    """Weight of the error of the age in years, in 1/year, or 1/year² where it is squared."""
    age_error: Literal["absolute", "squared"] = "absolute"
    """What is minimised of that error: its absolute value, or its square."""
    age_label: Literal["gaussian", "gap", "hard"] = "gaussian"
    """Label of the classes: a Gaussian of `age_sigma`, one that falls off on either side by e every `age_gap` years, or the
    true age's class alone."""
    age_gap: float = Field(default=3.0, gt=0)
    """Gap of that label in years."""
    age_divergence: Literal["cross_entropy", "kl", "focal"] = "cross_entropy"
    """Loss of the classes: cross-entropy; KL divergence, which is less by the label's own entropy; or focal loss."""
    focal_gamma: float = Field(default=2.0, ge=0)
    """Exponent of the focal loss."""
    age_sigma: float = Field(default=1.0, gt=0)
    """Standard deviation of the soft label at age 0, in years."""
    age_sigma_slope: float = Field(default=0.03, ge=0)
    """Growth of that deviation with every year of age."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Weight of each attribute's loss, by name; 1 where not given. `gender_weight` and `race_weight` are read as those of
    gender and race."""
    teacher_weight: float = Field(default=0.0, ge=0, le=1)
    """Share of the teacher's probabilities in the label (see `training.fit.distillation`). A label that the data set does not
    give is the teacher's alone, and counts this much."""
    teacher_sees: Literal["crop", "variant"] = "crop"
    """What the teacher predicts: each crop as it is, once (`distill`), or every variant that the network learns, when it does
    (`train --teacher`; see `training.fit.teacher_networks`)."""
    embedding_weight: float = Field(default=1.0, ge=0)
    """Weight of the face embedding's distance, 1 less the cosine; of no matter without `network.embedding_units`. Also read as
    `hint_weight`."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of a label, but of an age, that is spread over all labels of its attribute."""

    @model_validator(mode="before")
    @classmethod
    def _read_alias(cls, fields: Any) -> Any:
        return _by_attribute(_renamed(fields, "hint_weight", "embedding_weight"), "weight", "weights")

    def of_expectation(self, attribute: Attribute) -> LossSection:
        """The losses of an expectation's head.

        Args:
            attribute: The expectation.

        Returns:
            Those of the recipe for the age; for all others the default ones, whose soft label is as wide at every value.
        """
        return self if attribute.name == AGE else LossSection(age_sigma_slope=0.0, teacher_weight=self.teacher_weight)

    def weight_of(self, attribute: str) -> float:
        """Weight of an attribute's loss, beside those of the parts of the age's.

        Args:
            attribute: Name of the attribute.

        Returns:
            The weight, 0 or more.
        """
        return self.weights.get(attribute, 1.0)


class AugmentSection(_Section):
    """What a training picture goes through; each is drawn anew for every picture and epoch."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a mirror image."""
    rotation: float = Field(default=10.0, ge=0)
    """Standard deviation of the rotation in degrees."""
    scale: float = Field(default=0.08, ge=0)
    """Standard deviation of the logarithm of the zoom."""
    shift: float = Field(default=0.03, ge=0)
    """Standard deviation of the shift in sides of the picture."""
    brightness: float = Field(default=0.2, ge=0, le=1)
    """Largest relative change of brightness."""
    contrast: float = Field(default=0.2, ge=0, le=1)
    """Largest relative change of contrast."""
    saturation: float = Field(default=0.3, ge=0, le=1)
    """Largest relative change of saturation."""
    grey: float = Field(default=0.05, ge=0, le=1)
    """Probability that colour is taken out."""
    blur: float = Field(default=0.15, ge=0, le=1)
    """Probability that the picture is reduced to between a quarter and its full size, and enlarged again."""
    noise: float = Field(default=0.1, ge=0, le=1)
    """Probability of Gaussian noise, with a deviation of up to 12 grey levels."""
    tint: float = Field(default=0.0, ge=0, le=1)
    """Largest relative change of each colour alone."""
    jpeg: float = Field(default=0.0, ge=0, le=1)
    """Probability of JPEG at a quality between 20 and 80."""
    erase: float = Field(default=0.15, ge=0, le=1)
    """Probability that a rectangle of up to a tenth of the picture is filled with noise."""
    mix: float = Field(default=0.0, ge=0, le=1)
    """Probability that a picture is mixed with another one, which has up to half of it. It has no label then but a teacher's
    prediction; only for a teacher that sees the variant."""
    rotation_range: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in degrees, either way, drawn uniformly; on top of `rotation`."""
    shift_range: float = Field(default=0.0, ge=0, le=1)
    """Largest shift in sides of the picture, along and across, drawn uniformly; on top of `shift`."""
    zoom_range: float = Field(default=0.0, ge=0, lt=1)
    """What is seen is between 1 less this and 1 and this as wide, and as high, each drawn uniformly; on top of `scale`."""


class Recipe(_Section):
    """One training run."""

    name: str = Field(pattern="^[A-Za-z0-9_-]+$")
    """Name of the model in the store: letters, digits, `_` and `-`."""
    follows: str = ""
    """Recipe whose trained network this one goes on from, by `--start`; empty where it begins with `--init`."""
    origin: str = ""
    """Where the initial weights come from, and under which licence; it is copied into the manifest."""
    attributes: tuple[Attribute, ...] = Field(default=ATTRIBUTES, min_length=1)
    """What can be learnt of a face; today's three where not given."""
    network: NetworkSection
    data: DataSection = DataSection()
    schedule: ScheduleSection
    transfer: TransferSection = TransferSection()
    loss: LossSection = LossSection()
    augment: AugmentSection = AugmentSection()
    balance: BalanceSection = BalanceSection()
    smote: SmoteSection = SmoteSection()

    @field_validator("follows")
    @classmethod
    def _by_its_new_name(cls, follows: str) -> str:
        return RENAMED.get(follows, follows)

    @model_validator(mode="before")
    @classmethod
    def _heads_of_all(cls, fields: Any) -> Any:
        """The network has a head for every declared attribute where it names none."""
        if not isinstance(fields, Mapping) or not isinstance(fields.get("network"), Mapping):
            return fields
        if not isinstance(fields.get("attributes"), list | tuple):
            return fields
        declared = [one for one in fields["attributes"] if isinstance(one, Mapping) and "name" in one]
        return {**fields, "network": {"outputs": [one["name"] for one in declared]} | dict(fields["network"])}

    @model_validator(mode="after")
    def _names_are_declared(self) -> Self:
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("attributes have different names")
        if len(set(self.network.outputs)) != len(self.network.outputs):
            raise ValueError("network.outputs names each attribute once")
        labels = [attribute.name for attribute in self.attributes if attribute.kind == "labels"]
        places = {
            "network.outputs": (self.network.outputs, names),
            "balance.class_weights": (self.balance.class_weights, self.network.outputs),
            "balance.repeat": (self.balance.repeat, names),
            "smote.heads": (self.smote.heads, [name for name in labels if name in self.network.outputs]),
            "transfer.replaced": (self.transfer.replaced, names),
            "network.pair_units": (self.network.pair_units, labels),
            "loss.weights": (self.loss.weights, names),
        }
        for place, (named, allowed) in places.items():
            if unknown := [name for name in named if name not in allowed]:
                raise ValueError(f"{place} names {unknown[0]!r}; there is: {', '.join(allowed) or 'none'}")
        if self.augment.mix > 0 and not self.taught_on_variants:
            raise ValueError("augment.mix needs a teacher that sees the variant: loss.teacher_weight and loss.teacher_sees")
        if self.balance.groups is not None and AGE not in names:
            raise ValueError(f"balance.groups needs the attribute {AGE}")
        return self

    @property
    def learnt(self) -> tuple[Attribute, ...]:
        """The attributes that the network has a head for, in the order of its outputs."""
        return tuple(self.attribute(name) for name in self.network.outputs)

    @property
    def taught_on_variants(self) -> bool:
        """Whether a teacher predicts the variants that the network learns."""
        return self.loss.teacher_weight > 0 and self.loss.teacher_sees == "variant"

    @property
    def used(self) -> tuple[Attribute, ...]:
        """The attributes whose labels a run reads, in the order of their declaration."""
        named = {*self.network.outputs, *self.balance.repeat, *((AGE,) if self.balance.groups is not None else ())}
        return tuple(attribute for attribute in self.attributes if attribute.name in named)

    @property
    def selective_accuracies(self) -> dict[str, SelectiveAccuracy]:
        """What the labels not marked uncertain are calibrated to, by attribute."""
        return {one.name: one.selective_accuracy for one in self.attributes if one.kind == "labels"}

    def attribute(self, name: str) -> Attribute:
        """The declared attribute of a name.

        Args:
            name: A name that the recipe declares.

        Returns:
            The attribute.
        """
        return next(attribute for attribute in self.attributes if attribute.name == name)


RENAMED: Final[Mapping[str, str]] = {
    "mobilenet-taught": "mobilenet-distilled",
    "inceptionv3-hints": "inceptionv3-embeddings",
}
"""Recipes that had another name when shipped models were trained, whose provenance names them so; the old names are read."""
RECIPE: Final = "recipe.json"
"""File of the recipe by which a run was trained, or a model of the store."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, or the `recipe.json` of a run.

    Args:
        path: A TOML or JSON file; one of the old names of `RENAMED` stands for the new one.

    Returns:
        The recipe.

    Raises:
        FileNotFoundError: There is no such file.
        RecipeError: A value is missing, or none that a recipe has.
        tomllib.TOMLDecodeError: The file is no TOML.
    """
    if path.stem in RENAMED and not path.exists():
        path = path.with_stem(RENAMED[path.stem])
    text = path.read_text(encoding="utf-8")
    with raised_as(RecipeError):
        return Recipe.model_validate_json(text) if path.suffix == ".json" else Recipe.model_validate(tomllib.loads(text))


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as `load_recipe` reads it.

    Args:
        path: A JSON file.
        recipe: The recipe.
    """
    write_text(path, recipe.model_dump_json(indent=2) + "\n")


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values.

    Args:
        recipe: The recipe.
        values: Values in tables shaped like the recipe's own.

    Returns:
        Another recipe.

    Raises:
        RecipeError: A value does not fit.
    """
    with raised_as(RecipeError):
        return Recipe.model_validate(_merged(recipe.model_dump(mode="json"), values))


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A table in which another one's values stand before its own."""
    return below | {
        key: _merged(below[key], value) if isinstance(value, Mapping) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
