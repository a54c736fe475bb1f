"""The bytes of all bodies under way: who is let in, whose place ends for another's, and what each counts for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from service.errors import QueueFull
from service.inference.smoothing import SmoothedMean

STALL_S: Final = 1.0
"""Seconds without a byte after which a body counts for what has arrived of it, and no longer for what it declared."""
WINDOW: Final = 64 * 1024
"""Least that a body without a declared length counts for, in bytes."""
RECENT_S: Final = 30.0
"""Seconds after its last body for which a client still counts as one that asks."""
SHARE: Final = 0.75
"""Part of all bytes that one client may hold while others ask, too."""


@dataclass(slots=True, eq=False)
class Body:
    """A body under way: its client, its declared bytes or None, what has arrived, and when, on the event loop's clock.

    `receipt` is the time in which its next bytes must come; `displaced` says that it lost its place.
    """

    client: str
    declared: int | None
    began: float
    last: float
    arrived: int = 0
    complete: bool = False
    displaced: bool = False
    receipt: asyncio.Timeout | None = field(default=None, repr=False)

    def charge(self, now: float) -> int:
        """Bytes that the body counts for: all that it declared while it arrives, else what has arrived.

        Args:
            now: Time of the event loop's clock, in seconds.

        Returns:
            Bytes.
        """
        if self.complete or now - self.last >= STALL_S:
            return self.arrived
        return max(self.arrived, WINDOW if self.declared is None else self.declared)


class BodyBudget:
    """At most `total` bytes of bodies at a time. Who comes first is let in whole, and the rest is refused at once.

    A body that stands still counts for no more than has arrived. A newcomer takes the place of the newest unfinished bodies of
    clients who hold more than it would. While others ask, too, nobody holds more than three quarters.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._bodies: dict[Body, None] = {}
        self._recent: dict[str, float] = {}
        self._mean = SmoothedMean(1.0)

    def admit(self, client: str, declared: int | None, now: float) -> Body:
        """Reserve the bytes of a body.

        Args:
            client: Whose body it is.
            declared: Its length in bytes, or None where its headers do not declare one.
            now: Time of the event loop's clock, in seconds.

        Returns:
            The body, to be given back by `leave`.

        Raises:
            QueueFull: It does not fit beside the other bodies.
        """
        body = Body(client, declared, now, now)
        need = body.charge(now)
        if not need:
            return body
        self._recent = {one: last for one, last in self._recent.items() if now - last < RECENT_S} | {client: now}
        held = {one: one.charge(now) for one in self._bodies}
        own = sum(size for one, size in held.items() if one.client == client)
        if len(self._recent) > 1 and own and own + need > SHARE * self._total:
            raise self._full()
        if (lacking := sum(held.values()) + need - self._total) > 0:
            self._displace(held, own + need, lacking)
        self._bodies[body] = None
        return body

    def arrive(self, body: Body, count: int, now: float) -> None:
        """Count bytes of a body that have arrived.

        Args:
            body: What `admit` returned.
            count: Bytes.
            now: Time of the event loop's clock, in seconds.

        Raises:
            QueueFull: The body lost its place to another client's, or stalled and no longer fits.
        """
        if body.displaced:
            raise self._full()
        counted = body.charge(now)
        body.arrived, body.last = body.arrived + count, now
        if body.charge(now) > counted and sum(one.charge(now) for one in self._bodies) > self._total:
            raise self._full()

    def leave(self, body: Body, now: float) -> None:
        """Give back what a body held.

        Args:
            body: What `admit` returned.
            now: Time of the event loop's clock, in seconds.
        """
        if body in self._bodies:
            del self._bodies[body]
            self._mean.add(now - body.began)

    def _displace(self, held: dict[Body, int], above: int, lacking: int) -> None:
        """End unfinished bodies, the newest first, of clients that hold more than `above` bytes, until `lacking` are free.

        Raises `QueueFull`, and ends none, where that is not enough.
        """
        holdings: dict[str, int] = {}
        for one, size in held.items():
            holdings[one.client] = holdings.get(one.client, 0) + size
        chosen: list[Body] = []
        for one in reversed(held):
            if lacking > 0 and not one.complete and holdings[one.client] - held[one] >= above:
                holdings[one.client] -= held[one]
                lacking -= held[one]
                chosen.append(one)
        if lacking > 0:
            raise self._full()
        for one in chosen:
            one.displaced = True
            self._bodies.pop(one)
            if one.receipt is not None and not one.receipt.expired():  # one that has cannot be set to another time
                one.receipt.reschedule(asyncio.get_running_loop().time())

    def _full(self) -> QueueFull:
        return QueueFull("Too many bytes are being received.", self._mean.value)
