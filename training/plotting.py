"""Figures to PNG files, drawn without a screen."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from service.files import replacing

mpl.use("Agg")


def literal(text: str) -> str:
    """A text of a user's as Matplotlib draws it letter by letter: what stands between two dollars is mathematics to it.

    Args:
        text: A label or a name, such as `$50k-$100k`.

    Returns:
        The text with its dollars escaped.
    """
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path, dpi: int = 120, tight: bool = False) -> None:
    """Write a figure as PNG, and give back its memory.

    Args:
        figure: The figure.
        path: File to write; what it held stays where writing fails.
        dpi: Pixels an inch.
        tight: Whether the margins are cut to what is drawn.
    """
    try:
        with replacing(path) as new:
            figure.savefig(new, dpi=dpi, bbox_inches="tight" if tight else None)
    finally:
        plt.close(figure)
