"""How a trunk makes itself known by name, and what all trunks share of where their weights begin."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import keras

from training.errors import WeightsError

IMAGENET: Final = "imagenet"
RANDOM: Final = "random"
"""Initial weights that are no file."""

Trunk = Callable[[int, str], keras.Model]
"""(input size, initial weights) to a model from float pixels in [-1, 1], [N, S, S, 3], to features [N, F]."""

ARCHITECTURES: Final[dict[str, Trunk]] = {}
"""Trunks by name, which is their function's."""
SIZES: Final[dict[str, int]] = {}
"""Side of the input, in pixels, for which each was described."""


def architecture(size: int) -> Callable[[Trunk], Trunk]:
    """Make a trunk known by its function's name.

    Args:
        size: Side of the input in pixels for which it was described.

    Returns:
        A decorator that gives the function back as it is.

    Raises:
        ValueError: Another function has the name, which is a mistake of the code.
    """

    def declared(trunk: Trunk) -> Trunk:
        name = trunk.__name__
        known = ARCHITECTURES.setdefault(name, trunk)
        if (known.__module__, known.__qualname__) != (trunk.__module__, trunk.__qualname__):
            raise ValueError(f"two architectures are called {name!r}: in {known.__module__} and in {trunk.__module__}")
        SIZES[name] = size
        return trunk

    return declared


@contextmanager
def registered(name: str, trunk: Trunk) -> Iterator[None]:
    """A trunk that is there inside the block alone.

    Args:
        name: Its name.
        trunk: Makes it.

    Yields:
        Nothing.

    Raises:
        ValueError: There is one of that name already, which is a mistake of the code.
    """
    if name in ARCHITECTURES:
        raise ValueError(f"there is an architecture {name!r} already")
    ARCHITECTURES[name] = trunk
    try:
        yield
    finally:
        del ARCHITECTURES[name]


def discover(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that each declares its trunks.

    Args:
        package: Name of the package.
        path: Its `__path__`.
    """
    for module in sorted(pkgutil.iter_modules(path), key=lambda one: one.name):
        importlib.import_module(f"{package}.{module.name}")


def initialised(trunk: keras.Model, name: str, init: str) -> keras.Model:
    """A trunk with its initial weights.

    Args:
        trunk: The trunk, which is changed.
        name: Its architecture's name.
        init: `random`, or a weights file.

    Returns:
        The trunk.

    Raises:
        WeightsError: `init` is `imagenet`, on which it was never trained.
    """
    if init == IMAGENET:
        raise WeightsError(f"{name} has no ImageNet weights; use random or a weights file")
    if init != RANDOM:
        trunk.load_weights(init)
    return trunk
