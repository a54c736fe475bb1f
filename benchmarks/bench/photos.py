"""The photos of a benchmark, made from the examples."""

from __future__ import annotations

import io
import random
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.serving import ROOT

EXAMPLES = ROOT / "examples"
PORTRAITS = ("astronaut.jpg", "biden.jpg", "casar.jpg", "khanna.jpg", "lieu.jpg", "matsui.jpg", "obama.jpg", "waters.jpg")
HEIC = ROOT / "tests/soak/data/astronaut.heic"


def jpeg(picture: Image.Image, *, progressive: bool = False) -> bytes:
    """A picture as a JPEG of quality 90."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, progressive=progressive)
    return buffer.getvalue()


def crowd(columns: int, rows: int, side: int) -> Image.Image:
    """A sheet of portraits, one a cell.

    Args:
        columns: Cells from left to right.
        rows: Cells from top to bottom.
        side: Pixels of a cell.

    Returns:
        The picture, in RGB.
    """
    portraits = [Image.open(EXAMPLES / name).convert("RGB") for name in PORTRAITS]
    sheet = Image.new("RGB", (columns * side, rows * side))
    for cell in range(columns * rows):
        portrait = portraits[cell % len(portraits)]
        edge = min(portrait.size)
        left = (portrait.width - edge) // 2
        square = portrait.crop((left, 0, left + edge, edge)).resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(square, (cell % columns * side, cell // columns * side))
    return sheet


def photos() -> dict[str, bytes]:
    """Files by what they show."""
    group = Image.open(EXAMPLES / "group.jpg").convert("RGB")
    large = group.resize((4032, 3024), Image.Resampling.BICUBIC)
    return {
        "1 face, 512×512": (EXAMPLES / "astronaut.jpg").read_bytes(),
        "7 faces, 1280×960": jpeg(group.resize((1280, 960))),
        "20 faces, 1280×1024": jpeg(crowd(5, 4, 256)),
        "100 faces, 1920×1920": jpeg(crowd(10, 10, 192)),
        "7 faces, 12 MP": jpeg(large),
        "7 faces, 12 MP, progressive": jpeg(large, progressive=True),
        "1 face, HEIC": HEIC.read_bytes(),
        "no face, 1280×960": jpeg(Image.effect_noise((1280, 960), 24).convert("RGB")),
    }


def of_sizes(count: int) -> list[bytes]:
    """Photos of as many sizes, always the same ones: as cameras make them, as pages show them, and cut anyhow.

    Args:
        count: How many.

    Returns:
        JPEGs of the examples, each cut about its middle.
    """
    draw = random.Random(7)  # noqa: S311 - no secret
    sources = [Image.open(EXAMPLES / name).convert("RGB") for name in ("portraits.jpg", "group.jpg", *PORTRAITS[:4])]
    made = []
    for number in range(count):
        side, shape = (
            (draw.choice((1600, 2048, 3000, 4032)), draw.choice((4 / 3, 4 / 3, 3 / 4, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 1))),
            (draw.choice((500, 640, 800, 1024, 1080, 1280)), draw.choice((4 / 3, 3 / 2, 16 / 9, 1, 3 / 4, 4 / 5, 2 / 3))),
            (round(10 ** draw.uniform(2.2, 3.1)), draw.uniform(0.6, 1.6)),
        )[number % 3]
        size = (side, round(side / shape)) if shape >= 1 else (round(side * shape), side)
        made.append(jpeg(ImageOps.fit(draw.choice(sources), size, Image.Resampling.LANCZOS)))
    return made


def written(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Write some of the photos for the generator of load.

    Args:
        folder: Where to.
        names: Keys of `photos()`.

    Returns:
        Their paths.
    """
    made = photos()
    paths = [folder / f"{number}.bin" for number, _ in enumerate(names)]
    for path, name in zip(paths, names, strict=True):
        path.write_bytes(made[name])
    return paths
