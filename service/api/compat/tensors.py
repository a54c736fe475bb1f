"""Tensors of the Open Inference Protocol, version 2, as JSON and by its extension for binary data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.api.uploads import MAX_JSON_MARKS, from_base64, json_object, media_type
from service.errors import MalformedTensor, TooManyFields, UnsupportedMediaType, in_own_words

HEADER: Final = "Inference-Header-Content-Length"
"""Bytes of JSON with which a body with binary data begins."""
INPUT: Final = "image"
"""Name of the tensor with the photos."""
FORM: Final = '{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["<base64>"]}]}'
MAX_SHAPE: Final = 8
"""Most dimensions of a tensor."""
MAX_OUTPUTS: Final = 64
"""Most outputs that a request names."""

_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_NUMPY: Final = {"INT32": "<i4", "FP32": "<f4"}
_PREFIX_BYTES: Final = 4

Datatype = Literal["BYTES", "INT32", "FP32"]
Cell = str | int | float


class InferenceParameters(BaseModel):
    """Parameters of a request: those of `POST /predict`, and what clients of the protocol add."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: Annotated[str, Field(max_length=4096)] | None = None
    max_faces: Annotated[int, Field(ge=1)] | None = None
    min_confidence: Annotated[float, Field(ge=0.5, le=1)] | None = None
    landmarks: bool = False
    distribution: bool = False
    at_least: Annotated[str, Field(max_length=100)] | None = None
    preview: bool = False
    binary_data_output: bool = False
    """Whether outputs are answered as binary data that say nothing of it themselves."""
    priority: int = 0
    """Is not looked at: requests are answered as they come."""
    timeout: int = 0
    """Is not looked at: the operator's deadline holds."""


class _InputParameters(BaseModel):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


MAX_NAME: Final = 200
"""Characters of an output's name."""

_NULL_IS_ABSENT: Final = BeforeValidator(lambda given: {} if given is None else given)
"""Clients that write out every field write null for those that they leave open."""


def _printable(name: str) -> str:
    """A text that an answer can hold. Raises `ValueError` for one of half a character."""
    name.encode()
    return name


class _Input(BaseModel):
    name: Literal["image"]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MAX_SHAPE)]
    datatype: Literal["BYTES"]
    parameters: Annotated[_InputParameters, _NULL_IS_ABSENT] = _InputParameters()
    data: list[str | list[str]] | None = None


class _OutputParameters(BaseModel):
    binary_data: bool | None = None


class _RequestedOutput(BaseModel):
    name: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_printable)]
    parameters: Annotated[_OutputParameters, _NULL_IS_ABSENT] = _OutputParameters()


class _Request(BaseModel):
    id: Annotated[str, Field(max_length=200)] | None = None
    parameters: Annotated[InferenceParameters, _NULL_IS_ABSENT] = InferenceParameters()
    inputs: Annotated[list[_Input], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[_RequestedOutput], Field(max_length=MAX_OUTPUTS)] | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """A request: its id, its photos, its parameters, and which outputs are wanted, by name, as binary data or not.

    `outputs` is None where all are.
    """

    identity: str | None
    photos: list[bytes]
    parameters: InferenceParameters
    outputs: dict[str, bool] | None


def inference(body: bytes, content_type: str, content_encoding: str, header: str | None, most: int) -> Inference:
    """Parse a request.

    Args:
        body: The whole body.
        content_type: The header; empty where absent.
        content_encoding: The header; empty where absent.
        header: The header `Inference-Header-Content-Length`, or None.
        most: Most photos, 1 or more.

    Returns:
        The request, with at least one photo.

    Raises:
        MalformedJson: The JSON is no object, or holds more than anybody needs.
        MalformedBase64: A photo in the JSON is not base64.
        EmptyFile: A photo in the JSON is empty.
        MalformedTensor: The request is not as the protocol or its own declarations say.
        TooManyFields: There are more photos than are read.
        UnsupportedMediaType: The body is neither JSON nor JSON with binary data.
        UnsupportedEncoding: The body is compressed.
    """
    kind, _ = media_type(content_type, content_encoding)
    if kind not in (b"application/json", b"application/octet-stream", b""):
        raise UnsupportedMediaType(f"Send application/json, or application/octet-stream with {HEADER}.")
    end = len(body)
    if header is not None:
        if not _LENGTH.fullmatch(header) or int(header) > end:
            raise MalformedTensor(f"{HEADER} is no number of bytes of this body.")
        end = int(header)
    document = json_object(body[:end], FORM, 4 * (MAX_JSON_MARKS + most))
    try:
        request = _Request.model_validate(document, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise MalformedTensor(f"{'.'.join(map(str, first['loc']))[:100]}: {in_own_words(first['msg'])[:200]}.") from error
    photos = _photos(request.inputs[0], memoryview(body)[end:], most)
    outputs = None
    if request.outputs:  # an empty list names none, and is what clients write that leave it open
        binary = request.parameters.binary_data_output
        given = {one.name: one.parameters.binary_data for one in request.outputs}
        outputs = {name: binary if wanted is None else wanted for name, wanted in given.items()}
    return Inference(request.id, photos, request.parameters, outputs)


def _photos(given: _Input, rest: memoryview, most: int) -> list[bytes]:
    """The elements of the input. Raises as `inference` does."""
    count = math.prod(given.shape)
    if count > most:
        raise TooManyFields(f"Send at most {most} photos.")
    size = given.parameters.binary_data_size
    if (given.data is None) == (size is None):
        raise MalformedTensor("inputs.0: send either data or binary_data_size with the data behind the JSON.")
    if (size or 0) != len(rest):
        raise MalformedTensor("inputs.0: binary_data_size is not what comes behind the JSON.")
    if given.data is not None:
        texts = [text for one in given.data for text in ([one] if isinstance(one, str) else one)]
        if len(texts) == count:
            return _some([from_base64(text) for text in texts])
    else:
        elements = _elements(rest, most)
        if len(elements) == count:
            return _some(elements)
    raise MalformedTensor("inputs.0: the shape and the number of elements differ.")


def _some(photos: list[bytes]) -> list[bytes]:
    if not photos:
        raise MalformedTensor("inputs.0: there is no photo in it.")
    return photos


def _elements(rest: memoryview, most: int) -> list[bytes]:
    """Elements of BYTES as binary data: each is preceded by its length, of four bytes, little-endian."""
    found: list[bytes] = []
    at = 0
    while at < len(rest) and len(found) <= most:
        begin = at + _PREFIX_BYTES
        at = begin + int.from_bytes(rest[at:begin], "little")
        if at > len(rest) or begin > len(rest):
            raise MalformedTensor("inputs.0: an element is longer than the data.")
        found.append(bytes(rest[begin:at]))
    return found


@dataclass(frozen=True, slots=True)
class Tensor:
    """Values in row-major order, flat; of BYTES texts, else numbers."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: Sequence[Cell]

    def binary(self) -> bytes:
        """Encode the values as binary data.

        Returns:
            Of BYTES each element after its length, else numbers; all little-endian.
        """
        if self.datatype != "BYTES":
            return np.asarray(self.data, _NUMPY[self.datatype]).tobytes()
        elements = [str(one).encode() for one in self.data]
        return b"".join(len(one).to_bytes(_PREFIX_BYTES, "little") + one for one in elements)


def encoded(head: dict[str, str], tensors: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """Encode a response.

    Args:
        head: Its members beside the outputs.
        tensors: The outputs, and whether each goes as binary data.

    Returns:
        The body, and how many bytes of it are JSON; None where all are.
    """
    outputs: list[dict[str, object]] = []
    binary: list[bytes] = []
    for tensor, as_binary in tensors:
        output: dict[str, object] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if as_binary:
            binary.append(tensor.binary())
            output["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            output["data"] = list(tensor.data)
        outputs.append(output)
    document = json.dumps({**head, "outputs": outputs}, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([document, *binary]), len(document) if binary else None
