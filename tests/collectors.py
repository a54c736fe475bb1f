"""The collectors of Prometheus that the service has, as its documents name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from service import metrics


@dataclass(frozen=True, slots=True)
class Described:
    """A collector: its name as it is exposed, what it is, its labels in their order, and its meaning."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


KINDS: dict[type, Literal["counter", "gauge", "histogram"]] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}


def described() -> list[Described]:
    """Every collector in service.metrics, in the order in which it stands there."""
    found = []
    for collector in vars(metrics).values():
        if isinstance(collector, Counter | Gauge | Histogram):
            (family,) = collector.describe()
            kind = KINDS[type(collector)]
            name = family.name + ("_total" if kind == "counter" else "")
            # The library has no public name for the labels of a collector without samples.
            found.append(Described(name, kind, tuple(collector._labelnames), family.documentation))
    return found
