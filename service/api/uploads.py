"""A request's body to the photos in it: multipart, raw or base64 in JSON; in memory alone, never on a disk."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.api.query import known_names
from service.errors import (
    EmptyFile,
    InvalidParameter,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    MissingFile,
    TooManyFields,
    UnsupportedEncoding,
    UnsupportedFormat,
    UnsupportedMediaType,
)
from service.vision.image import sniff

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # below it, the parser logs characters of what clients send

FIELDS: Final = (b"file", b"image")
"""Names of the multipart field that holds a photo."""
SPARE_FIELDS: Final = 8
"""Other fields that a form may bring along; they are ignored, unless they are named as an option is."""
OPTIONS: Final = frozenset(known_names())
"""What the query of a prediction may hold; in a body they are refused, lest race be answered to who asked for age alone."""

RAW: Final = (b"", b"application/octet-stream", b"application/x-image")
"""Types of a body that is a photo, beside `image/*`; the last one is SageMaker's."""
FORM: Final = '{"image": "<base64>"} as application/json'
"""How base64 is sent."""
URL_ENCODED: Final = b"application/x-www-form-urlencoded"
STRIPPED_BYTES: Final = 1024
"""Bytes of a photo from which on one without a zero byte has lost them: `curl -d` leaves out zeros and line ends of a file."""

_NAME: Final = re.compile(rb"[^\0-\x1f]{1,1024}\.(?:avif|bmp|gif|heic|heif|jfif|jpe?g|png|webp)", re.IGNORECASE)
"""A file's name or address, as `curl -F file=photo.jpg` sends it."""
_BASE64: Final = re.compile(rb"(?:data:[^,]{0,100},)?[A-Za-z0-9+/_=\s-]{64,}")

MAX_HEADER_CHARS: Final = 8192
"""Characters of a Content-Type, and of a part's Content-Disposition."""

_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")

_BLANKS: Final = b" \t\n\r\v\f"

MAX_TEXT_BYTES: Final = 1024
"""Bytes of a form's field that is text, where such fields are read."""

THREAD_BYTES: Final = 256 * 1024
"""Bodies above this many bytes are taken apart on a thread: the loop must stay free for probes."""

MAX_JSON_MARKS: Final = 64
"""Commas and opening brackets in a JSON body: base64 has none of them, and 20 MiB of `{},` would unfold to 600 MB."""

Parsed = TypeVar("Parsed")


async def parsed(parse: Callable[..., Parsed], body: bytes, *arguments: object) -> Parsed:
    """Take a body apart, on a thread where it is large.

    Args:
        parse: Takes the body and the arguments.
        body: The whole body.
        arguments: Whatever else it takes.

    Returns:
        What it returns.
    """
    return await asyncio.to_thread(parse, body, *arguments) if len(body) > THREAD_BYTES else parse(body, *arguments)


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
        UnsupportedFormat: In the place of the only photo is its name, or its base64.
        InvalidParameter: The body names one of `OPTIONS`, which belong in the query.
    """
    kind, parameters = media_type(content_type, content_encoding)
    if kind == b"multipart/form-data":
        form = multipart(body, parameters, FIELDS, most)
        _refuse_options(form.texts)
        found = form.files
    elif kind == b"application/json":
        found = [_from_json(body)]
    elif kind.startswith(b"image/") or kind in RAW or sniff(body) is not None:
        if kind == URL_ENCODED and len(body) >= STRIPPED_BYTES and b"\0" not in body:
            raise UnsupportedMediaType("The photo has lost bytes on its way: with curl, send it by --data-binary, not by -d.")
        found = [body] if body or kind else []
    else:
        why = "A URL-encoded form cannot carry a photo. " if kind == URL_ENCODED else ""
        raise UnsupportedMediaType(f"{why}Send multipart/form-data, application/json, image/* or application/octet-stream.")
    if not found:
        raise MissingFile(
            "The form has no field 'file' that holds a photo."
            if kind == b"multipart/form-data"
            else "The request contains no photo: send one as the multipart field 'file', or as the body itself."
        )
    if any(not photo for photo in found) and most == 1:
        raise EmptyFile("The file is empty.")
    if most == 1:
        refuse_text(found[0])
    return found


def refuse_text(photo: bytes, form: str = FORM) -> None:
    """Refuse what stands in a photo's place where something was forgotten, and say what.

    Args:
        photo: The bytes that were sent.
        form: How base64 is sent to this path, for the error.

    Raises:
        UnsupportedFormat: They are a file's name, or base64.
    """
    if _NAME.fullmatch(photo):
        raise UnsupportedFormat("This is the name of a file, not the photo: with curl, write @ before the name.")
    if _BASE64.fullmatch(photo):
        raise UnsupportedFormat(f"This is text in base64, not the photo: decode it, or send {form}.")


def _refuse_options(names: Iterable[str]) -> None:
    """Refuse a body that asks for what only the query can: it would be answered as if it had not."""
    if misplaced := next((name for name in names if name in OPTIONS), None):
        raise InvalidParameter(f"{misplaced}: name it in the address (/predict?{misplaced}=…); the body holds the photo alone.")


def media_type(content_type: str, content_encoding: str) -> tuple[bytes, Mapping[bytes, bytes]]:
    """Read what a body is declared as.

    Args:
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.

    Returns:
        The media type in lower case, and its parameters.

    Raises:
        UnsupportedEncoding: The body is compressed.
        UnsupportedMediaType: The header is too long to be one.
    """
    if content_encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Send the body as it is, without Content-Encoding.")
    if len(content_type) > MAX_HEADER_CHARS:  # to take it apart takes time that grows with its square
        raise UnsupportedMediaType(f"The Content-Type is longer than {MAX_HEADER_CHARS} characters.")
    return parse_options_header(content_type)


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form: the photos in it, in order, and its other fields, of equal ones the first; empty where not wanted."""

    files: list[bytes]
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Part:
    name: bytes = b""
    pieces: list[bytes] = field(default_factory=list)


class _Collector:
    """Callbacks of the parser: gathers the parts that hold photos, counts the rest, and keeps it where it is to be text."""

    def __init__(self, names: Collection[bytes], most: int, *, texts: bool) -> None:
        self.names, self.most, self.keep_texts = names, most, texts
        self.photos: list[_Part] = []
        self.others: list[_Part] = []
        self.ended = self.too_long = False
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
        if self._part.name in self.names:
            self.photos.append(self._part)
            if len(self.photos) > self.most:
                several = (
                    "Send one photo; /predict/batch takes several." if self.most == 1 else f"Send at most {self.most} photos."
                )
                raise TooManyFields(several)
        else:
            self.others.append(self._part)
            if len(self.others) > SPARE_FIELDS:
                raise TooManyFields("The form has too many fields.")

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name in self.names or self.keep_texts:
            self._part.pieces.append(data[start:end])
        if self._part.name not in self.names and sum(map(len, self._part.pieces)) > MAX_TEXT_BYTES:
            self.too_long = True  # or it is the photo, under another name
            self._part.pieces.clear()

    def end(self) -> None:
        self.ended = True


def multipart(
    body: bytes, parameters: Mapping[bytes, bytes], names: Collection[bytes], most: int, *, texts: bool = False
) -> Form:
    """Parse a multipart form in memory.

    Args:
        body: The whole body.
        parameters: Those of its media type.
        names: Fields that hold photos.
        most: Most photos, 1 or more.
        texts: Whether the other fields are kept, as text of at most `MAX_TEXT_BYTES`; else they are passed over.

    Returns:
        The form.

    Raises:
        MalformedMultipart: The body breaks its grammar.
        TooManyFields: There are more parts or photos than are read, or a longer text.
    """
    boundary = parameters.get(b"boundary", b"")
    if not boundary:
        raise MalformedMultipart("The multipart body has no boundary.")
    collector = _Collector(names, most, texts=texts)
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
    if collector.too_long and collector.photos:
        wanted = b"', '".join(names).decode()
        raise TooManyFields(f"A field beside '{wanted}', which holds the photo, is longer than {MAX_TEXT_BYTES} bytes.")
    texts_by_name: dict[str, str] = {}
    for part in collector.others:
        texts_by_name.setdefault(part.name.decode("utf-8", "replace"), b"".join(part.pieces).decode("utf-8", "replace"))
    return Form([b"".join(part.pieces) for part in collector.photos], texts_by_name)


def _from_json(body: bytes) -> bytes:
    document = json_object(body, '{"image": "<base64>"}')
    _refuse_options(document)
    image = document.get("image")
    if not isinstance(image, str):
        raise MalformedJson('The body must be {"image": "<base64>"}.')
    return from_base64(image)


def json_object(body: bytes, form: str, marks: int = MAX_JSON_MARKS) -> dict[str, Any]:
    """Parse a JSON body that holds a photo and little else.

    Args:
        body: The whole body.
        form: What it is to be, for the error.
        marks: Most commas and opening brackets.

    Returns:
        The object.

    Raises:
        MalformedJson: It is no JSON object, or holds more than anybody needs.
    """
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > marks:
        raise MalformedJson(f"The body holds more than {form}.")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise MalformedJson(f"The body must be {form}.")
    return document


def from_base64(image: str) -> bytes:
    """Decode a photo that stands in a text.

    Args:
        image: Base64 in either alphabet of RFC 4648, with or without a `data:` prefix.

    Returns:
        The photo's bytes.

    Raises:
        EmptyFile: There is nothing.
        MalformedBase64: It is not base64.
    """
    if image.startswith(("http:", "https:")):
        raise MalformedBase64("The image is an address, which is not fetched: send the photo itself, in base64.")
    if image.startswith("data:"):
        head, comma, image = image.partition(",")
        if not comma or not head.endswith(";base64"):
            raise MalformedBase64("A data: URL must be base64.")
    if not image:
        raise EmptyFile("The image is empty.")
    try:
        text = image.encode("ascii").translate(None, _BLANKS)
    except UnicodeEncodeError as error:
        raise MalformedBase64("The image is not valid base64.") from error
    if b"-" in text or b"_" in text:  # RFC 4648, section 5, which lets the padding be left out
        if b"+" in text or b"/" in text:
            raise MalformedBase64("The image mixes the two alphabets of base64.")
        text = text.translate(_URL_SAFE) + b"=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBase64("The image is not valid base64.") from error
