"""An exponentially smoothed mean: of how long work takes, from which waiting times are estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SMOOTHING: Final = 0.2
"""Weight of the newest value: the last five count for two thirds."""


@dataclass(slots=True)
class SmoothedMean:
    """Mean of values in the order in which they come; `value` is a guess until the first."""

    value: float

    def add(self, newest: float) -> None:
        """Count one more value.

        Args:
            newest: In the unit of the others.
        """
        self.value += (newest - self.value) * SMOOTHING
