"""What several cameras at a time get, beside a client that posts photos: frames a second, and how old their answers are.

    PYTHONPATH=clients/python/src .venv/bin/python benchmarks/streams.py [--url http://localhost:8000] [--photo FILE]
        [--cameras 0 1 2 4 8] [--seconds 15] [--rounds 3] [--push] [--alone]

Every camera shows the photo moving in 640 by 480 pixels, 15 frames a second, and does as the page does: it sends its newest
frame, waits for the answer and for as long as the service advises. With --push it sends every frame, whatever the answers say,
so that the service has to drop. One client beside them posts the photo again and again, unless they are --alone. The table has
medians over rounds.
CPU milliseconds are the service's own and its decoders', from its /metrics, so that they hold on a busy machine too, where
rates do not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
from capacity import cpu_seconds, percentiles
from rich.console import Console

from facet_client import AsyncClient, FacetClientError, Stream, StreamFrame, UnavailableError

ROOT = Path(__file__).resolve().parent.parent
FPS = 15
COLUMNS = [
    "cameras", "frames/s, all", "each, slowest to fastest", "age of an answer, p50 [ms]", "p95 [ms]", "dropped/s", "problems/s",
    "photos/s", "photo, p50 [ms]", "p95 [ms]", "CPU a frame or photo [ms]",
]  # fmt: skip


@dataclass(slots=True)
class Camera:
    """What one camera saw: how old each answer was [s], frames that were dropped, and problems."""

    ages: list[float] = field(default_factory=list)
    dropped: int = 0
    problems: int = 0

    def heard(self, answer: object, age: float) -> None:
        """Count an answer."""
        if isinstance(answer, StreamFrame):
            self.ages.append(age)
            self.dropped += answer.dropped
        else:
            self.problems += 1


def film(photo: Path) -> list[bytes]:
    """Four seconds of frames, as JPEGs: the photo, 480 pixels high, goes to and fro."""
    picture = cv2.imread(str(photo))
    picture = cv2.resize(picture, (round(480 * picture.shape[1] / picture.shape[0]), 480), interpolation=cv2.INTER_AREA)
    wide = cv2.copyMakeBorder(picture, 0, 0, 640, 640, cv2.BORDER_REPLICATE)
    steps = [*range(30), *range(30, 0, -1)]
    lefts = [640 + (picture.shape[1] - 640) // 2 - 60 + 4 * step for step in steps]
    return [cv2.imencode(".jpg", wide[:, left : left + 640], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes() for left in lefts]


def newest(frames: Sequence[bytes]) -> bytes:
    """What the camera shows now."""
    return frames[int(time.perf_counter() * FPS) % len(frames)]


async def heed(stream: Stream, frames: Sequence[bytes], until: float, seen: Camera) -> None:
    """One frame after the other, as often as the service advises."""
    while time.perf_counter() < until:
        began = time.perf_counter()
        await stream.send(newest(frames))
        answer = await stream.receive()
        seen.heard(answer, time.perf_counter() - began)
        advice = answer.next_in_ms / 1000 if isinstance(answer, StreamFrame) else (answer.retry_after_s or 0)
        await asyncio.sleep(max(advice, began + 1 / FPS - time.perf_counter()))


async def push(stream: Stream, frames: Sequence[bytes], until: float, seen: Camera) -> None:
    """Every frame, whatever the service says."""
    sent: dict[int, float] = {}

    async def hear() -> None:
        while True:
            answer = await stream.receive()
            seen.heard(answer, time.perf_counter() - sent[answer.frame or 0])

    hearing = asyncio.create_task(hear())
    while time.perf_counter() < until:
        began = time.perf_counter()
        sent[await stream.send(newest(frames))] = began
        await asyncio.sleep(max(0.0, began + 1 / FPS - time.perf_counter()))
    hearing.cancel()
    await asyncio.wait([hearing])


async def post(client: AsyncClient, photo: bytes, until: float, took: list[float]) -> None:
    """One photo after the other; a service that is full is asked again by the client itself."""
    while time.perf_counter() < until:
        began = time.perf_counter()
        with suppress(UnavailableError):
            await client.predict(photo)
            took.append(time.perf_counter() - began)


async def used_by(url: str) -> float:
    """CPU seconds that the service's processes have used since they started."""
    async with httpx.AsyncClient(base_url=url) as client:
        return await cpu_seconds(client)


async def measure(
    url: str,
    key: str | None,
    photo: bytes,
    frames: Sequence[bytes],
    cameras: int,
    seconds: float,
    arguments: argparse.Namespace,
) -> list[float]:
    """One round: the numbers of a row, without the first column; not-a-number where there is nothing to say."""
    seen = [Camera() for _ in range(cameras)]
    took: list[float] = []
    async with AsyncClient(url, key=key) as client:
        await client.predict(photo)
        used, until = await used_by(url), time.perf_counter() + seconds

        async def show(camera: Camera) -> None:
            async with client.stream() as stream:
                await (push if arguments.push else heed)(stream, frames, until, camera)

        beside = [] if arguments.alone else [post(client, photo, until, took)]
        await asyncio.gather(*beside, *(show(camera) for camera in seen))
        used = await used_by(url) - used
    ages = [age for camera in seen for age in camera.ages]
    rates = [len(camera.ages) / seconds for camera in seen] or [float("nan")]
    return [
        sum(rates), min(rates), max(rates), *quantiles(ages), sum(camera.dropped for camera in seen) / seconds,
        sum(camera.problems for camera in seen) / seconds, len(took) / seconds, *quantiles(took),
        1000 * used / max(1, len(ages) + len(took)),
    ]  # fmt: skip


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile in milliseconds."""
    if not values:
        return float("nan"), float("nan")
    half, late = percentiles(values)
    return 1000 * half, 1000 * late


async def compare(arguments: argparse.Namespace, photo: bytes, frames: Sequence[bytes]) -> None:
    """Every number of cameras in turn, round after round, so that a busy minute hits them alike; print the table."""
    keys = [key.strip() for key in os.environ.get("FACET_API_KEYS", "").split(",") if key.strip()]
    rounds: dict[int, list[list[float]]] = {count: [] for count in arguments.cameras}
    await used_by(arguments.url)  # whether a service runs is known at once: the client would try again
    for _ in range(arguments.rounds):
        for count, rows in rounds.items():
            key = keys[0] if keys else None
            rows.append(await measure(arguments.url, key, photo, frames, count, arguments.seconds, arguments))
    say = Console(soft_wrap=True, highlight=False).print
    say(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", markup=False)
    for count, rows in rounds.items():
        frames, slowest, fastest, p50, p95, dropped, problems, photos, photo50, photo95, cpu = map(
            statistics.median, zip(*rows, strict=True)
        )
        each = f"{slowest:.1f} to {fastest:.1f}"
        cells = [f"{frames:.1f}", each, f"{p50:.0f}", f"{p95:.0f}", f"{dropped:.1f}", f"{problems:.1f}"] if count else [""] * 6
        beside = [""] * 3 if arguments.alone else [f"{photos:.1f}", f"{photo50:.0f}", f"{photo95:.0f}"]
        row = [str(count), *cells, *beside, f"{cpu:.0f}"]
        say(f"| {' | '.join(row)} |", markup=False)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="http://localhost:8000", help="the service")
    parser.add_argument("--photo", type=Path, default=ROOT / "examples/astronaut.jpg")
    parser.add_argument("--cameras", type=int, nargs="+", default=[0, 1, 2, 4, 8], help="numbers of cameras at a time")
    parser.add_argument("--seconds", type=float, default=15, help="how long each round of each number lasts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--push", action="store_true", help="send every frame, whatever the service advises")
    parser.add_argument("--alone", action="store_true", help="no client posts photos beside the cameras")
    arguments = parser.parse_args()
    try:
        asyncio.run(compare(arguments, arguments.photo.read_bytes(), film(arguments.photo)))
    except (httpx.HTTPError, FacetClientError) as error:
        raise SystemExit(f"{arguments.url} cannot be measured: {error!r}") from error


if __name__ == "__main__":
    main()
