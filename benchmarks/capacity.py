"""What one replica can do: photos a second, and CPU seconds a photo, of a service that runs, through its own /predict.

    .venv/bin/python benchmarks/capacity.py [--url http://localhost:8000] [--photo FILE] [--clients 4] [--seconds 10]
        [--rate 50 --cpus 2 --headroom 0.7]

CPU seconds are the service's own and its decoders', from its /metrics, so that they hold on a busy machine too, where the rate
does not. Point it at one replica: behind a load balancer, what is sent and what is counted are not the same process's. A key
comes from FACET_API_KEYS, as the service's own do. With a rate it prints the replicas that docs/capacity.md would take.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
CPU = frozenset({"process_cpu_seconds_total", "facet_decoder_cpu_seconds_total"})
"""What tells the CPU time of a service, and of the processes that decode photos for it."""


def replicas(photos_a_second: float, cpu_s: float, cpus: float = 2, headroom: float = 0.7) -> int:
    """How many replicas a rate takes, with one more so that one may fail; the formula of docs/capacity.md.

    Args:
        photos_a_second: The rate at the peak.
        cpu_s: CPU seconds of a photo.
        cpus: CPUs of a replica.
        headroom: Share of them that is to be in use at the peak, 0 to 1.

    Returns:
        Their number.
    """
    return math.ceil(round(photos_a_second * cpu_s / (cpus * headroom), 9)) + 1  # 0.7 / 0.7 may lie a hair above 1


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile, which is never above the largest value.

    Args:
        values: One or more.

    Returns:
        Both, in the values' unit.
    """
    late = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return statistics.median(values), late


async def cpu_seconds(client: httpx.AsyncClient) -> float:
    """What the service's processes have used since they started."""
    text = (await client.get("/metrics")).raise_for_status().text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name in CPU)


async def post(client: httpx.AsyncClient, photo: bytes, until: float, took: list[float], refused: list[int]) -> None:
    """One client: the next photo as soon as the last one is answered."""
    while time.perf_counter() < until:
        began = time.perf_counter()
        response = await client.post("/predict", content=photo)
        if response.is_success:
            took.append(time.perf_counter() - began)
        else:
            refused.append(response.status_code)
            await asyncio.sleep(0.05)


async def measure(url: str, photo: bytes, clients: int, seconds: float) -> float:
    """Warm up with one photo, measure, print; gives CPU seconds a photo."""
    keys = [key.strip() for key in os.environ.get("FACET_API_KEYS", "").split(",") if key.strip()]
    headers = {"X-API-Key": keys[0]} if keys else {}
    limits = httpx.Limits(max_connections=clients + 1)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:
        (await client.post("/predict", content=photo)).raise_for_status()
        took: list[float] = []
        refused: list[int] = []
        began, used = time.perf_counter(), await cpu_seconds(client)
        await asyncio.gather(*(post(client, photo, began + seconds, took, refused) for _ in range(clients)))
        used, wall = await cpu_seconds(client) - used, time.perf_counter() - began
    if not took:
        raise SystemExit(f"nothing was answered; statuses: {sorted(set(refused))}")
    half, late = percentiles(took)
    console = Console(highlight=False)
    console.print(f"{len(took)} photos in {wall:.1f} s by {clients} clients, {len(refused)} refused")
    console.print(f"{len(took) / wall:.1f} a second; half within {half * 1e3:.0f} ms, 95 % within {late * 1e3:.0f} ms")
    console.print(f"{used / len(took) * 1e3:.1f} ms of CPU a photo: {len(took) / used:.1f} photos a second for each CPU in use")
    return used / len(took)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--photo", type=Path, default=ROOT / "examples/astronaut.jpg")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, help="photos a second at the peak, to plan for")
    parser.add_argument("--cpus", type=float, default=2, help="CPUs of a replica")
    parser.add_argument("--headroom", type=float, default=0.7, help="share of them that is to be in use at the peak")
    given = parser.parse_args()
    try:
        cpu_s = asyncio.run(measure(given.url, given.photo.read_bytes(), given.clients, given.seconds))
    except httpx.HTTPError as error:
        raise SystemExit(f"{given.url} cannot be measured: {error!r}") from error
    if given.rate is not None:
        count = replicas(given.rate, cpu_s, given.cpus, given.headroom)
        Console(highlight=False).print(
            f"{given.rate:g} a second take {count} replicas of {given.cpus:g} CPUs, one of them spare"
        )


if __name__ == "__main__":
    main()
