"""The configuration of one training run: a TOML file, checked, and named by the model it makes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AgeSection(_Section):
    """As what the age head says an age."""

    form: Literal["classes", "regression", "both"] = "classes"
    """Probabilities of classes of years, whose expectation is the age; the years by one rectified unit; or both, where the unit
    says the age and the classes its distribution."""
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
    hint_units: int = Field(default=0, ge=0)
    """Numbers of the descriptor (see `training.fit.face_embeddings`) that the trunk learns to give beside the heads; 0 for
    none."""
    outputs: tuple[Literal["age", "gender", "race"], ...] = Field(default=("age", "gender", "race"), min_length=1)
    """Heads that the network has."""
    age: AgeSection = AgeSection()
    """As what the age head says an age."""
    gender_units: Literal[1, 2] = 1
    """Units of the gender head: one, the odds of female, or two, male and female, of categorical cross-entropy."""
    norm_momentum: float = Field(default=1.0, ge=0, le=1)
    """Highest momentum of the batch normalisation's moving statistics, where the architecture's own is higher: a run of few
    steps ends before slow ones have forgotten what they began with."""


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
    """Sharpness of the crop (see `service.vision.quality`, which calls less than 2.9 blurred) below which it is left out."""

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

    class_weights: tuple[Literal["age", "gender", "race"], ...] = ()
    """Heads whose loss weighs each class, an age by its decade, by the inverse of how many pictures of train have it."""
    repeat: tuple[Literal["age", "gender", "race"], ...] = ()
    """Labels whose rare crossings, ages by decade, are drawn more often, each time augmented anew."""
    evenness: float = Field(default=1.0, ge=0, le=1)
    """Power of that: 1 draws all crossings alike, 0 each as often as it is there."""
    groups: GroupsSection | None = None
    """Batches that are composed group by group; not beside `repeat` or `data.shares`."""


class SmoteSection(_Section):
    """Heads that are trained once more on the features of the finished trunk, balanced by SMOTE (see `training.fit.smote`)."""

    heads: tuple[Literal["gender", "race"], ...] = ()
    """Which; none where it is not wanted."""
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
    """How the rate goes on: linear warm-up, then a cosine to zero; always the same; as `steps` say; by `rate_factor` every
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
    seed: int = Field(default=1, ge=0)
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
    replaced: tuple[Literal["age", "gender", "race"], ...] = ()
    """Heads whose output nodes begin anew where the run goes on from another network, such as one of other age classes; all the
    rest of it is kept."""


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
    gender_weight: float = Field(default=1.0, ge=0)
    """Weight of gender's binary cross-entropy."""
    race_weight: float = Field(default=1.0, ge=0)
    """Weight of race's categorical cross-entropy."""
    teacher_weight: float = Field(default=0.0, ge=0, le=1)
    """Share of the label that is a teacher's answer (see `training.fit.distillation`) instead of the data set's. A label that
    the data set does not give is the teacher's alone, and counts this much."""
    hint_weight: float = Field(default=1.0, ge=0)
    """Weight of the descriptor's distance, 1 less the cosine; of no matter without `network.hint_units`."""
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of a gender or race label that is spread over all classes."""


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
    rotation_range: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in degrees, either way, drawn uniformly; on top of `rotation`."""
    shift_range: float = Field(default=0.0, ge=0, le=1)
    """Largest shift in sides of the picture, along and across, drawn uniformly; on top of `shift`."""
    zoom_range: float = Field(default=0.0, ge=0, lt=1)
    """What is seen is between 1 less this and 1 and this as wide, and as high, each drawn uniformly; on top of `scale`."""


class Recipe(_Section):
    """One training run."""

    name: str
    """Name of the model in the store."""
    follows: str = ""
    """Recipe whose trained network this one goes on from, by `--start`; empty where it begins with `--init`."""
    origin: str = ""
    """Where the initial weights come from, and under which licence; the manifest says it."""
    network: NetworkSection
    data: DataSection = DataSection()
    schedule: ScheduleSection
    transfer: TransferSection = TransferSection()
    loss: LossSection = LossSection()
    augment: AugmentSection = AugmentSection()
    balance: BalanceSection = BalanceSection()
    smote: SmoteSection = SmoteSection()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, or the `recipe.json` of a run; raises `pydantic.ValidationError` or `tomllib.TOMLDecodeError` with what
    is wrong."""
    if path.suffix == ".json":
        return Recipe.model_validate_json(path.read_text())
    return Recipe.model_validate(tomllib.loads(path.read_text()))


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values, in tables shaped like its own; raises `pydantic.ValidationError` where one does not fit."""
    return Recipe.model_validate(_merged(recipe.model_dump(mode="json"), values))


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A table in which another one's values stand before its own."""
    return below | {
        key: _merged(below[key], value) if isinstance(value, Mapping) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
