"""The documents that are written of data sets: `prepare.json` and `counts.json`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, RootModel

Point = tuple[float, float]


class PreparedReport(BaseModel):
    """What `prepare` found; counts are by data set and split."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    sources: tuple[str, ...] = ()
    """Names of the folders and files."""
    sets: dict[str, str]
    """Licences by data set."""
    pictures: dict[str, int] = Field(default={})
    faces: dict[str, int] = Field(default={})
    labels: dict[str, dict[str, int]] = Field(default={})
    """Faces by attribute and word."""
    dropped: dict[str, int] = Field(default={})
    """Pictures that were left out, also by reason."""
    dropped_names: tuple[str, ...] = ()
    size: int | None = None
    """Side of the crops in pixels."""
    detection_side: int | None = None
    """Longest side, in pixels, at which faces were looked for."""
    detector: str | None = None
    """NAME/VERSION of what found them."""
    template: tuple[Point, ...] = Field(min_length=5, max_length=5)
    """Landmarks in fractions of the crop."""


class SetCounts(BaseModel):
    """Pictures of one data set: by attribute, such as `age`, and by crossings, such as `decade and gender`."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, dict[str, int]] = Field(init=False)

    pictures: int
    """Those that have a label."""
    unlabelled: int
    split: dict[str, int]


class Counts(RootModel[dict[str, SetCounts]]):
    """What `explore` counted, by data set."""
