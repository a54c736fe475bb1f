"""What an hour of samples says: whether memory, threads and descriptors stayed where they were."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.soak.sampling import Sample

GROWTH: Final = 0.05
"""Share by which memory at the end may exceed that of the tenth minute."""
THREADS_MORE: Final = 2
"""Threads that may be more at the end: pools fill up when they are first needed."""
DESCRIPTORS_MORE: Final = 8
"""Descriptors that may be more at the end; the median of each end has connections that are just open."""


@dataclass(frozen=True, slots=True)
class Level:
    """A quantity at both ends of a run: medians over the reference minute and over the last part."""

    name: str
    before: float
    after: float
    most: float
    flat: bool

    @property
    def change(self) -> float:
        """Share by which it grew."""
        return self.after / self.before - 1 if self.before else 0.0


def windows(minutes: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The reference minute and the last part of a run; of an hour, its tenth minute and its last ten.

    Args:
        minutes: How long it runs.

    Returns:
        Two spans in seconds since the traffic began.
    """
    seconds = 60 * minutes
    end = seconds * 10 / 60
    return (max(0.0, end - max(60, seconds / 60)), end), (seconds * 50 / 60, seconds)


def levels(samples: Sequence[Sample], at_rest: Sequence[Sample], minutes: float) -> list[Level]:
    """Judge every quantity.

    Args:
        samples: Looks at the service under traffic, in order.
        at_rest: Looks at it while nothing was asked, in order.
        minutes: How long it ran.

    Returns:
        A level each, `flat` where it holds.

    Raises:
        ValueError: A window has no sample.
    """
    reference, last = windows(minutes)

    # At rest there is one look a minute: as many of them round the reference as there are at the end.
    half = (last[1] - last[0]) / 2
    around = reference[1] - half, reference[1] + half

    def level(
        name: str,
        looks: Sequence[Sample],
        span: tuple[float, float],
        of: Callable[[Sample], float],
        bound: Callable[[float], float],
    ) -> Level:
        before = statistics.median(of(one) for one in looks if span[0] <= one.at <= span[1])
        after = statistics.median(of(one) for one in looks if one.at >= last[0])
        return Level(name, before, after, max(of(one) for one in looks), after <= bound(before))

    def grown(before: float) -> float:
        return before * (1 + GROWTH)

    return [
        level("memory under traffic [MiB]", samples, reference, lambda one: one.anonymous_mib, grown),
        level("memory at rest [MiB]", at_rest, around, lambda one: one.anonymous_mib, grown),
        level("threads", samples, reference, lambda one: one.threads, lambda before: before + THREADS_MORE),
        level("descriptors", samples, reference, lambda one: one.descriptors, lambda before: before + DESCRIPTORS_MORE),
    ]


def plot(samples: Sequence[Sample], at_rest: Sequence[Sample], minutes: float, path: Path) -> None:
    """Draw memory, threads and descriptors over time.

    Args:
        samples: Looks under traffic.
        at_rest: Looks while nothing was asked.
        minutes: How long it ran.
        path: Of the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    memory, counts = figure.subplots(2, 1, sharex=True)
    at = [one.at / 60 for one in samples]
    memory.plot(at, [one.pss_mib for one in samples], color="0.7", linewidth=0.6, label="proportional, libraries included")
    memory.plot(at, [one.anonymous_mib for one in samples], linewidth=0.6, label="held by no file")
    memory.plot([one.at / 60 for one in at_rest], [one.anonymous_mib for one in at_rest], "k.", label="the same, at rest")
    for start, end in windows(minutes):
        memory.axvspan(start / 60, end / 60, color="0.93")
    memory.set(ylabel="memory [MiB]", ylim=(0, None))
    memory.legend(loc="lower right")
    counts.plot(at, [one.threads for one in samples], label="threads")
    counts.plot(at, [one.descriptors for one in samples], linewidth=0.6, label="descriptors")
    counts.set(xlabel="minutes", ylim=(0, None))
    counts.legend(loc="lower right")
    figure.savefig(path, dpi=120)
