"""Crops of many callers in one batch, and to each its own answer, whatever the others do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import DeadlineExceeded, InferenceError, NotReady, QueueFull
from service.inference.batching import SHARED, SIZES, Batcher, Outputs, _most
from tests.fakes import FailingNetwork, GatedNetwork

Pixels = npt.NDArray[np.uint8]

LATER = 1e9
"""A deadline that never comes."""


def crop(number: int, side: int = 4) -> Pixels:
    """A crop that shows its number."""
    return np.full((side, side, 3), [number >> 16 & 255, number >> 8 & 255, number & 255], np.uint8)


@dataclass
class Reader:
    """A network that reads the numbers off its crops; `gate`, where closed, holds it up."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    read: list[list[int]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __call__(self, batch: Pixels) -> dict[str, npt.NDArray[np.float32]]:
        self.shapes.append(batch.shape)
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        assert self.gate.wait(timeout=30)
        corner = batch[:, 0, 0].astype(np.float32)
        number = corner @ np.float32([65536, 256, 1])
        self.read.append([int(value) for value in number])
        return {"number": number, "twice": np.stack([number, 2 * number], axis=1)}


def open_reader() -> Reader:
    reader = Reader()
    reader.gate.set()
    return reader


def numbers(outputs: Sequence[Outputs]) -> list[int]:
    """What was read, after a check that all outputs of a crop belong together."""
    for output in outputs:
        assert output["twice"].tolist() == [output["number"], 2 * output["number"]]
    return [int(output["number"]) for output in outputs]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the event loop or another thread to bring it about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells a test when
            await asyncio.sleep(0.001)


# Batches ----------------------------------------------------------------------------------------------------------------


async def test_outputs_come_in_the_order_of_the_crops() -> None:
    batcher = Batcher(open_reader(), 100)
    assert numbers(await batcher.submit([crop(n) for n in (5, 1, 70000, 3)], LATER)) == [5, 1, 70000, 3]
    await batcher.close()


async def test_no_crops_have_no_outputs_and_run_nothing() -> None:
    reader = open_reader()
    batcher = Batcher(reader, 100)
    assert await batcher.submit([], LATER) == []
    assert reader.shapes == []
    await batcher.close()


@pytest.mark.parametrize(
    ("count", "padded", "counted"),
    [
        (1, [1], [1]),
        (2, [2], [2]),
        (3, [4], [3]),
        (5, [4, 1], [4, 1]),
        (6, [8], [6]),
        (9, [8, 1], [8, 1]),
        (11, [8, 4], [8, 3]),
        (12, [16], [12]),
        (16, [16], [16]),
        (20, [16, 4], [16, 4]),
        (29, [16, 16], [16, 13]),
    ],
)
async def test_batches_are_of_the_sizes_that_were_warmed_and_hardly_padded(
    count: int, padded: list[int], counted: list[int]
) -> None:
    reader, heard = open_reader(), list[int]()
    batcher = Batcher(reader, 100, heard.append)
    assert numbers(await batcher.submit([crop(n) for n in range(count)], LATER)) == list(range(count))
    assert reader.shapes == [(size, 4, 4, 3) for size in padded]
    assert heard == counted, "crops, without the padding"
    await batcher.close()


def test_no_batch_has_more_padding_than_a_quarter() -> None:
    for waiting in range(1, 200):
        taken = _most(waiting)
        size = next(size for size in SIZES if size >= taken)
        assert 0 < taken <= waiting
        assert size - taken <= size / 4


async def test_more_crops_than_the_largest_batch_take_several() -> None:
    reader = open_reader()
    batcher = Batcher(reader, 10)
    assert numbers(await batcher.submit([crop(n) for n in range(75)], LATER)) == list(range(75))
    assert [shape[0] for shape in reader.shapes] == [16, 16, 16, 16, 8, 4]
    await batcher.close()


async def test_warming_runs_every_size_on_the_networks_own_thread() -> None:
    reader = open_reader()
    batcher = Batcher(reader, 10)
    batcher.warm(24)
    assert reader.shapes == [(size, 24, 24, 3) for size in SIZES]
    await batcher.submit([crop(1)], LATER)
    assert len(reader.threads) == 1
    assert threading.current_thread().name not in reader.threads
    await batcher.close()


async def test_what_gathers_while_a_batch_runs_is_the_next_batch() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    first = asyncio.create_task(batcher.submit([crop(0)], LATER))
    await until(reader.entered.is_set)
    others = [asyncio.create_task(batcher.submit([crop(10 * n), crop(10 * n + 1)], LATER)) for n in range(1, 6)]
    await until(lambda: batcher.waiting == 10)
    assert batcher.busy_for() > 0
    reader.gate.set()
    assert numbers(await first) == [0]
    assert [numbers(await other) for other in others] == [[10, 11], [20, 21], [30, 31], [40, 41], [50, 51]]
    assert [shape[0] for shape in reader.shapes] == [1, 8, 2]
    assert batcher.waiting == 0
    assert batcher.busy_for() == 0
    await batcher.close()


async def test_the_oldest_go_first() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    callers = [asyncio.create_task(batcher.submit([crop(0)], LATER))]
    await until(reader.entered.is_set)
    callers += [asyncio.create_task(batcher.submit([crop(n)], LATER)) for n in range(1, 41)]
    await until(lambda: batcher.waiting == 40)
    reader.gate.set()
    assert [numbers(await caller) for caller in callers] == [[n] for n in range(41)]
    assert reader.read == [[0], list(range(1, 17)), list(range(17, 33)), list(range(33, 41))]
    await batcher.close()


# Callers ----------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_caller_gets_its_own_answers_whatever_the_others_do(data: st.DataObject) -> None:
    """Callers arrive at any moment with any number of crops; some leave, some are late."""
    callers = data.draw(
        st.lists(
            st.tuples(
                st.integers(0, 6),  # turns of the event loop before it arrives
                st.integers(0, 40),  # crops
                st.sampled_from(["stays", "stays", "stays", "leaves", "late"]),
                st.integers(0, 6),  # turns before it leaves
            ),
            min_size=1,
            max_size=12,
        )
    )
    heard: list[int] = []

    async def caller(batcher: Batcher, index: int) -> None:
        arrival, count, fate, patience = callers[index]
        for _ in range(arrival):
            await asyncio.sleep(0)
        wanted = [1000 * (index + 1) + n for n in range(count)]
        task = asyncio.create_task(batcher.submit([crop(n) for n in wanted], -1.0 if fate == "late" else LATER))
        if fate == "leaves":
            for _ in range(patience):
                await asyncio.sleep(0)
            task.cancel()
        try:
            assert numbers(await task) == wanted
            assert fate != "late" or not wanted
        except asyncio.CancelledError:
            assert fate == "leaves"
        except DeadlineExceeded:
            assert fate == "late"

    async def scene() -> None:
        batcher = Batcher(open_reader(), 10_000, heard.append)
        async with asyncio.timeout(20):
            await asyncio.gather(*(caller(batcher, index) for index in range(len(callers))))
            await batcher.close()
        assert batcher.waiting == 0

    asyncio.run(scene())
    assert all(1 <= count <= SIZES[-1] for count in heard)
    assert sum(heard) <= sum(count for _, count, fate, _ in callers if fate != "late")


async def test_a_caller_that_leaves_does_not_touch_its_batch_mates() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    blocker = asyncio.create_task(batcher.submit([crop(0)], LATER))
    await until(reader.entered.is_set)
    callers = [asyncio.create_task(batcher.submit([crop(10 * n), crop(10 * n + 1)], LATER)) for n in range(1, 4)]
    await until(lambda: batcher.waiting == 6)
    callers[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[1]
    reader.gate.set()
    assert numbers(await blocker) == [0]
    assert numbers(await callers[0]) == [10, 11]
    assert numbers(await callers[2]) == [30, 31]
    assert reader.shapes[-1][0] == 4, "its crops no longer run"
    await batcher.close()


async def test_a_caller_that_leaves_while_its_batch_runs_does_not_stop_it() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    one = asyncio.create_task(batcher.submit([crop(1)], LATER))
    await until(reader.entered.is_set)
    other = asyncio.create_task(batcher.submit([crop(2)], LATER))
    await until(lambda: batcher.waiting == 1)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    reader.gate.set()
    assert numbers(await other) == [2]
    await batcher.close()


async def test_a_crop_whose_turn_comes_too_late_never_runs() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    now = asyncio.get_running_loop().time()
    first = asyncio.create_task(batcher.submit([crop(1)], LATER))
    await until(reader.entered.is_set)
    late = asyncio.create_task(batcher.submit([crop(2)], now + 0.02))
    timely = asyncio.create_task(batcher.submit([crop(3)], now + 60))
    await asyncio.sleep(0.05)
    reader.gate.set()
    with pytest.raises(DeadlineExceeded):
        await late
    assert numbers(await first) == [1]
    assert numbers(await timely) == [3]
    assert [shape[0] for shape in reader.shapes] == [1, 1]
    await batcher.close()


async def test_a_full_line_refuses_at_once_and_serves_again_later() -> None:
    reader = Reader()
    batcher = Batcher(reader, 4)
    running = asyncio.create_task(batcher.submit([crop(0)], LATER))
    await until(reader.entered.is_set)
    waiting = asyncio.create_task(batcher.submit([crop(1), crop(2), crop(3)], LATER))
    await until(lambda: batcher.waiting == 3)
    with pytest.raises(QueueFull):
        await batcher.submit([crop(4), crop(5)], LATER)
    last = asyncio.create_task(batcher.submit([crop(6)], LATER))
    await until(lambda: batcher.waiting == 4)
    with pytest.raises(QueueFull):
        await batcher.submit([crop(7)], LATER)
    reader.gate.set()
    assert numbers(await running) == [0]
    assert numbers(await waiting) == [1, 2, 3]
    assert numbers(await last) == [6]
    assert numbers(await batcher.submit([crop(8)], LATER)) == [8]
    await batcher.close()


async def test_a_crowd_larger_than_the_line_is_served_where_nobody_waits() -> None:
    """Or a photo with more faces than the line is long would be refused for ever."""
    batcher = Batcher(open_reader(), 4)
    assert numbers(await batcher.submit([crop(n) for n in range(9)], LATER)) == list(range(9))
    await batcher.close()


# Failure ----------------------------------------------------------------------------------------------------------------

RED, GREY = np.full((4, 4, 3), [255, 0, 0], np.uint8), np.full((4, 4, 3), 90, np.uint8)


@pytest.mark.parametrize("how", [RuntimeError("secret path /model"), MemoryError(), None])
async def test_a_failing_batch_fails_alone(how: Exception | None) -> None:
    batcher = Batcher(FailingNetwork(how), 100)
    for _ in range(2):
        with pytest.raises(InferenceError) as caught:
            await batcher.submit([GREY, RED], LATER)
        assert "secret" not in str(caught.value)
        (answer,) = await batcher.submit([GREY], LATER)
        assert answer["age"] == pytest.approx(90 / 255 * 100)
    await batcher.close()


async def test_everybody_in_a_failing_batch_is_told() -> None:
    class Failing(GatedNetwork):
        def __call__(self, batch: Pixels) -> dict[str, npt.NDArray[np.float32]]:
            super().__call__(batch)
            raise RuntimeError("no")

    network = Failing()
    batcher = Batcher(network, 100)
    callers = [asyncio.create_task(batcher.submit([GREY], LATER))]
    await until(network.entered.is_set)
    callers += [asyncio.create_task(batcher.submit([GREY, GREY], LATER)) for _ in range(3)]
    await until(lambda: batcher.waiting == 6)
    callers[2].cancel()
    network.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [InferenceError, InferenceError, asyncio.CancelledError, InferenceError]
    assert len({id(result) for result in results}) == 4, "one each: a traceback grows where it is raised"
    await batcher.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 2])
async def test_what_is_not_a_number_is_a_failure(value: float, row: int) -> None:
    def run(batch: Pixels) -> dict[str, npt.NDArray[np.float32]]:
        answers = np.zeros((len(batch), 2), np.float32)
        answers[row, 1] = value
        return {"race": answers}

    batcher = Batcher(run, 10)
    with pytest.raises(InferenceError, match="number"):
        await batcher.submit([GREY] * 3, LATER)
    await batcher.close()


async def test_what_the_padding_answers_does_not_matter() -> None:
    def run(batch: Pixels) -> dict[str, npt.NDArray[np.float32]]:
        answers = np.zeros(len(batch), np.float32)
        answers[3:] = np.nan
        return {"age": answers}

    batcher = Batcher(run, 10)
    assert len(await batcher.submit([GREY] * 3, LATER)) == 3
    await batcher.close()


async def test_an_answer_for_fewer_crops_is_a_failure() -> None:
    batcher = Batcher(lambda batch: {"age": np.zeros(len(batch) - 1, np.float32)}, 10)
    with pytest.raises(InferenceError):
        await batcher.submit([GREY, GREY], LATER)
    await batcher.close()


# The end ----------------------------------------------------------------------------------------------------------------


async def test_closing_finishes_what_waits_and_takes_no_more() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    callers = [asyncio.create_task(batcher.submit([crop(n)], LATER)) for n in range(40)]
    await until(reader.entered.is_set)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await batcher.submit([crop(99)], LATER)
    assert not closing.done()
    reader.gate.set()
    await closing
    assert [numbers(await caller) for caller in callers] == [[n] for n in range(40)]


async def test_closing_an_idle_one_is_quick() -> None:
    batcher = Batcher(open_reader(), 10)
    await batcher.close()
    with pytest.raises(NotReady):
        await batcher.submit([crop(1)], LATER)


async def test_a_crowds_batches_are_short_while_others_ask() -> None:
    reader = Reader()
    batcher = Batcher(reader, 100)
    first = asyncio.create_task(batcher.submit([crop(1)], LATER, "polite"))
    await until(reader.entered.is_set)
    crowd = asyncio.create_task(batcher.submit([crop(n) for n in range(100, 140)], LATER, "crowd"))
    await until(lambda: batcher.waiting == 40)
    polite = asyncio.create_task(batcher.submit([crop(2)], LATER, "polite"))
    await until(lambda: batcher.waiting == 41)
    reader.gate.set()
    assert numbers(await polite) == [2]
    assert any(2 in batch for batch in reader.read[:3]), "the polite client's crop is in the next batch"
    await asyncio.gather(first, crowd)
    assert {len(numbers) for numbers in reader.read[1:]} == {SHARED, 1}
    await batcher.close()


async def test_a_crowd_alone_has_the_largest_batches() -> None:
    reader = open_reader()
    batcher = Batcher(reader, 100)
    await batcher.submit([crop(n) for n in range(64)], LATER, "crowd")
    assert [shape[0] for shape in reader.shapes] == [16] * 4
    await batcher.close()


async def test_a_crowd_does_not_shut_out_a_client_that_keeps_to_its_share() -> None:
    with GatedNetwork() as network:
        batcher = Batcher(network, 10)
        crowd = asyncio.create_task(batcher.submit([crop(1)] * 60, LATER, "crowd"))
        await until(lambda: network.entered.is_set() and batcher.waiting == 44)
        with pytest.raises(QueueFull):
            await batcher.submit([crop(2)] * 9, LATER, "another crowd")
        polite = asyncio.create_task(batcher.submit([crop(3)], LATER, "polite"))
        await until(lambda: batcher.waiting == 45)
    assert len(await polite) == 1
    assert len(await crowd) == 60
    await batcher.close()
