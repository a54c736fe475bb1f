"""A photo with its faces' boxes and labels drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from service.inference.attributes import Expectation, LabelProbabilities
from service.inference.pipeline import AnalysedFace, Analysis
from service.models.manifest import AGE

_ANSWERS: Final = frozenset({"yes", "no", "none"})
"""Labels that answer a question, and mean nothing without it."""
COLOURS = ("#e8590c", "#1971c2", "#2f9e44", "#9c36b5", "#e03131", "#0c8599")


def caption(person: AnalysedFace) -> str:
    """One line for one face: `female, 34 (29-40), white 47% or other 36%, glasses: no`.

    Args:
        person: The face.

    Returns:
        One of two labels first, as people say it, then ages, then the rest; where a label is uncertain, the two most probable
        ones with their probabilities; and with its attribute's name what says nothing alone.
    """
    words = [(_place(value), _words(name, value)) for name, value in person.attributes.items()]
    return ", ".join(word for _, word in sorted(words, key=lambda one: one[0])) or "face"


def _place(value: Expectation | LabelProbabilities) -> int:
    if isinstance(value, Expectation):
        return 1
    if _ANSWERS & set(value.probabilities):
        return 3
    return 0 if len(value.probabilities) == 2 else 2


def _words(name: str, value: Expectation | LabelProbabilities) -> str:
    if isinstance(value, Expectation):
        return str(value) if name == AGE else f"{name}: {value}"
    return f"{name}: {value}" if _ANSWERS & set(value.probabilities) else str(value)


def draw(photo: Image.Image, analysis: Analysis, ids: Sequence[int] | None = None) -> Image.Image:
    """Mark every face on a photo; lines and letters grow with it.

    Args:
        photo: The upright photo, RGB, of any size.
        analysis: Its faces.
        ids: A number for each face, which is written and gives its colour; None for no numbers.

    Returns:
        A marked copy, RGB.
    """
    canvas = photo.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    unit = max(canvas.size) / 900
    scale = canvas.width / analysis.width
    font = ImageFont.load_default(size=max(11, round(13 * unit)))
    for index, person in enumerate(analysis.faces):
        colour = COLOURS[(index if ids is None else ids[index]) % len(COLOURS)]
        x0, y0, x1, y1 = (float(value) * scale for value in person.face.box)
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=max(2, round(2 * unit)))
        text = caption(person) if ids is None else f"{ids[index]}: {caption(person)}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        width, height, pad = right - left, bottom - top, 3 * unit
        x = min(max(0.0, x0), max(0.0, canvas.width - width - 2 * pad))
        y = y0 - height - 2 * pad if y0 >= height + 2 * pad else min(y1, canvas.height - height - 2 * pad)
        pen.rectangle((x, y, x + width + 2 * pad, y + height + 2 * pad), fill=colour)
        pen.text((x + pad - left, y + pad - top), text, fill="white", font=font)
    return canvas
