"""A live stream: frames out, tracked faces in, and the pace that the service advises."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from facet_client.errors import ConnectionFailed, FacetClientError, StreamClosed
from facet_client.models import StreamFrame, StreamProblem, StreamReady

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_MESSAGE: TypeAdapter[StreamReady | StreamFrame | StreamProblem] = TypeAdapter(StreamReady | StreamFrame | StreamProblem)


class Stream:
    """An open stream; `ready` has the bounds of its frames. Every method raises `StreamClosed` once the stream has ended."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0
        self._fatal: StreamProblem | None = None
        self.ready: StreamReady

    async def start(self, message: Mapping[str, Any]) -> None:
        """Send the first message and wait for its answer.

        Args:
            message: The message `start`, as JSON's object.

        Raises:
            StreamClosed: The stream has ended.
            FacetClientError: The service answered with another message, or what cannot be read.
        """
        await self._send(json.dumps(message))
        answer = await self._receive()
        if not isinstance(answer, StreamReady):
            raise FacetClientError("the service did not answer the stream's start")
        self.ready = answer

    async def send(self, photo: bytes) -> int:
        """Send one frame; only the newest one waits at the service.

        Args:
            photo: A file's bytes.

        Returns:
            The frame's number, which its answer carries.

        Raises:
            StreamClosed: The stream has ended.
        """
        number = self._sent
        self._sent += 1
        await self._send(number.to_bytes(8, "big") + photo)
        return number

    async def receive(self) -> StreamFrame | StreamProblem:
        """Wait for the next answer.

        Returns:
            The answer to a frame, or the problem of one.

        Raises:
            StreamClosed: The stream has ended.
            FacetClientError: The service answered a start that was not sent, or what cannot be read.
        """
        answer = await self._receive()
        if isinstance(answer, StreamReady):
            raise FacetClientError("the service answered a start that was not sent")
        return answer

    async def follow(self, frames: AsyncIterable[bytes]) -> AsyncIterator[StreamFrame | StreamProblem]:
        """Send the newest of some frames, one at a time and no faster than the service advises, until they end.

        Args:
            frames: Bytes of photos, as they arrive.

        Yields:
            The answer to each frame that was sent.

        Raises:
            StreamClosed: The stream has ended.
            FacetClientError: The service answered what cannot be read.
        """
        newest: bytes | None = None
        arrival, over = asyncio.Event(), False

        async def gather() -> None:
            nonlocal newest, over
            try:
                async for newest in frames:  # noqa: B007 - the loop's variable is read below
                    arrival.set()
            finally:
                over = True
                arrival.set()

        task = asyncio.create_task(gather())
        try:
            while True:
                await arrival.wait()
                arrival.clear()
                photo, newest = newest, None
                if photo is None:
                    break
                number = await self.send(photo)
                answer = await self.receive()
                while answer.frame is not None and answer.frame < number:  # of a frame whose answer was no longer waited for
                    answer = await self.receive()
                yield answer
                await asyncio.sleep(answer.next_in_ms / 1000 if isinstance(answer, StreamFrame) else self._pause_s(answer))
                if over:
                    arrival.set()
            await task
        finally:
            task.cancel()

    async def close(self) -> None:
        """Leave."""
        await self._connection.close()

    def _pause_s(self, problem: StreamProblem) -> float:
        return max(1 / self.ready.max_fps, problem.retry_after_s or 0)

    async def _send(self, message: str | bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(message)
        except ConnectionClosed:
            with suppress(StreamClosed):  # what the service sent before it closed is still to be read
                while True:
                    await self._receive()
            raise self._closed() from None

    async def _receive(self) -> StreamReady | StreamFrame | StreamProblem:
        from websockets.exceptions import ConnectionClosed

        try:
            message = _read(await self._connection.recv())
            if isinstance(message, StreamProblem) and message.frame is None:
                self._fatal = message
                message = _read(await self._connection.recv())  # nothing but the close follows
        except ConnectionClosed as error:
            raise self._closed() from error
        return message

    def _closed(self) -> StreamClosed:
        return StreamClosed(self._connection.close_code or 1006, self._fatal)


def _read(message: str | bytes) -> StreamReady | StreamFrame | StreamProblem:
    try:
        return _MESSAGE.validate_json(message)
    except ValidationError as error:
        raise FacetClientError("the stream's answer cannot be read") from error


@asynccontextmanager
async def opened(url: str, start: Mapping[str, Any], timeout: float) -> AsyncIterator[Stream]:  # noqa: ASYNC109 - httpx's own name
    """Open and start a stream; the context closes it.

    Args:
        url: Of the service, with `http` or `https`.
        start: The message `start`, as JSON's object.
        timeout: Seconds for the handshake, and for the answer to the start.

    Yields:
        The stream.

    Raises:
        FacetClientError: The extra `stream` is not installed.
        ConnectionFailed: The service is not reached, or does not answer the start in time.
        StreamClosed: The service refuses the stream.
    """
    try:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
    except ImportError as error:
        raise FacetClientError("streams need websockets: install facet-client[stream]") from error

    class Direct(connect):
        """Goes where it was sent and nowhere else, as photos do: the start holds the key."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    address = re.sub("^http", "ws", url, flags=re.IGNORECASE) + "/stream"
    try:
        # Photos are compressed already; and a proxy of the environment is asked for no photo either.
        connection = await Direct(address, compression=None, open_timeout=timeout, max_size=2**22, proxy=None)
    except InvalidStatus as error:
        leads_to = error.response.headers.get("Location")
        raise _failed(address, f"{error}; it leads to {leads_to}" if leads_to else str(error)) from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise _failed(address, str(error) or type(error).__name__) from error
    async with connection:
        stream = Stream(connection)
        try:
            async with asyncio.timeout(timeout):
                await stream.start(start)
        except TimeoutError as error:
            raise _failed(address, "the stream did not start in time") from error
        yield stream


def _failed(address: str, reason: str) -> ConnectionFailed:
    """An error that tells no password, which a proxy may want in the address."""
    return ConnectionFailed(re.sub("//[^/ ]*@", "//", f"{address}: {reason}"))
