"""Run the tests in processes of their own, three at a time, within a bound of memory, and sum up as pytest does.

A process gives back what TensorFlow and OpenVINO have taken, as nothing else does: in one process the whole suite grew to
6.5 GB. A folder is one process, since its tests share what is dear to make; the files of training, which fit networks, get
one each, as do some that hold most of what their folder would. Those of training come last, two at a time, forked from one
that has imported TensorFlow, which takes as long as most of them. Others wait for services and browsers for a third of their
time, so that three keep two CPUs busy. The small model that tests of several folders serve is written once, before them all.
Arguments are pytest's; where they name files, pytest alone is run on those.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import groupby
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parent.parent
AT_ONCE: Final = 3
BUSY_AT_ONCE: Final = 2
"""Processes of `ALONE` at a time: each keeps a CPU busy."""
MEMORY_MIB: Final = 2048
"""What all processes of the tests together may hold at any time; pages that several share count once."""
FIRST: Final = (
    "service/models/runtime",
    "browser",
    "deploy",
    "service",
    "training/comparison",
    "training/models",
    "training/test_attributes",
    "training/evaluation",
    "training/fit",
)
"""What takes longest begins first, so that no process is left alone at the end; before it what fits beside nothing."""
OWN: Final = (
    "tests/service/models/runtime/test_parity.py",
    "tests/service/offline/test_ray_data.py",
    "tests/service/vision/detection/test_mtcnn.py",
)
"""Files with a process each: beside what they hold, the rest of their folder is small."""
ALONE: Final = ("tests/training",)
CHILDREN: Final = threading.Lock()
"""Held where multiprocessing looks at its children: a start looks at all, and would take another thread's exit status."""
MOST_MIB: Final = {
    "tests": 560,
    "tests/benchmarks": 350,
    "tests/browser": 1100,
    "tests/clients": 520,
    "tests/deploy": 560,
    "tests/docs": 450,
    "tests/recipes": 430,
    "tests/service": 640,
    "tests/service/inference": 790,
    "tests/service/models": 200,
    "tests/service/models/runtime": 330,
    "tests/service/models/runtime/test_parity.py": 1850,
    "tests/service/offline": 380,
    "tests/service/offline/test_ray_data.py": 1250,
    "tests/service/precision": 270,
    "tests/service/server": 640,
    "tests/service/tracking": 170,
    "tests/service/web": 140,
    "tests/service/api": 780,
    "tests/service/api/compat": 370,
    "tests/service/video": 700,
    "tests/service/vision": 420,
    "tests/service/vision/detection": 740,
    "tests/service/vision/detection/test_mtcnn.py": 1270,
    "tests/soak": 270,
    "tests/training/calibration/test_tracks.py": 720,
    "tests/training/calibration/test_versions.py": 980,
    "tests/training/comparison/test_run.py": 1010,
    "tests/training/datasets": 330,
    "tests/training/evaluation": 330,
    "tests/training/evaluation/test_evaluate.py": 1100,
    "tests/training/evaluation/test_robustness.py": 850,
    "tests/training/export/test_export.py": 650,
    "tests/training/fit/test_distillation.py": 520,
    "tests/training/fit/test_face_embeddings.py": 520,
    "tests/training/fit/test_search.py": 580,
    "tests/training/fit/test_smote.py": 490,
    "tests/training/fit/test_systems.py": 910,
    "tests/training/fit/test_train.py": 730,
    "tests/training/fit/test_weight_conversion.py": 580,
    "tests/training/models/test_age_head.py": 950,
    "tests/training/models/test_architectures.py": 920,
    "tests/training/models/test_heads.py": 680,
    "tests/training/models/test_learning.py": 1310,
    "tests/training/test_attributes.py": 1220,
    "tests/training/test_command_line.py": 720,
    "tests/training/test_provenance.py": 660,
}
"""What the large ones hold at their most, measured one by one, and a tenth. One begins when it fits beside what runs."""
TRAINING_MIB: Final = 400
"""What any other file of training holds, with its share of what it was forked with."""
FORKED_MIB: Final = 420
"""What the process that they are forked from holds, which stays until the end. Two forks share a third of it, which is
left free: a machine was seen on which each process held a tenth more than where these were measured.
"""
ANY_MIB: Final = 500
"""What any other may hold."""
CONTAINERS: Final = "tests/deploy"
"""These wait for the images of `.ci/with_docker.py`, while the file is there that `ENGINE_PENDING` names."""
SECONDS_BETWEEN_GLANCES, SECONDS_BETWEEN_LOOKS = 0.5, 2.0
"""Sizes of processes are glanced at; to look, and share out their pages, takes the kernel a twentieth of a second, at every
glance a CPU's tenth. So that is done where processes have grown by what may make more than ever, and now and then.
"""
APART: Final = frozenset({"tests/browser", CONTAINERS})
"""Only one of these runs at a time: Chromium drops its requests when the networks of containers come and go."""
OUTCOMES: Final = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
NONE_COLLECTED: Final = 5
# Large blocks go back to the system at once; by default glibc learns to keep those of up to 32 MiB.
MALLOC: Final = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(2**17), "MALLOC_TRIM_THRESHOLD_": str(2**20)}


def groups(tests: Path) -> list[list[str]]:
    """The test files, relative to the checkout, of each process."""
    files = sorted(path.relative_to(ROOT) for path in tests.rglob("test_*.py"))
    chosen = []
    for folder, inside in groupby(files, lambda path: path.parent):
        names = [str(path) for path in inside]
        own = names if str(folder).startswith(ALONE) else [name for name in names if name in OWN]
        shared = [name for name in names if name not in own]
        chosen += [*([name] for name in own), *([shared] if shared else [])]

    def turn(names: list[str]) -> int:
        places = [index for index, room in enumerate(FIRST) if names[0].startswith(f"tests/{room}")]
        return places[0] if places else len(FIRST)

    return sorted(chosen, key=turn)


def parents() -> dict[int, int]:
    """The parent of each process by its number; nothing where the system has no /proc."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    return found


def family(root: int, parent_of: Mapping[int, int]) -> set[int]:
    """A process and all that descend from it."""
    found = {root}
    while more := {child for child, parent in parent_of.items() if parent in found} - found:
        found |= more
    return found


def held(process: int) -> float:
    """MiB that a process holds, 0 once it has ended; pages that several processes share count in part."""
    try:
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def resident(process: int) -> float:
    """MiB that a process has in memory, 0 once it has ended; pages that several processes share count for each."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def title_of(names: list[str]) -> str:
    """What the process of these files is called: the one file that has a process to itself, or the folder."""
    return names[0] if names[0].startswith((*ALONE, *OWN)) else str(Path(names[0]).parent)


def needed(title: str) -> int:
    """MiB that a process may come to hold."""
    if title.startswith(ALONE):
        return MOST_MIB.get(title, MOST_MIB.get(str(Path(title).parent), TRAINING_MIB))
    return MOST_MIB.get(title, ANY_MIB)


class Watch:
    """Lets processes begin that fit into memory together; knows the most that was held, and what ran then."""

    def __init__(self) -> None:
        self.peak, self.during = 0.0, list[str]()
        self.peaks: Counter[str] = Counter()
        self.processes: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._forking = False
        self._changed = threading.Condition()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def take(self, waiting: list[list[str]]) -> list[str] | None:
        """Wait until some of the waiting files fit beside what runs, and take the first of them; None where none is left."""
        with self._changed:
            while waiting:
                pending = Path(os.environ.get("ENGINE_PENDING", "")).is_file()
                ready = [names for names in waiting if not (pending and title_of(names) == CONTAINERS)]
                for names in ready:
                    if self.fits(title_of(names)) or not self._running:  # nothing would ever make more room
                        waiting.remove(names)
                        self._running[title_of(names)] = needed(title_of(names))
                        self._forking |= title_of(names).startswith(ALONE)
                        return names
                self._changed.wait(1 if pending else None)
            return None

    def fits(self, title: str) -> bool:
        """Whether a process may begin beside what runs."""
        apart = title in APART and bool(APART & set(self._running))
        alone = title.startswith(ALONE)
        busy = alone and sum(one.startswith(ALONE) for one in self._running) >= BUSY_AT_ONCE
        most = MEMORY_MIB - FORKED_MIB * (alone or self._forking)
        return not apart and not busy and sum(self._running.values(), needed(title)) <= most

    def finish(self, title: str) -> None:
        """Give back what this took."""
        with self._changed:
            self.processes.pop(title, None)
            del self._running[title]
            self._changed.notify_all()

    def _look(self) -> None:
        sizes: dict[int, float] = {}
        found, at = 0.0, -SECONDS_BETWEEN_LOOKS
        while not self._end.wait(SECONDS_BETWEEN_GLANCES):
            parent_of = parents()
            now = {process: resident(process) for process in family(os.getpid(), parent_of)}
            grown = sum(max(0.0, size - sizes.get(process, 0.0)) for process, size in now.items())
            if found + grown > self.peak or time.monotonic() - at >= SECONDS_BETWEEN_LOOKS:
                found, sizes, at = self._held(now, parent_of), now, time.monotonic()

    def _held(self, processes: Iterable[int], parent_of: Mapping[int, int]) -> float:
        """MiB that all hold together; notes what is more than ever."""
        shares = {process: held(process) for process in processes}
        for title, process in tuple(self.processes.items()):
            own = sum(shares.get(one, 0) for one in family(process, parent_of))
            self.peaks[title] = max(self.peaks[title], round(own))
        total = sum(shares.values())
        if total > self.peak:
            self.peak, self.during = total, sorted(self._running)
        return total


def counted(output: str) -> Counter[str] | None:
    """The counts of pytest's closing line, by outcome; None where there is none."""
    closing = re.search(r"^=* ?((?:\d+ [a-z]+(?:, )?)+|no tests ran) in [\d.]+s.*$", output.rstrip().rpartition("\n")[2])
    if closing is None:
        return None
    return Counter({word.rstrip("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", closing[1])})


def closing_line(counts: Counter[str], seconds: float) -> str:
    """One line of all counts, as pytest's own."""
    plural = {"warning", "error"}
    parts = [f"{counts[kind]} {kind}{'s' * (kind in plural and counts[kind] > 1)}" for kind in OUTCOMES if counts[kind]]
    minutes, rest = divmod(int(seconds), 60)
    clock = f" ({minutes // 60}:{minutes % 60:02}:{rest:02})" if seconds >= 60 else ""
    return f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s{clock} ".center(80, "=")


def started(arguments: list[str], log: str, watch: Watch, title: str) -> int:
    """Run pytest in a new interpreter, which writes into a file; return its exit status."""
    command = [sys.executable, "-m", "pytest", *arguments]
    with Path(log).open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT) as process:
        watch.processes[title] = process.pid
        return process.wait()


def forked(arguments: list[str], log: str, watch: Watch, title: str) -> int:
    """The same in a copy of the process that has the imports."""
    process = multiprocessing.get_context("forkserver").Process(target=pytest_into, args=(arguments, log))
    with CHILDREN:
        process.start()
    watch.processes[title] = process.pid or 0
    wait([process.sentinel])
    with CHILDREN:
        process.join()
    return 1 if process.exitcode is None else process.exitcode


def pytest_into(arguments: list[str], log: str) -> NoReturn:
    """Run pytest in this process, and end it."""
    import pytest

    file = os.open(log, os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(ROOT)
    raise SystemExit(pytest.main(arguments))


def run(names: list[str], arguments: list[str], watch: Watch) -> Counter[str]:
    """Run pytest on these files, write what it has to say, and return its counts."""
    title = title_of(names)
    began = time.monotonic()
    command = ["-q", "--color=no", *arguments, *names]
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        way = forked if title.startswith(ALONE) and sys.platform == "linux" else started
        status = way(command, log.name, watch, title)
        output = log.read()
    watch.finish(title)
    counts = counted(output)
    if counts is None:
        counts = Counter({"error": 1})
    cost = f"{time.monotonic() - began:.0f} s with its start"
    if watch.peaks[title]:  # others ended before a look
        cost += f", at most {watch.peaks[title]} MiB of {needed(title)}"
    lines = [f"{title}: {output.rstrip().rpartition(chr(10))[2]} ({cost})"]
    if status not in (0, NONE_COLLECTED):
        counts["error"] += not (counts["failed"] or counts["error"])
        lines = [f"{'=' * 30} {title} {'=' * 30}", output.rstrip()]
    else:
        lines += [line for line in output.splitlines() if line.startswith(("SKIPPED", "XFAIL"))]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
    return counts


def write_tiny_store(folder: str) -> None:
    """Write the small model once for all processes, each of which would import TensorFlow for it, and keep that."""
    if find_spec("tensorflow") is not None:
        subprocess.run([sys.executable, "-m", "tests.tiny_model", folder], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
        os.environ["TINY_STORE"] = folder


def main(arguments: list[str]) -> int:
    """Run everything; return the exit status."""
    if any((ROOT / word.partition("::")[0]).exists() for word in arguments):
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode
    with tempfile.TemporaryDirectory() as folder:
        return run_all(arguments, folder)


def run_all(arguments: list[str], folder: str) -> int:
    """Run all files, in processes that share what is written into the folder; return the exit status."""
    began, total, chosen = time.monotonic(), Counter[str](), groups(ROOT / "tests")
    write_tiny_store(folder)
    os.environ.update(MALLOC | os.environ)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.preload"])

    def work(watch: Watch, waiting: list[list[str]]) -> Counter[str]:
        counts = Counter[str]()
        while (names := watch.take(waiting)) is not None:
            counts += run(names, arguments, watch)
        return counts

    with Watch() as watch, ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = sorted(chosen, key=lambda names: title_of(names).startswith(ALONE))
        for part in [pool.submit(work, watch, waiting) for _ in range(AT_ONCE)]:
            total += part.result()
    sys.stdout.write(f"At most {watch.peak:.0f} MiB were held at a time, during {', '.join(watch.during)}.\n")
    if watch.peak > MEMORY_MIB:
        sys.stdout.write(f"That is more than the {MEMORY_MIB} MiB that the tests may take.\n")
        total["error"] += 1
    sys.stdout.write(closing_line(total, time.monotonic() - began) + "\n")
    return int(bool(total["failed"] or total["error"] or not total["passed"]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
