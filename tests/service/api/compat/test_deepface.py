"""`analyze` as clients of deepface's own API (0.0.103, `deepface/api/src/modules/core/routes.py`) ask for it and read it."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from prometheus_client import REGISTRY

from service.api.compat.deepface import analysis
from service.api.schemas import EXAMPLE, FaceAnswer, ImageSize
from service.vision.detection import LANDMARKS
from tests.client import CANARY, Client, assert_discreet, disposition, multipart, serving
from tests.conftest import encoded
from tests.fakes import squares

PATH = "/compat/deepface/analyze"
PHOTO = encoded(squares((100, 200, 0), (200, 20, 128)))
ADDRESS = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"


def women() -> float | None:
    return REGISTRY.get_sample_value("facet_predictions_total", {"model": "fake/3", "attribute": "gender", "label": "female"})


def rejections() -> float | None:
    return REGISTRY.get_sample_value("facet_rejections_total", {"code": "unsupported_format"})


async def results(client: Client, **request: Any) -> list[dict[str, Any]]:
    response = await client.post(PATH, **request)
    assert response.status_code == 200, response.text
    document = response.json()
    assert list(document) == ["results"]
    return document["results"]


def failed(response: httpx.Response, status: int, key: str = "error") -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert list(document) == [key]
    assert_discreet(document[key])
    return document[key]


async def test_a_face_as_deepface_has_it() -> None:
    async with serving(compat="deepface") as client:
        first, second = await results(client, json={"img": ADDRESS})
        ours = (await client.post("/predict", content=PHOTO)).json()["faces"][0]
    female, male = (100 * ours["gender"]["probabilities"][label] for label in ("female", "male"))
    assert first == {
        "region": {"x": 20, "y": 20, "w": 40, "h": 40, "left_eye": [48, 32], "right_eye": [32, 32]},  # the person's own sides
        "face_confidence": 0.99,
        "age": round(ours["age"]["years"]),
        "gender": {"Woman": pytest.approx(female), "Man": pytest.approx(male)},
        "dominant_gender": "Woman",
        "race": {label: pytest.approx(100 * share) for label, share in ours["race"]["probabilities"].items()},
        "dominant_race": "white",
    }
    assert list(first["gender"]) == ["Woman", "Man"]
    assert (second["dominant_gender"], second["dominant_race"]) == ("Man", "asian")


@pytest.mark.parametrize(("years", "whole"), [(30.4, 30), (30.5, 31), (31.5, 32), (0.4, 0)])
def test_an_age_is_the_whole_number_that_is_shown_everywhere(years: float, whole: int) -> None:
    face = FaceAnswer.model_validate(EXAMPLE["faces"][0] | {"age": {"years": years}})
    assert analysis(face, ImageSize(width=9, height=9))["age"] == whole


def test_an_eye_outside_of_the_photo_is_none() -> None:
    points = dict.fromkeys(LANDMARKS, (5, 5)) | {"left_eye": (-0.4, 5), "right_eye": (8.9, 8.9)}
    face = FaceAnswer.model_validate(EXAMPLE["faces"][0] | {"landmarks": points})
    region = analysis(face, ImageSize(width=9, height=9))["region"]
    assert (region["right_eye"], region["left_eye"]) == (None, (8, 8)), "the person's own sides"


async def test_every_way_to_send_a_photo_has_the_same_answer() -> None:
    text = ("actions", b'["age", "gender"]')
    async with serving(compat="deepface") as client:
        expected = await results(client, json={"img": ADDRESS, "actions": ["age", "gender"]})
        assert set(expected[0]) == {"age", "gender", "dominant_gender", "region", "face_confidence"}
        file = multipart((disposition("img", filename="a.png"), PHOTO), (disposition(text[0]), text[1]))
        field = multipart((disposition("img"), ADDRESS.encode()), (disposition(text[0]), text[1]))
        form = {"content-type": "application/x-www-form-urlencoded"}
        encoded_form = urlencode({"img": ADDRESS, "actions": "age,gender", "detector_backend": "mtcnn"})
        lines = ADDRESS.partition(",")[0] + "," + base64.encodebytes(PHOTO).decode().replace("\n", "\r\n")
        assert lines.count("\r\n") > 1  # as `base64` breaks them without -w0
        broken_form = urlencode({"img": lines, "actions": "age,gender"})
        forms = [{"content": one, "headers": form} for one in (encoded_form, broken_form)]
        for request in (file, field, *forms, {"json": {"img": lines, "actions": ["age", "gender"]}}):
            assert await results(client, **request) == expected


async def test_of_equal_fields_the_first_one_counts_as_in_flask() -> None:
    """`requests` sends a list in `data` so."""
    twice = [("actions", "age"), ("actions", "gender")]
    file = multipart(
        (disposition("img", filename="a.png"), PHOTO), *((disposition(name), text.encode()) for name, text in twice)
    )
    form = {"content": urlencode([("img", ADDRESS), *twice]), "headers": {"content-type": "application/x-www-form-urlencoded"}}
    async with serving(compat="deepface") as client:
        for request in (file, form):
            face, _ = await results(client, **request)
            assert set(face) == {"age", "region", "face_confidence"}


@pytest.mark.parametrize("enforced", [{}, {"enforce_detection": True}, {"enforce_detection": "True"}])
async def test_no_face_is_an_error_where_detection_is_enforced(enforced: dict[str, Any]) -> None:
    blank = f"data:image/png;base64,{base64.b64encode(encoded(squares())).decode()}"
    async with serving(compat="deepface") as client:
        said = failed(await client.post(PATH, json={"img": blank} | enforced), 400)
        assert "Face could not be detected" in said  # what clients look for
        for off in (False, "false", "False", "0", 0):
            assert await results(client, json={"img": blank, "enforce_detection": off}) == []


@pytest.mark.parametrize(
    "image",
    [
        f"http://{CANARY}.test/a.jpg",
        f"HTTPS://{CANARY}.test/a.jpg",
        f"/etc/{CANARY}",
        f"file:///{CANARY}",
        base64.b64encode(PHOTO).decode(),
    ],
)
async def test_neither_addresses_nor_paths_are_opened(image: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with serving(compat="deepface") as client:
        for request in ({"json": {"img": image}}, {"content": urlencode({"img": image}), "headers": form}):
            assert "addresses and paths are not opened" in failed(await client.post(PATH, **request), 400)


async def test_requests_that_cannot_be_served() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with serving(compat="deepface", max_body_mib=0.5) as client:
        before = rejections()
        failed(await client.post(PATH, json={"img": "data:image/png;base64,AAAA"}), 400)
        assert rejections() == (before or 0) + 1
        failed(await client.post(PATH, json={"actions": ["age"]}), 400, "exception")
        failed(await client.post(PATH, **multipart((disposition("photo"), b"x"))), 400, "exception")
        other = multipart((disposition("file", filename="a.png"), bytes(2000)))
        assert "'img' is not in the form" in failed(await client.post(PATH, **other), 400, "exception")
        assert "@" in failed(await client.post(PATH, **multipart((disposition("img"), b"photo.jpg"))), 400)
        plain = multipart((disposition("img"), base64.b64encode(PHOTO)))
        assert "data:image/…;base64," in failed(await client.post(PATH, **plain), 400)
        long = multipart((disposition("img"), PHOTO), (disposition("actions"), bytes(2000)))
        assert "beside 'img'" in failed(await client.post(PATH, **long), 400)
        failed(await client.post(PATH, json={"img": [ADDRESS, ADDRESS]}), 400)
        failed(await client.post(PATH, json={"img": ADDRESS, "anti_spoofing": True}), 400)
        assert CANARY not in failed(await client.post(PATH, json={"img": ADDRESS, "actions": ["hat"]}), 400)
        failed(await client.post(PATH, json={"img": ADDRESS, "actions": []}), 400)
        failed(await client.post(PATH, content=b"{", headers={"content-type": "application/json"}), 400)
        failed(await client.post(PATH, content=PHOTO, headers={"content-type": "image/png"}), 400)
        failed(await client.post(PATH, content=b"img=data:image/png;base64,%41", headers=form), 400)
        failed(await client.post(PATH, content=b"a=1&" * 20, headers=form), 400)
        failed(await client.post(PATH, content=b"a=" + b"1" * 2000, headers=form), 400)
        failed(await client.post(PATH, content=bytes(600_000)), 413)
        failed(await client.get(PATH), 405)
        failed(await client.post("/compat/deepface/represent", json={}), 404)
        assert (await client.get("/compat/deepfaces")).headers["content-type"] == "application/problem+json"


async def test_emotion_alone_leaves_the_region() -> None:
    async with serving(compat="deepface") as client:
        face, _ = await results(client, json={"img": ADDRESS, "actions": "emotion"})
    assert set(face) == {"region", "face_confidence"}


async def test_what_is_switched_off_is_left_out_and_answers_are_counted() -> None:
    async with serving(compat="deepface", attributes="age,gender") as client:
        before = women()
        face, _ = await results(client, json={"img": ADDRESS})
        assert women() == (before or 0) + 1
    assert "race" not in face


async def test_its_token_is_an_api_key() -> None:
    async with serving(compat="deepface", api_keys="a-key") as client:
        failed(await client.post(PATH, json={"img": ADDRESS}), 401, "message")
        headers = {"authorization": "Bearer a-key"}
        assert len(await results(client, json={"img": ADDRESS}, headers=headers)) == 2
