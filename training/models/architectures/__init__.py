"""The trunks that can be trained, one file a family, each of which declares itself; `training.models.heads` sets heads on
them.
"""

from __future__ import annotations

from training.models.architectures.registry import (
    ARCHITECTURES,
    IMAGENET,
    RANDOM,
    SIZES,
    Trunk,
    architecture,
    discover,
    registered,
)

__all__ = ["ARCHITECTURES", "IMAGENET", "RANDOM", "SIZES", "Trunk", "architecture", "discover", "registered"]

discover(__name__, __path__)
