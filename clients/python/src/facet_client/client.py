"""`Client` and `AsyncClient`: requests out, answers in; what they say is the same, and made in one place."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
from httpx_retries import Retry, RetryTransport
from pydantic import BaseModel, ValidationError

from facet_client.card import ModelCard
from facet_client.errors import ConnectionFailed, ProblemError, UnavailableError
from facet_client.many import REFUSED, PhotoResult, Progress, check, in_tasks, in_threads
from facet_client.models import Batch, Health, Prediction, Problem, Reload
from facet_client.photo import Photo, bytes_of
from facet_client.stream import Stream, opened

M = TypeVar("M", bound=BaseModel)

PASSING: Final = frozenset({429, 502, 503, 504})
RETRIED: Final = frozenset({429, 502, 503})
"""Statuses after which the same request may do better: nothing was computed. After a 504 it would be computed twice."""
BATCH_S: Final = 60.0
"""Least timeout of a batch, which a service answers within 55 s."""
LONGEST_WAIT_S: Final = 60.0
NEVER: Final = Retry(total=0)
BROKEN: Final = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""What ends a request that had been sent, at least in part. A photo that a service dies of must not reach every replica."""


class _BrokenAgain(httpx.TransportError):
    """A second connection broke under the same request; it is not sent a third time."""


class _Resent(httpx.BaseTransport):
    """Lets a request whose connection broke be sent once more, and no oftener."""

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._transport.handle_request(request)
        except BROKEN as error:
            _count_break(request, error)
            raise

    def close(self) -> None:
        self._transport.close()


class _AsyncResent(httpx.AsyncBaseTransport):
    """The same to await."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except BROKEN as error:
            _count_break(request, error)
            raise

    async def aclose(self) -> None:
        await self._transport.aclose()


def _count_break(request: httpx.Request, error: httpx.TransportError) -> None:
    """Note that a connection broke under a request. Raises `_BrokenAgain` where one had before."""
    if request.extensions.get("facet_broken"):
        raise _BrokenAgain(str(error) or type(error).__name__, request=request) from error
    request.extensions["facet_broken"] = True


class _Base:
    """What both clients know."""

    def __init__(self, url: str, key: str | None, timeout: float, retries: int) -> None:
        self._url, self._key = url.strip().rstrip("/"), _checked(key)
        self._retry = Retry(
            total=retries,
            allowed_methods=["GET", "POST"],  # the service keeps nothing: asking twice changes nothing
            status_forcelist=RETRIED,
            retry_on_exceptions=[httpx.NetworkError, httpx.RemoteProtocolError],
            backoff_factor=0.25,
            max_backoff_wait=LONGEST_WAIT_S,
            total_timeout=LONGEST_WAIT_S,
        )
        self._of_many = self._retry.copy_with(
            status_forcelist=RETRIED - REFUSED, retry_on_exceptions=BROKEN, respect_retry_after_header=False
        )
        self._retrying = retries > 0
        self._batch_timeout = max(timeout, BATCH_S)
        headers = {"X-API-Key": self._key.encode()} if self._key else {}
        self._options: dict[str, Any] = {"base_url": self._url, "headers": headers, "timeout": timeout}

    def _one_of_many(self, data: bytes, query: dict[str, str]) -> dict[str, Any]:
        """What is sent for a photo of many. Where the service refuses it for now, or is not reached, `facet_client.many` waits:
        there whoever leaves early ends the wait, which nobody can end inside of a request.
        """
        return {"content": data, "params": query, "headers": _RAW, "extensions": {"retry": self._of_many}}

    def _answer(self, response: httpx.Response, model: type[M], *accepted: int) -> M:
        """The answer as a model. Raises `ProblemError` where the status is none of success, nor one that is `accepted`."""
        if not response.is_success and response.status_code not in accepted:
            raise _problem(response)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:  # of a proxy, whose own 503 may pass as the service's does
            raise _problem(response) from error


class Client(_Base):
    """Asks a Facet service, and waits.

    `key` is sent as `X-API-Key`, in UTF-8 and without blanks round it; `timeout` is in seconds for each step of a request, and
    at least 60 for a batch. A request that finds the service busy is tried again up to `retries` times. One whose connection
    breaks after it was sent is sent once more at most. `transport` takes the place of httpx's own. Every method raises
    `ConnectionFailed`, `ProblemError` or, of those, `UnavailableError`.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        retrying = RetryTransport(_Resent(transport or httpx.HTTPTransport()), self._retry)
        self._http = httpx.Client(transport=retrying, **self._options)

    def predict(
        self,
        photo: Photo,
        *,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> Prediction:
        """Find and describe every face of a photo.

        Args:
            photo: A path, bytes, or a binary file.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            The faces from left to right, and what answered.

        Raises:
            TypeError: `attributes` or `at_least` is a text, which would be read letter by letter.
            FacetClientError: The service was not reached, or answered with an error.
        """
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)
        return self._answer(self._send("POST", "/predict", content=bytes_of(photo), params=query, headers=_RAW), Prediction)

    def predict_batch(
        self,
        photos: Iterable[Photo],
        *,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> Batch:
        """Find and describe the faces of several photos.

        Args:
            photos: Paths, bytes, or binary files.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            A result or a problem for each photo, in order.

        Raises:
            TypeError: `photos`, `attributes` or `at_least` is a text, which would be read letter by letter.
            FacetClientError: The service was not reached, or answered with an error.
        """
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)
        return self._answer(
            self._send("POST", "/predict/batch", files=_files(photos), params=query, timeout=self._batch_timeout), Batch
        )

    def predict_many(
        self,
        photos: Iterable[Photo],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> Iterator[PhotoResult]:
        """Find and describe the faces of any number of photos, several at a time; one that fails costs no other.

        While the service refuses all photos for now, with 429 or 503, they are sent again for ten minutes; while it is not
        reached, for a minute. Neither is done where `retries` are 0.

        Args:
            photos: Paths, bytes, or binary files; taken as they are needed.
            concurrency: Photos in work at a time, 1 or more.
            progress: Called with the number of photos that are done, after each.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            A result for each photo, in order: its prediction, or its error.

        Raises:
            TypeError: `photos` is a single one, or `attributes` or `at_least` a text.
            ValueError: `concurrency` is below 1.
        """
        check(photos, concurrency)
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)

        def one(data: bytes) -> Prediction:
            return self._answer(self._send("POST", "/predict", **self._one_of_many(data, query)), Prediction)

        return in_threads(photos, one, concurrency, progress, retrying=self._retrying)

    def health(self) -> Health:
        """State of the service, also where it is not ready; sent once, without retries.

        Returns:
            The state.

        Raises:
            FacetClientError: The service was not reached, or answered with an error.
        """
        return self._answer(self._send("GET", "/health", extensions={"retry": NEVER}), Health, 503)

    def model(self, name: str | None = None) -> ModelCard:
        """Card of a served model: what it was trained on, and how good it is for whom.

        Args:
            name: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            The card.

        Raises:
            FacetClientError: The service was not reached, or answered with an error.
        """
        return self._answer(self._send("GET", "/model", params={} if name is None else {"model": name}), ModelCard)

    def reload(self, version: int | None = None, model: str | None = None) -> Reload:
        """Serve another version of the model; wants an operator's key.

        Args:
            version: Served and kept; None for that of the service's settings, or the newest in its store.
            model: NAME of the model to replace; the default model if omitted.

        Returns:
            What is in service now, and whether it was put in the place of another one.

        Raises:
            ProblemError: The version is refused (`model_refused`), or the key is no operator's.
            FacetClientError: The service was not reached.
        """
        query = {name: value for name, value in (("version", version), ("model", model)) if value is not None}
        return self._answer(self._send("POST", "/model/reload", params=query), Reload)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise _failed(f"{method} {path}", error) from error


class AsyncClient(_Base):
    """The same to await, and live streams; see `Client`."""

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        self._timeout = timeout
        retrying = RetryTransport(_AsyncResent(transport or httpx.AsyncHTTPTransport()), self._retry)
        self._http = httpx.AsyncClient(transport=retrying, **self._options)

    async def predict(
        self,
        photo: Photo,
        *,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> Prediction:
        """Find and describe every face of a photo.

        Args:
            photo: A path, bytes, or a binary file.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            The faces from left to right, and what answered.

        Raises:
            TypeError: `attributes` or `at_least` is a text, which would be read letter by letter.
            FacetClientError: The service was not reached, or answered with an error.
        """
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)
        answer = await self._send("POST", "/predict", content=bytes_of(photo), params=query, headers=_RAW)
        return self._answer(answer, Prediction)

    async def predict_batch(
        self,
        photos: Iterable[Photo],
        *,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> Batch:
        """Find and describe the faces of several photos.

        Args:
            photos: Paths, bytes, or binary files.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            A result or a problem for each photo, in order.

        Raises:
            TypeError: `photos`, `attributes` or `at_least` is a text, which would be read letter by letter.
            FacetClientError: The service was not reached, or answered with an error.
        """
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)
        return self._answer(
            await self._send("POST", "/predict/batch", files=_files(photos), params=query, timeout=self._batch_timeout), Batch
        )

    def predict_many(
        self,
        photos: Iterable[Photo] | AsyncIterable[Photo],
        *,
        concurrency: int = 4,
        progress: Progress | None = None,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        distribution: bool = False,
        at_least: Sequence[int] | None = None,
        preview: bool = False,
        model: str | None = None,
    ) -> AsyncIterator[PhotoResult]:
        """Find and describe the faces of any number of photos, several at a time; one that fails costs no other.

        While the service refuses all photos for now, with 429 or 503, they are sent again for ten minutes; while it is not
        reached, for a minute. Neither is done where `retries` are 0.

        Args:
            photos: Paths, bytes, or binary files, also from an asynchronous iterable; taken as they are needed.
            concurrency: Photos in work at a time, 1 or more.
            progress: Called with the number of photos that are done, after each.
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            distribution: Whether each age has its distribution.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            preview: Whether the photo is answered too, upright, as a small JPEG.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            A result for each photo, in order: its prediction, or its error.

        Raises:
            TypeError: `photos` is a single one, or `attributes` or `at_least` a text.
            ValueError: `concurrency` is below 1.
        """
        check(photos, concurrency)
        query = _query(attributes, max_faces, min_confidence, landmarks, distribution, at_least, preview, model)

        async def one(data: bytes) -> Prediction:
            answer = await self._send("POST", "/predict", **self._one_of_many(data, query))
            return self._answer(answer, Prediction)

        return in_tasks(photos, one, concurrency, progress, retrying=self._retrying)

    async def health(self) -> Health:
        """State of the service, also where it is not ready; sent once, without retries.

        Returns:
            The state.

        Raises:
            FacetClientError: The service was not reached, or answered with an error.
        """
        return self._answer(await self._send("GET", "/health", extensions={"retry": NEVER}), Health, 503)

    async def model(self, name: str | None = None) -> ModelCard:
        """Card of a served model: what it was trained on, and how good it is for whom.

        Args:
            name: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            The card.

        Raises:
            FacetClientError: The service was not reached, or answered with an error.
        """
        return self._answer(await self._send("GET", "/model", params={} if name is None else {"model": name}), ModelCard)

    async def reload(self, version: int | None = None, model: str | None = None) -> Reload:
        """Serve another version of the model; wants an operator's key.

        Args:
            version: Served and kept; None for that of the service's settings, or the newest in its store.
            model: NAME of the model to replace; the default model if omitted.

        Returns:
            What is in service now, and whether it was put in the place of another one.

        Raises:
            ProblemError: The version is refused (`model_refused`), or the key is no operator's.
            FacetClientError: The service was not reached.
        """
        query = {name: value for name, value in (("version", version), ("model", model)) if value is not None}
        return self._answer(await self._send("POST", "/model/reload", params=query), Reload)

    def stream(
        self,
        *,
        attributes: Sequence[str] | None = None,
        max_faces: int | None = None,
        min_confidence: float | None = None,
        landmarks: bool = False,
        at_least: Sequence[int] | None = None,
        model: str | None = None,
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a live stream; needs the extra `stream`.

        Args:
            attributes: Names of the attributes to answer; None for all that the service allows.
            max_faces: Most faces, the largest first; None for the service's own bound.
            min_confidence: Lowest confidence of a face, 0.5 to 1; None for the service's own.
            landmarks: Whether each face has its landmarks.
            at_least: At most 8 ages from 1 to 99, for each of which an age has the probability of being at least that.
            model: NAME or NAME/VERSION of one that is in service; the default one where not given.

        Returns:
            A context, whose value is the stream.

        Raises:
            TypeError: `attributes` or `at_least` is a text, which would be read letter by letter.
            FacetClientError: On entering it, where the extra is not installed.
            ConnectionFailed: On entering it, where the service is not reached, or does not answer in time.
            StreamClosed: On entering it, where the service refuses the stream.
        """
        _refuse_text(attributes=attributes, at_least=at_least)
        start: dict[str, Any] = {"type": "start", "landmarks": landmarks}
        parameters = {
            "key": self._key,
            "attributes": attributes,
            "max_faces": max_faces,
            "min_confidence": min_confidence,
            "at_least": at_least,
            "model": model,
        }
        start |= {name: value for name, value in parameters.items() if value is not None}
        return opened(self._url, start, self._timeout)

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise _failed(f"{method} {path}", error) from error


def _checked(key: str | None) -> str | None:
    """A key without the blanks round it, as the end of a line that a file of secrets has.

    Raises `ValueError` where it holds what no header can: httpx would put the key into its message.
    """
    stripped = key and key.strip()
    if stripped and any(ord(character) < 32 or ord(character) == 127 for character in stripped):
        raise ValueError("A key has no control characters.")
    return stripped


_RAW: Final = {"Content-Type": "application/octet-stream"}


def _files(photos: Iterable[Photo]) -> list[tuple[str, tuple[str, bytes]]]:
    _refuse_text(photos=photos)
    return [("file", (f"{index}", bytes_of(photo))) for index, photo in enumerate(photos)]


def _query(
    attributes: Sequence[str] | None,
    max_faces: int | None,
    min_confidence: float | None,
    landmarks: bool,
    distribution: bool,
    at_least: Sequence[int] | None,
    preview: bool,
    model: str | None,
) -> dict[str, str]:
    _refuse_text(attributes=attributes, at_least=at_least)
    parameters = {
        "attributes": None if attributes is None else ",".join(attributes),
        "max_faces": None if max_faces is None else str(max_faces),
        "min_confidence": None if min_confidence is None else str(min_confidence),
        "landmarks": "true" if landmarks else None,
        "distribution": "true" if distribution else None,
        "at_least": None if at_least is None else ",".join(map(str, at_least)),
        "preview": "true" if preview else None,
        "model": model,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _refuse_text(**values: object) -> None:
    """A text is a sequence too, of its letters: `"18"` would ask for the ages 1 and 8."""
    for name, value in values.items():
        if isinstance(value, str):
            raise TypeError(f"{name} is a list, not a text.")


def _failed(request: str, error: httpx.HTTPError) -> ConnectionFailed:
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return ConnectionFailed(f"{request}: {str(error) or type(error).__name__}", sent=not unsent)


def _problem(response: httpx.Response) -> ProblemError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = None
    if response.status_code not in PASSING:
        return ProblemError(response.status_code, problem, response.headers.get("location", ""))
    after = response.headers.get("retry-after", "")
    return UnavailableError(response.status_code, problem, float(after) if after.isdecimal() else None)
