"""What a photo may be given as."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

Photo = bytes | bytearray | memoryview | str | Path | IO[bytes]
"""A photo: its bytes, the path of its file, or the file open for reading in binary mode."""


def bytes_of(photo: Photo) -> bytes:
    """The bytes of a photo.

    Args:
        photo: In any form.

    Returns:
        Its bytes.

    Raises:
        TypeError: It is none of them.
        OSError: Its file cannot be read.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | Path):
        try:
            return Path(photo).read_bytes()
        except ValueError as error:  # a name with a zero byte, which no file has
            raise OSError(errno.EINVAL, str(error)) from error
    data = photo.read() if hasattr(photo, "read") else None
    if not isinstance(data, bytes):  # from code without type checks; text would be sent in another encoding
        raise TypeError("A photo is bytes, a path, or a file that is open for reading in binary mode.")
    return data
