"""What came back to the generator of load."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BUSY: Final = frozenset({429, 503, 504})
"""Statuses by which a service says that it has too much to do."""


@dataclass
class Tally:
    """What came back while photos were sent for `seconds`, and later: seconds of the answers and of the refusals, the count
    of each status, 0 being no answer at all, and how many `answered` came in that time.
    """

    seconds: float
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    in_time: int = 0

    @property
    def rate(self) -> float:
        """Answers a second while photos were sent.

        What comes later left a line that fills once, however long the measurement is; and a refusal that is held back, when
        all photos are answered, is no time that answers took.
        """
        return self.in_time / self.seconds

    def add(self, status: int, took: float, at: float) -> None:
        """Count one answer.

        Args:
            status: Its HTTP status, or 0 where none came.
            took: Seconds from when it was due, or sent, to its end.
            at: Seconds from the beginning of the measurement to its end.
        """
        self.statuses[status] += 1
        if status == 200:
            self.answered.append(took)
            self.in_time += at <= self.seconds
        elif status in BUSY:
            self.refused.append(took)


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Median and tails.

    Args:
        seconds: Any number of values.

    Returns:
        Milliseconds by `p50`, `p95` and `p99`; empty where there are fewer than two values.
    """
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {name: round(cuts[at - 1] * 1000, 1) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}
