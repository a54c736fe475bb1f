"""The systems whose clients may be answered, by name, and what the app needs of the chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.api.compat import compreface, deepface, insightface, kserve, rekognition, sagemaker
from service.api.compat.translation import System

SYSTEMS: Final = {
    module.SYSTEM.name: module.SYSTEM for module in (deepface, rekognition, compreface, insightface, kserve, sagemaker)
}
"""Every system by its name."""


def chosen(names: Sequence[str]) -> list[System]:
    """Systems of these names, each once, in the order of `SYSTEMS`.

    Args:
        names: Of `SYSTEMS`.

    Returns:
        The systems.
    """
    return [system for name, system in SYSTEMS.items() if name in names]
