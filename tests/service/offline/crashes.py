"""Runs `facet predict --out` again and again, killed at a random one of its file operations, until one run ends by itself.

`python -m tests.service.offline.crashes PHOTOS OUT SEED` prints how often it was killed. Each run is a fork, so that nothing is
imported twice.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from tests.service.offline.made import predict

EVENTS = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link"})


def killed_at(place: str, count: int) -> None:
    """Kill this process at the `count`th operation on files whose path begins with `place`."""
    left = count

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS and isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(place):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main(photos: Path, out: Path, seed: int) -> int:
    """Run until a run ends by itself; how many were killed."""
    chance = random.Random(seed)
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            killed_at(str(out.parent / "faces"), chance.randint(1, 14) if kills < 12 else 0)
            predict(photos, out=out, resume=True, photos_a_part=3)
            os._exit(0)
        chance.random()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            kills += 1
        elif status == 0:
            return kills
        else:
            raise RuntimeError(f"a run ended with {status}")


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))}\n")
