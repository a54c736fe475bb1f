"""`facet_client` against a real service process, against the OpenAPI document, and alone."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

import facet_client
from facet_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    FacetClientError,
    ModelCard,
    ProblemError,
    StreamClosed,
    StreamFrame,
    StreamProblem,
    UnavailableError,
    card,
    models,
)
from facet_client.base import Answer
from facet_client.many import REFUSED_S, UNREACHED_S, _Outage
from service.api import schemas as schemas_of_the_service
from service.models import card as card_of_the_service
from tests.client import serving, until
from tests.conftest import encoded
from tests.fakes import shipped, squares
from tests.service.server.test_serve import Service, fake, started

PHOTO = encoded(squares((200, 100, 50)))
PAIR = encoded(squares((200, 100, 50), (10, 250, 50)))
KEY = "right"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("client") / "log"
    with fake(log, FACET_API_KEYS=KEY, FACET_MAX_BODY_MIB="1", FACET_STREAM_DEADLINE_S="10") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, key=KEY) as opened:
        yield opened


# Photos -----------------------------------------------------------------------------------------------------------------


def test_a_photo_comes_as_bytes_as_a_path_or_as_a_file(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PHOTO)
    with path.open("rb") as stream:
        answers = [client.predict(photo) for photo in (PHOTO, path, stream)]
    for answer in answers:
        (face,) = answer.faces
        assert face.age is not None
        assert face.gender is not None
        assert face.age.years == pytest.approx(74, abs=1)
        assert face.gender.probabilities["male"] + face.gender.probabilities["female"] == pytest.approx(1)
        assert face.landmarks is None
        assert answer.model == models.ModelName(name="fake", version=3)


def test_a_file_that_is_open_as_text_is_no_photo(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(PHOTO)
    script = Scripted()
    client = Client(transport=httpx.MockTransport(script))
    with client, path.open(encoding="latin-1") as text, pytest.raises(TypeError, match="binary mode"):
        client.predict(text)  # type: ignore[arg-type]
    assert not script.requests


def test_parameters_reach_the_service(client: Client) -> None:
    answer = client.predict(
        PAIR, attributes=["age"], max_faces=1, min_confidence=0.6, landmarks=True, distribution=True, at_least=[18, 99]
    )
    (face,) = answer.faces
    assert face.gender is None
    assert face.landmarks is not None
    assert face.age is not None
    assert face.age.distribution is not None
    assert len(face.age.distribution) == 101
    assert face.age.at_least is not None
    assert face.age.at_least[18] > 0.99
    assert face.age.at_least[99] < 0.01
    assert client.predict(PAIR, min_confidence=1.0).faces == []


def test_a_batch_has_a_result_or_a_problem_for_each(client: Client) -> None:
    batch = client.predict_batch([PHOTO, b"nothing", io.BytesIO(PAIR)], attributes=["gender"])
    assert [item.status for item in batch.results] == [200, 415, 200]
    assert batch.results[1].problem is not None
    assert batch.results[1].problem.code == "unsupported_format"
    assert [len(item.result.faces) for item in batch.results if item.result] == [1, 2]


def test_health_and_the_card(client: Client) -> None:
    assert client.health().status == "ok"
    served = client.model()
    assert (served.name, served.version) == ("fake", 3)
    race = served.attribute("race")
    assert race is not None
    assert race.labels == ("white", "black", "asian", "indian", "other")
    assert served.attribute("glasses") is None
    assert served.serving.attributes == ["age", "gender", "race"]
    assert served.evaluation is None


async def test_the_card_of_a_shipped_model_says_how_good_it_is(root: Path) -> None:
    async with serving(shipped(root, "mobilenet")) as client:
        document = (await client.get("/model")).json()
    card = ModelCard.model_validate_json(json.dumps(document | {"newer": 1}))
    assert card.evaluation is not None
    headline = document["evaluation"]["headline"]
    assert card.evaluation.headline.numbers["age_mae"] == headline["age_mae"]
    assert card.evaluation.headline.scores["gender"]["female"].f1 == headline["gender"]["female"]["f1"]
    with pytest.warns(DeprecationWarning, match="`evaluation`"):
        assert card.quality == document["quality"]


def test_figures_of_tracks_are_means_with_intervals_and_numbers() -> None:
    mean = {"value": 3.1, "interval": [3.0, 3.2]}
    track = card.TrackFigures.model_validate({"frames": 4, "age_mae": mean, "race_ece": 0.02, "newer": "text"})
    assert track.measured == {"age_mae": card.Measured(value=3.1, interval=(3.0, 3.2))}
    assert track.numbers == {"race_ece": 0.02}


def test_what_a_newer_service_says_of_a_face_is_no_failure() -> None:
    label = {"label": "no", "confidence": 0.9, "uncertain": False, "probabilities": {"no": 0.9, "yes": 0.1}}
    quality = {"size_px": 1, "sharpness": 1, "brightness": 1, "roll": 0, "yaw": 0, "noise": 0, "contrast": 0}
    box = {"x": 0, "y": 0, "width": 1, "height": 1}
    face = models.Face.model_validate(
        {"box": box, "confidence": 1, "race": label, "quality": quality, "warnings": [], "glasses": label, "embedding": [0.5]}
    )
    assert face.attributes == {"race": face.race, "glasses": face.race}


async def test_the_async_client_says_the_same(service: Service, client: Client) -> None:
    async with AsyncClient(service.url, key=KEY) as other:
        answers = await asyncio.gather(*(other.predict(PHOTO, landmarks=True) for _ in range(4)))
        batch = await other.predict_batch([PHOTO, PAIR])
        assert (await other.health()).model == client.health().model
        assert await other.model() == client.model()
    assert all(answer.faces == client.predict(PHOTO, landmarks=True).faces for answer in answers)
    assert [item.status for item in batch.results] == [200, 200]


# Failures ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo", "options", "status", "code"),
    [
        (b"", {}, 400, "empty_file"),
        (b"nothing", {}, 415, "unsupported_format"),
        (bytes(2**21), {}, 413, "body_too_large"),
        (PHOTO, {"attributes": ["mood"]}, 422, "invalid_parameter"),
    ],
)
def test_a_problem_is_an_error_that_knows_it(client: Client, photo: bytes, options: Any, status: int, code: str) -> None:
    with pytest.raises(ProblemError) as failed:
        client.predict(photo, **options)
    assert failed.value.status == status
    assert failed.value.code == code
    assert failed.value.problem is not None
    assert failed.value.problem.detail in str(failed.value)


def test_a_photo_is_the_name_of_its_file_too(client: Client, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PHOTO)
    assert len(client.predict(str(tmp_path / "photo.png")).faces) == 1
    with pytest.raises(FileNotFoundError):
        client.predict(str(tmp_path / "none.png"))
    with pytest.raises(TypeError, match="a path"):
        client.predict(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_photo_is_what_else_holds_bytes_too(client: Client, kind: Any) -> None:
    assert len(client.predict(kind(PHOTO)).faces) == 1
    with pytest.raises(TypeError, match="into a list"):
        client.predict_many(kind(PHOTO))


@pytest.mark.parametrize("options", [{"attributes": "age"}, {"at_least": "18"}])
def test_a_text_in_the_place_of_a_list_is_not_taken_letter_by_letter(client: Client, options: Any) -> None:
    """`"18"` would ask for the ages 1 and 8, and be answered."""
    for ask in (client.predict, client.predict_batch, lambda photo, **more: list(client.predict_many([photo], **more))):
        with pytest.raises(TypeError, match="is a list"):
            ask(PHOTO, **options)
    with pytest.raises(TypeError, match="is a list"):
        AsyncClient().stream(**options)
    with pytest.raises(TypeError, match="photos is a list"):
        client.predict_batch("photo.jpg")


# Many photos ------------------------------------------------------------------------------------------------------------


def several(folder: Path) -> list[str]:
    """Photos with one face and two, one that is none, one that is not there, and one that can be nowhere."""
    contents = [PHOTO, PAIR, b"text", PHOTO, None, PAIR, PHOTO]
    for index, content in enumerate(contents):
        if content is not None:
            (folder / f"{index}.png").write_bytes(content)
    return [*(str(folder / f"{index}.png") for index in range(len(contents))), "no\0name"]


def described(results: list[facet_client.PhotoResult]) -> list[int | str]:
    """The number of each photo's faces, or its error."""
    return [
        len(one.prediction.faces) if one.prediction else getattr(one.error, "code", type(one.error).__name__) for one in results
    ]


async def test_many_photos_are_answered_in_order_and_each_fails_alone(service: Service, client: Client, tmp_path: Path) -> None:
    paths, done = several(tmp_path), list[int]()
    results = list(client.predict_many(iter(paths), concurrency=3, progress=done.append, max_faces=2))
    assert [(one.index, one.photo) for one in results] == list(enumerate(paths))
    assert described(results) == [1, 2, "unsupported_format", 1, "FileNotFoundError", 2, 1, "OSError"]
    assert done == [1, 2, 3, 4, 5, 6, 7, 8]
    async with AsyncClient(service.url, key=KEY) as same:
        again = [one async for one in same.predict_many(paths, concurrency=3)]
    assert described(again) == described(results)


async def test_so_many_are_in_work_at_a_time_and_photos_are_taken_as_they_are_needed() -> None:
    taken = most = now = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal most, now
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.001)
        now -= 1
        return httpx.Response(404)

    def photos() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield PHOTO

    async with AsyncClient(transport=httpx.MockTransport(answer)) as client:
        async for result in client.predict_many(photos(), concurrency=4):
            assert taken <= result.index + 9
            assert isinstance(result.error, ProblemError)
    assert (most, taken) == (4, 40)


def test_who_stops_early_sends_no_more(service: Service) -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(404)

    with Client(transport=httpx.MockTransport(answer)) as client:
        results = client.predict_many([PHOTO] * 50, concurrency=2)
        assert next(results).index == 0
        results.close()  # type: ignore[attr-defined]
    assert len(sent) <= 5


def test_who_stops_early_does_not_wait_for_a_service_that_refuses_the_others() -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if len(sent) > 1:
            return busy("20")
        time.sleep(0.2)  # meanwhile the others are refused
        return httpx.Response(200, json=PREDICTION)

    with Client(transport=httpx.MockTransport(answer)) as client:
        results = client.predict_many([PHOTO] * 50, concurrency=4)
        assert next(results).prediction is not None
        began = time.monotonic()
        results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 5
    assert 1 < len(sent) <= 8


def many(answer: Scripted, photos: Any = (PHOTO,), **options: Any) -> list[facet_client.PhotoResult]:
    """What becomes of photos that a scripted service answers."""
    with Client(transport=httpx.MockTransport(answer), **options) as client:
        return list(client.predict_many(photos, concurrency=1))


PREDICTION: dict[str, Any] = {
    "request_id": "1",
    "model": {"name": "fake", "version": 3},
    "image": {"width": 1, "height": 1},
    "faces": [],
    "timing_ms": {},
}


async def test_many_photos_wait_for_a_service_that_refuses_them_or_starts() -> None:
    """Past the retries of one request, of which there is one here; a file that is open is read once."""

    def scripted() -> Scripted:
        away = httpx.ConnectError("away")
        return Scripted(busy("0"), busy("0"), away, away, httpx.Response(200, json=PREDICTION))

    script = scripted()
    (result,) = many(script, [io.BytesIO(PHOTO)], retries=1)
    assert result.prediction is not None
    assert [request.content for request in script.requests] == [PHOTO] * 5
    async with AsyncClient(transport=httpx.MockTransport(scripted()), retries=1) as client:
        assert [one.prediction async for one in client.predict_many([PHOTO])] == [result.prediction]


def test_many_photos_do_not_wait_where_nothing_is_to_be_repeated_or_for_what_nobody_waits_for() -> None:
    script = Scripted(busy(), httpx.ConnectError("away"), httpx.Response(504), httpx.ReadTimeout("slow"))
    results = many(script, [PHOTO] * 4, retries=0)
    assert [type(one.error).__name__ for one in results] == ["UnavailableError", "ConnectionFailed"] * 2
    outage = _Outage()
    assert outage.pause(UnavailableError(429, None, 3600)) is None
    assert outage.pause(UnavailableError(504, None, 1)) is None
    assert outage.pause(ConnectionFailed("broken", sent=True)) is None


def test_an_outage_is_that_of_all_photos_and_ends_with_an_answer() -> None:
    now = 0.0
    outage, away, refused = _Outage(lambda: now), ConnectionFailed("away", sent=False), UnavailableError(503, None, 2)
    assert (outage.pause(away), outage.pause(refused)) == (1, 2)
    now = UNREACHED_S + 1
    assert (outage.pause(away), outage.pause(refused)) == (None, 2)
    outage.end()
    assert outage.pause(away) == 1
    now += REFUSED_S
    assert outage.pause(refused) is None
    assert outage.pause(ProblemError(422, None)) is None
    assert outage.pause(refused) == 2


@pytest.mark.parametrize("client", [Client(), AsyncClient()])
def test_arguments_that_cannot_be_meant_are_refused_at_once(client: Any) -> None:
    with pytest.raises(TypeError, match="into a list"):
        client.predict_many("photo.jpg")
    for concurrency in (0, -1):
        with pytest.raises(ValueError, match="1 or more"):
            client.predict_many([PHOTO], concurrency=concurrency)


async def test_a_result_waits_for_one_more_photo_at_most() -> None:
    """Photos may come slowly, and from an iterable that is to be awaited."""
    taken = answered = 0

    def idle() -> bool:
        return answered == taken

    async def photos() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(6):
            taken += 1
            yield PHOTO
            await until(idle)
            await asyncio.sleep(0.05)

    def counted(_: httpx.Request) -> httpx.Response:
        nonlocal answered
        answered += 1
        return httpx.Response(200, json=PREDICTION)

    async with AsyncClient(transport=httpx.MockTransport(counted)) as client:
        seen = [(result.index, taken) async for result in client.predict_many(photos(), concurrency=4)]
    assert [index for index, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert seen[0][1] < 6, "a full window of eight is not waited for"


# What the README says ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readme(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The examples of the README as programs, beside the photos that they name."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        (folder / name).write_bytes(PAIR)
    examples = re.findall(r"```python\n(.*?)```", (root / "clients/python/README.md").read_text(), re.DOTALL)
    paths = [folder / f"example{index}.py" for index in range(len(examples))]
    for path, text in zip(paths, examples, strict=True):
        path.write_text(text)
    return paths


def test_the_examples_of_the_readme_are_typed(readme: list[Path], root: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", *map(str, readme)]
    environment = os.environ | {"MYPYPATH": str(root / "clients/python/src")}
    done = subprocess.run(command, cwd=readme[0].parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_of_the_readme_run(readme: list[Path], root: Path, tmp_path: Path) -> None:
    assert len(readme) == 3
    with fake(tmp_path / "log") as service:
        for path in readme:
            program = path.read_text().replace("http://localhost:8000", service.url)
            environment = os.environ | {"PYTHONPATH": str(root / "clients/python/src")}
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "def watch" in program or len(done.stdout.splitlines()) >= 2, done.stdout


async def test_a_wrong_key_is_refused_everywhere(service: Service) -> None:
    with Client(service.url, key="wrong") as sync, pytest.raises(ProblemError, match="unauthenticated"):
        sync.predict(PHOTO)
    async with AsyncClient(service.url, key="wrong") as other:
        with pytest.raises(ProblemError, match="unauthenticated"):
            await other.model()
        with pytest.raises(StreamClosed, match="unauthenticated") as closed:
            async with other.stream():
                pass
    assert closed.value.code == 1008


def test_a_key_may_have_any_letters_and_the_end_of_its_line_is_none_of_it() -> None:
    script = Scripted(httpx.Response(503, json=HEALTH))
    with Client(transport=httpx.MockTransport(script), key="schlüssel–1\n") as client:
        client.health()
    assert dict(script.requests[0].headers.raw)[b"X-API-Key"] == "schlüssel–1".encode()
    with pytest.raises(ValueError, match="control characters") as refused:
        AsyncClient(key="first\nsecond")
    assert "first" not in str(refused.value)


def test_nobody_at_the_address() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(ConnectionFailed):
        client.health()


BUSY: dict[str, Any] = {"title": "", "status": 503, "detail": "Later.", "code": "queue_full", "request_id": "1"}


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("not reached", sent=False),
        ProblemError(404, None),
        UnavailableError(503, models.Problem(type="", **BUSY), 2.0),
        StreamClosed(1013, StreamProblem(**BUSY)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_can_be_copied_and_given_to_another_process(error: FacetClientError) -> None:
    """As results of many photos are, with those that failed among them."""
    for another in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(another) is type(error)
        assert (str(another), vars(another)) == (str(error), vars(error))


async def test_nobody_at_the_streams_address() -> None:
    async with AsyncClient("http://127.0.0.1:9") as client:
        with pytest.raises(ConnectionFailed):
            async with client.stream():
                pass


class Scripted:
    """A service that answers by a script, and counts."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.times: list[float] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.times.append(time.monotonic())
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


HEALTH = {"status": "unavailable", "model": {"name": "fake", "version": 3}, "version": "1", "uptime_s": 1.0}
NOTHING: dict[str, Any] = dict.fromkeys(("recipe", "provenance", "input", "track", "evaluation"))
TEXTS = dict.fromkeys(("name", "kind", "architecture", "created", "licence", "description", "digest"), "fake")
DETECTOR = {"name": "squares", "version": 1}
SERVING = {
    "facet": "1",
    "runtime": "fake",
    "precision": "f32",
    "attributes": [],
    "min_confidence": 0.9,
    "max_faces": 100,
    "min_face_px": 24.0,
    "detection_side_px": 1280,
    "detector": DETECTOR,
    "models": [],
}
LISTS: dict[str, Any] = {name: [] for name in ("trained_on", "attributes", "outputs", "genders", "races")}
CARD = NOTHING | TEXTS | LISTS | {"version": 3, "serving": SERVING, "calibration": {}, "quality": {}}


def busy(after: str = "1") -> httpx.Response:
    problem = {"type": "urn", "title": "Busy", "status": 503, "detail": "Later.", "code": "queue_full", "request_id": "1"}
    return httpx.Response(503, json=problem, headers={"Retry-After": after})


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    script = Scripted(busy("1"), httpx.Response(200, json=CARD))
    with Client(transport=httpx.MockTransport(script)) as client:
        assert client.model() == ModelCard.model_validate(CARD)
    assert script.times[1] - script.times[0] >= 1


async def test_the_async_client_too() -> None:
    script = Scripted(busy("1"), httpx.Response(502), httpx.ConnectError("gone"), httpx.Response(200, json=CARD))
    async with AsyncClient(transport=httpx.MockTransport(script)) as client:
        assert await client.model() == ModelCard.model_validate(CARD)
    assert len(script.times) == 4
    assert script.times[1] - script.times[0] >= 1


def test_a_key_whose_rate_is_used_up_waits() -> None:
    script = Scripted(httpx.Response(429, headers={"retry-after": "1"}), httpx.Response(200, json=CARD))
    with Client(transport=httpx.MockTransport(script)) as client:
        assert client.model() == ModelCard.model_validate(CARD)
    assert script.times[1] - script.times[0] >= 1


def test_it_gives_up_in_the_end() -> None:
    script = Scripted(*[busy("0")] * 3)
    with Client(transport=httpx.MockTransport(script), retries=2) as client, pytest.raises(UnavailableError) as failed:
        client.predict(PHOTO)
    assert (failed.value.status, failed.value.code, failed.value.retry_after) == (503, "queue_full", 0)
    assert script.answers == []


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(504), httpx.ReadTimeout("slow")])
def test_what_may_have_been_computed_or_is_not_wanted_is_not_asked_again(answer: httpx.Response | Exception) -> None:
    script = Scripted(answer, httpx.Response(200, json=CARD))
    with Client(transport=httpx.MockTransport(script)) as client, pytest.raises(FacetClientError):
        client.model()
    assert len(script.times) == 1


def test_health_is_asked_once_and_an_unwell_service_is_an_answer() -> None:
    script = Scripted(httpx.Response(503, json=HEALTH), busy())
    with Client(transport=httpx.MockTransport(script)) as client:
        assert client.health().status == "unavailable"
    assert len(script.times) == 1


def test_another_version_is_asked_for_by_its_number() -> None:
    answer = {"outcome": "swapped", "model": {"name": "fake", "version": 4}, "digest": "0" * 64}
    script = Scripted(httpx.Response(200, json=answer), httpx.Response(200, json=answer))
    with Client(transport=httpx.MockTransport(script), key="operator") as client:
        assert client.reload().model.version == client.reload(4).model.version == 4
    assert [(one.method, one.url.raw_path) for one in script.requests] == [
        ("POST", b"/model/reload"),
        ("POST", b"/model/reload?version=4"),
    ]


def test_the_health_of_a_service_behind_a_proxy_that_finds_none_may_pass() -> None:
    problem = {"type": "t", "title": "T", "status": 503, "detail": "It stops.", "code": "not_ready", "request_id": "1"}
    script = Scripted(httpx.Response(503, html="<p>no", headers={"retry-after": "3"}), httpx.Response(503, json=problem))
    with Client(transport=httpx.MockTransport(script)) as client:
        with pytest.raises(UnavailableError, match="not an answer") as proxys:
            client.health()
        with pytest.raises(UnavailableError, match="not_ready"):
            client.health()
    assert proxys.value.retry_after == 3


def test_an_answer_of_somebody_else_is_an_error() -> None:
    script = Scripted(httpx.Response(200, html="<p>hello"), httpx.Response(404, html="<p>no"))
    with Client(transport=httpx.MockTransport(script)) as client:
        for _ in range(2):
            with pytest.raises(ProblemError, match="not an answer"):
                client.predict(PHOTO)


def test_an_address_that_leads_elsewhere_is_an_error_that_says_where() -> None:
    """As one of HTTP behind a proxy that wants HTTPS. A photo is not sent where nobody asked for it."""
    script = Scripted(httpx.Response(301, headers={"location": "https://faces.example/predict"}, html="<p>moved"))
    with Client(transport=httpx.MockTransport(script)) as client, pytest.raises(ProblemError) as raised:
        client.predict(PHOTO)
    assert str(raised.value) == "301: not an answer of Facet's; it leads to https://faces.example/predict"
    assert len(script.requests) == 1


# Streams ----------------------------------------------------------------------------------------------------------------


async def test_a_stream_answers_its_frames(service: Service) -> None:
    async with AsyncClient(service.url, key=KEY) as client, client.stream(attributes=["age"], landmarks=True) as stream:
        assert stream.ready.protocol == 1
        assert stream.ready.max_frame_bytes == 2**20
        numbers, answers = [], []
        for photo in (PAIR, PAIR, b"nothing"):
            numbers.append(await stream.send(photo))
            answers.append(await stream.receive())
    assert numbers == [0, 1, 2] == [answer.frame for answer in answers]
    first, second, third = answers
    assert isinstance(first, StreamFrame)
    assert isinstance(second, StreamFrame)
    assert [face.id for face in first.faces] == [face.id for face in second.faces] == [1, 2]
    assert all(face.age and face.landmarks and not face.gender for face in second.faces)
    assert isinstance(third, StreamProblem)
    assert third.code == "unsupported_format"


async def test_an_address_may_have_capitals_and_the_end_of_its_line(service: Service) -> None:
    async with AsyncClient(f"{service.url.upper()}/\n", key=KEY) as client, client.stream() as stream:
        assert stream.ready.protocol == 1
        assert (await client.health()).status == "ok"
    with pytest.raises(ConnectionFailed, match=r"^localhost:8000/stream: "):
        async with AsyncClient("localhost:8000") as client, client.stream():
            pass
    with pytest.raises(ConnectionFailed, match=r"^ws://127\.0\.0\.1:9/stream: "):  # no password of a proxy's is told
        async with AsyncClient("http://me:p@ss@127.0.0.1:9") as client, client.stream():
            pass


STOPPING = {"type": "problem", "title": "T", "status": 503, "detail": "It stops.", "code": "not_ready", "request_id": "1"}


@pytest.mark.parametrize("problem", [None, STOPPING])
async def test_what_a_stream_is_answered_before_its_start_is_heard(problem: dict[str, Any] | None) -> None:
    """By a service that stops, or by somebody else."""
    websockets = pytest.importorskip("websockets.asyncio.server")

    async def answer(connection: Any) -> None:
        await connection.send("<p>hello" if problem is None else json.dumps(problem))
        await connection.close(1001)

    async with websockets.serve(answer, "127.0.0.1", 0) as server:
        client = AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(FacetClientError) as failed:
            async with client, client.stream():
                pass
    if problem is None:
        assert "cannot be read" in str(failed.value)
    else:
        assert isinstance(failed.value, StreamClosed)
        assert failed.value.problem is not None
        assert (failed.value.code, failed.value.problem.code) == (1001, "not_ready")


async def test_a_stream_goes_to_no_other_address(service: Service) -> None:
    """Its start holds the key, and frames are photos: neither is for whom a redirect names."""
    websockets = pytest.importorskip("websockets.asyncio.server")
    elsewhere = service.url.replace("http", "ws", 1) + "/stream"

    def redirect(connection: Any, request: Any) -> Any:
        response = connection.respond(301, "")
        response.headers["Location"] = elsewhere
        return response

    async with websockets.serve(lambda connection: None, "127.0.0.1", 0, process_request=redirect) as server:
        client = AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", key=KEY)
        with pytest.raises(ConnectionFailed, match=f"301; it leads to {elsewhere}$"):
            async with client, client.stream():
                pass


async def test_a_stream_that_nobody_starts_is_not_waited_for() -> None:
    """As behind a proxy that takes the handshake upon itself, and passes nothing on."""
    websockets = pytest.importorskip("websockets.asyncio.server")

    async def silent(connection: Any) -> None:
        await connection.wait_closed()

    async with websockets.serve(silent, "127.0.0.1", 0) as server:
        client = AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.2)
        with pytest.raises(ConnectionFailed, match="did not start in time"):
            async with client, client.stream():
                pass


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY"])
async def test_no_proxy_of_the_environment_is_asked(service: Service, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for one in (name, name.lower()):
        monkeypatch.setenv(one, "http://127.0.0.1:9")
    async with AsyncClient(service.url, key=KEY, retries=0) as client:
        assert (await client.health()).status == "ok"
        async with client.stream() as stream:
            await stream.send(PHOTO)
            assert isinstance(await stream.receive(), StreamFrame)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost"])
async def test_an_address_that_is_none_is_not_reached(url: str) -> None:
    async with AsyncClient(url, retries=0) as client:
        with pytest.raises(ConnectionFailed):
            await client.health()
        with pytest.raises(ConnectionFailed):
            async with client.stream():
                pass


async def test_follow_sends_the_newest_frames_at_the_advised_pace(service: Service) -> None:
    async def camera() -> AsyncIterator[bytes]:
        for index in range(60):
            yield encoded(squares((200, 100, 50), side=40 + index % 3))
            await asyncio.sleep(0.01)

    async with AsyncClient(service.url, key=KEY) as client, client.stream() as stream:
        began = time.monotonic()
        answers = [answer async for answer in stream.follow(camera())]
        spent = time.monotonic() - began
    assert 1 < len(answers) <= spent * stream.ready.max_fps + 2
    assert all(isinstance(answer, StreamFrame) and answer.dropped == 0 for answer in answers)
    last = answers[-1]
    assert isinstance(last, StreamFrame)
    assert [(face.id, face.frames) for face in last.faces] == [(1, len(answers))]


async def test_follow_answers_its_own_frames_after_one_that_was_given_up(service: Service) -> None:
    async def camera() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield PHOTO
            await asyncio.sleep(0.2)

    async with AsyncClient(service.url, key=KEY) as client, client.stream() as stream:
        given_up = await stream.send(PHOTO)
        await asyncio.sleep(0.5)  # it is answered, and nobody takes the answer
        answers = [answer async for answer in stream.follow(camera())]
    assert answers
    assert [answer.frame for answer in answers] == [given_up + 1 + index for index in range(len(answers))]


async def test_a_camera_that_breaks_is_heard_of(service: Service) -> None:
    async def camera() -> AsyncIterator[bytes]:
        yield PHOTO
        raise OSError("unplugged")

    async with AsyncClient(service.url, key=KEY) as client, client.stream() as stream:
        with pytest.raises(OSError, match="unplugged"):
            [answer async for answer in stream.follow(camera())]


async def test_a_stream_that_the_service_ends_says_why(service: Service) -> None:
    async with AsyncClient(service.url, key=KEY) as client, client.stream() as stream:
        await stream.send(bytes(2**20 + 1))
        with pytest.raises(StreamClosed) as closed:
            await stream.receive()
    assert closed.value.code == 1009
    assert closed.value.problem is not None
    assert closed.value.problem.code == "body_too_large"


async def test_sigterm_closes_streams_with_1001_and_the_process_ends_with_0(tmp_path: Path) -> None:
    with fake(tmp_path / "log", FACET_DRAIN_DELAY_S="0.3", FACET_STREAM_DEADLINE_S="10") as service:
        async with AsyncClient(service.url) as client, client.stream() as stream:
            await stream.send(PHOTO)
            assert isinstance(await stream.receive(), StreamFrame)
            service.process.send_signal(signal.SIGTERM)
            with pytest.raises(StreamClosed) as closed:
                await stream.receive()
        assert closed.value.code == 1001
        assert closed.value.problem is not None
        assert closed.value.problem.code == "not_ready"
        assert await asyncio.to_thread(service.exit_status) == 0, service.log
        assert "Traceback" not in service.log
        assert "WS /stream 1001" in service.log


async def test_no_address_and_no_query_of_a_stream_is_logged(tmp_path: Path) -> None:
    from websockets.asyncio.client import connect

    with fake(tmp_path / "log", FACET_LOG_LEVEL="debug") as service:
        address = service.url.replace("http", "ws") + "/stream?key=canary-7f3e"
        async with connect(address) as connection:
            await connection.send('{"type": "start", "key": "canary-7f3e"}')
            assert json.loads(await connection.recv())["type"] == "ready"
        await until(lambda: "WS /stream 1000" in service.log)
        assert "canary" not in service.log


@pytest.mark.model
async def test_the_real_service_follows_a_real_face(tmp_path: Path, examples: Path) -> None:
    """The astronaut, whose picture drifts and grows dark and bright: one id, and an interval that does not widen.

    Whether it narrows by a whole year is for the arithmetic of the machine to say; that a mean narrows it is held in
    `test_aggregation`. A year is what rounding both ends can make.
    """
    photo = Image.open(examples / "astronaut.jpg").convert("RGB")
    with started(tmp_path / "log", str(Path(sys.executable).with_name("facet")), FACET_STREAM_DEADLINE_S="20") as service:
        async with AsyncClient(service.url) as client, client.stream() as stream:
            faces = []
            for index in range(24):
                window = photo.crop((40 + 3 * index, 2 * index, 360 + 3 * index, 320 + 2 * index))
                drifted = np.asarray(window).astype(np.float32) * (0.8 + 0.02 * (index % 10))
                await stream.send(encoded(drifted.clip(0, 255).astype(np.uint8), "JPEG", quality=85))
                answer = await stream.receive()
                assert isinstance(answer, StreamFrame), answer
                (face,) = answer.faces
                faces.append(face)
                await asyncio.sleep(0.1)
    first, last = faces[0], faces[-1]
    assert {face.id for face in faces} == {1}
    assert last.frames == 24
    assert 4 <= last.answers < 24
    assert first.age is not None
    assert last.age is not None
    assert last.gender is not None
    assert (first.age.low, first.age.high, last.age.low, last.age.high) != (None,) * 4
    assert last.age.high - last.age.low <= first.age.high - first.age.low + 1  # type: ignore[operator]
    assert 25 <= last.age.years <= 50
    assert last.gender.label == "female"


# The contract -----------------------------------------------------------------------------------------------------------

NAMES: dict[str, type[BaseModel]] = {
    **{name: model for name, model in vars(card).items() if isinstance(model, type) and Answer in model.__mro__[1:]},
    "AgeAnswer": models.Age,
    "BatchAnswer": models.Batch,
    "ExpectationAnswer": models.Expectation,
    "BatchItem": models.BatchItem,
    "Box": models.Box,
    "FaceAnswer": models.Face,
    "Health": models.Health,
    "ImageSize": models.ImageSize,
    "LabelAnswer": models.Label,
    "Landmarks": models.Landmarks,
    "ModelName": models.ModelName,
    "PredictAnswer": models.Prediction,
    "Problem": models.Problem,
    "QualityAnswer": models.Quality,
    "ReloadAnswer": models.Reload,
    "StreamFrame": models.StreamFrame,
    "StreamProblem": models.StreamProblem,
    "StreamReady": models.StreamReady,
    "TrackedFace": models.TrackedFace,
}
SENT = {"StreamStart"}
"""What the client sends: `AsyncClient.stream` has an argument for each of its fields."""
ASIDE = {
    *("title", "description", "default", "deprecated", "example", "examples", "format", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength", "maxLength"),
}


def shape(schema: Any) -> Any:
    """A schema without prose, defaults and ranges; references are to the client's models."""
    if isinstance(schema, list):
        return [shape(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: shape(value) for key, value in schema.items() if key not in ASIDE}
    if isinstance(kept.get("$ref"), str):
        name = kept["$ref"].rsplit("/", 1)[-1]
        kept["$ref"] = NAMES[name].__name__ if name in NAMES else name
    return kept


def fields(schema: Any) -> dict[str, Any]:
    """The shape of each field of a schema."""
    return {name: shape(form) for name, form in schema["properties"].items()}


async def test_the_models_are_those_of_the_contract() -> None:
    """Every schema of the OpenAPI document has its model, with the same fields of the same types, and no other."""
    async with serving() as client:
        schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert set(schemas) == set(NAMES) | SENT
    public = {model for part in (models, card) for model in vars(part).values() if isinstance(model, type)}
    assert {model for model in public if issubclass(model, BaseModel)} - {BaseModel, Answer} == set(NAMES.values())
    sections = card_of_the_service.ModelCard.model_json_schema()["$defs"]
    for name, model in NAMES.items():
        mine = model.model_json_schema(mode="serialization")
        assert fields(mine) == fields(schemas[name]), name
        module = schemas_of_the_service if hasattr(schemas_of_the_service, name) else card_of_the_service
        theirs = sections.get(name) or getattr(module, name).model_json_schema()
        assert set(model.model_json_schema().get("required", [])) == set(theirs.get("required", [])), name


async def test_every_parameter_of_the_contract_has_its_argument() -> None:
    import inspect

    async with serving() as client:
        document = (await client.get("/openapi.json")).json()
    query = {parameter["name"] for parameter in document["paths"]["/predict"]["post"]["parameters"]}
    for kind in (Client, AsyncClient):
        for method in (kind.predict, kind.predict_batch, kind.predict_many):
            own = {"self", "photo", "photos", "concurrency", "progress"}
            assert set(inspect.signature(method).parameters) - own == query
    start = set(document["components"]["schemas"]["StreamStart"]["properties"]) - {"type", "key"}
    assert set(inspect.signature(AsyncClient.stream).parameters) - {"self"} == start


# The distribution -------------------------------------------------------------------------------------------------------


def test_it_works_without_the_service_and_without_websockets(root: Path) -> None:
    """In a process where neither can be imported."""
    program = """
import sys
sys.modules.update(dict.fromkeys(["service", "training", "numpy", "websockets"]))
import asyncio, facet_client
async def main():
    async with facet_client.AsyncClient("http://127.0.0.1:9") as client:
        try:
            async with client.stream(): pass
        except facet_client.FacetClientError as error:
            print(error)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root / "clients/python",
        env=os.environ | {"PYTHONPATH": str(root / "clients/python/src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "streams need websockets: install facet-client[stream]", done.stderr


def test_the_wheel_holds_the_package_and_its_types(root: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root / "clients/python", capture_output=True, timeout=120, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert {name.split("/")[0] for name in names} == {"facet_client", f"facet_client-{facet_client.__version__}.dist-info"}
    assert "facet_client/py.typed" in names
    needed = {line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")}
    assert {one.split(">")[0] for one in needed if "extra" not in one} == {"httpx", "httpx-retries", "pydantic"}
    assert any(one.startswith("websockets") and "extra" in one for one in needed)


BREAKS = [httpx.ReadError("reset"), httpx.RemoteProtocolError("closed"), httpx.WriteError("broken")]


@pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)
async def test_a_photo_whose_connection_breaks_is_sent_once_more_at_most(error: httpx.TransportError) -> None:
    sent = 0

    def dies(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        raise error

    with Client(transport=httpx.MockTransport(dies), retries=5) as client, pytest.raises(ConnectionFailed):
        client.predict(b"photo")
    assert sent == 2
    sent = 0
    async with AsyncClient(transport=httpx.MockTransport(dies), retries=5) as client:
        with pytest.raises(ConnectionFailed):
            await client.predict(b"photo")
    assert sent == 2


def test_a_service_that_is_not_reached_is_tried_as_often_as_configured() -> None:
    sent = 0

    def away(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        raise httpx.ConnectError("refused")

    with Client(transport=httpx.MockTransport(away), retries=2) as client, pytest.raises(ConnectionFailed):
        client.predict(b"photo")
    assert sent == 3
