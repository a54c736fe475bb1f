"""`WS /stream`: frames of a live camera in, tracked faces out; the newest frame counts, and a late one is never answered."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect

from service import errors
from service.api.keys import Keys, client_of, sent_key
from service.api.problems import count, note, request_id
from service.api.schemas import ImageSize, ModelName, StreamFrame, StreamProblem, StreamReady, StreamStart, tracked
from service.api.statuses import problem_of
from service.errors import FacetError
from service.inference.at_least import parse_ages
from service.inference.engine import Engine
from service.inference.pipeline import Options
from service.inference.smoothing import SmoothedMean
from service.inference.workers import retrieve
from service.metrics import NO_CLOSE_FRAME, STREAM_CLOSED, STREAM_FACES, STREAM_FRAME_SECONDS, STREAM_FRAMES, STREAMS
from service.tracing import CURRENT
from service.tracking.session import FrameResult, TrackingSession
from service.vision.image import sniff

PATH: Final = "/stream"
NUMBER_BYTES: Final = 8
"""A frame begins with its number, unsigned and big-endian."""
START_S: Final = 10.0
"""Seconds in which the first message must come, where the idle timeout is not shorter."""
MAX_START_CHARS: Final = 8192
"""Characters of the first message at most."""
UNSTARTED: Final = 32
"""Connections that may wait for their first message at a time; they hold no stream's place, and one more ends the oldest."""
CLOSE_S: Final = 1.0
"""Seconds to wait for a client that does not read, or whose close frame may be on its way."""

CLOSE: Final[Mapping[type[FacetError], int]] = {
    errors.BodyTooLarge: 1009,
    errors.RateLimited: 1013,
    errors.TooManyStreams: 1013,
    errors.NotReady: 1001,
    errors.StreamOver: 4000,
    errors.StreamIdle: 4001,
    errors.RequestError: 1008,
    errors.FacetError: 1011,
}
"""Code (RFC 6455, 7.4.1) that a stream ends with: that of the nearest class above the error that stands here."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What streams may cost."""

    streams: int
    """How many may be open at a time."""
    fps: float
    """Frames of a stream that are analysed a second, at most."""
    frame_bytes: int
    frame_pixels: int
    deadline: float
    """Seconds, from its turn, in which a frame is answered."""
    idle: float
    """Seconds without a message after which a stream ends."""
    duration: float
    """Seconds after which every stream ends."""


class Streams:
    """Every open stream of the service, and the door before them."""

    def __init__(self, limits: StreamLimits, keys: Keys | None, origins: Collection[str]) -> None:
        self._limits, self._keys, self._origins = limits, keys, frozenset(origins)
        self._leaving = asyncio.Event()
        self._renewed: dict[int, asyncio.Event] = {}
        self._unstarted: dict[asyncio.Timeout, str] = {}
        self._open = 0
        self._connected: set[asyncio.Task[object]] = set()

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one connection, from its handshake to its close; errors end it with a close code.

        Args:
            websocket: A connection that was not yet accepted.
        """
        identity = request_id(websocket)
        await websocket.accept()
        code, task = NO_CLOSE_FRAME, asyncio.current_task()
        if task is not None:
            self._connected.add(task)
            task.add_done_callback(self._connected.discard)
        try:
            code = await self._serve(websocket, identity)
        except WebSocketDisconnect as gone:
            code = gone.code
        except FacetError as error:
            code = await _end(websocket, error, identity)
        except Exception as error:  # noqa: BLE001 - an unexpected error must end this stream with a code, too
            code = await _end(websocket, errors.unexpected(error), identity)
        finally:
            # Codes that clients make up are no labels.
            STREAM_CLOSED.labels(str(code) if code in _COUNTED else "other").inc()

    def renew(self, engine: Engine) -> None:
        """End an engine's streams with 4000, since another one is in its place: a track is averaged over answers of one model.

        Args:
            engine: The former one.
        """
        if (renewed := self._renewed.pop(id(engine), None)) is not None:
            renewed.set()

    async def close(self, grace: float = 2.0) -> None:
        """End every stream with 1001, whether or not it has started, and let no new one in.

        Args:
            grace: Most seconds to wait for them to end.
        """
        self._leaving.set()
        for timeout in self._unstarted:
            if not timeout.expired():
                timeout.reschedule(asyncio.get_running_loop().time())
        if self._connected:
            await asyncio.wait(self._connected, timeout=grace)

    async def _serve(self, websocket: WebSocket, identity: str) -> int:
        """Let a stream in and serve it to its end; returns the code that the client closed it with."""
        engine: Engine = websocket.app.state.engine
        if engine.draining or self._leaving.is_set():
            raise errors.NotReady
        self._check_origin(websocket)
        start = await self._start(websocket)
        sent = b""
        if self._keys is not None:
            given = sent_key(websocket.headers.get("x-api-key"), websocket.headers.get("authorization"))
            sent = start.key.get_secret_value().encode() if start.key else given.encode("latin-1")
            websocket.scope["state"]["client"] = self._keys.take(sent)
        engine = websocket.app.state.engine.chosen(start.model, identity)
        options = engine.options(
            start.attributes,
            start.max_faces,
            start.min_confidence,
            self._limits.frame_pixels,
            client_of(websocket.scope),
            parse_ages(start.at_least),
        )
        with engine.in_use(), self._place(sent):
            session = Session(websocket, engine, options, start.landmarks, self._limits, identity)
            return await session.run(self._leaving, self._renewed.setdefault(id(engine), asyncio.Event()))

    def _check_origin(self, websocket: WebSocket) -> None:
        """Refuse pages of other sites: a browser opens a WebSocket wherever a page points it, and CORS does not apply."""
        origin, host = websocket.headers.get("origin"), websocket.headers.get("host", "")
        if origin is not None and not same_origin(origin, host) and not {origin.lower(), "*"} & self._origins:
            raise errors.ForeignOrigin("Pages from this origin may not open a stream.")

    async def _start(self, websocket: WebSocket) -> StreamStart:
        """Wait for the first message."""
        wait = min(self._limits.idle, START_S)
        timeout = asyncio.timeout(wait)
        try:
            async with timeout:
                self._wait(timeout, client_of(websocket.scope))
                message = await websocket.receive()
        except TimeoutError as error:
            if self._leaving.is_set():
                raise errors.NotReady from error
            if timeout not in self._unstarted:
                raise errors.TooManyStreams("Too many connections are waiting for their first message.") from error
            raise errors.StreamIdle(f"The first message did not arrive within {wait:.15g} s.") from error
        finally:
            self._unstarted.pop(timeout, None)
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return _parsed(message.get("text") or "")

    def _wait(self, timeout: asyncio.Timeout, client: str) -> None:
        """Count a connection that waits for its first message.

        Where as many wait as may, the oldest of the client that has most goes: silent connections keep nobody out.
        """
        self._unstarted[timeout] = client
        if len(self._unstarted) > UNSTARTED:
            most = Counter(self._unstarted.values()).most_common(1)[0][0]
            oldest = next(one for one, whose in self._unstarted.items() if whose == most)
            del self._unstarted[oldest]
            if not oldest.expired():  # one that has cannot be set to another time
                oldest.reschedule(asyncio.get_running_loop().time())

    @contextlib.contextmanager
    def _place(self, key: bytes) -> Iterator[None]:
        """One of the places for streams; where there is none, the stream does not count towards its key's rate."""
        if self._open >= self._limits.streams:
            if self._keys is not None:
                self._keys.give_back(key)
            raise errors.TooManyStreams("Too many streams are open.", 5)
        self._open += 1
        STREAMS.inc()
        try:
            yield
        finally:
            self._open -= 1
            STREAMS.dec()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame that has arrived, at a time of the event loop's clock."""

    number: int
    photo: bytes
    arrived: float


class Session:
    """One stream after its start. One frame is in work and at most one waits, the newest; what it replaces is dropped."""

    def __init__(
        self, websocket: WebSocket, engine: Engine, options: Options, landmarks: bool, limits: StreamLimits, identity: str
    ) -> None:
        self._websocket, self._engine, self._landmarks = websocket, engine, landmarks
        self._limits, self._identity = limits, identity
        self._tracking = TrackingSession(engine.pipeline, options, engine.max_faces)
        self._waiting: _Frame | None = None
        self._arrival = asyncio.Event()
        self._dropped = 0
        self._cost: SmoothedMean | None = None

    async def run(self, leaving: asyncio.Event, renewed: asyncio.Event) -> int:
        """Serve until the client leaves.

        Args:
            leaving: Set when the service shuts down.
            renewed: Set when another model is in service.

        Returns:
            The close code that the client sent.

        Raises:
            StreamOver: The stream has lasted as long as one may, or another model is in service.
            StreamIdle: No frame came for longer than is allowed.
            MalformedMessage: What came is not a frame.
            BodyTooLarge: A frame has more bytes than one may.
            NotReady: The service is shutting down.
        """
        ready = StreamReady(
            model=ModelName.of(self._engine.model),
            max_frame_bytes=self._limits.frame_bytes,
            max_fps=self._limits.fps,
            idle_timeout_s=self._limits.idle,
            max_duration_s=self._limits.duration,
        )
        await self._websocket.send_text(ready.model_dump_json())
        parts = [asyncio.create_task(part) for part in (self._read(), self._work(), _left(leaving), _swapped(renewed))]
        for part in parts:
            part.add_done_callback(retrieve)
        try:
            done, _ = await asyncio.wait(parts, timeout=self._limits.duration, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise errors.StreamOver(f"A stream may last {self._limits.duration:.15g} s; open a new one.")
            return await _ended(parts[0], done)
        finally:
            for part in parts:
                part.cancel()
            if self._waiting is not None:
                STREAM_FRAMES.labels("abandoned").inc()
            await asyncio.wait(parts)

    async def _read(self) -> int:
        """Take every message as soon as it is there, so that no frame waits in a socket; returns the client's code."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout(self._limits.idle):
                    message = await self._websocket.receive()
            except TimeoutError as error:
                raise errors.StreamIdle(f"Nothing arrived for {self._limits.idle:.15g} s.") from error
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            data = message.get("bytes")
            if data is None or len(data) < NUMBER_BYTES or _unnumbered(data):
                raise errors.MalformedMessage("After the start, every message is a frame: eight bytes of number and a photo.")
            if len(data) > self._limits.frame_bytes + NUMBER_BYTES:
                raise errors.BodyTooLarge(f"The frame is larger than {self._limits.frame_bytes / 1024:g} KiB.")
            if self._waiting is not None:
                self._dropped += 1
                STREAM_FRAMES.labels("dropped").inc()
            number = int.from_bytes(data[:NUMBER_BYTES], "big")
            self._waiting = _Frame(number, data[NUMBER_BYTES:], loop.time())
            self._arrival.set()

    async def _work(self) -> int:
        """Answer the newest frame, again and again, as often as clients are advised to send one.

        A client that does not heed the advice gains nothing by it: its frames drop one another, and nobody else waits longer.
        """
        loop = asyncio.get_running_loop()
        free = loop.time()
        while True:
            await self._arrival.wait()
            await asyncio.sleep(free - loop.time())  # until then a newer one may take its place
            frame, self._waiting = self._waiting, None
            self._arrival.clear()
            if frame is not None:
                answer, rest = await self._answer(frame)
                await self._websocket.send_text(answer)
                free = loop.time() + rest

    async def _answer(self, frame: _Frame) -> tuple[str, float]:
        """The message that answers a frame, its faces or its problem, and the seconds before the next one is analysed."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            result = await self._tracking.step(frame.photo, frame.arrived, began + self._limits.deadline)
        except FacetError as error:
            count(error, self._identity)
            STREAM_FRAMES.labels("failed").inc()
            body = problem(error, self._identity, frame.number)
            rest = body.retry_after_s or max(0.0, 1 / self._limits.fps - (loop.time() - began))
            return body.model_dump_json(exclude_none=True), rest
        except BaseException as error:
            STREAM_FRAMES.labels("abandoned" if isinstance(error, asyncio.CancelledError) else "failed").inc()
            raise
        now = loop.time()
        spent = now - began
        if self._cost is None:
            self._cost = SmoothedMean(spent)
        self._cost.add(spent)
        _observe(result, now - frame.arrived)
        dropped, self._dropped = self._dropped, 0
        rest = pause(1 / self._limits.fps, spent, self._cost.value, self._engine.workers.rounds)
        answer = StreamFrame(
            frame=frame.number,
            image=ImageSize(width=result.width, height=result.height),
            faces=[tracked(face, landmarks=self._landmarks) for face in result.faces],
            dropped=dropped,
            next_in_ms=round(1000 * rest),
            timing_ms={stage: round(passed, 2) for stage, passed in result.timings.items()},
        )
        return answer.model_dump_json(exclude_none=True), rest


def _parsed(text: str) -> StreamStart:
    """A stream's first message. Raises `MalformedMessage`, or `InvalidParameter` where one of its fields alone is wrong."""
    if len(text) > MAX_START_CHARS:
        raise errors.MalformedMessage("The first message is too long.")
    try:
        return StreamStart.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(StreamStart.model_fields))
            raise errors.InvalidParameter(f"{place[:50]}: there is no such field; choose from {known}.") from error
        if place and place != "type" and first["type"] != "json_invalid":
            raise errors.InvalidParameter(f"{place}: {errors.in_own_words(first['msg'])}") from error
        raise errors.MalformedMessage('The first message must be JSON with "type": "start".') from error


def _unnumbered(message: bytes) -> bool:
    """Whether a photo begins where its number ought to: as a frame it would be no picture, which tells its sender nothing."""
    return sniff(message) is not None and sniff(message[NUMBER_BYTES:]) is None


_COUNTED: Final = frozenset({*CLOSE.values(), 1000, 1005, NO_CLOSE_FRAME})
for _code in sorted(_COUNTED):
    STREAM_CLOSED.labels(str(_code))  # at 0: the first of a kind must be an increase


def pause(period: float, spent: float, cost: float, rounds: float) -> float:
    """Seconds that a client should wait before its next frame.

    No frame is analysed before the `period` is over. Where photos wait, each counts for one frame's time, so that a camera
    slows down before it slows down others.

    Args:
        period: Least seconds from frame to frame.
        spent: Seconds that the last frame took.
        cost: Mean seconds of a frame.
        rounds: Photos that wait, for each worker.

    Returns:
        Seconds, 0 or more.
    """
    return max(0.0, period - spent) + rounds * cost


def same_origin(origin: str, host: str) -> bool:
    """Whether a page's origin is the host of its request; schemes may differ, since a proxy may end TLS.

    Args:
        origin: The header `Origin`.
        host: The header `Host`.

    Returns:
        Whether host and port agree; False of what cannot be parsed.
    """
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        requested = urlsplit(f"//{host}")
        return (
            default is not None
            and parts.hostname is not None
            and parts.hostname == requested.hostname
            and (parts.port or default) == (requested.port or default)
        )
    except ValueError:  # a port that is none
        return False


def close_code(error: FacetError) -> int:
    """WebSocket code with which an error ends a stream.

    Args:
        error: Any error of Facet's.

    Returns:
        The code of its class, or of the nearest base that has one.
    """
    return next(CLOSE[kind] for kind in type(error).__mro__ if kind in CLOSE)


def problem(error: FacetError, identity: str, frame: int | None = None) -> StreamProblem:
    """Describe an error to the client of a stream.

    Args:
        error: Any error of Facet's.
        identity: The stream's request id.
        frame: The number of the frame that failed; None where the stream did.

    Returns:
        The problem document.
    """
    body = problem_of(error, identity).model_dump(exclude={"type"})
    retry = error.retry_after if isinstance(error, errors.Unavailable | errors.RateLimited) else None
    return StreamProblem(**body, frame=frame, retry_after_s=None if retry is None else math.ceil(retry))


async def _ended(reading: asyncio.Task[int], done: set[asyncio.Task[int]]) -> int:
    """The code that a client closed its stream with.

    An answer that finds the connection closed says nothing of a code; the close frame, if there was one, is still to be read.
    """
    try:
        return next(iter(done)).result()
    except WebSocketDisconnect:
        await asyncio.wait([reading], timeout=CLOSE_S)
        if not reading.done():
            raise
        return reading.result()


async def no_websocket() -> None:
    """Refuse what comes over plain HTTP, such as through a proxy that passes no WebSocket on.

    Raises:
        HTTPException: With 426, and what RFC 9110, 15.5.22, wants beside it.
    """
    raise HTTPException(426, headers={"Connection": "Upgrade", "Upgrade": "websocket"})


async def _left(leaving: asyncio.Event) -> int:
    await leaving.wait()
    raise errors.NotReady


async def _swapped(renewed: asyncio.Event) -> int:
    await renewed.wait()
    raise errors.StreamOver("The model was replaced; open a new stream.", 0)


async def _end(websocket: WebSocket, error: FacetError, identity: str) -> int:
    """Send the client the problem that ends its stream, and close it; returns the code."""
    count(error, identity)
    note(error.code)
    code = close_code(error)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):  # it has left meanwhile
        async with asyncio.timeout(CLOSE_S):  # nor is somebody waited for who does not read
            await websocket.send_text(problem(error, identity).model_dump_json(exclude_none=True))
            await websocket.close(code, error.code)
    return code


def _observe(result: FrameResult, seconds: float) -> None:
    STREAM_FRAMES.labels("answered").inc()
    STREAM_FRAME_SECONDS.observe(seconds)
    STREAM_FACES.labels("run").inc(result.runs)
    STREAM_FACES.labels("spared").inc(len(result.faces) - result.runs)
    record = CURRENT.get()
    if record is not None:
        record.faces += len(result.faces)
