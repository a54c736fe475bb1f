"""The networks alone, by batch: what no service around them can exceed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.bench.measures import Row
from service.models.manifest import Manifest, Variant
from service.models.runtime import Network, Precision, Runtime, cpu_quota, loader
from service.models.store import VARIANT, ModelStore

BATCHES = (1, 2, 4, 8, 16, 32)
DETECTOR = {"rnet": 24, "onet": 48}
"""Sides of the windows that the detector's later networks take."""


def networks_alone(store: Path, rounds: int) -> list[Row]:
    """Milliseconds an item of each network: of attributes in bf16 or f32, and in each variant; of detection in f32.

    Args:
        store: The model store.
        rounds: How often; batches and networks take turns.

    Returns:
        A row a network: its best batch, milliseconds an item there and alone, and items a second.
    """
    newest = {one.name: one for one in ModelStore(store).manifests()}
    chosen: dict[str, tuple[Network, int]] = {}
    for manifest in newest.values():
        for label, place, precision, side in _places(store, manifest):
            chosen[label] = (loader(Runtime.OPENVINO, precision, cpu_quota())(place), side)
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


def _places(store: Path, manifest: Manifest) -> Iterator[tuple[str, Path, Precision, int]]:
    """A model's networks: what they are called, where they lie, their arithmetic, and the side of what they take."""
    folder, name = store / manifest.name / str(manifest.version), f"{manifest.name}/{manifest.version}"
    if manifest.input is None:
        for role, path in manifest.networks.items():
            if role in DETECTOR:
                yield f"{name}, {role}", folder / path, Precision.F32, DETECTOR[role]
        return
    yield name, folder / manifest.networks["faces"], Precision.AUTO, manifest.input.size
    for variant in ModelStore(store).variants(manifest):  # which the service takes where it loses nothing
        document = Variant.model_validate_json((folder / variant / VARIANT).read_bytes())
        place = folder / variant / document.networks["faces"]
        yield f"{name}, {variant}", place, Precision(variant), manifest.input.size
