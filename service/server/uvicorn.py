"""The server round the app: uvicorn, with a drain before its shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from service.api.stream import Streams
from service.errors import FacetError
from service.inference.engine import Engine
from service.reloading import Reloader
from service.server import tls
from service.server.connections import ConnectionLimits, Connections, possible
from service.server.handshake import Handshake
from service.server.process import HangUps
from service.server.protocol import HttpProtocol

PING_S: Final = 20.0
"""Seconds between a live connection's pings, and in which a pong must come: so long a dead peer goes unnoticed."""
LAST_REQUESTS_S: Final = 0.2
"""Seconds in which who has just connected is read, when the service listens no more."""


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM first turns readiness off, waits `drain_delay` seconds, and the process then exits with 0.

    uvicorn's own handler stops listening at once, while load balancers still send, and re-raises the signal at the end.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain_delay: float,
        limits: ConnectionLimits,
        on_listening: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(config)
        self._drain_delay, self._on_listening = drain_delay, on_listening
        self._limits, self._known = limits, Connections(possible(limits.connections))
        self._hung_up = False
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM, SIGINT and, where the system has it, SIGHUP while the server runs.

        Yields:
            Nothing, while the signals are handled here.
        """
        loop = asyncio.get_running_loop()
        named = {"SIGTERM": self._terminate, "SIGINT": self._interrupt, "SIGHUP": self._hang_up}
        handlers = {getattr(signal, name): handler for name, handler in named.items() if hasattr(signal, name)}
        # Not by the loop, which leaves a signal to the system for a moment when it lets go of it: that would be no end with 0.
        before = {
            number: signal.signal(number, lambda *_, handler=handler: loop.call_soon_threadsafe(handler))
            for number, handler in handlers.items()
        }
        self._hung_up |= any(isinstance(one, HangUps) and one.came for one in before.values())
        try:
            yield
        finally:
            for number in handlers:
                signal.signal(number, before[number])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's own
        """Start the app and listen, with `HttpProtocol`, and with `Handshake` before it where TLS is spoken.

        uvicorn would exit with 3, and gives a TLS handshake a minute.

        Args:
            sockets: Ignored; the configured host and port are listened on.

        Raises:
            FacetError: The app does not start, or the address cannot be listened on.
        """
        config = self.config
        config.loaded_app = _without_cancellation(config.loaded_app)
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise FacetError("The service did not start; the log says why.")

        def plain(on_made: Callable[[], None] = lambda: None) -> HttpProtocol:
            return HttpProtocol(
                config, self.server_state, self.lifespan.state, limits=self._limits, known=self._known, on_made=on_made
            )

        def protocol() -> HttpProtocol | Handshake:
            return plain() if config.ssl is None else Handshake(config.ssl, self._limits.head_timeout, self._known, plain)

        loop, self._protocol = asyncio.get_running_loop(), protocol
        try:
            server = await loop.create_server(protocol, config.host, config.port, backlog=config.backlog)
        except (OSError, ValueError, OverflowError) as error:  # a name that is none is a ValueError
            await self.lifespan.shutdown()
            raise FacetError(f"{config.host}:{config.port} cannot be listened on: {error}") from error
        self.servers = [server]
        self._log_started_message(server.sockets)
        self._on_listening(server.sockets[0].getsockname()[1])
        self.started = True
        if self._hung_up:
            self._hang_up()

    def _of_app(self, name: str) -> Any:
        """A part of the app by its name in the app's state; None where it has none."""
        return getattr(getattr(self.config.app, "state", None), name, None)

    def _terminate(self) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    def _hang_up(self) -> None:
        if not self.started:  # the models were read before
            self._hung_up = True
            return
        self._renew_certificate()
        reloader: Reloader | None = self._of_app("reloader")
        if reloader is not None:
            reloader.hang_up()

    def _renew_certificate(self) -> None:
        """Serve new connections with the certificate that its files hold by now, or the former one where that is of no use."""
        config = self.config
        if config.ssl is None or config.ssl_certfile is None or config.ssl_keyfile is None:
            return
        certificate, key = Path(config.ssl_certfile), Path(config.ssl_keyfile)
        try:
            # A context of its own: one keeps a certificate for each kind of key, and would serve the former beside an RSA one.
            config.ssl = tls.usable(certificate, key)
        except (FacetError, OSError) as error:
            logging.getLogger("facet.tls").error("the former certificate stays in service: %s", error)
        else:
            logging.getLogger("facet.tls").info("the certificate was read anew")

    def _interrupt(self) -> None:
        self.force_exit = self.should_exit  # a second Ctrl+C does not wait
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams with their own code first; uvicorn would send 1012 and wait for none of them.

        Args:
            sockets: As uvicorn passes it.
        """
        streams: Streams | None = self._of_app("streams")
        if streams is not None:
            await streams.close()
        await self._stop_listening()
        await super().shutdown(sockets)

    async def _stop_listening(self) -> None:
        """Listen no more, and read who has connected: the system resets what it has connected and nobody accepted."""
        listeners = [socket.socket(fileno=socket.dup(one.fileno())) for server in self.servers for one in server.sockets]
        for server in self.servers:
            server.close()
        connected: list[socket.socket] = []
        for listener in listeners:
            with listener, contextlib.suppress(OSError):  # BlockingIOError where nobody waits any more
                listener.setblocking(False)
                while len(connected) < self.config.backlog:  # no more wait: a flood of new ones keeps nobody up
                    connected.append(listener.accept()[0])
        loop = asyncio.get_running_loop()
        made = (loop.connect_accepted_socket(self._protocol, one) for one in connected)
        await asyncio.gather(*made, return_exceptions=True)  # some may have left again
        await asyncio.sleep(LAST_REQUESTS_S)

    async def _drain(self) -> None:
        engine: Engine | None = self._of_app("engine")
        if engine is not None:
            engine.drain()
        logging.getLogger("facet").info("draining for %g s", self._drain_delay)
        await asyncio.sleep(self._drain_delay)
        self.should_exit = True


def run(
    app: Starlette,
    *,
    host: str,
    port: int,
    certificate: tuple[Path, Path] | None,
    max_message_bytes: int,
    keep_alive: int,
    drain_delay: float,
    shutdown_timeout: float,
    limits: ConnectionLimits,
    on_listening: Callable[[int], None],
) -> None:
    """Serve an app until a signal ends it.

    Args:
        app: The application.
        host: Address to listen on.
        port: 1 to 65535; 0 for any.
        certificate: PEM files of a certificate and its key, for HTTPS; None for HTTP.
        max_message_bytes: Largest message of a WebSocket.
        keep_alive: Seconds for which an idle connection stays open.
        drain_delay: Seconds after SIGTERM in which requests are still accepted.
        shutdown_timeout: Seconds in which accepted requests may finish after that.
        limits: Bounds of connections and heads, and the proxies that are trusted.
        on_listening: Called with the port once it is listened on.

    Raises:
        FacetError: The service cannot start.
        OSError: The certificate cannot be read.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        workers=1,  # else it reads WEB_CONCURRENCY, which is for servers of several processes, and need be no number
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=max(1, round(shutdown_timeout)),
        ws_max_size=max_message_bytes,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # photos are compressed already
        forwarded_allow_ips=list(limits.trusted_proxies),
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
    )
    Server(config, drain_delay, limits, on_listening).run()


def _without_cancellation(app: Any) -> Any:
    """An ASGI app whose requests end quietly where the shutdown cuts them short; uvicorn would log a traceback of each."""

    async def quiet(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            logging.getLogger("facet").warning("the shutdown cut a request short")

    return quiet
