"""How much memory there is, and that photos never take more of it together."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from service.errors import DeadlineExceeded, ImageTooLarge, NotEnoughMemory, NotReady
from service.inference.memory import BUSY_LOOKS, MIB, MemoryBudget, give_back_now_and_then, memory_limit
from service.loading import require_memory, search_bytes
from service.settings import Settings

LATER = 1e12


def test_the_least_limit_of_the_group_and_those_above_it_holds(tmp_path: Path) -> None:
    process = tmp_path / "cgroup"
    process.write_text("5:memory:/jobs/one\n0::/slice/unit\n")
    half, source = memory_limit(tmp_path, process)
    assert "half" in source
    for name, text in (
        ("memory/jobs/memory.limit_in_bytes", "700"),
        ("memory/jobs/one/memory.limit_in_bytes", "9223372036854771712"),
        ("slice/memory.max", "600"),
        ("slice/unit/memory.max", "max"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_limit(tmp_path, process) == (600, "the container's limit")
    (tmp_path / "memory.max").write_text("500")
    assert memory_limit(tmp_path, process)[0] == 500 < half
    (tmp_path / "slice/unit/memory.high").write_text("400")  # as `MemoryHigh=` of a unit of systemd sets it
    assert memory_limit(tmp_path, process)[0] == 400


def test_too_little_memory_is_refused_in_one_line_that_names_what_is_enough() -> None:
    with pytest.raises(NotEnoughMemory, match=r"300 MiB .* at least (\d+) are needed") as refused:
        require_memory(300 * MIB, 120 * MIB, 2, 20 * MIB)
    enough = int(str(refused.value).split("at least ")[1].split()[0])
    assert require_memory(enough * MIB, 120 * MIB, 2, 20 * MIB) >= 48 * MIB
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith("or fewer FACET_WORKERS.")
    with pytest.raises(NotEnoughMemory, match=r"too few for one photo: at least \d+ are needed\.$"):  # fewer cannot be
        require_memory(100 * MIB, 120 * MIB, 1, 20 * MIB)


@pytest.mark.parametrize(
    ("changes", "mebibytes"),
    [({}, 64), ({"detection_side_px": 640}, 64), ({"min_face_px": 12}, 142), ({"detection_side_px": 8192}, 1102)],
)
def test_a_search_of_more_pixels_is_counted_with_what_it_takes(changes: dict[str, float], mebibytes: int) -> None:
    """Measured on a picture of its own size: 20 MiB, 77 with the smaller face, and 998 with the largest side."""
    search = search_bytes(Settings(**changes))
    assert search // MIB == mebibytes
    usual, left = (require_memory(4096 * MIB, 192 * MIB, 2, 20 * MIB, each) for each in (search_bytes(Settings()), search))
    assert usual - left == 2 * (search - 64 * MIB)


def test_photos_together_never_pass_the_budget() -> None:
    budget, lock = MemoryBudget(100), threading.Lock()
    flying, most = 0, 0

    def decode(count: int) -> None:
        nonlocal flying, most
        with budget.take(count, LATER):
            with lock:
                flying += count
                most = max(most, flying)
            time.sleep(0.002)
            with lock:
                flying -= count

    threads = [threading.Thread(target=decode, args=(count,)) for count in (60, 50, 40, 30, 20, 10, 100, 99, 1) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert 60 <= most <= 100


def test_what_never_fits_is_too_large_and_what_does_not_fit_now_is_late() -> None:
    budget = MemoryBudget(100 * MIB)
    with pytest.raises(ImageTooLarge, match="101 MiB of memory to decode; this service has 100"), budget.take(101 * MIB, LATER):
        pass
    with budget.take(60 * MIB, LATER):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded), budget.take(60 * MIB, began + 0.05):
            pass
        assert 0.04 < time.monotonic() - began < 5
        with budget.take(40 * MIB, began):
            pass
    with pytest.raises(ValueError, match="no"), budget.take(100 * MIB, LATER):
        raise ValueError("no")
    with budget.take(100 * MIB, LATER):
        pass


def test_a_small_photo_does_not_overtake_a_large_one_for_ever() -> None:
    budget, order = MemoryBudget(100), list[str]()

    def take(name: str, count: int) -> None:
        with budget.take(count, LATER):
            order.append(name)

    with budget.take(50, LATER):
        threads = [threading.Thread(target=take, args=one) for one in (("large", 90), ("small", 10))]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
    for thread in threads:
        thread.join(timeout=20)
    assert order == ["large", "small"]


def test_a_closed_budget_lets_nobody_wait() -> None:
    budget = MemoryBudget(100)
    with budget.take(100, LATER):
        threading.Timer(0.05, budget.close).start()
        with pytest.raises(NotReady), budget.take(1, LATER):
            pass


HOLES = """
import ctypes
from service.inference.memory import MIB, mappings, resident, tune_allocator

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def filled(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    return block

def network():
    with mappings():
        return [filled(MIB) for _ in range(64)]

tune_allocator()
before = resident()
weights = network()
photo = filled(8 * MIB)  # stays, above what a heap would hold of the network
for block in weights:
    libc.free(block)
print((resident() - before) // MIB)
libc.free(photo)
print((resident() - before) // MIB)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_a_network_that_goes_leaves_no_hole_and_a_photo_its_pages(root: Path) -> None:
    held = subprocess.run([sys.executable, "-c", HOLES], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    network, photo = map(int, held.stdout.split())
    assert 6 <= network < 16
    assert 6 <= photo < 16  # fresh pages would cost the next one time


async def test_freed_memory_is_given_back_once_work_rests() -> None:
    begun, inside, looks, given = [0], [1], [0], list[int]()

    def counted() -> int:
        looks[0] += 1
        return begun[0]

    async def looked(times: int) -> None:
        end = looks[0] + times
        while looks[0] < end:  # noqa: ASYNC110 - of the loop that is tested
            await asyncio.sleep(0)

    resting = asyncio.create_task(give_back_now_and_then(counted, lambda: inside[0], 0, lambda: given.append(begun[0])))
    await looked(5)
    assert given == []  # nothing has begun
    begun[0] = 3
    await looked(5)
    assert given == []  # it is not over
    inside[0] = 0
    await looked(5)
    assert given == [3]  # once
    begun[0] = 4
    await looked(5)
    assert given == [3, 4]
    resting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await resting


async def test_freed_memory_is_given_back_now_and_then_while_work_goes_on() -> None:
    """A service under steady load never rests, and what photos leave in pieces would stay."""
    begun, given = [0], list[int]()

    def counted() -> int:
        begun[0] += 1  # between any two looks
        return begun[0]

    busy = asyncio.create_task(give_back_now_and_then(counted, lambda: 1, 0, lambda: given.append(begun[0])))
    async with asyncio.timeout(20):
        while len(given) < 3:  # noqa: ASYNC110 - of the loop that is tested
            await asyncio.sleep(0)
    between = [later - earlier for earlier, later in pairwise(given)]
    assert min(between) >= BUSY_LOOKS, "not at every look"
    busy.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await busy
