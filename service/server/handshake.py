"""A connection before its TLS handshake is done: it has its place among all connections, and a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from uvicorn.protocols.utils import get_remote_addr

from service.api.keys import network
from service.server.connections import HEAD_ARRIVING, Connections


class Handshake(asyncio.Protocol):
    """Takes a connection over from a server that speaks no TLS, and makes its handshake, which must be done within `seconds`.

    A server that speaks it tells nobody of a connection before: silent ones would take every descriptor. Here each has its
    place from the start, and one that is silent makes room for others. `protocol` makes what serves the connection then; it is
    given what frees that place.
    """

    stage: Final = HEAD_ARRIVING

    def __init__(
        self,
        context: ssl.SSLContext,
        seconds: float,
        known: Connections,
        protocol: Callable[[Callable[[], None]], asyncio.Protocol],
    ) -> None:
        self.address = ""
        self._context, self._seconds, self._known, self._protocol = context, seconds, known, protocol
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def drop(self) -> None:
        """Close the connection at once."""
        if self._task is not None:
            self._task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection and begin its handshake, or close it where there are too many.

        Args:
            transport: As asyncio passes it; a copy of its socket goes on without it.
        """
        accepted = cast("asyncio.Transport", transport)
        peer = get_remote_addr(accepted)
        self.address = network(peer[0] if peer else "")
        if self._known.admit(self):
            try:
                opened = accepted.get_extra_info("socket").dup()
            except OSError:  # no descriptor is left
                self._free()
            else:
                self._task = asyncio.get_running_loop().create_task(self._shake_hands(opened))
                self._task.add_done_callback(lambda _: self._end(opened))
        accepted.abort()

    async def _shake_hands(self, opened: socket.socket) -> None:
        self._begun = True
        with contextlib.suppress(OSError):  # it was no TLS, came too late, or the client has left
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._protocol(self._free), opened, ssl=self._context, ssl_handshake_timeout=self._seconds
            )

    def _end(self, opened: socket.socket) -> None:
        """Clean up after a handshake; a socket whose handshake never began is nobody's yet."""
        self._free()
        if not self._begun:
            opened.close()

    def _free(self) -> None:
        """Give the place back: the protocol that follows takes one of its own."""
        self._known.discard(self)
