"""The networks alone, by batch: what no service around them can exceed."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.bench.measures import Row
from service.models.runtime import Network, Precision, Runtime, cpu_quota, loader
from service.models.store import ModelStore

BATCHES = (1, 2, 4, 8, 16, 32)
DETECTOR = {"rnet": 24, "onet": 48}
"""Sides of the windows that the detector's later networks take."""


def networks_alone(store: Path, rounds: int) -> list[Row]:
    """Milliseconds an item of each network, in the default arithmetic of attributes and f32 of detection.

    Args:
        store: The model store.
        rounds: How often; batches and networks take turns.

    Returns:
        A row a network: its best batch, milliseconds an item there and alone, and items a second.
    """
    newest = {one.name: one for one in ModelStore(store).manifests()}
    chosen: dict[str, tuple[Network, int]] = {}
    for name, manifest in newest.items():
        folder = store / manifest.name / str(manifest.version)
        for role, path in manifest.networks.items():
            side = manifest.input.size if manifest.input is not None else DETECTOR.get(role)
            if side is not None:
                precision = Precision.F32 if manifest.input is None else Precision.AUTO
                label = f"{name}/{manifest.version}" + f", {role}" * (manifest.input is None)
                chosen[label] = (loader(Runtime.OPENVINO, precision, cpu_quota())(folder / path), side)
    spent: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds + 1):
        for label, (network, side) in chosen.items():
            for batch in BATCHES:
                pixels = np.random.default_rng(turn).integers(0, 256, (batch, side, side, 3), np.uint8)
                began = time.perf_counter()
                network(pixels)
                if turn:  # the first one compiles
                    spent.setdefault((label, batch), []).append((time.perf_counter() - began) * 1000 / batch)
    rows = []
    for label in chosen:
        medians = {batch: statistics.median(spent[label, batch]) for batch in BATCHES}
        best = min(BATCHES, key=lambda batch: medians[batch])
        rows.append(
            {
                "network": label,
                "best batch": best,
                "ms": round(medians[best], 3),
                "ms alone": round(medians[1], 3),
                "a second": round(1000 / medians[best], 1),
            }
        )
    return rows
