"""Connections to the server: how many there may be, and whose goes where one more comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

SPARE_DESCRIPTORS: Final = 128
"""File descriptors kept for what is no connection: models, sockets that listen, threads, certificates."""

HEAD_ARRIVING, BODY_ARRIVING, IN_WORK = range(3)
"""What a connection is at: a request's head, or nothing, is waited for; its body is; or it is being answered."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bytes of a request's line and headers, and seconds in which they must arrive; connections at a time.

    `trusted_proxies` are addresses or networks whose `X-Forwarded-For` says who a client is.
    """

    head_bytes: int
    head_timeout: float
    connections: int
    trusted_proxies: tuple[str, ...] = ()


class Connection(Protocol):
    """What is known of a connection: the client it counts for, and what it is at."""

    @property
    def address(self) -> str:
        """Who it counts for."""

    @property
    def stage(self) -> int:
        """`HEAD_ARRIVING`, `BODY_ARRIVING` or `IN_WORK`."""

    def drop(self) -> None:
        """Close it at once."""


class Connections:
    """At most `most` connections at a time, shared by client.

    Where all places are taken, one that waits for its client makes room: the oldest of the client that has most. So silent
    connections keep nobody out, and who holds few loses none to who holds many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._clients: dict[str, dict[Connection, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, connection: Connection) -> bool:
        """Register a connection; where all places are taken, close one that waits for its client.

        Args:
            connection: The new connection.

        Returns:
            False where none can be closed: all are being answered, or belong to clients with fewer.
        """
        if self._count >= self._most:
            waiting = self._waiting(self._clients.get(connection.address, {}))
            if waiting is None:
                return False
            self.discard(waiting)
            waiting.drop()
        self._clients.setdefault(connection.address, {})[connection] = None
        self._count += 1
        return True

    def discard(self, connection: Connection) -> None:
        """Remove a connection, where it is registered.

        Args:
            connection: Any connection.
        """
        group = self._clients.get(connection.address, {})
        if connection in group:
            del group[connection]
            self._count -= 1
            if not group:
                del self._clients[connection.address]

    def _waiting(self, own: dict[Connection, None]) -> Connection | None:
        """The oldest connection that waits, of the client with most of them: one with more than `own`, or its own."""
        for stage in (HEAD_ARRIVING, BODY_ARRIVING):
            for group in sorted(self._clients.values(), key=len, reverse=True):
                if len(group) <= len(own) and group is not own:
                    continue
                for connection in group:
                    if connection.stage == stage:
                        return connection
        return None


def possible(wanted: int) -> int:
    """Bound a number of connections by the descriptors that the process may open.

    Args:
        wanted: How many are wanted.

    Returns:
        At least 1, at most `wanted`.
    """
    try:
        import resource
    except ImportError:  # Windows, where no connection takes a descriptor
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - SPARE_DESCRIPTORS))
