"""Photos with their faces marked: where each is written, so that none is lost and no original overwritten."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from service.files import folder_made, replacing
from service.inference.pipeline import Analysis
from service.offline import films
from service.offline.errors import OutputError
from service.offline.sources import printable

ENDINGS: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
"""Endings of pictures' names, by which one is told from a folder that is still to be made."""


class Pictures:
    """Writes the picture of each photo: to `draw` itself of a single one, else into it, below the sources' own folders.

    Of named photos, those of one name in different folders, or with different endings, keep pictures of their own. What
    comes of a folder, glob, archive, film or address keeps its whole name. A file that is there is replaced where it is named
    `….faces.jpg`, or with `overwrite`. Where more are `listed` beside them, no photo is a single one.
    """

    def __init__(self, draw: Path, sources: Sequence[str], *, listed: bool = False, overwrite: bool = False) -> None:
        self._draw = draw
        self._known = bool(sources) and not listed  # those of a list are known as they come
        self._named: dict[str, Path] = {}
        local = [Path(source) for source in sources if source != "-" and "://" not in source]
        globs = [path for path in local if glob.has_magic(str(path)) and not path.exists()]
        folders = [path for path in local if path.is_dir()]
        alone = [path for path in local if path not in (*globs, *folders) and path.suffix.lower() not in films.SUFFIXES]
        if len(sources) == 1 and self._known and not local and not draw.is_dir() and draw.suffix.lower() in ENDINGS:
            self._named = {sources[0]: draw}  # of standard input or an address, where that is one photo
        elif self._known and len(alone) == len(sources):
            targets = _targets(draw, local)
            self._named = {printable(path): target for path, target in zip(local, targets, strict=True)}
        if not overwrite and (lost := next((out for out in self._named.values() if out.is_file() and not _drawn(out)), None)):
            raise OutputError(f"{lost} is there already, and may be a photo: --overwrite takes its place")
        whole = [_base(path) for path in globs if "**" in path.parts]
        if inside := [folder for folder in (*folders, *whole) if draw.resolve().is_relative_to(folder.resolve())]:
            raise OutputError(f"{draw} lies inside of {inside[0]}, whose photos are looked at; choose another folder")
        self._patterns = [str(_whole(path)) for path in globs if "**" not in path.parts]
        roots = [_base(path) if path in globs else path if path.is_dir() else path.parent for path in local]
        self._root = _common([_whole(root) for root in (*roots, *(Path() for source in sources if source == "-"))])

    def write(self, name: str, data: bytes, analysis: Analysis) -> None:
        """Draw the faces of a photo.

        Args:
            name: The photo's name.
            data: A file's bytes.
            analysis: What was found.

        Raises:
            OSError: The picture cannot be written.
        """
        from PIL import Image

        from service.video.drawing import draw
        from service.vision.image import decode

        out = self._named.get(name) or self._inside(name)
        if any(_whole(out).match(pattern) for pattern in self._patterns):
            raise OSError(f"{out}: the picture could overwrite a photo that is looked at; choose another folder")
        pixels = decode(data, max_pixels=analysis.width * analysis.height, side=max(analysis.width, analysis.height)).pixels
        try:
            # Not into the file that is there, which a photo may be linked with.
            with folder_made(out.parent), replacing(out) as new:
                draw(Image.fromarray(pixels), analysis).save(new)
        except ValueError as error:
            raise OSError(f"{out}: the picture's name must end in .jpg, .png or .webp") from error

    def _inside(self, name: str) -> Path:
        whole = _whole(Path(name))
        if "://" in name:
            parts = tuple(part for part in name.partition("://")[2].split("/") if part not in ("", ".", ".."))
        elif not self._known and whole.is_relative_to(_whole(self._draw)):
            raise OSError(f"{name} lies inside of {self._draw}, where pictures could overwrite photos; choose another folder")
        elif whole.is_relative_to(self._root):
            parts = whole.relative_to(self._root).parts
        else:  # of a list
            parts = tuple(part for part in (re.sub(r"\W", "", whole.drive), *whole.parts[1:]) if part)
        return self._draw.joinpath(*parts[:-1], f"{parts[-1]}.faces.jpg")


def _drawn(picture: Path) -> bool:
    """Whether a name is one that pictures are given here, and photos hardly."""
    return picture.stem.endswith(".faces")


def _base(pattern: Path) -> Path:
    """The folder in which a glob begins."""
    parts = pattern.parts
    return Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])


def _whole(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its own name


def _common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:  # of several drives, or none
        return Path()


def _targets(draw: Path, photos: Sequence[Path]) -> list[Path]:
    """A picture for each of some named photos."""
    if len(photos) == 1 and not draw.is_dir():
        found = [draw]
    else:
        whole = [_whole(photo) for photo in photos]
        common = _common([photo.parent for photo in whole])
        places = [photo.parent.relative_to(common) if photo.is_relative_to(common) else Path() for photo in whole]
        alike = Counter(photo.with_suffix("") for photo in set(whole))
        names = [photo.stem if alike[photo.with_suffix("")] == 1 else photo.name for photo in whole]
        found = [draw / place / f"{name}.faces.jpg" for place, name in zip(places, names, strict=True)]
    originals = {os.path.realpath(photo) for photo in photos}  # Path.resolve fails at a link that leads to itself
    if lost := next((target for target in found if os.path.realpath(target) in originals), None):
        raise OutputError(f"{lost}: the picture would overwrite a photo; choose another name")
    return found
