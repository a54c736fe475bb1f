"""`facet predict` over a folder: photos a second and CPU a photo beside a service's, and a run that is killed again and again.

    .venv/bin/python benchmarks/folder.py make FOLDER [--photos 20000]
    .venv/bin/python benchmarks/folder.py rate FOLDER [--photos 400] [--rounds 3] [--ray]
    .venv/bin/python benchmarks/folder.py kill FOLDER [--kills 20] [--longest 60]

`make` writes small copies of the examples, no two alike. `rate` sends the same photos, in turn, through the command and through
a service that eight connections keep busy. A run with one photo shows what the start costs, which is subtracted. With `--ray`
the turns are the command's engines instead: local, and Ray with one and with two workers. `kill` ends a run at random moments
and goes on with `--resume` each time. It fails where a photo is missing, is there twice, or memory exceeded its bound.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from PIL import Image
from rich.console import Console
from serving import ROOT, end, end_as_by_ctrl_c, served

CONNECTIONS: Final = 8
"""Connections that keep the service busy."""
MOST_MIB: Final = 700
"""Most memory of a run, whatever the number of photos."""
A_FOLDER: Final = 500
"""Photos in each folder of `make`."""
TIMEOUT_S: Final = 300
"""Seconds that a photo may take: the machine may be busy, and speed is what is compared."""
MARK: Final = "BENCHMARK_RUN"
"""A variable that tells the processes of one run from others."""
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds on the clock, seconds of CPU, and the most memory in MiB."""

    wall: float
    cpu: float
    memory: float = 0.0


def make(folder: Path, count: int) -> None:
    """Write photos of 200 to 360 pixels: examples cut, reduced and saved in another quality each time."""
    names = ("astronaut", "casar", "khanna", "lieu", "matsui", "underwood", "waters", "obama", "group")
    examples = [Image.open(ROOT / f"examples/{name}.jpg").convert("RGB") for name in names]
    examples = [image.resize((480, 480 * image.height // image.width)) for image in examples]
    chance = random.Random(17)  # noqa: S311 - no secret
    for index in range(count):
        image = examples[index % len(examples)]
        left, top, right, bottom = (chance.uniform(0, 0.06) for _ in range(4))
        width, height = image.size
        cut = (int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height))
        side = chance.randint(200, 360)
        path = folder / f"{index // A_FOLDER:03d}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((side, side * (cut[3] - cut[1]) // (cut[2] - cut[0])), box=cut).save(path, quality=chance.randint(70, 92))


def photos_in(folder: Path) -> list[Path]:
    """All photos of `make`, by name."""
    return sorted(folder.glob("*/*.jpg"))


@contextlib.contextmanager
def started(mark: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`facet predict` of this checkout, without settings, so that a run can be repeated; it ends with the block."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    variables |= {"PYTHONPATH": str(ROOT), MARK: mark}
    line = [sys.executable, "-m", "service.cli", "predict", *map(str, arguments)]
    process = subprocess.Popen(line, cwd=ROOT, env=variables, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end(process)


def run(photos: Sequence[Path], *options: str) -> Cost:
    """What the command costs for these photos; of Ray, all of its processes."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "names.txt"
        listed.write_text("".join(f"{photo}\n" for photo in photos))
        began = time.perf_counter()
        mark = uuid.uuid4().hex
        with started(mark, "--from", listed, "--out", Path(folder) / "faces.jsonl", *options) as process:
            watched = _Watched(process.pid, mark)
            status = process.wait()
            wall = time.perf_counter() - began
        if status:
            raise SystemExit(f"the command ended with {status}")
        return Cost(wall, watched.stop(), watched.memory)


class _Watched:
    """A process and all that it starts, by a variable of their environment: seconds of CPU, and memory of the first."""

    def __init__(self, pid: int, mark: str) -> None:
        self._pid, self._mark = pid, f"{MARK}={mark}".encode()
        self._others: dict[str, bool] = {}
        self._seconds: dict[str, float] = {}
        self.memory = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for place in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):  # it has ended, or is another user's
                    if place.name not in self._others:
                        self._others[place.name] = self._mark not in (place / "environ").read_bytes().split(b"\0")
                    if not self._others[place.name]:
                        self._seconds[place.name] = cpu_seconds(place.name)
            with contextlib.suppress(OSError):
                self.memory = max(self.memory, memory_mib(self._pid))

    def stop(self) -> float:
        """Seconds of CPU until now."""
        self._ended.set()
        self._thread.join()
        return sum(self._seconds.values())


def cpu_seconds(pid: int | str) -> float:
    """Seconds that a process has computed, in itself and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family_seconds(pid: int) -> float:
    """Seconds of a process and of its children, those that decode among them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(cpu_seconds(child) for child in children)


def memory_mib(pid: int | str) -> float:
    """Memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def posted(photos: Sequence[Path], url: str, pid: int) -> Cost:
    """What a service costs for these photos, posted by as many connections as keep it busy."""
    address = urlsplit(url)
    names: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for photo in photos:
        names.put(photo)
    statuses: list[int] = []

    def post() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_S)
        while True:
            try:
                photo = names.get_nowait()
            except queue.Empty:
                return connection.close()
            connection.request("POST", "/predict", photo.read_bytes(), {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)

    began, before = time.perf_counter(), family_seconds(pid)
    threads = [threading.Thread(target=post) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, used = time.perf_counter() - began, family_seconds(pid) - before
    if Counter(statuses) != {200: len(photos)}:
        raise SystemExit(f"the service answered {Counter(statuses)}")
    return Cost(wall, used, memory_mib(pid))


def rate(photos: Sequence[Path], rounds: int, ray: bool) -> None:
    """Measure the ways in turn and print medians, and the medians of each round's ratios to the first way."""
    one = photos[:1]

    def without_start(*options: str) -> Cost:
        whole, start = run(photos, *options), run(one, *options)
        return Cost(whole.wall - start.wall, whole.cpu - start.cpu, whole.memory)

    def measured(ways: dict[str, Callable[[], Cost]]) -> None:
        costs: dict[str, list[Cost]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, cost in ways.items():
                costs[way].append(cost())
        first = costs[next(iter(ways))]
        for way, found in costs.items():
            wall, cpu = (statistics.median(getattr(one, name) for one in found) for name in ("wall", "cpu"))
            slower = statistics.median(one.wall / base.wall for one, base in zip(found, first, strict=True))
            dearer = statistics.median(one.cpu / base.cpu for one, base in zip(found, first, strict=True))
            console.print(
                f"{way}: {len(photos) / wall:.1f} photos a second, {cpu / len(photos) * 1e3:.1f} ms of CPU a photo; "
                f"{slower:.2f} of the first way's time, {dearer:.2f} of its CPU; {max(one.memory for one in found):.0f} MiB"
            )

    ways: dict[str, Callable[[], Cost]] = {"local": without_start}
    if ray:
        for count in ("1", "2"):
            ways[f"Ray, workers: {count}"] = partial(without_start, "--engine", "ray", "--workers", count)
        measured(ways)
        return
    with served(
        settings={"FACET_PHOTO_QUEUE": "200", "FACET_DEADLINE_S": str(TIMEOUT_S), "FACET_BATCH_DEADLINE_S": str(TIMEOUT_S)}
    ) as service:
        posted(photos[: 4 * CONNECTIONS], service.url, service.pid)
        measured({"service": lambda: posted(photos, service.url, service.pid), "command": without_start})


def works_since(out: Path, at: float) -> bool:
    """Whether a run has begun to answer since a moment: it has taken the lock of the table's parts."""
    lock = out.with_name(f"{out.name}.parts") / "lock"
    return lock.exists() and lock.stat().st_mtime >= at


def kill(folder: Path, kills: int, longest: float) -> None:
    """Kill the command again and again, let the last run end, and hold the table to the folder."""
    chance = random.Random()  # noqa: S311 - no secret
    memory = 0.0
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        out = Path(place) / "faces.jsonl"
        began = time.perf_counter()
        for attempt in range(kills + 1):
            mark, at = uuid.uuid4().hex, time.time()
            with started(mark, folder, "--recursive", "--out", out, "--resume") as process:
                watched = _Watched(process.pid, mark)
                while not works_since(out, at) and process.poll() is None:  # the start is no part of what is drawn at random
                    time.sleep(0.1)
                try:
                    process.wait(chance.uniform(0, longest) if attempt < kills else None)
                    if attempt < kills:
                        raise SystemExit(
                            f"the run ended by itself after {attempt} kills: give more photos, or a shorter --longest"
                        )
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            watched.stop()
            memory = max(memory, watched.memory)
            console.print(f"run {attempt + 1}: {time.perf_counter() - began:.0f} s since the start, {watched.memory:.0f} MiB")
        rows = [json.loads(line) for line in out.open()]
    faces: dict[str, list[int | None]] = {}
    for row in rows:
        faces.setdefault(row["file"], []).append(row["face"])
    missing = {str(photo) for photo in photos_in(folder)} ^ faces.keys()
    twice = [name for name, numbers in faces.items() if numbers not in ([None], list(range(len(numbers))))]
    failed = sum(row["problem"] is not None for row in rows)
    console.print(f"{kills} kills, {len(faces):,} photos, {len(rows):,} rows, {failed} failed; {memory:.0f} MiB at most")
    if missing or twice or memory > MOST_MIB:
        raise SystemExit(f"{len(missing)} photos are missing or too many, {len(twice)} are there twice, {memory:.0f} MiB")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("make", "rate", "kill"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=60.0)
    given = parser.parse_args()
    end_as_by_ctrl_c()
    if given.what == "make":
        make(given.folder, given.photos or 20_000)
    elif given.what == "rate":
        rate(photos_in(given.folder)[: given.photos or 400], given.rounds, given.ray)
    else:
        kill(given.folder, given.kills, given.longest)


if __name__ == "__main__":
    main()
