"""Several runs' weights to their mean: one network, about as good as all of them together.

Runs that went on from common weights lie in one basin, where the mean of their weights predicts much as the mean of their
predictions (Wortsman et al., "Model soups", ICML 2022), at the cost of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.artifacts import write_document
from training.datasets.prepare import read_report
from training.datasets.prepared import REPORT
from training.errors import RunError, UsageError
from training.fit.callbacks import HISTORY, save_weights
from training.models.heads import build, load_weights
from training.provenance import WEIGHTS, record_mean
from training.recipe import RECIPE, load_recipe, write_recipe


def average(runs: Sequence[Path], shares: Sequence[float], out: Path) -> Path:
    """Write `out/best.weights.h5`, the weighted mean of the runs' best weights, and beside it the last run's recipe and what
    the mean came of.

    The runs may have been trained at different input sizes, where their weights are of the same shapes; the mean has the last
    one's.

    Args:
        runs: Folders of finished runs.
        shares: Each run's weight in the mean; they need not add up to 1.
        out: Folder for the mean, a run itself.

    Returns:
        The weights file.

    Raises:
        UsageError: There are not as many shares as runs, one is below 0 or no number, or all are 0.
        RunError: The networks or the templates of their crops differ, or `out` holds a training run or is one of the runs.
        FileNotFoundError: A run is not there.
    """
    if len(runs) != len(shares) or not runs or not all(0 <= share < math.inf for share in shares) or sum(shares) <= 0:
        raise UsageError("each run needs its share, 0 or more, and all shares together more than nothing")
    if out.resolve() in [run.resolve() for run in runs]:
        raise RunError(f"{out} is one of the runs; choose another folder")
    require_no_run(out)
    recipes = [load_recipe(run / RECIPE) for run in runs]
    reports = [read_report(run) for run in runs if (run / REPORT).exists()]
    if any(report.template != reports[-1].template for report in reports):
        raise RunError("the runs learnt crops of different landmark templates, and their weights have no mean")
    last = recipes[-1].network
    alike = {"dropout": last.dropout, "size": last.size, "mirror": last.mirror}
    if any(recipe.network.model_copy(update=alike) != last or recipe.learnt != recipes[-1].learnt for recipe in recipes):
        raise RunError("the runs' networks differ, and their weights have no mean")
    total: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    for run, recipe, share in zip(runs, recipes, shares, strict=True):
        network = build(recipe.network, attributes=recipe.attributes)
        load_weights(network, run / WEIGHTS)
        if total and [weight.shape for weight in network.get_weights()] != [weight.shape for weight in total]:
            raise RunError("the runs' input sizes give their weights other shapes, and they have no mean")
        weights = [np.asarray(weight, np.float64) * (share / sum(shares)) for weight in network.get_weights()]
        total = [one + other for one, other in zip(total, weights, strict=True)] if total else weights
    network.set_weights([mean.astype(weight.dtype) for mean, weight in zip(total, network.get_weights(), strict=True)])
    out.mkdir(parents=True, exist_ok=True)
    save_weights(network, out / WEIGHTS)
    write_recipe(out / RECIPE, recipes[-1])
    record_mean(out, runs, shares, recipes[-1])
    if reports:
        licences = {name: licence for report in reports for name, licence in report.sets.items()}
        write_document(out / REPORT, reports[-1].model_copy(update={"sets": licences}))
    return out / WEIGHTS


def require_no_run(folder: Path) -> None:
    """Refuse a folder whose weights took a training run.

    Args:
        folder: Where other weights are about to be written.

    Raises:
        RunError: It holds a training run.
    """
    if (folder / HISTORY).exists():
        raise RunError(f"{folder} holds a training run; choose another folder")
