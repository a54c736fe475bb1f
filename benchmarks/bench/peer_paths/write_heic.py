"""Write a picture as HEIC files of several sizes: `write_heic.py PICTURE FOLDER WIDTH…`, which makes FOLDER/WIDTH.heic."""

from __future__ import annotations

import sys
from pathlib import Path

import pillow_heif
from PIL import Image


def main() -> None:
    """Write one file a width."""
    picture = Image.open(sys.argv[1]).convert("RGB")
    for width in map(int, sys.argv[3:]):
        resized = picture.resize((width, round(width * picture.height / picture.width)), Image.Resampling.BICUBIC)
        pillow_heif.from_pillow(resized).save(Path(sys.argv[2]) / f"{width}.heic", quality=70)


if __name__ == "__main__":
    main()
