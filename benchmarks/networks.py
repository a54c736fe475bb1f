"""Every attribute network of the store, in f32, bf16 and, where it has this variant, int8, alone and in batches, side by side.

    .venv/bin/python benchmarks/networks.py [--runs 60]

Runs take turns, and medians are printed, because a shared machine's speed drifts. A CPU that has no bf16 computes it by
other means, slowly.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from service.models.manifest import Manifest, Variant
from service.models.runtime import Network, Precision, Runtime, cpu_quota, loader
from service.models.store import VARIANT, ModelStore
from service.settings import Settings

BATCHES = (1, 8, 32)


def networks(store: Path, manifest: Manifest) -> dict[Precision, Network]:
    """A model's network in each arithmetic."""
    folder = store / manifest.name / str(manifest.version)
    places = dict.fromkeys((Precision.F32, Precision.BF16), folder / manifest.networks["faces"])
    for name in ModelStore(store).variants(manifest):
        document = Variant.model_validate_json((folder / name / VARIANT).read_bytes())
        places[Precision(name)] = folder / name / document.networks["faces"]
    return {precision: loader(Runtime.OPENVINO, precision, cpu_quota())(place) for precision, place in places.items()}


def megabytes(store: Path, manifest: Manifest, precision: Precision) -> float:
    """Size of a SavedModel, or of a variant, in 10⁶ bytes."""
    if precision.variant is not None:
        return ModelStore(store).variants(manifest)[precision.variant] / 1e6
    folder = store / manifest.name / str(manifest.version)
    return sum((folder / name).stat().st_size for name in manifest.files if name.startswith(("saved_model", "variables"))) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    runs: int = parser.parse_args().runs
    store = Settings().model_store
    newest = {one.name: one for one in ModelStore(store).manifests() if one.input is not None}
    loaded = {name: networks(store, manifest) for name, manifest in newest.items()}
    spent: dict[tuple[str, Precision, int], list[float]] = {}
    for run in range(runs + 1):
        for name, manifest in newest.items():
            side = manifest.input.size if manifest.input else 0
            for precision in loaded[name]:
                for batch in BATCHES:
                    faces = np.random.default_rng(run).integers(0, 256, (batch, side, side, 3), np.uint8)
                    began = time.perf_counter()
                    loaded[name][precision](faces)
                    if run:  # the first one compiles
                        took = (time.perf_counter() - began) * 1000 / batch
                        spent.setdefault((name, precision, batch), []).append(took)
    table = Table()
    for column in ("network", "arithmetic", "size [MB]", *(f"{batch} at once [ms a face]" for batch in BATCHES)):
        table.add_column(column)
    for name, manifest in newest.items():
        for precision in loaded[name]:
            medians = [f"{statistics.median(spent[name, precision, batch]):.2f}" for batch in BATCHES]
            table.add_row(
                f"{name}/{manifest.version}", precision.value, f"{megabytes(store, manifest, precision):.1f}", *medians
            )
    Console(width=140, markup=False).print(table)


if __name__ == "__main__":
    main()
