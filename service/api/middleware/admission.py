"""A photo that would be refused for want of a place is refused before its body is read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.keys import client_of
from service.api.problems import respond
from service.errors import QueueFull
from service.inference.workers import Workers

REFUSALS_PER_S: Final = 20.0
"""Refusals a second that a client has at once; more than that are held back."""
BURST: Final = 20
"""Refusals that a client with few of late has at once, however quickly it asks."""
LONGEST_S: Final = 1.0
"""Seconds that a refusal is held back at most: the least that `Retry-After` asks for."""
MOST_HELD: Final = 128
"""Refusals that are held back at a time, so that memory and connections are bounded; any further one is sent at once."""
REMEMBERED: Final = 4096
"""Clients whose refusals are remembered; beyond it those are forgotten whose next one would not be held back."""


class RefusalPace:
    """How long the next refusal of each client is held back: the generic cell rate algorithm (ITU-T I.371, Annex A).

    A refusal costs as much as a hundredth of a photo. A client that comes back at once, instead of after `Retry-After`, would
    take the CPU that photos need. `clock` gives the time in seconds, and never goes back.
    """

    def __init__(
        self,
        rate: float = REFUSALS_PER_S,
        burst: int = BURST,
        longest: float = LONGEST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval, self._longest, self._clock = 1 / rate, longest, clock
        self._tolerance = burst / rate
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._due)

    def delay(self, client: str) -> float:
        """Count one refusal of a client.

        Args:
            client: Its name.

        Returns:
            Seconds, from 0 to the longest, that it is held back.
        """
        now = self._clock()
        due = min(max(self._due.get(client, now), now) + self._interval, now + self._tolerance + self._longest)
        self._due[client] = due
        if len(self._due) > REMEMBERED:
            self._due = {one: due for one, due in self._due.items() if due + self._interval - now > self._tolerance}
        return max(0.0, due - now - self._tolerance)


class Admission:
    """Asks, for the requests of some paths, whether their client has a place in the queue.

    A refusal then costs neither a body nor a route. A place may be gone once the body is there: the queue asks again.
    """

    def __init__(
        self,
        app: ASGIApp,
        paths: Collection[str],
        workers: Callable[[], Workers],
        pace: RefusalPace | None = None,
        most_held: int = MOST_HELD,
    ) -> None:
        self.app = app
        self._paths, self._workers, self._pace = frozenset(paths), workers, RefusalPace() if pace is None else pace
        self._held, self._most_held = 0, most_held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._paths:
            client = client_of(scope)
            try:
                self._workers().require_place(client)
            except QueueFull as error:
                await self._hold(self._pace.delay(client))
                await respond(error, scope["state"]["request_id"])(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _hold(self, seconds: float) -> None:
        """Wait, unless as many wait as may."""
        if seconds <= 0 or self._held >= self._most_held:
            return
        self._held += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._held -= 1
