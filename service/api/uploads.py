"""A request's body to the photos in it: multipart, raw or base64 in JSON; in memory alone, never on a disk."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import (
    EmptyFile,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    MissingFile,
    TooManyFields,
    UnsupportedEncoding,
    UnsupportedMediaType,
)
from service.vision.image import sniff

FIELDS: Final = (b"file", b"image")
"""Names of the multipart field that holds a photo."""
SPARE_FIELDS: Final = 8
"""Other fields that a form may bring along; they are ignored."""

MAX_HEADER_CHARS: Final = 8192
"""Characters of a Content-Type, and of a part's Content-Disposition."""

_URL_SAFE: Final = str.maketrans("-_", "+/")

MAX_JSON_MARKS: Final = 64
"""Commas and opening brackets in a JSON body: base64 has none of them, and 20 MiB of `{},` would unfold to 600 MB."""


def photos(body: bytes, content_type: str, content_encoding: str, most: int) -> list[bytes]:
    """Parse the photos of a body.

    A part's own media type is ignored. A body that begins as a photo does is one whatever its type, except multipart and JSON.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.
        most: Most photos, 1 or more.

    Returns:
        At least one photo, in order; where `most` is above 1 some may be empty.

    Raises:
        UnsupportedEncoding: The body is compressed.
        UnsupportedMediaType: Its type is not one that is read.
        MalformedMultipart: The multipart body breaks its grammar.
        MalformedJson: The JSON is not the object that is documented.
        MalformedBase64: The JSON's photo is not base64.
        TooManyFields: There are more parts or photos than are read.
        MissingFile: There is no photo.
        EmptyFile: The only photo has zero bytes.
    """
    if content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Send the body as it is, without Content-Encoding.")
    if len(content_type) > MAX_HEADER_CHARS:  # to take it apart takes time that grows with its square
        raise UnsupportedMediaType(f"The Content-Type is longer than {MAX_HEADER_CHARS} characters.")
    kind, parameters = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        found = _multipart(body, parameters.get(b"boundary", b""), most)
    elif kind == b"application/json":
        found = [_from_json(body)]
    elif kind.startswith(b"image/") or kind in (b"", b"application/octet-stream") or sniff(body) is not None:
        found = [body] if body else []
    else:
        form = "A URL-encoded form holds no photo. " if kind == b"application/x-www-form-urlencoded" else ""
        raise UnsupportedMediaType(f"{form}Send multipart/form-data, application/json, image/* or application/octet-stream.")
    if not found:
        raise MissingFile("The request holds no photo: send one as the multipart field 'file', or as the body itself.")
    if any(not photo for photo in found) and most == 1:
        raise EmptyFile("The file is empty.")
    return found


@dataclass(slots=True)
class _Part:
    name: bytes = b""
    pieces: list[bytes] = field(default_factory=list)


class _Collector:
    """Callbacks of the parser: gathers the parts that hold photos, counts the rest."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.photos: list[_Part] = []
        self.others = 0
        self.ended = False
        self._part = _Part()
        self._header = b""
        self._value = b""

    def begin(self) -> None:
        self._part = _Part()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            if len(self._value) > MAX_HEADER_CHARS:
                raise MalformedMultipart(f"A part's Content-Disposition is longer than {MAX_HEADER_CHARS} characters.")
            self._part.name = parse_options_header(self._value)[1].get(b"name", b"")
        self._header = self._value = b""

    def headers_finished(self) -> None:
        if self._part.name in FIELDS:
            self.photos.append(self._part)
            if len(self.photos) > self.most:
                several = (
                    "Send one photo; /predict/batch takes several." if self.most == 1 else f"Send at most {self.most} photos."
                )
                raise TooManyFields(several)
        else:
            self.others += 1
            if self.others > SPARE_FIELDS:
                raise TooManyFields("The form has too many fields.")

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name in FIELDS:
            self._part.pieces.append(data[start:end])

    def end(self) -> None:
        self.ended = True


def _multipart(body: bytes, boundary: bytes, most: int) -> list[bytes]:
    if not boundary:
        raise MalformedMultipart("The multipart body has no boundary.")
    collector = _Collector(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_headers_finished": collector.headers_finished,
                "on_part_data": collector.data,
                "on_end": collector.end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise MalformedMultipart("The multipart body is broken.") from error
    if not collector.ended:
        raise MalformedMultipart("The multipart body ends before its last boundary.")
    return [b"".join(part.pieces) for part in collector.photos]


def _from_json(body: bytes) -> bytes:
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_MARKS:
        raise MalformedJson('The body holds more than {"image": "<base64>"}.')
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not JSON.") from error
    image = document.get("image") if isinstance(document, dict) else None
    if not isinstance(image, str):
        raise MalformedJson('The body must be {"image": "<base64>"}.')
    if image.startswith("data:"):
        head, comma, image = image.partition(",")
        if not comma or not head.endswith(";base64"):
            raise MalformedBase64("A data: URL must be base64.")
    if not image:
        raise EmptyFile("The image is empty.")
    image = "".join(image.split())
    if "-" in image or "_" in image:  # RFC 4648, section 5, which lets the padding be left out
        if "+" in image or "/" in image:
            raise MalformedBase64("The image mixes the two alphabets of base64.")
        image = image.translate(_URL_SAFE) + "=" * (-len(image) % 4)
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBase64("The image is not base64.") from error
