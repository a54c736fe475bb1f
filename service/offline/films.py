"""Films as photos: one of their pictures every few moments, each by a name of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import IO, Final

from PIL import Image

from service.video.film import frames, opened, upright

SUFFIXES: Final = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".ogv", ".webm", ".wmv"}
    | {".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".ts", ".vob"}  # of broadcasts, discs and studios
)
"""Endings of films' names, in small letters."""
EVERY_S: Final = 1.0
"""Seconds of a film from one picture to the next, unless others are asked for."""
QUALITY: Final = 95
"""Of the JPEG that a picture becomes, without subsampling: a service takes every picture in a format of photos."""
_STILL: Final = re.compile(r"(.+\.\w+)#t=(\d+\.\d{3})", re.DOTALL)


def stills(stream: IO[bytes], name: str, every: float) -> Iterator[tuple[float, bytes]]:
    """Read pictures of a film.

    Args:
        stream: The film; it can be read anywhere.
        name: Its name, for what goes wrong.
        every: Seconds from one picture to the next, 0 or more; 0 for all pictures.

    Yields:
        Seconds since the film's beginning, and the picture as JPEG.

    Raises:
        FilmError: It is no film, or cannot be read to its end.
    """
    began = last = None
    with opened(stream, name) as film:
        for frame in frames(film):
            time = float(frame.time or 0.0)
            began = time if began is None else began  # a recorder's clock may start at any hour
            if last is not None and time - last < every - 1e-6:
                continue
            last = time
            picture = Image.fromarray(upright(frame, film.aspect))
            with io.BytesIO() as data:
                picture.save(data, "JPEG", quality=QUALITY, subsampling=0)
                yield time - began, data.getvalue()


def still_name(film: str, time_s: float | None) -> str:
    """The name of a film's picture, as of a media fragment (W3C Media Fragments URI 1.0).

    Args:
        film: The film's name.
        time_s: Seconds since its beginning; None of what is no picture of a film.

    Returns:
        Such as `film.mp4#t=12.500`.
    """
    return film if time_s is None else f"{film}#t={time_s:.3f}"


def still_of(name: str) -> tuple[str, float | None]:
    """The film and time of a picture's name.

    Args:
        name: Of a photo, or as of `still_name`.

    Returns:
        The film's name and the seconds; the name and None of what is no picture of a film.
    """
    found = _STILL.fullmatch(name)
    return (name, None) if found is None else (found[1], float(found[2]))
