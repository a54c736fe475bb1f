"""Whether a polite client keeps its share of a service beside greedy ones, over HTTP.

    .venv/bin/python benchmarks/fairness.py [--seconds 30]

Two polite clients send the next photo when the last one is answered. Beside them come, in turn: one client with 40
connections, four clients with photos of a crowd, and one with batches of 24. Every client has a key of its own. The fair
share is what the service answers at saturation, divided by the number of clients. A polite client may not use all of it with
its one connection, so that the least of its fair share and of what it gets alone is its due. It must keep half of its due.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import httpx
from PIL import Image
from rich.console import Console
from rich.table import Table
from serving import ROOT, end_as_by_ctrl_c, served

POLITE = ("polite-1", "polite-2")
GREEDY = ("greedy-1", "greedy-2", "greedy-3", "greedy-4")
SEATS = 32
"""Connections that saturate the service."""
LEAST = 0.5
"""The part of its due that a polite client keeps."""
PAUSE_S = 0.05
"""Seconds before a refused photo is sent again: far less than `Retry-After` asks for."""
WARM_UP_S = 3.0


@dataclass(slots=True)
class Load:
    """One kind of traffic, of several clients at once, against a service."""

    url: str
    seconds: float

    async def run(
        self, *senders: tuple[str, int, Callable[[httpx.AsyncClient], Coroutine[None, None, int]]]
    ) -> dict[str, float]:
        """Send for a while.

        Args:
            senders: A client's key, its number of connections, and a request, which returns a status, or a negative number
                of photos answered.

        Returns:
            Photos a second by key.
        """
        answered = {key: 0 for key, _, _ in senders}
        began = time.perf_counter() + WARM_UP_S
        ends = began + self.seconds

        async def connection(key: str, request: Callable[[httpx.AsyncClient], Coroutine[None, None, int]]) -> None:
            async with httpx.AsyncClient(base_url=self.url, headers={"X-API-Key": key}, timeout=60) as client:
                while time.perf_counter() < ends:
                    result = await request(client)
                    if result < 0 and began < time.perf_counter() < ends:
                        answered[key] -= result
                    if result >= 0:
                        await asyncio.sleep(PAUSE_S)

        await asyncio.gather(*(connection(key, request) for key, seats, request in senders for _ in range(seats)))
        return {key: photos / self.seconds for key, photos in answered.items()}


def jpeg(picture: Image.Image) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def crowd() -> bytes:
    """A photo of about a hundred faces: the group of seven, side by side."""
    group = Image.open(ROOT / "examples/group.jpg").convert("RGB").resize((640, 480))
    picture = Image.new("RGB", (640 * 4, 480 * 4))
    for place in range(16):
        picture.paste(group, (640 * (place % 4), 480 * (place // 4)))
    return jpeg(picture)


def one(photo: bytes) -> Callable[[httpx.AsyncClient], Coroutine[None, None, int]]:
    """A request of one photo."""

    async def send(client: httpx.AsyncClient) -> int:
        try:
            response = await client.post("/predict", content=photo)
        except httpx.TransportError:
            return 0
        return -1 if response.is_success else response.status_code

    return send


def batch(photo: bytes, count: int) -> Callable[[httpx.AsyncClient], Coroutine[None, None, int]]:
    """A request of many photos at once."""
    files = [("file", (f"{number}.jpg", photo, "image/jpeg")) for number in range(count)]

    async def send(client: httpx.AsyncClient) -> int:
        try:
            response = await client.post("/predict/batch", files=files)
        except httpx.TransportError:
            return 0
        if not response.is_success:
            return response.status_code
        statuses = [item["status"] for item in response.json()["results"]]
        return -statuses.count(200) or statuses[0]

    return send


async def measure(url: str, seconds: float, console: Console) -> bool:
    """Measure every mix, print it, and say whether all polite clients kept half of their due."""
    load = Load(url, seconds)
    portrait = one((ROOT / "examples/astronaut.jpg").read_bytes())
    mixes = {
        "one client with 40 connections": [("greedy-1", 40, portrait)],
        "four clients with crowds, 8 connections each": [(key, 8, one(crowd())) for key in GREEDY],
        "one client with batches of 24, 4 connections": [
            ("greedy-1", 4, batch((ROOT / "examples/astronaut.jpg").read_bytes(), 24))
        ],
    }
    table = Table("beside two polite clients", "alone", "at saturation", "fair share", "polite", "greedy", "of its due")
    kept = True
    for title, greedy in mixes.items():
        alone = (await load.run((POLITE[0], 1, portrait)))[POLITE[0]]
        saturated = (await load.run((POLITE[0], SEATS, portrait)))[POLITE[0]]
        fair = saturated / (len(POLITE) + len(greedy))
        rates = await load.run(*((key, 1, portrait) for key in POLITE), *greedy)
        polite = [rates[key] for key in POLITE]
        share = min(polite) / min(fair, alone)
        kept &= share >= LEAST
        others = sum(rates.values()) - sum(polite)
        table.add_row(
            title, f"{alone:.1f}", f"{saturated:.1f}", f"{fair:.1f}", " ".join(f"{rate:.1f}" for rate in polite),
            f"{others:.1f}", f"{share:.0%}",
        )  # fmt: skip
    console.print(table)
    return kept


def main() -> None:
    """Read the options, measure, and end with a verdict."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    console = Console(width=140, highlight=False, markup=False)
    end_as_by_ctrl_c()
    with served(settings={"FACET_API_KEYS": ",".join(POLITE + GREEDY)}) as service:
        kept = asyncio.run(measure(service.url, given.seconds, console))
    console.print(
        "every polite client kept at least half of its due" if kept else "a polite client got less than half of its due"
    )
    raise SystemExit(not kept)


if __name__ == "__main__":
    main()
