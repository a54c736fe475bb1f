"""A photo with its faces' boxes and labels drawn on it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from service.inference.attributes import Label
from service.inference.pipeline import AnalysedFace, Analysis

COLOURS = ("#e8590c", "#1971c2", "#2f9e44", "#9c36b5", "#e03131", "#0c8599")


def caption(person: AnalysedFace) -> str:
    """One line for one face: `female, 34 (29-40), white? 58%`; a label goes with its probability where it is uncertain."""
    attributes, words = person.attributes, []
    if attributes.gender is not None:
        words.append(_said(attributes.gender))
    if attributes.age is not None:
        age = attributes.age
        words.append(f"{age.years:.0f}" + (f" ({age.low}-{age.high})" if age.low is not None else ""))
    if attributes.race is not None:
        words.append(_said(attributes.race))
    return ", ".join(words) or "face"


def _said(label: Label) -> str:
    return f"{label.label}? {label.confidence:.0%}" if label.uncertain else label.label


def draw(photo: Image.Image, analysis: Analysis, ids: Sequence[int] | None = None) -> Image.Image:
    """The upright photo (RGB, of any size) with every face marked; lines and letters grow with the photo.

    With `ids`, one for each face, its number is said too, and its colour is that of the number.
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
