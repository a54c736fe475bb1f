"""POST /predict/batch: a result or a problem for every file, in order; one bad file fails alone."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

import pytest

from tests.client import (
    CANARY,
    Client,
    assert_problem,
    assert_problem_document,
    disposition,
    multipart,
    same,
    serving,
    until,
    years,
)
from tests.conftest import encoded
from tests.fakes import ColourNetwork, GatedNetwork, SquareDetector, engine_factory, squares


def red(value: int) -> bytes:
    return encoded(squares((value, 60, 60)))


def files(*photos: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("file", (f"{CANARY}-{index}.png", photo, "image/png")) for index, photo in enumerate(photos)]


async def post(client: Client, *photos: bytes, query: str = "") -> list[dict[str, Any]]:
    response = await client.post(f"/predict/batch?{query}", files=files(*photos))
    assert response.status_code == 200, response.text
    answer = response.json()
    assert list(answer) == ["request_id", "results"]
    assert answer["request_id"] == response.headers["x-request-id"]
    assert [result["index"] for result in answer["results"]] == list(range(len(photos)))
    for result in answer["results"]:
        document = result.get("result") or result["problem"]
        assert document["request_id"] == answer["request_id"]
    return answer["results"]


async def rejections(client: Client, code: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f'facet_rejections_total{{code="{code}"}}'))


async def test_what_stands_in_a_photos_place_is_told_as_for_one_photo(client: Client) -> None:
    places = (b"photo.jpg", base64.b64encode(red(120)), b"hello")
    before = await rejections(client, "unsupported_format")
    results = await post(client, *places)
    for place, result in zip(places, results, strict=True):
        alone = (await client.post("/predict", files=files(place))).json()
        assert (result["problem"]["code"], result["problem"]["detail"]) == ("unsupported_format", alone["detail"])
    assert len({result["problem"]["detail"] for result in results}) == 3
    assert await rejections(client, "unsupported_format") == before + 6


async def test_every_photo_gets_its_own_answer_in_order(client: Client) -> None:
    photos = [red(value) for value in (250, 80, 160, 120, 200)]
    results = await post(client, *photos)
    assert [result["status"] for result in results] == [200] * 5
    for photo, result in zip(photos, results, strict=True):
        assert list(result) == ["index", "status", "result"]
        alone = (await client.post("/predict", content=photo)).json()
        assert same(result["result"]) == same(alone)
    assert len({years(result["result"]["faces"][0]) for result in results}) == 5


async def test_bad_files_fail_alone(client: Client) -> None:
    bad = {
        1: (b"", 400, "empty_file"),
        2: (f"{CANARY} is no image".encode(), 415, "unsupported_format"),
        4: (red(90)[:-40], 422, "corrupt_image"),
        5: (encoded(squares()[:10, :10]), 422, "image_too_small"),
    }
    photos = [bad[index][0] if index in bad else red(100 + 20 * index) for index in range(7)]
    results = await post(client, *photos)
    for index, result in enumerate(results):
        if index in bad:
            assert list(result) == ["index", "status", "problem"]
            assert_problem_document(result["problem"], *bad[index][1:])
            assert result["status"] == bad[index][1]
        else:
            assert result["status"] == 200
            assert years(result["result"]["faces"][0]) == pytest.approx((100 + 20 * index) / 255 * 95.4, abs=1)


async def test_a_photo_that_breaks_the_detector_fails_alone() -> None:
    class Delicate(SquareDetector):
        def detect(self, pixels: Any) -> Any:
            if pixels.shape[1] > 100:
                raise ZeroDivisionError(CANARY)
            return super().detect(pixels)

    async with serving(engine_factory(detector=Delicate())) as client:
        results = await post(client, red(100), encoded(squares((90, 90, 90), (90, 90, 90))), red(200))
        assert [result["status"] for result in results] == [200, 500, 200]
        assert_problem_document(results[1]["problem"], 500, "inference_failed")


async def test_photos_without_faces_and_with_several(client: Client) -> None:
    results = await post(
        client, encoded(squares()), encoded(squares((200, 9, 9), (90, 9, 9), (150, 9, 9))), encoded(squares()), red(120)
    )
    assert [len(result["result"]["faces"]) for result in results] == [0, 3, 0, 1]
    ages = [years(face) for face in results[1]["result"]["faces"]]
    assert ages == [pytest.approx(value / 255 * 95.4, abs=1) for value in (200, 90, 150)]


async def test_parameters_hold_for_every_photo(client: Client) -> None:
    results = await post(client, red(100), red(200), query="attributes=gender&landmarks=true&max_faces=1")
    for result in results:
        (face,) = result["result"]["faces"]
        assert "landmarks" in face
        assert "gender" in face
        assert "age" not in face


async def test_thirty_two_files_pass_and_thirty_three_do_not(client: Client) -> None:
    photo = red(200)
    assert len(await post(client, *[photo] * 32)) == 32
    assert_problem(await client.post("/predict/batch", files=files(*[photo] * 33)), 400, "too_many_fields")


async def test_the_operators_number_of_files_counts() -> None:
    async with serving(max_batch_files=2) as client:
        assert_problem(await client.post("/predict/batch", files=files(*[red(200)] * 3)), 400, "too_many_fields")


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({}, 400, "missing_file"),
        (multipart(), 400, "missing_file"),
        (multipart((disposition(), b"x"), end=b""), 400, "malformed_multipart"),
        (multipart(*[(disposition(f"f{i}"), b"") for i in range(9)]), 400, "too_many_fields"),
        ({"json": {"image": "!"}}, 400, "malformed_base64"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"content": b"x", "headers": {"content-encoding": "gzip"}}, 415, "unsupported_encoding"),
    ],
)
async def test_a_request_that_cannot_be_taken_apart_fails_whole(
    client: Client, arguments: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(await client.post("/predict/batch", **arguments), status, code)


async def test_a_large_batch_does_not_fill_the_queue_by_itself() -> None:
    """The photos of one request take turns, so that it is not refused where the service is idle."""
    async with serving(photo_queue=0, workers=2) as client:
        assert [result["status"] for result in await post(client, *[red(200)] * 20)] == [200] * 20


async def test_what_is_late_in_a_batch_is_504_alone() -> None:
    network = GatedNetwork()
    async with serving(engine_factory(network), deadline_s=0.2) as client:
        with network:
            results = await post(client, red(100), encoded(squares()), red(200))
        assert [result["status"] for result in results] == [504, 200, 504]
        assert_problem_document(results[0]["problem"], 504, "deadline_exceeded")
        assert [result["status"] for result in await post(client, red(100), red(200))] == [200, 200]


class SlowNetwork(ColourNetwork):
    def __call__(self, batch: Any) -> Any:
        time.sleep(0.3)
        return super().__call__(batch)


class SlowDetector(SquareDetector):
    def detect(self, pixels: Any) -> Any:
        time.sleep(0.3)
        return super().detect(pixels)


@pytest.mark.parametrize("slow", [{"network": SlowNetwork()}, {"detector": SlowDetector()}], ids=["network", "detector"])
async def test_a_batch_has_a_bound_for_all_its_photos(slow: dict[str, Any]) -> None:
    """What would be answered too late is not begun, and waits in no line: there is room for none here."""
    async with serving(engine_factory(**slow), workers=2, photo_queue=0, batch_deadline_s=1) as client:
        before, began = await rejections(client, "deadline_exceeded"), time.monotonic()
        results = await post(client, *[red(200)] * 32)
        assert 0.9 < time.monotonic() - began < 3
        statuses = [result["status"] for result in results]
        assert set(statuses) == {200, 504}
        assert (statuses[0], statuses[-10:]) == (200, [504] * 10)
        for result in results:
            if result["status"] == 504:
                assert_problem_document(result["problem"], 504, "deadline_exceeded")
        assert await rejections(client, "deadline_exceeded") == before + statuses.count(504)
        await until(lambda: client.engine.workers.inside == 0)
        assert (await client.post("/predict", content=red(200))).status_code == 200


async def test_the_deadline_of_a_photo_counts_from_its_turn() -> None:
    """All of them together take longer than one may."""
    async with serving(engine_factory(detector=SlowDetector()), workers=2, deadline_s=3) as client:
        began = time.monotonic()
        assert {result["status"] for result in await post(client, *[red(200)] * 30)} == {200}
        assert time.monotonic() - began > 3


class NotingDetector(SquareDetector):
    """Waits for the gate once, and notes the width of every picture in the order in which it is searched."""

    def __init__(self) -> None:
        self.gate, self.widths = threading.Event(), list[int]()

    def detect(self, pixels: Any) -> Any:
        self.gate.wait(30)
        self.widths.append(pixels.shape[1])
        return super().detect(pixels)


async def test_a_photo_finds_its_turn_between_those_of_a_batch() -> None:
    """Whoever sends it: it waits for those alone that were in work when it came."""
    detector = NotingDetector()
    async with serving(engine_factory(detector=detector), workers=2) as client:
        batch = asyncio.create_task(post(client, *[red(200)] * 30))
        await until(lambda: client.engine.workers.inside == 2)
        single = asyncio.create_task(client.post("/predict", content=encoded(squares((90, 90, 90), (90, 90, 90)))))
        await until(lambda: client.engine.workers.inside == 3)
        detector.gate.set()
        assert (await single).status_code == 200
        assert {result["status"] for result in await batch} == {200}
    (place,) = [index for index, width in enumerate(detector.widths) if width > 100]
    assert place <= 4
    assert len(detector.widths) == 31


async def test_a_batch_ends_soon_where_the_service_stops() -> None:
    async with serving(engine_factory(detector=SlowDetector()), workers=2, deadline_s=0.8) as client:
        batch = asyncio.create_task(post(client, *[red(200)] * 30))
        await until(lambda: client.engine.workers.inside == 2)
        client.engine.drain()
        statuses = [result["status"] for result in await batch]
        assert statuses[0] == 200
        assert statuses[-10:] == [503] * 10


async def test_photos_do_not_outlive_a_batch_that_fails_whole() -> None:
    """A manifest with fewer races than its network is a fault that nobody foresees."""
    race = {"name": "race", "kind": "labels", "labels": ["one", "two"], "outputs": ["race"]}
    async with serving(engine_factory(detector=SlowDetector(), attributes=[race])) as client:
        before = asyncio.all_tasks()
        response = await client.post("/predict/batch", files=files(red(200), *[encoded(squares())] * 9))
        assert_problem(response, 500, "internal_error")
        assert asyncio.all_tasks() <= before


async def test_problems_of_a_batch_are_counted(client: Client) -> None:
    before = await rejections(client, "unsupported_format")
    await post(client, b"one", red(100), b"two")
    assert await rejections(client, "unsupported_format") == before + 2
