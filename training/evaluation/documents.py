"""The documents that measurements write and pages read: `report.json`, and those of other measurements beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.models.evaluation import Part
from service.models.manifest import AGE, CANONICAL, Section
from training.evaluation.predictions import AttributeSpec

REPORT: Final = "report.json"

DEFAULT_ATTRIBUTES: Final = (
    AttributeSpec(name=AGE, kind="expectation"),
    *(AttributeSpec(name=name, kind="labels", labels=labels) for name, labels in CANONICAL.items()),
)
"""Attributes of the documents that do not name theirs."""


class MeasuredModel(Section):
    """The model that was measured."""

    name: str
    version: int


class Served(Section):
    """What gave the predictions."""

    model: MeasuredModel
    precision: str
    """Arithmetic of the network."""
    runtime: str
    detector: str | None = None
    """NAME/VERSION of what found the faces."""
    promised_coverage: float | None = None
    """Share of the true values that the intervals promise to hold; None without any."""


class Curve(Section):
    """Points of a receiver operating characteristic."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


class YearError(Section):
    """Mean absolute error of the faces of one true year, or of one hundredth of a range."""

    mae: float
    count: int


class WrongYears(Section):
    """A picture whose predicted years, or another value, are far off."""

    name: str
    """Of the file."""
    age: float
    """The known value."""
    years: float
    """The predicted one."""


class WrongLabel(Section):
    """A picture whose label is wrong."""

    name: str
    """Of the file."""
    label: str
    """The known one."""
    answer: str
    """The predicted one."""
    confidence: float


class DifferingLabels(BaseModel):
    """Pairs of near-duplicates whose labels differ: in `any`, and by attribute."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, int] = Field(init=False)

    any: int
    years: float | None = None
    """Mean difference of the ages."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those that were compared."""
        return tuple(self.__pydantic_extra__)

    def of(self, attribute: str) -> int:
        """Pairs that differ in one attribute.

        Args:
            attribute: Its name.

        Returns:
            The count.
        """
        return self.__pydantic_extra__.get(attribute, 0)


class DuplicatePair(Section):
    """A picture, and one of an earlier split that is nearly the same."""

    name: str
    other: str
    bits: int
    """Of the hashes that differ."""
    mirrored: bool


class Duplicates(Section):
    """Near-duplicates of a split's pictures in earlier splits; see `training.datasets.duplicates`."""

    compared_with: tuple[str, ...]
    """The earlier splits."""
    bits: int
    """Of a hash."""
    threshold: int
    """Most bits that differ."""
    pictures: int
    pairs: int
    mirrored: int
    differing: DifferingLabels
    twins: tuple[DuplicatePair, ...]


class ReportPart(Part):
    """All that was measured on one data set.

    By attribute there are further lists: `worst_ages`, `worst_genders` and the like, and `age_mae_by_age`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, tuple[WrongYears, ...] | tuple[WrongLabel, ...] | dict[str, YearError]] = Field(init=False)

    confusion: dict[str, tuple[tuple[int, ...], ...]]
    """Counts by attribute: rows are known labels, columns predicted ones."""
    roc: dict[str, Curve]
    """By label."""
    not_found: tuple[str, ...]
    """Names of the files in which no face was found."""
    duplicates: Duplicates | None = None

    def worst(self, attribute: str) -> tuple[WrongYears, ...] | tuple[WrongLabel, ...]:
        """The predictions of an attribute that are furthest off.

        Args:
            attribute: Its name.

        Returns:
            The worst first.
        """
        found = self.__pydantic_extra__.get(worst_key(attribute), ())
        return found if isinstance(found, tuple) else ()


class Report(ReportPart):
    """`report.json`."""

    data: str
    """The data set."""
    split: str
    created: str
    """Date."""
    model: MeasuredModel | None = None
    precision: str | None = None
    runtime: str | None = None
    detector: str | None = None
    promised_coverage: float | None = None
    attributes: tuple[AttributeSpec, ...] = DEFAULT_ATTRIBUTES
    also: dict[str, ReportPart] = Field(default={})
    """Further data sets, by name."""
    plots: tuple[str, ...] = ()
    """Names of PNG files beside the report."""

    def parts(self) -> dict[str, ReportPart]:
        """Each data set.

        Returns:
            Its figures, by name.
        """
        return {self.data: self, **self.also}


class Subject(Section):
    """The model and the pictures of a measurement beside a report."""

    model: MeasuredModel
    precision: str
    runtime: str = ""
    detector: str | None = None
    promised_coverage: float | None = None
    data: tuple[str, ...]
    split: str
    pictures: int


class TextTable(Section):
    """A table whose cells are text."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _file_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"{name} is no name of a file beside it")
    return name


class Supplement(BaseModel):
    """A measurement that the page shows beside its report: `conditions.json` or `robustness.json`.

    The figures behind the tables stand in `data`, which each measurement has of its own; the page does not show them.
    """

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    title: str
    text: str
    """Paragraphs with an empty line between them."""
    tables: tuple[TextTable, ...]
    plots: tuple[Annotated[str, AfterValidator(_file_name)], ...]
    """Names of PNG files beside it."""
    subject: Subject | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_old_key(cls, fields: Any) -> Any:
        """The subject stood under `asked` once."""
        if not isinstance(fields, Mapping):
            return fields
        return {"subject" if key == "asked" else key: value for key, value in fields.items()}


def worst_key(attribute: str) -> str:
    """Where a report lists the worst predictions of an attribute.

    Args:
        attribute: Its name.

    Returns:
        The key.
    """
    return f"worst_{attribute}s"


def by_year_key(attribute: str) -> str:
    """Where a report lists the errors of an expectation by true year.

    Args:
        attribute: Its name.

    Returns:
        The key.
    """
    return f"{attribute}_mae_by_{attribute}"
