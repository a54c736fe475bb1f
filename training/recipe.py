"""The configuration of one training run: a TOML file, checked, and named by the model it makes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NetworkSection(_Section):
    """What is trained."""

    architecture: str
    """Name in `training.networks.ARCHITECTURES`."""
    size: int = Field(ge=32, le=512)
    """Side of the square input in pixels; InceptionV3 needs 75."""
    head_units: int = Field(default=128, ge=1)
    """Units of each branch's hidden layer."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of a branch's units that a training step leaves out."""
    hint_units: int = Field(default=0, ge=0)
    """Numbers of the descriptor (see `training.hints`) that the trunk learns to give beside the heads; 0 for none."""
    outputs: tuple[Literal["age", "gender", "race"], ...] = Field(default=("age", "gender", "race"), min_length=1)
    """Heads that the network has."""


class DataSection(_Section):
    """What of the prepared pictures is used."""

    train: tuple[str, ...] = Field(default=("UTKFace",), min_length=1)
    """Data sets whose training split is learnt; one that is named twice is seen twice an epoch."""
    validation: tuple[str, ...] = Field(default=("UTKFace",), min_length=1)
    """Data sets whose validation split is measured after every epoch, and chooses the weights that are kept."""


class ScheduleSection(_Section):
    """How long and how fast."""

    epochs: int = Field(ge=1)
    """Passes over the training split."""
    batch_size: int = Field(default=64, ge=1)
    """Pictures a step."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule: linear warm-up, then a cosine to zero."""
    warmup_epochs: float = Field(default=0.5, ge=0)
    """Length of the warm-up in epochs."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled decay (Loshchilov and Hutter, ICLR 2019), of kernels only."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest global norm of a step's gradient."""
    ema_momentum: float = Field(default=0.999, ge=0, lt=1)
    """Momentum of the running mean of the weights, which is what is kept."""
    policy: Literal["float32", "mixed_bfloat16"] = "float32"
    """Keras dtype policy: the precision of a step's arithmetic; weights are float32 in both."""
    seed: int = Field(default=1, ge=0)
    """Seed of order, augmentation and initial weights."""


class LossSection(_Section):
    """What is minimised: the sum of the heads' losses, each with its weight."""

    age_distribution_weight: float = Field(default=0.4, ge=0)
    """Weight of the cross-entropy with the soft age label, in 1/nat."""
    age_error_weight: float = Field(default=0.08, ge=0)
    """Weight of the absolute error of the expected age, in 1/year."""
    age_sigma: float = Field(default=1.0, gt=0)
    """Standard deviation of the soft label at age 0, in years."""
    age_sigma_slope: float = Field(default=0.03, ge=0)
    """Growth of that deviation with every year of age."""
    gender_weight: float = Field(default=1.0, ge=0)
    """Weight of gender's binary cross-entropy."""
    race_weight: float = Field(default=1.0, ge=0)
    """Weight of race's categorical cross-entropy."""
    teacher_weight: float = Field(default=0.0, ge=0, le=1)
    """Share of the label that is a teacher's answer (see `training.teach`) instead of the data set's. A label that the data
    set does not give is the teacher's alone, and counts this much."""
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
    loss: LossSection = LossSection()
    augment: AugmentSection = AugmentSection()


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises `pydantic.ValidationError` or `tomllib.TOMLDecodeError` with what is wrong."""
    return Recipe.model_validate(tomllib.loads(path.read_text()))
