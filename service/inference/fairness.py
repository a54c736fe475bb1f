"""A fair queue: each client has one of its own, and the client whose work has cost least is next."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

REMEMBERED: Final = 4096
"""Most clients whose past cost is kept; beyond it half are forgotten, those who wait for nothing and have cost least."""
RECENT_S: Final = 5.0
"""Seconds after what it asked for last in which a client still counts as one that asks."""


class FairQueue(Generic[T]):
    """Start-time fair queueing (Goyal, Vin and Cheng, 1996) over clients, each of whom is served first come, first served.

    Every client has a virtual time, which grows with what its work costs. The next item is of the client with the least. Who
    comes back after a pause begins at the virtual time of the others: a pause saves nothing up.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[T]] = {}
        self._spent: dict[str, float] = {}
        self._floor = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def clients(self) -> int:
        """Clients of whom something waits."""
        return len(self._queues)

    def depth(self, client: str) -> int:
        """Count the waiting items of one client.

        Args:
            client: A client's name.

        Returns:
            How many wait.
        """
        return len(self._queues.get(client, ()))

    def push(self, client: str, item: T) -> None:
        """Add an item behind its client's others.

        Args:
            client: A client's name.
            item: What waits.
        """
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = deque()
            self._spent[client] = max(self._spent.get(client, 0.0), self._floor)
        queue.append(item)
        self._count += 1

    def pop(self, passed_over: Callable[[str], bool] = lambda _: False) -> tuple[str, T] | None:
        """Remove the next item.

        Args:
            passed_over: Whether a client has to wait for now.

        Returns:
            The client and its oldest item; None where no other client waits.
        """
        client = min((one for one in self._queues if not passed_over(one)), key=self._spent.__getitem__, default=None)
        if client is None:
            return None
        self._floor = max(self._floor, self._spent[client])
        item = self._queues[client].popleft()
        self._shorten(client)
        return client, item

    def charge(self, client: str, cost: float) -> None:
        """Add to what a client's work has cost.

        Args:
            client: A client's name.
            cost: In any unit that is the same for all; a negative cost takes an estimate back.
        """
        self._spent[client] = max(0.0, self._spent.get(client, self._floor) + cost)
        if len(self._spent) > REMEMBERED:
            dearest = set(heapq.nlargest(REMEMBERED // 2, self._spent, key=self._spent.__getitem__))
            self._spent = {
                one: spent
                for one, spent in self._spent.items()
                if one in self._queues or (one in dearest and spent > self._floor)
            }

    def longest(self) -> str | None:
        """Find the client with the most waiting items.

        Returns:
            Its name, or None where nothing waits.
        """
        return max(self._queues, key=self.depth, default=None)

    def take_last(self, client: str) -> T:
        """Remove a client's newest item.

        Args:
            client: A client's name.

        Returns:
            The item.

        Raises:
            KeyError: None of its items waits.
        """
        item = self._queues[client].pop()
        self._shorten(client)
        return item

    def remove(self, client: str, item: T) -> None:
        """Remove an item, where it still waits.

        Args:
            client: Its client.
            item: What waited.
        """
        queue = self._queues.get(client)
        if queue is not None and item in queue:
            queue.remove(item)
            self._shorten(client)

    def drain(self) -> list[T]:
        """Remove everything that waits.

        Returns:
            The items, client by client.
        """
        items = [item for queue in self._queues.values() for item in queue]
        self._queues.clear()
        self._count = 0
        return items

    def _shorten(self, client: str) -> None:
        self._count -= 1
        if not self._queues[client]:
            del self._queues[client]
