"""Everything that can go wrong, named; no module here knows HTTP.

FacetError
├── RequestError                what the client sent cannot be served as it is
│   ├── MalformedRequest        the bytes are no HTTP, or a header's value is none that it may have
│   ├── HeadTooLarge            the request's line and headers are more than anybody needs
│   ├── HeadTimeout             the request's line and headers did not arrive in time
│   ├── MissingFile             no photo in the request
│   ├── EmptyFile               a photo of zero bytes
│   ├── MalformedMultipart      the multipart body breaks its own grammar
│   ├── MalformedJson           the JSON body is not the object that is documented
│   ├── MalformedBase64         the JSON's photo is not base64
│   ├── MalformedTensor         an inference request's tensors are not as they are declared
│   ├── UnknownModel            no model of the path's name is in service
│   ├── TooManyFields           more multipart parts than anybody needs
│   ├── BodyTooLarge            more bytes than the cap
│   ├── BodyTimeout             the body did not arrive in time, or at the least rate
│   ├── InvalidParameter        a query value outside its range, or an attribute that is switched off
│   ├── UnsupportedMediaType    the body is declared as something that is not read here
│   ├── UnsupportedEncoding     the body is compressed (Content-Encoding)
│   ├── Unauthenticated         no API key, or a wrong one, where keys are set
│   ├── ForeignOrigin           a page of another site opens a stream
│   ├── MalformedMessage        what came over a stream is neither its start nor a frame
│   ├── StreamIdle              nothing came over a stream for long
│   ├── RateLimited             a key's share of requests is used up
│   └── ModelRefused            the model that an operator asks for cannot be served
├── ImageError                  the bytes of a photo cannot be used
│   ├── UnsupportedFormat       not one of the formats that are read
│   ├── CorruptImage            truncated, damaged, or made to exhaust the decoder
│   ├── ImageTooLarge           more pixels than the cap, or more memory to decode than there is
│   └── ImageTooSmall           a side below the smallest that can hold a face
├── Unavailable                 right request, wrong moment
│   ├── QueueFull               as much is waiting as may wait
│   ├── NotReady                starting, draining, or without a model
│   ├── TooManyStreams          as many streams are open as may be
│   ├── StreamOver              a stream has lasted as long as one may, or the model was swapped
│   └── DeadlineExceeded        the answer would come too late
├── InferenceError              the network failed, or answered with what is not a number
└── ModelError                  a model in the store cannot be served
    ├── ModelNotFound           no such name or version
    ├── StoreUnreachable        the address of the store cannot be read
    ├── ModelDamaged            a file is missing or its hash differs
    ├── ModelIncompatible       its signature or manifest is not one that this version serves
    ├── NotEnoughMemory         the memory, or the threads, that it and the photos take are not there
    └── GoldenMismatch          it loads, but does not give the answers that it was shipped with
"""

from __future__ import annotations


def in_own_words(message: str) -> str:
    """Take from a message of pydantic what it puts before the words of our own checks.

    Args:
        message: Of a validation error.

    Returns:
        The words alone.
    """
    return message.removeprefix("Value error, ")


class FacetError(Exception):
    """Base of every error that Facet raises on purpose.

    `code` is the stable machine-readable name that clients may match on; the message is one sentence for people and
    never holds a path, a traceback or a byte of what was sent.
    """

    code = "internal_error"


class RequestError(FacetError):
    """The request cannot be processed as it is."""

    code = "bad_request"


class MalformedRequest(RequestError):
    """The request is not valid HTTP, or one of its headers has an invalid value."""

    code = "malformed_request"


class HeadTooLarge(RequestError):
    """The request line and headers are too long, or there are too many headers."""

    code = "head_too_large"


class HeadTimeout(RequestError):
    """The request line and headers did not arrive in time."""

    code = "head_timeout"


class MissingFile(RequestError):
    """The request contains no photo."""

    code = "missing_file"


class EmptyFile(RequestError):
    """The photo has zero bytes."""

    code = "empty_file"


class MalformedMultipart(RequestError):
    """The multipart body is malformed."""

    code = "malformed_multipart"


class MalformedJson(RequestError):
    """The JSON body is not `{"image": "<base64>"}`."""

    code = "malformed_json"


class MalformedBase64(RequestError):
    """The photo in the JSON body is not valid base64."""

    code = "malformed_base64"


class MalformedTensor(RequestError):
    """A tensor of an inference request is not as the model's metadata, or its own declaration, says."""

    code = "malformed_tensor"


class UnknownModel(RequestError):
    """No model of the name, or version, in the path is in service."""

    code = "unknown_model"


class TooManyFields(RequestError):
    """The multipart body has too many parts."""

    code = "too_many_fields"


class BodyTooLarge(RequestError):
    """The body is larger than the limit."""

    code = "body_too_large"


class BodyTimeout(RequestError):
    """The body did not arrive in time, or arrives more slowly than the minimum rate."""

    code = "body_timeout"


class InvalidParameter(RequestError):
    """A query parameter is out of range, or names an attribute that is switched off."""

    code = "invalid_parameter"


class UnsupportedMediaType(RequestError):
    """The body's declared media type is not supported."""

    code = "unsupported_media_type"


class UnsupportedEncoding(RequestError):
    """The body has a Content-Encoding, which is not supported."""

    code = "unsupported_encoding"


class Unauthenticated(RequestError):
    """The service requires an API key, and the request has none or an invalid one."""

    code = "unauthenticated"


class ForeignOrigin(RequestError):
    """A page from an origin that is not allowed tried to open a stream."""

    code = "foreign_origin"


class MalformedMessage(RequestError):
    """A stream message is neither the start message nor a frame."""

    code = "malformed_message"


class StreamIdle(RequestError):
    """A stream was silent for too long."""

    code = "stream_idle"


class RateLimited(RequestError):
    """The key's rate limit is used up.

    `retry_after` is in seconds.
    """

    code = "rate_limited"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ImageError(FacetError):
    """The photo cannot be used."""

    code = "image_error"


class UnsupportedFormat(ImageError):
    """The file is not in a supported format."""

    code = "unsupported_format"


class CorruptImage(ImageError):
    """The file is truncated, damaged, or built to exhaust the decoder."""

    code = "corrupt_image"


class ImageTooLarge(ImageError):
    """The photo has more pixels than the limit, or needs more memory to decode than there is."""

    code = "image_too_large"


class ImageTooSmall(ImageError):
    """The photo is too small to show a face."""

    code = "image_too_small"


class ModelRefused(RequestError):
    """The requested model cannot be served; the current one stays."""

    code = "model_refused"


class Unavailable(FacetError):
    """The request is valid but cannot be processed now.

    `retry_after` is in seconds.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Unavailable):
    """The queue is full."""

    code = "queue_full"


class NotReady(Unavailable):
    """The service is starting or shutting down, or has no model."""

    code = "not_ready"

    def __init__(self, message: str = "The service is shutting down.") -> None:
        super().__init__(message)


class TooManyStreams(Unavailable):
    """The maximum number of streams is open."""

    code = "too_many_streams"


class StreamOver(Unavailable):
    """The stream reached its time limit, or the model was replaced; open a new one."""

    code = "stream_over"


class DeadlineExceeded(Unavailable):
    """The request could not be answered before its deadline."""

    code = "deadline_exceeded"


class InferenceError(FacetError):
    """The model failed, or returned values that are not numbers."""

    code = "inference_failed"


class ModelError(FacetError):
    """A model in the store cannot be served."""

    code = "model_error"


class ModelNotFound(ModelError):
    """The store has no model of this name or version."""

    code = "model_not_found"


class StoreUnreachable(ModelError):
    """The address of the model store cannot be read, or what reads such addresses is not installed."""

    code = "store_unreachable"


class ModelDamaged(ModelError):
    """A file of the model is missing, or its hash is not the manifest's."""

    code = "model_damaged"


class ModelIncompatible(ModelError):
    """The model's signature or manifest is not one that this version serves."""

    code = "model_incompatible"


class GoldenMismatch(ModelError):
    """The model loads, but does not give the answers that it was shipped with."""

    code = "golden_mismatch"


class NotEnoughMemory(ModelError):
    """The memory, or the threads, that models and photos take are more than the service may use."""

    code = "not_enough_memory"


def unexpected(cause: Exception) -> FacetError:
    """Wrap an error that nothing here raises on purpose, so that it is answered and logged as a fault of the service.

    Args:
        cause: What was raised.

    Returns:
        An error of the code `internal_error`, with that cause.
    """
    error = FacetError("An unexpected error.")
    error.__cause__ = cause
    return error
