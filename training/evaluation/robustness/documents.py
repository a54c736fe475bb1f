"""The documents of measurements of degraded pictures: `robustness.json` and `conditions.json`."""

from __future__ import annotations

from service.models.evaluation import Figures
from service.models.manifest import Section
from training.evaluation.documents import Supplement
from training.evaluation.robustness.statistics import Bin, Finding, Rise


class DegradedFigures(Section):
    """Figures of the pictures made worse in one way, and `warned`, the share of the faces found that have any warning."""

    kind: str
    level: str
    figures: Figures


class RobustnessData(Section):
    """Figures of the pictures as they are, with `warned`, and made worse."""

    clean: Figures
    degraded: tuple[DegradedFigures, ...]


class Robustness(Supplement):
    """`robustness.json`."""

    data: RobustnessData


class ConditionData(Section):
    """What was found of a condition; see `training.evaluation.robustness.statistics.Finding`."""

    warning: str
    condition: str
    """Name of what was measured of the face."""
    bins: tuple[Bin, ...]
    due: dict[str, float | None]
    warned: dict[str, Rise]
    unwarned: dict[str, Rise]
    clean: dict[str, Rise]
    share: float
    shares: dict[str, float]
    found: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, finding: Finding) -> ConditionData:
        """The document of a finding.

        Args:
            finding: What was found.

        Returns:
            The same, under the name of its warning.
        """
        return cls(
            warning=finding.condition.warning,
            condition=finding.condition.quality,
            bins=tuple(finding.bins),
            due=finding.due,
            warned=finding.warned,
            unwarned=finding.unwarned,
            clean=finding.clean,
            share=finding.share,
            shares=finding.shares,
            found=tuple(finding.found),
        )


class Conditions(Supplement):
    """`conditions.json`."""

    data: tuple[ConditionData, ...]
