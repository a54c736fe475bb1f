"""Lays prints of the other photos on a table: group.jpg, seven faces of three people, about 40 to 330 pixels high; and
portraits.jpg, eight people of many ages and origins. Heads are tilted both ways.

Needs Pillow and NumPy, and gives the same pixels every time: python examples/make_group.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageChops, ImageFilter

HERE: Final = Path(__file__).parent
FINE: Final = 2
"""Everything is laid out at this many times the size and reduced at the end, which smooths the tilted edges."""

PAPER: Final = (250, 249, 246)
SHADOW: Final = 110
"""Darkest value of a print's shadow, of 255."""


@dataclass(frozen=True)
class Print:
    """One print on the table: `part` of a photo as left, top, right, bottom in its pixels, `scale` times as large,
    turned by `angle` degrees counter-clockwise, its middle at `centre`; lengths are in pixels of the whole.
    """

    photo: str
    part: tuple[int, int, int, int]
    scale: float
    angle: float
    centre: tuple[int, int]

    @property
    def border(self) -> int:
        """Width of the white border."""
        return max(5, round(0.028 * self.scale * (self.part[2] - self.part[0])))


# From the bottom up.
GROUP: Final = (
    Print("biden.jpg", (0, 0, 728, 1654), 0.24, -9, (1450, 350)),  # face 70 high
    Print("biden.jpg", (90, 30, 670, 755), 0.84, 6, (970, 360)),  # 240
    Print("astronaut.jpg", (0, 0, 512, 512), 0.60, 8, (1010, 985)),  # 67
    Print("obama.jpg", (160, 0, 770, 760), 1.00, -4, (370, 440)),  # 330
    Print("astronaut.jpg", (55, 0, 400, 430), 1.00, -18, (1345, 850)),  # 111
    Print("obama.jpg", (0, 0, 910, 1137), 0.27, 25, (700, 960)),  # 90
    Print("obama.jpg", (60, 0, 910, 1060), 0.13, -12, (400, 1050)),  # 43
)

PORTRAITS: Final = (
    Print("biden.jpg", (90, 30, 670, 755), 0.52, 5, (245, 250)),
    Print("underwood.jpg", (0, 0, 335, 410), 1.00, -4, (615, 240)),
    Print("lieu.jpg", (0, 0, 335, 410), 0.95, 3, (985, 225)),
    Print("casar.jpg", (0, 0, 335, 410), 0.95, -6, (1360, 250)),
    Print("astronaut.jpg", (55, 0, 400, 430), 0.90, -5, (240, 700)),
    Print("khanna.jpg", (40, 10, 295, 322), 1.05, 6, (590, 715)),
    Print("waters.jpg", (0, 0, 335, 410), 0.95, -3, (955, 700)),
    Print("matsui.jpg", (0, 0, 335, 410), 0.90, 8, (1345, 715)),
)


def table(size: tuple[int, int]) -> Image.Image:
    """A plain table, lighter towards the top left, with its grain below what the eye sees: it keeps steps away."""
    width, height = size[0] * FINE, size[1] * FINE
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    light = 1.0 - 0.16 * across - 0.20 * down
    grain = np.random.default_rng(0).uniform(-0.5, 0.5, (height, width))
    colour = np.array([158, 167, 173])
    return Image.fromarray(np.round(light[..., None] * colour + grain[..., None]).astype(np.uint8))


def printed(one: Print) -> Image.Image:
    """The print with its border, turned, on transparent ground."""
    with Image.open(HERE / one.photo) as photo:
        left, top, right, bottom = one.part
        size = round((right - left) * one.scale * FINE), round((bottom - top) * one.scale * FINE)
        picture = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS, box=one.part)
    border = one.border * FINE
    card = Image.new("RGBA", (size[0] + 2 * border, size[1] + 2 * border), PAPER)
    card.paste(picture, (border, border))
    clear = Image.new("RGBA", (card.width + 4, card.height + 4), (*PAPER, 0))
    clear.paste(card, (2, 2))
    return clear.rotate(one.angle, Image.Resampling.BICUBIC, expand=True)


def lay(ground: Image.Image, one: Print) -> None:
    """Puts a print and its soft shadow on `ground`."""
    card = printed(one)
    corner = one.centre[0] * FINE - card.width // 2, one.centre[1] * FINE - card.height // 2
    shape = Image.new("L", ground.size)
    shape.paste(card.getchannel("A"), corner)
    drop = max(3, one.border // 2) * FINE
    shadow = ImageChops.offset(shape, drop // 2, drop).filter(ImageFilter.GaussianBlur(drop))
    ground.paste((20, 24, 28), mask=shadow.point([round(value * SHADOW / 255) for value in range(256)]))
    ground.paste(card, corner, card)


def main() -> None:
    """Writes group.jpg and portraits.jpg beside this file."""
    for name, size, prints in (("group.jpg", (1600, 1200), GROUP), ("portraits.jpg", (1600, 960), PORTRAITS)):
        ground = table(size)
        for one in prints:
            lay(ground, one)
        ground.resize(size, Image.Resampling.LANCZOS).save(HERE / name, quality=90, optimize=True)


if __name__ == "__main__":
    main()
