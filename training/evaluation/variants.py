"""What a variant of a model loses against the model itself in float32, by the figures of both on validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from service.models.evaluation import VariantEvaluation, VariantPart
from service.models.manifest import Manifest

ALL: Final = "all"
"""Name of the figures of all data sets together."""
MOST_STEPS: Final = 0.1
"""Steps of an expectation, which are years of an age, that the mean absolute error may grow by."""
MOST_SHARE: Final = 0.003
"""Share of right labels that may be lost."""
NO_STEPS: Final = 0.02
"""Growth of the mean absolute error, in steps, that counts as none; over thousands of faces chance makes as much."""
NO_STEPS_BAND: Final = 0.1
"""The same in each band of true values with `BAND_FACES` or more."""
NO_SHARE: Final = 0.001
"""Share of right labels whose loss counts as none."""
BAND_FACES: Final = 100


def losses(manifest: Manifest, part: VariantPart) -> Iterator[tuple[str, float, float]]:
    """What the variant loses.

    Args:
        manifest: Of the model.
        part: Its figures and the variant's, on the same faces.

    Yields:
        For each attribute that was measured its name, what the variant loses, and the most that it may lose: of an expectation
        the growth of the mean absolute error, of labels the share of right ones.
    """
    for one in manifest.attributes:
        key = f"{one.name}_mae" if one.kind == "expectation" else f"{one.name}_accuracy"
        before, after = (part.figures[name].number(key) for name in ("f32", "int8"))
        if before is not None and after is not None:
            yield (
                (one.name, after - before, MOST_STEPS * one.scale.step)
                if one.kind == "expectation"
                else (one.name, before - after, MOST_SHARE)
            )


def lossless(manifest: Manifest, measured: VariantEvaluation) -> bool:
    """Whether a variant loses nothing against the model in float32.

    Args:
        manifest: Of the model.
        measured: Figures of both.

    Returns:
        Whether neither all faces together nor a data set's lose more than chance would, nor a band of true values. An attribute
        that was not measured may have lost anything.
    """
    if ALL not in measured.sets or {name for name, *_ in losses(manifest, measured.sets[ALL])} != {
        one.name for one in manifest.attributes
    }:
        return False
    steps = {one.name: one.scale.step for one in manifest.attributes if one.kind == "expectation"}
    for name, part in measured.sets.items():
        most = {attribute: NO_STEPS * step for attribute, step in steps.items()}
        if any(lost > most.get(attribute, NO_SHARE) for attribute, lost, _ in losses(manifest, part)):
            return False
        for attribute, bands in part.bands.items() if name == ALL else ():
            for figures in bands.values():
                before, after = (figures[key].number(f"{attribute}_mae") for key in ("f32", "int8"))
                if before is None or after is None or figures["f32"].count < BAND_FACES:
                    continue
                if after - before > NO_STEPS_BAND * steps[attribute]:
                    return False
    return True
