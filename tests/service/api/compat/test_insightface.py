"""Extraction as the clients of InsightFace-REST 0.9.5 ask for it in JSON and read it (`ifr_clients` of its repository)."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from tests.client import Client, assert_discreet, serving
from tests.conftest import encoded
from tests.fakes import GLASSES, ColourNetwork, engine_factory, squares

PATH = "/compat/insightface/extract"
PHOTO = encoded(squares((100, 200, 0), (200, 20, 0), side=60, height=120))
ABSENT = {"norm": None, "vec": None, "facedata": None, "mask": None}


def sent(*photos: bytes, **asked: Any) -> dict[str, Any]:
    """Arguments of a request as `IFRClient.extract` sends it with `use_msgpack=False`; `asked` goes before its defaults."""
    flags = dict.fromkeys(("extract_ga", "return_face_data", "return_landmarks", "embed_only", "msgpack"), False)
    numbers = {"threshold": 0.6, "limit_faces": 0, "min_face_size": 0, "img_req_headers": {}, "extract_embedding": True}
    images = {"data": [base64.b64encode(photo).decode() for photo in photos]}
    return {"url": PATH, "json": {"images": images} | flags | numbers | asked}


async def answered(client: Client, *photos: bytes, **asked: Any) -> list[dict[str, Any]]:
    """What is answered for each photo."""
    response = await client.post(**sent(*photos, **asked))
    assert response.status_code == 200, response.text
    document = response.json()
    assert list(document) == ["took", "data"]
    assert document["took"]["total_ms"] > 0
    return document["data"]


async def refused(client: Client, status: int, said: str, **request: Any) -> None:
    response = await client.post(**{"url": PATH} | request)
    assert response.status_code == status, response.text
    assert list(response.json()) == ["detail"]
    assert said in response.json()["detail"]
    assert_discreet(response.json()["detail"])


async def test_a_face_as_insightface_rest_has_it() -> None:
    async with serving(compat="insightface") as client:
        (photo,) = await answered(client, PHOTO, extract_ga=True, return_landmarks=True)
        ours = (await client.post("/predict", content=PHOTO)).json()["faces"][0]
    first, second = photo["faces"]
    assert (photo["status"], photo["took_ms"] > 0) == ("ok", True)
    points = [[38, 38], [62, 38], [50, 50], [41, 62], [59, 62]]
    seen = {"num_det": 0, "prob": 0.99, "bbox": [20, 20, 80, 80], "size": 60, "landmarks": points}
    assert first == seen | {"gender": 0, "age": round(ours["age"]["years"])} | ABSENT
    assert (second["gender"], second["num_det"]) == (1, 1)


async def test_what_is_not_asked_for_is_null() -> None:
    async with serving(compat="insightface") as client:
        (photo,) = await answered(client, PHOTO)
    assert [(face["age"], face["gender"], face["landmarks"]) for face in photo["faces"]] == [(None, None, None)] * 2


async def test_what_the_operator_leaves_out_is_null() -> None:
    async with serving(compat="insightface", attributes="age") as client:
        (photo,) = await answered(client, PHOTO, extract_ga=True)
    assert [(face["age"] is None, face["gender"]) for face in photo["faces"]] == [(False, None)] * 2


async def test_a_model_without_age_and_gender_answers_boxes() -> None:
    async with serving(
        engine_factory(network=ColourNetwork(("glasses",)), attributes=[GLASSES]), compat="insightface"
    ) as client:
        (photo,) = await answered(client, PHOTO, extract_ga=True)
    assert [(face["size"], face["age"], face["gender"]) for face in photo["faces"]] == [(60, None, None)] * 2


async def test_the_limits_on_faces() -> None:
    sizes = encoded(np.hstack([squares((200, 20, side), side=side, height=120) for side in (40, 60, 50)]))
    async with serving(compat="insightface") as client:

        async def found(**asked: Any) -> list[int]:
            (photo,) = await answered(client, sizes, **asked)
            return [face["size"] for face in photo["faces"]]

        assert await found() == [60, 50, 40], "the largest comes first"
        assert await found(limit_faces=2) == [60, 50]
        assert await found(min_face_size=50) == [60, 50]
        assert await found(min_face_size=50.5, limit_faces=3) == [60]
        assert await found(threshold=0) == [60, 50, 40]
        assert await found(threshold=1) == []
        assert await found(threshold=None, limit_faces=None, min_face_size=None) == [60, 50, 40]


async def test_a_photo_that_fails_leaves_the_others_alone() -> None:
    async with serving(compat="insightface") as client:
        broken, whole, empty = await answered(client, b"no photo", PHOTO, encoded(squares()))
        (alone,) = await answered(client, b"no photo")
    assert broken == alone
    assert (broken["status"], broken["faces"], broken["took_ms"]) == ("failed", [], 0)
    assert_discreet(broken["traceback"])
    assert (whole["status"], len(whole["faces"])) == ("ok", 2)
    assert (empty["status"], empty["faces"]) == ("ok", [])


async def test_base64_may_have_a_prefix() -> None:
    async with serving(compat="insightface") as client:
        data = [f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"]
        response = await client.post(PATH, json={"images": {"data": data}})
        assert len(response.json()["data"][0]["faces"]) == 2


async def test_requests_that_cannot_be_served() -> None:
    msgpack = {"content": b"\x81", "headers": {"content-type": "application/msgpack"}}
    async with serving(compat="insightface", max_batch_files=2) as client:
        await refused(client, 422, "images.urls", json={"images": {"urls": ["http://a.example/photo.jpg"]}})
        await refused(client, 422, "embed_only", **sent(PHOTO, embed_only=True))
        await refused(client, 422, "msgpack", **sent(PHOTO, msgpack=True))
        await refused(client, 422, "threshold", **sent(PHOTO, threshold=1.5))
        await refused(client, 422, "limit_faces", **sent(PHOTO, limit_faces=-1))
        await refused(client, 422, "images", json={"image": "AAAA"})
        await refused(client, 415, "use_msgpack=False", **msgpack)
        await refused(client, 400, "no photo", json={"images": {}})
        await refused(client, 400, "no photo", json={"images": {"data": []}})
        await refused(client, 400, "base64", json={"images": {"data": ["§"]}})
        await refused(client, 400, "at most 2", **sent(PHOTO, PHOTO, PHOTO))
        await refused(client, 404, "/compat/insightface/extract", url="/compat/insightface/draw_detections")


async def test_the_only_photo_that_a_second_try_may_answer_is_the_requests_failure() -> None:
    """A client that reads status 200 would not try again."""
    async with serving(compat="insightface", deadline_s=1e-6) as client:
        response = await client.post(**sent(PHOTO))
        assert (response.status_code, list(response.json())) == (504, ["detail"])


async def test_as_many_photos_go_together_as_a_batch_may_have() -> None:
    async with serving(compat="insightface", max_batch_files=64) as client:
        photos = await answered(client, *[PHOTO] * 64, extract_ga=True)
    assert [len(photo["faces"]) for photo in photos] == [2] * 64


async def test_what_the_client_shows_of_the_server() -> None:
    """The members that `IFRClient.server_info` reads."""
    async with serving(compat="insightface", api_keys="a-key") as client:
        assert (await client.get("/compat/insightface/health")).json()["status"] == "ok"
        assert (await client.get("/compat/insightface/info")).status_code == 401
        models = (await client.get("/compat/insightface/info", headers={"x-api-key": "a-key"})).json()["models"]
    assert {"det_batch_size", "max_size", "rec_name", "rec_batch_size", "inference_backend"} <= set(models)
    assert models["ga_name"] == "fake/3"
