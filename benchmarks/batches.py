"""What a batch of phone photos does to requests of one photo that come beside it.

    .venv/bin/python benchmarks/batches.py [--rounds 5]

24 photos of 12 megapixels go to `/predict/batch` in one request. One client sends a portrait after the other meanwhile, and for
as long before it. Rounds alternate, because a shared machine's speed drifts.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import time
from collections import Counter

import httpx
import numpy as np
from capacity import percentiles
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table
from serving import ROOT, end_as_by_ctrl_c, served

PHOTOS = 24
SIZE = (4032, 3024)
PAUSE_S = 0.05
"""Between two single requests."""
OCTETS = {"content-type": "application/octet-stream"}


def phone_photos() -> list[bytes]:
    """Examples, enlarged to 12 megapixels, with grain, as JPEG.

    Returns:
        `PHOTOS` files of 1 to 2 MB.
    """
    sources = [Image.open(path).convert("RGB") for path in sorted((ROOT / "examples").glob("*.jpg"))]
    generator = np.random.default_rng(0)
    made = []
    for index in range(PHOTOS):
        enlarged = ImageOps.fit(sources[index % len(sources)], SIZE if index % 2 else SIZE[::-1], centering=(0.5, 0.3))
        pixels = np.asarray(enlarged, np.float32)
        grain = generator.normal(0, 5, pixels.shape[:2]).astype(np.float32)[..., None]
        file = io.BytesIO()
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
        made.append(file.getvalue())
    return made


async def singles(client: httpx.AsyncClient, photo: bytes, ended: asyncio.Event) -> list[float]:
    """Send a photo again and again.

    Args:
        client: Of the service.
        photo: A file's bytes.
        ended: When to stop.

    Returns:
        Milliseconds of each answer.
    """
    times = []
    while not ended.is_set():
        began = time.perf_counter()
        (await client.post("/predict", content=photo, headers=OCTETS)).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(PAUSE_S)
    return times


async def measure(url: str, rounds: int) -> tuple[list[float], list[float], list[float], Counter[int]]:
    """Alternate between single requests alone and beside a batch.

    Args:
        url: Of the service.
        rounds: Batches, 1 or more.

    Returns:
        Milliseconds of single requests alone and beside a batch, seconds of each batch, and the statuses of its photos.
    """
    single = (ROOT / "examples/obama.jpg").read_bytes()
    files = [("file", (f"{index}.jpg", photo)) for index, photo in enumerate(phone_photos())]
    alone: list[float] = []
    beside: list[float] = []
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        for _ in range(rounds):
            quiet, batched = asyncio.Event(), asyncio.Event()
            asyncio.get_running_loop().call_later(statistics.mean(seconds or [3]), quiet.set)
            alone += await singles(client, single, quiet)
            task = asyncio.create_task(singles(client, single, batched))
            began = time.perf_counter()
            answer = (await client.post("/predict/batch", files=files)).raise_for_status().json()
            seconds.append(time.perf_counter() - began)
            statuses.update(item["status"] for item in answer["results"])
            batched.set()
            beside += await task
    return alone, beside, seconds, statuses


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    end_as_by_ctrl_c()
    with served() as service:
        alone, beside, seconds, statuses = asyncio.run(measure(service.url, rounds))
    table = Table("one photo", "requests", "median [ms]", "95th percentile [ms]")
    figures = [percentiles(times) for times in (alone, beside)]
    for name, times, (median, late) in zip(("alone", "beside a batch"), (alone, beside), figures, strict=True):
        table.add_row(name, f"{len(times)}", f"{median:.0f}", f"{late:.0f}")
    table.add_row("times", "", *(f"{second / first:.2f}" for first, second in zip(*figures, strict=True)))
    console = Console(width=140, markup=False)
    console.print(table)
    console.print(f"a batch of {PHOTOS}: {statistics.median(seconds):.1f} s; statuses of its photos: {dict(statuses)}")


if __name__ == "__main__":
    main()
