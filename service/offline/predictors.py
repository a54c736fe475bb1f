"""What answers photos: the models in this process, or a service that runs elsewhere."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import http.client
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Protocol
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlencode, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import override

from service import __version__
from service.api.schemas import ExpectationAnswer, FaceAnswer, LabelAnswer, ModelName, PredictAnswer, Problem, answer
from service.api.statuses import problem_of
from service.errors import FacetError, Unavailable
from service.inference.engine import Engine
from service.inference.pipeline import Analysis
from service.models.card import DetectorName
from service.models.manifest import Attribute
from service.offline.errors import ServiceError
from service.offline.parameters import ParametersOf
from service.offline.table import Answered, Failure, Outcome

DEADLINE_S: Final = 300.0
"""Seconds in which a photo is answered here: nobody waits for a single one, and the machine may have other work."""
TIMEOUT_S: Final = 90.0
"""Seconds without a byte from a service after which its connection is given up."""
ATTEMPTS: Final = 6
"""Times that a photo is sent to a service that is not reached, or does not answer in time."""
MAX_WAIT_S: Final = 600.0
"""Seconds for which a photo waits while the service says that it has no room."""
MAX_PAUSE_S: Final = 30.0
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What is no photo's fault: the disk is full."""
MAX_BREAKS: Final = 2
"""Times that a photo is sent under which a connection breaks: one that a service dies of must not reach every replica."""
BUSY: Final = frozenset({429, 502, 503})
"""Statuses after which a photo is sent again: nothing was computed."""
NOT_AWAITED: Final = "not awaited"
"""What the names of threads begin with for which the end of a run does not wait: they read, or reach for a service."""


SETTINGS: Final = ("max_faces", "min_face_px", "detection_side_px", "precision")
"""Names of what `ServedModel.settings` may hold."""


class _ConnectionBroken(OSError):
    """A connection broke after the request was sent, at least in part."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model that answers, what it says, and the detector beside it: NAME/VERSION, empty where it is not known.

    `answered` are the attributes and `min_confidence` is the confidence that hold where a run names none; None where they are
    not known. `settings` has by their names others on which rows depend, as far as they are known.
    """

    name: str
    version: int
    digest: str
    attributes: Sequence[Attribute]
    detector: str = ""
    answered: Sequence[str] | None = None
    min_confidence: float | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


class Predictor(Protocol):
    """Answers photos."""

    @property
    def model(self) -> ServedModel:
        """The model that answers now."""

    async def predict(self, name: str, data: bytes) -> Outcome:
        """Answer a photo.

        Args:
            name: Its name, for its answer's `request_id`.
            data: A file's bytes.

        Returns:
            What was answered, or why nothing can be.

        Raises:
            RunError: No photo can be answered any more.
        """

    async def close(self) -> None:
        """Let go of everything, at once; a second time does nothing."""


class LocalPredictor(Predictor):
    """The models in this process. `then` gets each photo and its analysis, on a thread, before its answer is returned."""

    def __init__(
        self,
        engine: Engine,
        parameters_of: ParametersOf,
        then: Callable[[str, bytes, Analysis], None] | None = None,
    ) -> None:
        self._engine, self._then = engine, then
        self._parameters = parameters_of([one for one in engine.model.manifest.attributes if one.name in engine.attributes])
        self._options = engine.options(
            self._parameters.attributes,
            self._parameters.max_faces,
            self._parameters.min_confidence,
            at_least=self._parameters.at_least,
        )
        self._closed = False

    @property
    def model(self) -> ServedModel:
        """The model that was loaded."""
        engine, manifest = self._engine, self._engine.model.manifest
        return ServedModel(
            manifest.name,
            manifest.version,
            engine.model.digest,
            manifest.attributes,
            engine.detector.manifest.title,
            engine.attributes,
            engine.min_confidence,
            {name: getattr(engine, name) for name in SETTINGS},
        )

    @override
    async def predict(self, name: str, data: bytes) -> Outcome:
        due = asyncio.get_running_loop().time() + max(DEADLINE_S, self._engine.deadline)
        try:
            analysis = await self._engine.analyse(data, self._options, due)
            if self._then is not None:
                await asyncio.to_thread(self._then, name, data, analysis)
        except FacetError as error:
            return _failed(error)
        except OSError as error:  # of the picture that is drawn
            if error.errno in DISK_FULL:
                raise
            return Failure("unwritable", f"The picture cannot be written: {error.strerror or error}")
        model, shown = self._engine.model, self._parameters
        document = answer(analysis, name, ModelName.of(model), landmarks=shown.landmarks, distribution=shown.distribution)
        return Answered(document, model.digest)

    @override
    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._engine.close()


def _failed(error: FacetError) -> Failure:
    """What the service says of an error."""
    problem = problem_of(error, "-")
    return Failure(problem.code, problem.detail)


def _known(face: object) -> object:
    """A face without what a newer service adds to it, which is no answer for an attribute."""
    if not isinstance(face, dict):
        return face
    return {name: value for name, value in face.items() if name in FaceAnswer.model_fields or _is_answer(value)}


def _is_answer(value: object) -> bool:
    try:
        _OF_ATTRIBUTE.validate_python(value)
    except ValidationError:
        return False
    return True


_OF_ATTRIBUTE: Final = TypeAdapter[ExpectationAnswer | LabelAnswer](ExpectationAnswer | LabelAnswer)


class _Answer(PredictAnswer):
    """What is read of an answer: within a major version it only gains fields, and so does a face."""

    faces: list[Annotated[FaceAnswer, BeforeValidator(_known)]]


class _Serving(BaseModel):
    """What is read of how a model is served."""

    model_config = ConfigDict(extra="ignore")

    attributes: tuple[str, ...]
    detector: DetectorName
    min_confidence: float | None = None
    max_faces: int | None = None
    min_face_px: float | None = None
    detection_side_px: int | None = None
    precision: str | None = None


class _Card(BaseModel):
    """What is read of a model's card; `serving` names the attributes that the operator allows."""

    model_config = ConfigDict(extra="ignore")

    name: str
    version: int
    digest: str
    attributes: tuple[Attribute, ...]
    serving: _Serving | None = None

    def answerable(self) -> list[Attribute]:
        """Attributes that may be asked for."""
        return [one for one in self.attributes if self.serving is None or one.name in self.serving.attributes]

    def served(self) -> ServedModel:
        """The model, and the detector where the card names it."""
        model = ServedModel(self.name, self.version, self.digest, self.attributes)
        if self.serving is None:
            return model
        found = self.serving.model_dump(exclude_none=True)
        detector = f"{self.serving.detector.name}/{self.serving.detector.version}"
        return replace(
            model,
            detector=detector,
            answered=self.serving.attributes,
            min_confidence=self.serving.min_confidence,
            settings={name: found[name] for name in SETTINGS if name in found},
        )


class ServicePredictor(Predictor):
    """A service at `url`, over at most `connections` connections.

    A photo that the service has no room for is sent again after what `Retry-After` says. One for which the service is not
    reached, or does not answer in time, is sent at most six times, and one under which the connection breaks twice.
    """

    def __init__(
        self, url: str, key: str | None, parameters_of: ParametersOf, connections: int, model: str | None = None
    ) -> None:
        parts, self._host, self._port = _address(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._base = quote(parts.path.rstrip("/"), safe="%/:@!$&'()*+,;=")
        self._url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{self._base}"
        self._headers: dict[str, str | bytes] = {
            "User-Agent": f"facet/{__version__}",
            **_password_header(parts),
            **_key_header(key),
        }
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._open: set[http.client.HTTPConnection] = set()
        self._threads = ThreadPoolExecutor(connections, NOT_AWAITED)
        self._closed = threading.Event()
        self._broken = 0
        self._cards: dict[tuple[str, int], ServedModel] = {}
        self._named = {} if model is None else {"model": model}
        try:
            card = self._card()
        except ServiceError:
            self._hang_up()
            raise
        self._model = self._cards[card.name, card.version]
        query = urlencode(self._named | parameters_of(card.answerable()).query())
        self._query = f"?{query}" if query else ""

    @property
    def model(self) -> ServedModel:
        """The model that the service named last."""
        return self._model

    @override
    async def predict(self, name: str, data: bytes) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._predict, name, data)

    @override
    async def close(self) -> None:
        self._hang_up()

    def _hang_up(self) -> None:
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
        for connection in tuple(self._open):
            _cut(connection)

    def _predict(self, name: str, data: bytes) -> Outcome:
        headers = {"Content-Type": "application/octet-stream"}
        try:
            status, body = self._request("POST", f"/predict{self._query}", data, headers)
        except _ConnectionBroken as error:
            self._broken += 1
            if self._broken >= ATTEMPTS:  # of so many photos, one after the other: it is not theirs
                raise ServiceError(f"{self._url} breaks off: {error}") from error
            return Failure("connection_broken", f"The service broke off {MAX_BREAKS} times while it had the photo.")
        if status != 200:
            return self._failure(status, body)
        try:
            answered = _Answer.model_validate_json(body).model_copy(update={"request_id": name})
        except ValidationError as error:
            raise ServiceError(f"{self._url}: its answers are not those of Facet") from error
        model = answered.model
        if (model.name, model.version) not in self._cards:
            card = self._card()  # another model was put in its place
            self._model = self._cards[card.name, card.version]
            if (model.name, model.version) not in self._cards:
                self._look_up(f"{model.name}/{model.version}")  # or it is a canary
        served = self._cards.get((model.name, model.version))
        return Answered(answered, "" if served is None else served.digest)

    def _failure(self, status: int, body: bytes) -> Failure:
        """The problem of one photo. Raises `ServiceError` where every other one would have it, too."""
        try:
            problem = Problem.model_validate_json(body)
        except ValidationError:
            if status == 413:  # a proxy's own
                return Failure("body_too_large", "The photo is larger than what is in front of the service lets pass.")
            said = "which leads to another address: give that one" if 300 <= status < 400 else "and not an answer of Facet's"
            raise ServiceError(f"{self._url}: {status}, {said}") from None
        if status in (401, 403, 404, 405) or problem.code == "invalid_parameter":
            raise ServiceError(f"{self._url}: {problem.detail}")
        return Failure(problem.code, problem.detail)

    def _card(self) -> _Card:
        """The card of the model in service, which is kept by its name and version."""
        status, body = self._ask_for_card(self._named)
        if status != 200:
            self._failure(status, body)
            raise ServiceError(f"{self._url}: {status} for its model")
        return self._kept(body)

    def _look_up(self, title: str) -> None:
        """Keep the card of a model that has answered, unless it is gone by now."""
        status, body = self._ask_for_card({"model": title})
        if status == 200:
            self._kept(body)

    def _ask_for_card(self, named: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            return self._request("GET", f"/model?{urlencode(named)}" if named else "/model")
        except _ConnectionBroken as error:
            raise ServiceError(f"{self._url} breaks off: {error}") from error

    def _kept(self, body: bytes) -> _Card:
        """A card, whose model is kept by its name and version. Raises `ServiceError` where it is none."""
        try:
            card = _Card.model_validate_json(body)
        except ValidationError as error:
            raise ServiceError(f"{self._url} is no service of Facet's, or an older one") from error
        self._cards[card.name, card.version] = card.served()
        return card

    def _request(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer. Raises `ServiceError` where there is none after all attempts, `_ConnectionBroken`
        where the connection broke under the request again and again.
        """
        failures, breaks, began = 0, 0, time.monotonic()
        while True:
            self._check_open()
            try:
                status, retry_after, body = self._send(method, path, data, headers or {}, again=breaks > 0)
            except _ConnectionBroken:
                self._check_open()
                breaks += 1
                if breaks >= MAX_BREAKS:
                    raise
                self._pause(0.5)
                continue
            except (OSError, http.client.HTTPException) as error:
                self._check_open()
                failures += 1
                if failures >= ATTEMPTS:
                    raise ServiceError(f"{self._url} cannot be reached: {_reason(error)}") from error
                self._pause(0.25 * 2**failures)
                continue
            if status == 504 and failures < ATTEMPTS - 1:
                failures += 1
                self._pause(max(retry_after, 0.25 * 2**failures))
            elif status in BUSY:
                if time.monotonic() - began > MAX_WAIT_S:
                    raise ServiceError(f"{self._url} has had no room for {MAX_WAIT_S / 60:.0f} minutes ({status})")
                self._pause(retry_after or 1.0)
            else:
                self._broken = 0
                return status, body

    def _send(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], *, again: bool
    ) -> tuple[int, float, bytes]:
        connection, fresh = self._connection(new=again)
        try:
            if fresh:
                connection.connect()
            try:
                connection.request(method, self._base + path, data, {**self._headers, **headers})
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise _ConnectionBroken(_reason(error)) from error
        except BaseException:
            connection.close()
            self._open.discard(connection)
            raise
        after = response.headers.get("Retry-After", "")
        if response.will_close:
            connection.close()
            self._open.discard(connection)
        else:
            self._idle.put(connection)
        return response.status, float(after) if after.isdecimal() else 0.0, body

    def _connection(self, *, new: bool) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it is a new one; `new` asks for one: the service may have closed those that wait."""
        if not new:
            with contextlib.suppress(queue.Empty):
                return self._idle.get_nowait(), False
        if self._tls is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=TIMEOUT_S, context=self._tls
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        self._open.add(made)
        return made, True

    def _pause(self, seconds: float) -> None:
        self._closed.wait(min(seconds, MAX_PAUSE_S))

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Unavailable("The run has ended.")


def _address(url: str) -> tuple[SplitResult, str, int | None]:
    """The parts of a service's address, its host and its port. Raises `ServiceError` where it is none."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # such as of a port that is no number, or a name with two dots together
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise ServiceError(f"{url.rpartition('@')[2]}: the address of a service is such as http://localhost:8000")
    return parts, host, port


def _password_header(parts: SplitResult) -> dict[str, bytes]:
    """The header of a name and password in an address (RFC 7617), which a proxy may want; none of an address without."""
    if parts.username is None:
        return {}
    pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
    return {"Authorization": b"Basic " + base64.b64encode(pair)}


def _key_header(key: str | None) -> dict[str, bytes]:
    """The header with a key, in UTF-8 and without the end of a line that a file of secrets has; none of an empty one.

    Raises `ServiceError` where it holds what no header can: `http.client` would put the key into its message.
    """
    stripped = (key or "").strip()
    if any(ord(character) < 32 or ord(character) == 127 for character in stripped):
        raise ServiceError("the key of the service holds a control character, which no header can carry")
    return {"X-API-Key": stripped.encode("utf-8", "surrogateescape")} if stripped else {}


def _cut(connection: http.client.HTTPConnection) -> None:
    """End a connection under the thread that waits for it."""
    with contextlib.suppress(OSError):
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
