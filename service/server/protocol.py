"""One connection of HTTP/1.1: uvicorn's protocol, with bounds on the head of a request, on silence, and on its end."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import uuid
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected, is_ssl
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from service.api.keys import network
from service.api.problems import respond
from service.errors import FacetError, HeadTimeout, HeadTooLarge, MalformedRequest, QueueFull
from service.metrics import NO_CLOSE_FRAME
from service.server.connections import BODY_ARRIVING, HEAD_ARRIVING, IN_WORK, ConnectionLimits, Connections

logger = logging.getLogger("facet")

MAX_HEADERS: Final = 100
"""Headers of one request."""
MAX_PIPELINED: Final = 16
"""Requests of one connection that wait for the answer to the one before."""
LINGER_S: Final = 5.0
"""Seconds after an answer in which the rest of its request's body is thrown away, so that the client gets to see it."""
STALLED_WRITE_S: Final = 30.0
"""Seconds in which a client must take the next of an answer."""
TAKEN_BYTES: Final = 48 * 1024
"""Bytes of an answer that it must take in this time: as many as are taken of one in pieces before the next piece is sent."""
FRAMING: Final = 16
"""Bytes of a chunked body's framing for each byte of the body: 5 where every chunk holds one byte."""
LENGTH: Final = re.compile(rb"[0-9]{1,18}")
OFFERS: Final = (b"upgrade", b"http2-settings")
"""Headers of an offer to go on in another protocol, and what `Connection` calls them."""
FAREWELL_S: Final = 1.0
"""Seconds, as the process ends, for a client of TLS to say that it has closed: an idle one reads nothing until it asks."""
PROBE_S: Final = 0.15
"""Seconds after the end of what a client sends before it is asked whether it still listens."""

MAX_FRAMES: Final = 1024
"""Frames of a WebSocket from one message to the next: pieces of the message, pings and pongs."""
UNREAD_BYTES: Final = 2 * 1024 * 1024
"""Bytes of answers and pongs that a WebSocket's client may leave unread: some thirty answers of a hundred faces."""
FRAME_BYTES: Final = 4096
"""Bytes of a WebSocket that are parsed at a time: those of an empty frame are six, each of which takes microseconds."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol within bounds.

    A head that is too large, too slow or no HTTP is answered with a problem, and the connection is closed. Silent connections
    have a deadline, and a share for each client. Who sends on after the answer is listened to for a while; who takes no answer
    is cut off. A client that closes its sending side gets its answers, unless it turns out to have left. `on_made` is called
    before the connection takes its place.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        known: Connections,
        on_made: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = _Parser(self)
        self.ws_protocol_class = cast(
            "type[WebSocketsSansIOProtocol]", partial(_WebSocket, on_lost=partial(known.discard, self))
        )
        self._limits, self._known, self._on_made = limits, known, on_made
        self.address = ""
        self._running: RequestResponseCycle | None = None
        self._in_body = self._upgraded = self._discarding = self._half_closed = self._probed = False
        self._head_bytes = self._head_counted = self._chunk_bytes = 0
        self._framing = self._body_bytes = 0
        self._refusal: FacetError | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def stage(self) -> int:
        """What the connection is at; see `service.server.connections`."""
        if self._upgraded:
            return IN_WORK
        if self._in_body:
            return BODY_ARRIVING
        return HEAD_ARRIVING if self._running is None or self._running.response_complete else IN_WORK

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    # From the transport -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Register the connection, or refuse it where there are too many.

        Args:
            transport: As asyncio passes it.
        """
        super().connection_made(transport)
        self.address = network(self.client[0] if self.client else "")
        self._on_made()
        if self._known.admit(self):
            self._arm("head", self._limits.head_timeout, self._head_is_late)
        else:
            self._refuse(QueueFull("Too many connections are open."))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let every request of the connection know that its client has left.

        Args:
            exc: As asyncio passes it.
        """
        self._known.discard(self)
        for name in tuple(self._timers):
            self._disarm(name)
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, within the bounds of a head and of a body's framing.

        Args:
            data: Bytes of a request.
        """
        if self._discarding or self.transport.is_closing():
            return
        in_body, self._chunk_bytes = self._in_body, 0
        if not in_body:
            self._arm("head", self._limits.head_timeout, self._head_is_late)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._ended():
            return
        if not self._in_body and not in_body and self._head_bytes > self._limits.head_bytes:
            self._refuse(self._too_large())
        elif self._in_body and in_body:
            self._framing += len(data) - self._chunk_bytes
            if self._framing > self._limits.head_bytes + FRAMING * self._body_bytes:
                self._refuse(MalformedRequest("The body's framing is larger than the body."))

    def eof_received(self) -> bool | None:  # type: ignore[override]  # uvicorn's returns None
        """Keep the connection while its answers are due: a client that sends no more may yet wait for them.

        Returns:
            True where the connection stays open; a probe then finds out whether its client has left.
        """
        running = self._running
        if is_ssl(self.transport) or self._discarding or self._in_body or running is None or running.response_complete:
            return None
        self.cycle.keep_alive = False
        if not self._half_closed and running.scope["http_version"] == "1.1":
            self._half_closed = True
            self._arm("probe", PROBE_S, self._probe)
        return True

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it is written."""
        super().pause_writing()
        self._watch_answer()

    def resume_writing(self) -> None:
        """It does again; of a connection that is being closed, the rest is watched, too."""
        if not self.transport.is_closing():
            self._disarm("write")
        super().resume_writing()

    def shutdown(self) -> None:
        """Close where nothing is being answered; of TLS, too, where the client does not say that it has closed."""
        if self._discarding or self._running is None or self.cycle.response_complete:
            self._close()
            if is_ssl(self.transport):
                self.loop.call_later(FAREWELL_S, self._leave)
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """No further request has come in time."""
        self._close()

    # From the parser; what is raised here ends it ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request's line begins."""
        super().on_message_begin()
        self._head_counted = self._framing = self._body_bytes = 0
        self._arm("head", self._limits.head_timeout, self._head_is_late)

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's target.

        Args:
            url: As the parser passes it.

        Raises:
            HeadTooLarge: The head has more bytes than it may.
        """
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header and check it; trailers of a chunked body are left out.

        Args:
            name: As the parser passes it.
            value: As the parser passes it.

        Raises:
            HeadTooLarge: The head has more bytes or headers than it may.
            MalformedRequest: The Content-Length is not a valid number.
        """
        if self._in_body:
            return
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = self._too_large()
            raise self._refusal
        if name.lower() == b"content-length" and not LENGTH.fullmatch(value.strip()):
            self._refusal = MalformedRequest("The Content-Length is not a valid number.")
            raise self._refusal
        super().on_header(name, value.strip(b" \t"))  # no part of it (RFC 9110, 5.5); httptools keeps what is behind

    def on_headers_complete(self) -> None:
        """The head is whole: the request is handed on."""
        if self.declines:
            return
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
            self._refusal = MalformedRequest("A request of HTTP/1.1 must name its host, once.")
            raise self._refusal
        busy = self._running is not None and not self._running.response_complete
        upgrading = bool(self.parser.should_upgrade()) and self._should_upgrade()
        if busy and (upgrading or len(self.pipeline) >= MAX_PIPELINED):
            self._refusal = MalformedRequest("Too many requests were sent before the first was answered.")
            raise self._refusal
        self._disarm("head")
        self._in_body = True
        self._head_bytes = 0
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.transport = cast("asyncio.Transport", _Outgoing(self.transport, self._end))

    def on_body(self, body: bytes) -> None:
        """Count a part of the body.

        Args:
            body: As the parser passes it.
        """
        self._chunk_bytes += len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; where its answer has gone out already, the connection is idle now."""
        if self.declines:
            return
        super().on_message_complete()
        self._in_body = False
        self._head_bytes = 0
        self._disarm("linger")
        if self.stage == HEAD_ARRIVING and not self.parser.should_upgrade() and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    @property
    def declines(self) -> bool:
        """Whether the request offers another protocol, such as HTTP/2, that is not taken up: it is answered in this one."""
        return bool(self.parser.should_upgrade()) and not self._should_upgrade() and self.parser.get_method() != b"CONNECT"

    def parse_again(self, rest: bytes) -> None:
        """Parse a request whose offer is declined as if it had made none: a parser skips the body behind an offer.

        Args:
            rest: What has come behind its head.
        """
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                kept = b", ".join(word for word in value.split(b",") if word.strip().lower() not in OFFERS)
                lines += [b"connection: " + kept] if kept else []
            elif name not in OFFERS:
                lines.append(name + b": " + value)
        self.parser = _Parser(self)
        self.parser.feed_data(b"\r\n".join([*lines, b"", rest]))

    # Answers ----------------------------------------------------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        """Whether a WebSocket is asked for: by `GET` and without a body (RFC 6455, 4.1): uvicorn answers no other one."""
        body = any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" 0")) for name, value in self.headers
        )
        return super()._should_upgrade() and self.parser.get_method() == b"GET" and not body

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """The answer is out; what is left of its request's body may come for a while."""
        self._disarm("probe")
        if self._discarding:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._arm("linger", LINGER_S, self._close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own words
        """Answer what the parser refused with a problem document.

        Args:
            msg: uvicorn's own text, which is not sent.
        """
        refusal, self._refusal = self._refusal, None
        self._refuse(refusal or MalformedRequest("The request is not valid HTTP/1.1."))

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to a WebSocket; it keeps its place."""
        for name in tuple(self._timers):
            self._disarm(name)
        self._unset_keepalive_if_required()
        self._upgraded, self._in_body = True, False
        super().handle_websocket_upgrade()

    def _ended(self) -> bool:
        """Whether nothing more of this connection is parsed here."""
        return self._discarding or self._upgraded or bool(self.transport.is_closing())

    def _count(self, size: int) -> None:
        """Count a part of the head. Raises `HeadTooLarge`."""
        self._head_counted += size
        if self._head_counted > self._limits.head_bytes:
            self._refusal = self._too_large()
            raise self._refusal

    def _too_large(self) -> HeadTooLarge:
        kib = self._limits.head_bytes // 1024
        return HeadTooLarge(
            f"A request may have at most {MAX_HEADERS} headers, and at most {kib} KiB for them and the request line."
        )

    def _head_is_late(self) -> None:
        """Nothing, or half a head, has come in time."""
        if self.stage == IN_WORK or self._head_bytes:
            self._refuse(HeadTimeout(f"The request's headers did not arrive within {self._limits.head_timeout:g} s."))
        else:
            self._close()

    def _refuse(self, error: FacetError) -> None:
        """Answer what has come with a problem, and read no more; what came before it is answered first."""
        running = self._running
        if running is not None and not running.response_complete:
            if running is not self.cycle or not self._in_body:
                running.keep_alive = False
                self.pipeline.clear()
                self._discarding = True
                return
            running.disconnected = True  # its own body is broken
            running.message_event.set()
            if running.response_started:
                self.transport.abort()
                return
        self.transport.write(_refusal(error, self.server_state.default_headers))
        self._in_body = True
        self._end()

    def _end(self) -> None:
        """Close the connection; where its client may still be sending, when it has seen the answer, or after a while.

        To close a socket with unread bytes resets it, and the answer is lost with them.
        """
        if self.transport.is_closing():
            return
        if not self._in_body and not self._discarding:
            self.transport.close()
        else:
            self._discarding = True
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.flow.resume_reading()
            self._arm("linger", LINGER_S, self.transport.close)
        self._unset_keepalive_if_required()
        self._disarm("head")
        self._watch_answer()

    def _close(self) -> None:
        """Close the connection when its client has taken what was answered; one that does not is cut off."""
        if not self.transport.is_closing():
            self.transport.close()
            self._watch_answer()

    def _leave(self) -> None:
        """Wait no longer for a client that has taken all."""
        if not self.transport.get_write_buffer_size():
            self.transport.abort()

    def _watch_answer(self) -> None:
        """Cut a client off that does not go on taking its answer, however large it is."""
        self._arm("write", STALLED_WRITE_S, partial(self._require_taken, self.transport.get_write_buffer_size()))

    def _require_taken(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < TAKEN_BYTES:
            self.transport.abort()
        else:
            self._watch_answer()

    def _probe(self) -> None:
        """Find out whether a client that has sent everything still listens: one that has left answers with a reset.

        The interim response is one that every client skips (RFC 9110, 15.2).
        """
        running = self._running
        if running is None or running.response_complete or self.transport.is_closing():
            return
        if not self._probed and not running.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._probed = True
        opened = self.transport.get_extra_info("socket")
        if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self._arm("probe", PROBE_S, self._probe)

    def _arm(self, name: str, seconds: float, handler: Callable[[], None]) -> None:
        """Start a timer, unless it runs already."""
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, self._fire, name, handler)

    def _disarm(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _fire(self, name: str, handler: Callable[[], None]) -> None:
        self._timers.pop(name, None)
        if not self.transport.is_closing() or name == "write":
            handler()


class _Parser(httptools.HttpRequestParser):
    """llhttp's parser, for which an offer of another protocol that is declined does not hide the request's body.

    A server may ignore such an offer, and then answers as usual (RFC 9110, 7.8). Java's client makes one with every request.
    """

    def __init__(self, protocol: HttpProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # uvicorn passes bytes alone
        """Parse bytes. Raises what httptools raises."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            if not self._protocol.declines:
                raise
            self._protocol.parse_again(data[offered.args[0] :])


class _Outgoing:
    """The transport as a response sees it: to close it is left to the protocol."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, end


def _refusal(error: FacetError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A whole answer to what never reaches the app, nor its log: a line here has the id that the client is given."""
    identity = uuid.uuid4().hex[:16]
    response = respond(error, identity)
    fields = {"request_id": identity, "status": response.status_code, "outcome": error.code}
    logger.info("refused before its route: %s %d %s", error.code, response.status_code, identity, extra=fields)
    response.headers["Connection"] = "close"
    response.headers["X-Request-ID"] = identity
    lines = [b"%s: %s\r\n" % header for header in (*headers, *response.raw_headers)]
    return b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", bytes(response.body)])


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with bounds on frames that bring no message, and on what its client leaves unread.

    It reports when its connection is lost, and whether a close frame had come.
    """

    def __init__(self, *arguments: Any, on_lost: Callable[[], None], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._on_lost = on_lost
        self._frames = 0

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, a little at a time, while the connection is open.

        Args:
            data: Bytes of frames.
        """
        for start in range(0, len(data), FRAME_BYTES):
            if self.transport.is_closing():
                return
            if self.transport.get_write_buffer_size() > UNREAD_BYTES:
                self.transport.abort()
                return
            super().data_received(data[start : start + FRAME_BYTES])

    def handle_connect(self, event: Request) -> None:
        """Hand the offer on, or refuse it where it is no WebSocket's of today.

        Args:
            event: The request.
        """
        if self.conn.accept(event).status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            super().handle_connect(event)
            return
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        reason = str(self.conn.handshake_exc or "unknown").rstrip(".")
        self.transport.write(
            _refusal(MalformedRequest(f"The WebSocket's handshake is not valid: {reason}."), self.default_headers)
        )
        self.transport.close()

    async def run_asgi(self) -> None:
        """Run the app; uvicorn would log an offer that it answers with a document as one that it has not answered."""
        app = self.app

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            self.handshake_complete |= self.close_sent

        self.app = answered
        await super().run_asgi()
        self.loop.call_later(STALLED_WRITE_S, self.transport.abort)  # to close waits for who takes nothing any more

    async def send(self, message: Message) -> None:  # type: ignore[override]  # as starlette calls it
        """Send what the app answers; where this side has closed for the client's fault meanwhile, there is nobody any more.

        Args:
            message: As ASGI has it.

        Raises:
            ClientDisconnected: The connection is closed; uvicorn would blame the app.
        """
        if self.handshake_complete and self.close_sent and message["type"] == "websocket.send":
            raise ClientDisconnected
        await super().send(cast("ASGISendEvent", message))

    def handle_cont(self, event: Frame) -> None:
        """Count a piece of a message.

        Args:
            event: The frame.
        """
        self._count()
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Count a ping."""
        self._count()
        super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Count a pong.

        Args:
            event: The frame.
        """
        self._count()
        super().handle_pong(event)

    def send_receive_event_to_app(self) -> None:
        """A message is whole: frames are counted anew. Text that is no UTF-8 ends it all; uvicorn would log a traceback."""
        self._frames = 0
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA, "the text is no UTF-8")
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def _count(self) -> None:
        """Close with 1008 where more frames have come than a message needs."""
        self._frames += 1
        if self._frames > MAX_FRAMES and not self.transport.is_closing():
            self.conn.fail(CloseCode.POLICY_VIOLATION, "too many frames")
            self.handle_parser_exception()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the connection's place back, and tell the app 1006 where no close frame came; uvicorn would say 1005."""
        self._on_lost()
        if self.handshake_complete and self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": NO_CLOSE_FRAME})
        super().connection_lost(exc)
