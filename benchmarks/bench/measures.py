"""What a benchmark measures of running services; each function returns rows of a table."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.bench.peers import PeerError, PeerProcess
from benchmarks.bench.variants import Variant
from benchmarks.capacity import percentiles

Row = dict[str, Any]
"""A row of a table: plain values by column."""
PROBE_S = 0.25
"""Seconds between two probes of health under load."""
WARM = 3
"""Photos that are posted before a measurement."""


def median_ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Median over rounds of how many times as long the first took; a busy minute hits both of a round."""
    return statistics.median(one / other for one, other in zip(first, second, strict=True))


def latency(variants: Sequence[Variant], photos: Mapping[str, bytes], rounds: int) -> list[Row]:
    """Post each photo to each service in turn, in changing order.

    Args:
        variants: Services; the last one is what the others are compared with.
        photos: Files by name.
        rounds: How often.

    Returns:
        A row a photo and service: faces, median wall and CPU milliseconds, and how many times as long the service took as the
        last one.
    """
    rows = []
    clients = {one.name: one.client() for one in variants}
    for title, photo in photos.items():
        wall: dict[str, list[float]] = {one.name: [] for one in variants}
        cpu: dict[str, list[float]] = {one.name: [] for one in variants}
        faces: dict[str, int | None] = {}
        for turn in range(rounds + 1):
            for one in variants if turn % 2 else reversed(variants):
                used, began = one.cpu_seconds(), time.perf_counter()
                response = clients[one.name].post("/predict", content=photo)
                took = time.perf_counter() - began
                faces[one.name] = len(response.json()["faces"]) if response.is_success else None
                if turn:  # the first round warms up
                    wall[one.name].append(took * 1000)
                    cpu[one.name].append((one.cpu_seconds() - used) * 1000)
        here = variants[-1].name
        for one in variants:
            answered = faces[one.name] is not None
            rows.append(
                {
                    "photo": title,
                    "service": one.name,
                    "faces": faces[one.name],
                    "ms": round(statistics.median(wall[one.name]), 1) if answered else None,
                    "cpu_ms": round(statistics.mean(cpu[one.name]), 1) if answered else None,
                    "times": round(median_ratio(wall[one.name], wall[here]), 2)
                    if answered and faces[here] is not None
                    else None,
                }
            )
    for client in clients.values():
        client.close()
    return rows


def sizes(variants: Sequence[Variant], photos: Sequence[bytes], rounds: int) -> list[Row]:
    """Post photos of many sizes, each once a round, to each service in turn, in another order each round.

    A runtime prepares itself for a size that it has not met lately, which one photo again and again does not show.

    Args:
        variants: Services; the last one is what the others are compared with.
        photos: Files.
        rounds: How often; the first one counts, too.

    Returns:
        A row a round and service: mean wall milliseconds of a photo, and how many times as long it took as the last service.
    """
    rows: list[Row] = []
    clients = {one.name: one.client() for one in variants}
    for turn in range(rounds):
        wall = dict.fromkeys(clients, 0.0)
        for place, number in enumerate(random.Random(turn).sample(range(len(photos)), len(photos))):  # noqa: S311 - no secret
            for one in variants if (turn + place) % 2 else reversed(variants):
                began = time.perf_counter()
                clients[one.name].post("/predict", content=photos[number]).raise_for_status()
                wall[one.name] += time.perf_counter() - began
        rows += [
            {
                "round": turn + 1,
                "service": name,
                "ms": round(wall[name] * 1000 / len(photos), 1),
                "times": round(wall[name] / wall[variants[-1].name], 2),
            }
            for name in clients
        ]
    for client in clients.values():
        client.close()
    return rows


def beside_peers(one: Variant, peers: Sequence[PeerProcess], photos: Mapping[str, Path], rounds: int) -> list[Row]:
    """Have a service and each peer look at each photo in turn; the service's time includes HTTP, a peer's a line of text.

    Args:
        one: The service, whose name is what the others are compared with.
        peers: Processes of other systems.
        photos: Files by name.
        rounds: How often.

    Returns:
        A row a photo and system: faces, median wall and mean CPU milliseconds, and how many times as long it took as the
        service. A peer that ended has a row with the reason, once.
    """
    rows: list[Row] = []
    left = list(peers)
    with one.client() as client:

        def answered(photo: Path) -> int:
            return len(client.post("/predict", content=photo.read_bytes()).raise_for_status().json()["faces"])

        for title, photo in photos.items():
            systems = {one.name: (answered, one.cpu_seconds)} | {
                peer.name: (peer.faces, Variant(peer.name, "", psutil.Process(peer.pid), 0.0).cpu_seconds) for peer in left
            }
            wall: dict[str, list[float]] = {name: [] for name in systems}
            cpu: dict[str, list[float]] = {name: [] for name in systems}
            faces: dict[str, int] = {}
            for turn in range(rounds + 1):
                for name, (look, cpu_seconds) in list(systems.items())[:: 1 if turn % 2 else -1]:
                    used, began = cpu_seconds(), time.perf_counter()
                    try:
                        faces[name] = look(photo)
                    except PeerError as error:
                        rows.append({"photo": title, "service": name, "note": str(error)})
                        left = [peer for peer in left if peer.name != name]
                        del systems[name]
                        continue
                    if turn:  # the first round warms up
                        wall[name].append((time.perf_counter() - began) * 1000)
                        cpu[name].append((cpu_seconds() - used) * 1000)
            rows += [
                {
                    "photo": title,
                    "service": name,
                    "faces": faces[name],
                    "ms": round(statistics.median(wall[name]), 1),
                    "cpu_ms": round(statistics.mean(cpu[name]), 1),
                    "times": round(median_ratio(wall[name], wall[one.name]), 2),
                }
                for name in systems
            ]
    return rows


def generate(variant: Variant, photos: Sequence[Path], clients: int, seconds: float, *more: str) -> Row:
    """Run the generator of load against a service.

    Args:
        variant: The service.
        photos: Files that take turns.
        clients: Connections.
        seconds: How long photos are sent.
        *more: Further options of `benchmarks.bench.load`.

    Returns:
        What it printed, with the service's CPU milliseconds for each photo that it answered.
    """
    options = ["--clients", str(clients), "--seconds", str(seconds), *more]
    command = [sys.executable, "-m", "benchmarks.bench.load", variant.url, *map(str, photos), *options]
    used = variant.cpu_seconds()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row: Row = json.loads(printed.splitlines()[-1])
    row["cpu_ms"] = round((variant.cpu_seconds() - used) / max(row["answered"], 1) * 1000, 1)
    return row


def warm(variant: Variant, photo: Path) -> None:
    """Let a service see a photo before it is measured."""
    with variant.client() as client:
        for _ in range(WARM):
            client.post("/predict", content=photo.read_bytes())


def closed_loop(variants: Sequence[Variant], photo: Path, clients: Sequence[int], seconds: float) -> list[Row]:
    """Photos a second by the number of clients that wait for their answers; the services take turns.

    Args:
        variants: Services.
        photo: The file that all send.
        clients: Numbers of clients.
        seconds: How long each measurement takes.

    Returns:
        A row a number and service.
    """
    for one in variants:
        warm(one, photo)
    return [
        {"clients": number, "service": one.name, **generate(one, [photo], number, seconds)}
        for number in clients
        for one in variants
    ]


@contextmanager
def probed(variant: Variant) -> Iterator[list[float | None]]:
    """Ask for a service's health again and again until the block ends.

    Probes are due at fixed times. One that a slow answer held up counts from when it was due, as photos of the open loop do.

    Args:
        variant: The service.

    Yields:
        Milliseconds of each probe, complete once the block has ended; None of one without an answer.
    """
    took: list[float | None] = []
    end = threading.Event()

    def ask(client: httpx.Client) -> None:
        due = time.monotonic()
        while not end.wait(max(0.0, due - time.monotonic())):
            try:
                client.get("/health/ready")
            except httpx.TransportError:
                took.append(None)
            else:
                took.append((time.monotonic() - due) * 1000)
            due += PROBE_S
        while (waited := time.monotonic() - due) > 0:  # held up to the end
            took.append(waited * 1000)
            due += PROBE_S

    with variant.client() as client:  # made before a probe is due: it reads the authorities' certificates
        thread = threading.Thread(target=ask, args=(client,))
        thread.start()
        try:
            yield took
        finally:
            end.set()
            thread.join()


def tail(took: Sequence[float | None]) -> Row:
    """The tail of what probes took.

    Args:
        took: Milliseconds of each; None of one without an answer.

    Returns:
        95th percentile and longest of those with an answer, None where there is none, and how many have none.
    """
    there = [one for one in took if one is not None]
    return {
        "p95": round(percentiles(there)[1], 1) if there else None,
        "most": round(max(there), 1) if there else None,
        "lost": len(took) - len(there),
    }


def open_loop(
    variants: Sequence[Variant], photo: Path, capacity: Mapping[str, float], shares: Sequence[float], seconds: float
) -> list[Row]:
    """Answers by the load that is offered, whether or not the service keeps up, and to clients without patience.

    Args:
        variants: Services.
        photo: The file that all send.
        capacity: Photos a second of each service at its best, by name.
        shares: Offered load as shares of that capacity.
        seconds: How long each measurement takes.

    Returns:
        A row a share and service, and one of 64 clients that come back 20 ms after a refusal, whose share is None: answers as
        a share of capacity, latencies from when photos were due, and those of probes.
    """
    rows = []
    for share in (*shares, None):
        for one in variants:
            if share is None:
                clients, more = 64, ("--pause", "0.02")
            else:
                clients, more = 256, ("--rate", str(round(capacity[one.name] * share, 3)))
            with probed(one) as probes:
                row = generate(one, [photo], clients, seconds, *more)
            row["goodput"] = round(row["photos_per_second"] / capacity[one.name], 3)
            row["probe_ms"] = tail(probes)
            rows.append({"offered": share, "service": one.name, **row})
    return rows


def memory(variants: Sequence[Variant], photos: Sequence[Path], counts: Sequence[int], clients: int = 4) -> list[Row]:
    """What services hold after so many photos of every format and size.

    Args:
        variants: Services.
        photos: Files that take turns.
        counts: Photos after which memory is read, ascending.
        clients: Photos at a time.

    Returns:
        A row a count and service: MiB.
    """
    rows = []
    for one in variants:
        sent = 0
        with one.client() as client:
            for count in counts:
                post_many(client, photos, sent, count, clients)
                sent = count
                time.sleep(1)
                rows.append({"photos": count, "service": one.name, "mib": round(one.memory_mib(), 1)})
    return rows


def post_many(client: httpx.Client, photos: Sequence[Path], first: int, last: int, clients: int) -> None:
    """Post the photos of these numbers; whatever is answered is an answer."""

    def post(number: int) -> None:
        client.post("/predict", content=photos[number % len(photos)].read_bytes())

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(post, range(first, last)))  # one without an answer ends it, or fewer would seem to have been sent


def starts(services: Mapping[str, Callable[[], Any]], times: int) -> list[Row]:
    """Start and stop services in turn.

    Args:
        services: What starts each of them, as a context manager of a `Variant`, by name.
        times: How often.

    Returns:
        A row a service: median seconds from its start until it was ready, and MiB that it holds then.
    """
    seconds: dict[str, list[float]] = {name: [] for name in services}
    held: dict[str, list[float]] = {name: [] for name in services}
    for _ in range(times):
        for name, start in services.items():
            with start() as one:
                seconds[name].append(one.ready_s)
                held[name].append(one.memory_mib())
    return [
        {"service": name, "ready_s": round(statistics.median(seconds[name]), 2), "mib": round(statistics.median(held[name]), 1)}
        for name in services
    ]
