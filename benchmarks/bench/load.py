"""Send photos as many clients do, with Locust, in a process of its own, and print what came back as one line of JSON.

    python -m benchmarks.bench.load URL PHOTO… --clients 8 --seconds 10 [--rate 20] [--pause 0.02]

Without `--rate` the loop is closed: each client sends its next photo once the last one is answered. With it the loop is open:
photos are due at random (Poisson) times, whoever is free sends them, and latency counts from when they were due. So a service
that stalls is charged for the photos that it kept from being sent.
"""

# Locust replaces blocking calls of the standard library when it is imported, so it comes first.
from locust import FastHttpUser, constant  # isort: skip
from locust.env import Environment  # isort: skip

import argparse
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gevent

from benchmarks.bench.tally import BUSY, Tally, percentiles


def due_times(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Times of a Poisson process.

    Args:
        rate: Mean events a second.
        seconds: Its length.
        seed: What makes it repeatable.

    Yields:
        Seconds from the beginning, ascending.
    """
    gaps = random.Random(seed)  # noqa: S311  # times of a test, no secret
    due = gaps.expovariate(rate)
    while due < seconds:
        yield due
        due += gaps.expovariate(rate)


def run(url: str, photos: list[bytes], clients: int, seconds: float, rate: float | None, pause: float | None) -> Tally:
    """Send photos until the time is over, and wait for the last answers.

    Args:
        url: The service.
        photos: Files that take turns.
        clients: Connections; in the open loop the most photos that may be under way.
        seconds: How long photos are sent.
        rate: Photos a second of the open loop; None closes it.
        pause: Seconds before a client of the closed loop comes back after a refusal; None obeys `Retry-After`.

    Returns:
        What came back.
    """
    tally = Tally(seconds)
    order = itertools.cycle(photos)
    began = time.monotonic()
    schedule = iter(()) if rate is None else due_times(rate, seconds, seed=1)

    class Client(FastHttpUser):
        """Sends one photo at a time."""

        host = url
        wait_time = constant(0)
        network_timeout = connection_timeout = 60.0
        max_retries = 0

        def work(self) -> None:
            """Send until the time is over, and then no more."""
            if rate is None:
                while time.monotonic() - began < seconds:
                    self.send(time.monotonic())
            else:
                for due in schedule:
                    gevent.sleep(max(0.0, began + due - time.monotonic()))
                    self.send(began + due)

        def send(self, since: float) -> None:
            """Post the next photo; `since` is when it was due."""
            response = self.client.post("/predict", data=cast("Any", next(order)))  # bytes are sent as they are
            now = time.monotonic()
            tally.add(response.status_code, now - since, now - began)
            if rate is None and response.status_code in BUSY:
                asked = float(str(dict(response.headers or {}).get("Retry-After", 1)))
                left = began + seconds - time.monotonic()
                gevent.sleep(min(asked if pause is None else pause, max(0.0, left)))

    users = [Client(Environment(user_classes=[Client], host=url)) for _ in range(clients)]
    gevent.joinall([gevent.spawn(user.work) for user in users])
    return tally


def peak_mib() -> int:
    """The most memory that this process held; `ru_maxrss` begins with that of the process that started it."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    """Read the arguments, send, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--pause", type=float)
    given = parser.parse_args()
    files = [path.read_bytes() for path in given.photos]
    used, began = time.process_time(), time.monotonic()
    tally = run(given.url, files, given.clients, given.seconds, given.rate, given.pause)
    wall = time.monotonic() - began
    sent = sum(tally.statuses.values())
    sys.stdout.write(
        json.dumps(
            {
                "sent": sent,
                "answered": len(tally.answered),
                "refused": len(tally.refused),
                "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
                "seconds": round(wall, 3),
                "photos_per_second": round(tally.rate, 3),
                "latency_ms": percentiles(tally.answered),
                "refusal_ms": percentiles(tally.refused),
                "generator_cpu_ms": round((time.process_time() - used) / max(sent, 1) * 1000, 3),
                "generator_mib": peak_mib(),
            }
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
