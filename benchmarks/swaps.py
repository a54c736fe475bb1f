"""Models swapped under load: requests that failed, answers that were another model's, and memory from swap to swap.

    .venv/bin/python benchmarks/swaps.py [--swaps 50] [--clients 4] [--models mobilenet/5,mobilefacenet/1]

A service is started whose store holds these models as the versions of one. Clients send photos and batches while it is told to
serve one after the other. Every answer is held to what the model that it names says of that photo where no other model is.
Memory is what no file holds (RssAnon), the allocator's slack with it. It is looked at under load, once the former model has
answered all that it had to, and at rest, seconds after the last answer. It fails where a request failed, an answer was another
model's, or a model's median in the last eleven swaps is 3 % above that in swaps 5 to 15, under load or at rest.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from serving import end_as_by_ctrl_c, served

from service.api.schemas import ModelName, answer
from service.loading import create_engine
from service.models.runtime import Precision
from service.models.store import MANIFEST
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PHOTOS: Final = ("astronaut.jpg", "obama.jpg", "group.jpg")
NAME: Final = "swapped"
KEY: Final = "operator"
FIRST: Final = 5
"""The swap from which on memory has to be flat: before it, every buffer has not yet been as large as it becomes."""
WINDOW: Final = 11
"""Swaps that are compared, from the first and to the last."""
LEAST: Final = FIRST - 1 + 2 * WINDOW
"""Swaps that it takes: with fewer the first and the last ones would be the same, which have not grown."""
REST_S: Final = 4.0
"""How long nobody asks before memory at rest is looked at: the service gives back what is free after two seconds."""
LOOK_S: Final = 0.02
WARM: Final = 200
"""Photos before the first swap: what the detector keeps of each picture size and number of candidates grows at first."""
GROWTH: Final = 0.03
YEARS: Final = 0.6
"""How far an age may be from the same model's of the same photo: bf16 rounds otherwise in a batch of another size."""
SHARE: Final = 0.03
"""The same of a probability."""

DEADLINE_S: Final = 60
"""What a photo may take: the machine may be busy, and how long a swap holds photos up is measured."""

Answer = list[tuple[float, dict[str, float], dict[str, float]]]
"""Age and the probabilities of genders and races, face by face."""


@dataclass
class Outcome:
    """What clients met."""

    answered: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    """Seconds of single photos that were asked while a model was loaded."""
    usual: list[float] = field(default_factory=list)
    """Seconds of all others."""


def make_store(root: Path, models: list[str]) -> None:
    """The models as versions 1, 2 and so on of one; each stays byte for byte what it is, but for its manifest's name.

    Variants are left out: each names its model.
    """
    for version, model in enumerate(models, 1):
        folder = root / NAME / str(version)
        shutil.copytree(ROOT / "model_store" / model, folder, ignore=shutil.ignore_patterns(Precision.INT8.value))
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | {"name": NAME, "version": version}))
    shutil.copytree(ROOT / "model_store/centerface", root / "centerface")


def said(document: dict[str, Any]) -> Answer:
    """The numbers of an answer."""
    return [
        (face["age"]["years"], face["gender"]["probabilities"], face["race"]["probabilities"]) for face in document["faces"]
    ]


def distance(one: Answer, other: Answer) -> float:
    """The farthest that two answers are apart, in units of what rounding may do; endless where the faces are not the same."""
    if len(one) != len(other):
        return float("inf")
    apart = [0.0]
    for (years, *shares), (others, *more) in zip(one, other, strict=True):
        apart.append(abs(years - others) / YEARS)
        apart += [abs(mine[key] - theirs[key]) / SHARE for mine, theirs in zip(shares, more, strict=True) for key in mine]
    return max(apart)


async def alone(root: Path, version: int, photos: list[bytes]) -> list[Answer]:
    """What one model says of each photo in this process."""
    engine = create_engine(Settings(model_store=root, model=NAME, model_version=version))
    options = engine.options(None, None, None)
    answers = []
    for photo in photos:
        document = answer(
            await engine.analyse(photo, options), "", ModelName.of(engine.model), landmarks=False, distribution=False
        )
        answers.append(said(document.model_dump(mode="json", exclude_none=True)))
    await engine.close()
    return answers


def settings(root: Path) -> dict[str, str]:
    """What the service is started with; nobody is refused, so that each request tells what a swap does to it."""
    own = {"MODEL_STORE": root, "MODEL": NAME, "MODEL_VERSION": 1, "OPERATOR_KEYS": KEY, "LOG_LEVEL": "warning"}
    own |= {"DRAIN_DELAY_S": 0, "PHOTO_QUEUE": 200, "DEADLINE_S": DEADLINE_S, "BATCH_DEADLINE_S": DEADLINE_S}
    return {f"FACET_{name}": str(value) for name, value in own.items()}


def resident(process: int) -> float:
    """MiB of a process that no file holds."""
    found = re.search(r"^RssAnon:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


class Clients:
    """Photos and batches, one after the other, but while they are asked to pause."""

    def __init__(self, client: httpx.AsyncClient, photos: list[bytes], expected: dict[int, list[Answer]]) -> None:
        self._client, self._photos, self._expected = client, photos, expected
        self.outcome = Outcome()
        self.going = asyncio.Event()
        self.under_way = 0
        self.loading = False

    def _check(self, document: dict[str, Any], photo: int) -> None:
        version = document["model"]["version"]
        self.outcome.answered[version] += 1
        apart = distance(said(document), self._expected[version][photo])
        if apart > 1:
            self.outcome.mixed.append(f"{PHOTOS[photo]}: said to be version {version}'s, and {apart:.1f} times too far from it")

    async def _ask(self, turn: int, batch: bool) -> None:
        photo = turn % len(self._photos)
        if not batch:
            began, beside = time.perf_counter(), self.loading
            response = await self._client.post("/predict", content=self._photos[photo])
            (self.outcome.beside if beside or self.loading else self.outcome.usual).append(time.perf_counter() - began)
            if not response.is_success:
                self.outcome.failed.append(response.text)
                return
            self._check(response.json(), photo)
            return
        response = await self._client.post(
            "/predict/batch", files=[("file", (name, data)) for name, data in zip(PHOTOS, self._photos, strict=True)]
        )
        results = response.json().get("results", []) if response.is_success else []
        if len(results) != len(self._photos) or any("result" not in one for one in results):
            self.outcome.failed.append(response.text)
            return
        for index, one in enumerate(results):
            self._check(one["result"], index)
        if len({one["result"]["model"]["version"] for one in results}) != 1:
            self.outcome.mixed.append("a batch has answers of several models")

    async def run(self, number: int) -> None:
        """One client, for ever; the first one sends batches."""
        turn = number
        while True:
            await self.going.wait()
            self.under_way += 1
            try:
                await self._ask(turn, number == 0)
            except httpx.HTTPError as error:
                self.outcome.failed.append(repr(error))
            finally:
                self.under_way -= 1
            turn += 1

    def answered(self, count: int) -> Callable[[], bool]:
        """Whether so many more photos are answered than now, or one failed."""
        end = sum(self.outcome.answered.values()) + count
        return lambda: sum(self.outcome.answered.values()) >= end or bool(self.outcome.failed)

    async def pause(self) -> None:
        """Let nobody ask, and wait until the last one is answered."""
        self.going.clear()
        while self.under_way:  # noqa: ASYNC110 - of several clients
            await asyncio.sleep(0.01)


async def median_until(process: int, enough: Callable[[], bool]) -> float:
    """The median of a process's memory over some time, in MiB."""
    found = [resident(process)]
    while not enough():
        await asyncio.sleep(LOOK_S)
        found.append(resident(process))
    return statistics.median(found)


async def measure(swaps: int, count: int, models: list[str], console: Console) -> bool:
    """Swap under load and print; returns whether everything held."""
    photos = [(ROOT / "examples" / name).read_bytes() for name in PHOTOS]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_store(root, models)
        expected = {version: await alone(root, version, photos) for version in range(1, len(models) + 1)}
        nearest = min(
            distance(expected[one][photo], expected[other][photo])
            for photo in range(len(photos))
            for one in expected
            for other in expected
            if one < other
        )
        console.print(
            f"models: {', '.join(models)}; of one photo they are at least {nearest:.1f} times apart what rounding may bring"
        )
        with served(settings=settings(root)) as service:
            async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
                clients = Clients(client, photos, expected)
                tasks = [asyncio.create_task(clients.run(number)) for number in range(count)]
                clients.going.set()
                while sum(clients.outcome.answered.values()) < WARM and not clients.outcome.failed:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                memory, rest = dict[int, float](), dict[int, float]()
                took: list[float] = []
                for swap in range(1, swaps + 1):
                    began, version = time.perf_counter(), swap % len(models) + 1
                    clients.loading = True
                    response = await client.post("/model/reload", params={"version": version}, headers={"X-API-Key": KEY})
                    clients.loading = False
                    took.append(time.perf_counter() - began)
                    if not response.is_success or response.json()["outcome"] != "swapped":
                        clients.outcome.failed.append(response.text)
                    await median_until(service.pid, clients.answered(2 * count))  # each client has met the new model
                    memory[swap] = await median_until(service.pid, clients.answered(2 * count))
                    if swap in compared(swaps):
                        await clients.pause()
                        await asyncio.sleep(REST_S)
                        rest[swap] = resident(service.pid)
                        clients.going.set()
                    if swap % 5 == 0 or swap == 1:
                        console.print(f"swap {swap}: version {version}, {memory[swap]:.1f} MiB under load, {took[-1]:.2f} s")
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                outcome = clients.outcome
    return verdict(outcome, {"under load": memory, "at rest": rest}, took, len(models), console)


def compared(swaps: int) -> set[int]:
    """The swaps whose memory is compared."""
    return {*range(FIRST, FIRST + WINDOW), *range(swaps - WINDOW + 1, swaps + 1)}


def described(found: list[float]) -> str:
    """The median of some looks, and their range."""
    return f"median {statistics.median(found):.1f} MiB ({min(found):.1f} to {max(found):.1f})"


def verdict(outcome: Outcome, looks: dict[str, dict[int, float]], took: list[float], models: int, console: Console) -> bool:
    """Print what was found; returns whether everything held."""
    answered = f"{sum(outcome.answered.values())} photos answered {dict(sorted(outcome.answered.items()))}"
    console.print(f"{answered}; {len(outcome.failed)} failed, {len(outcome.mixed)} mixed")
    for line in (*outcome.failed[:3], *outcome.mixed[:3]):
        console.print(f"  {line[:300]}")
    growth = 0.0
    last = len(took) - WINDOW + 1
    for when, found in looks.items():
        for model in range(models):  # they differ in size: the same one's are compared
            early = [found[swap] for swap in range(FIRST, FIRST + WINDOW) if swap % models == model and swap in found]
            late = [found[swap] for swap in range(last, last + WINDOW) if swap % models == model and swap in found]
            if not early or not late:
                continue
            grown = statistics.median(late) / statistics.median(early) - 1
            growth = max(growth, grown)
            console.print(
                f"version {model + 1} {when}: {described(early)} from swap {FIRST}, {described(late)} at the end, {grown:+.2%}"
            )
    for title, seconds in (("while a model is loaded", outcome.beside), ("otherwise", outcome.usual)):
        ranked = sorted(seconds) or [0.0]
        console.print(f"a photo {title}: half within {ranked[len(ranked) // 2]:.2f} s, the longest {ranked[-1]:.2f} s")
    console.print(f"a swap took {sorted(took)[len(took) // 2]:.2f} s, the longest {max(took):.2f} s")
    held = not outcome.failed and not outcome.mixed and growth < GROWTH and len(outcome.answered) == models
    console.print("held" if held else "NOT held")
    return held


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--models", default="mobilenet/5,mobilefacenet/1")
    given = parser.parse_args()
    if given.swaps < LEAST:
        parser.error(f"memory is compared over {LEAST} swaps or more")
    console = Console(highlight=False, width=160)
    end_as_by_ctrl_c()
    sys.exit(not asyncio.run(measure(given.swaps, given.clients, given.models.split(","), console)))


if __name__ == "__main__":
    main()
