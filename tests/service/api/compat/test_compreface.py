"""Detection as compreface-sdk 0.6.0 asks for it and reads it.

Its requests are written down here as it sent them (`compreface/client/detect_face_from_image.py`), and the answer is that of
its README. `tests/deploy/test_clients.py` runs the SDK itself, in the environment of the programs that check `deploy/`.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from tests.client import Client, assert_discreet, disposition, multipart, serving
from tests.conftest import encoded
from tests.fakes import GLASSES, ColourNetwork, engine_factory, squares

PATH = "/compat/compreface/api/v1/detection/detect"
PHOTO = encoded(squares((100, 200, 0), (200, 20, 0), side=60, height=120))


def sent(photo: bytes, query: str = "", key: str = "a-key") -> dict[str, Any]:
    """Arguments of a request as the SDK sends it; its query begins with `?&`."""
    boundary = "7b3e6e5a0c9a4a6db0e0d3f0a4b2c1d9"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image.jpg"\r\n\r\n'
    return {
        "url": f"{PATH}?{query}",
        "content": head.encode() + photo + f"\r\n--{boundary}--\r\n".encode(),
        "headers": {"content-type": f"multipart/form-data; boundary={boundary}", "x-api-key": key},
    }


async def answered(client: Client, photo: bytes = PHOTO, query: str = "") -> dict[str, Any]:
    response = await client.post(**sent(photo, query))
    assert response.status_code == 200, response.text
    return response.json()


async def failed(client: Client, status: int, code: int, **request: Any) -> None:
    response = await client.post(**request)
    assert response.status_code == status, response.text
    document = response.json()
    assert list(document) == ["message", "code"]
    assert document["code"] == code
    assert_discreet(document["message"])


async def test_a_face_as_compreface_has_it() -> None:
    query = "&limit=0&det_prob_threshold=0.8&face_plugins=age,gender,landmarks,mask,calculator&status=True"
    async with serving(compat="compreface") as client:
        document = await answered(client, query=query)
        ours = (await client.post("/predict", content=PHOTO)).json()["faces"][0]
    first, second = document["result"]
    assert list(document) == ["result", "plugins_versions"]
    assert document["plugins_versions"] == {"detector": "fake/3", "age": "fake/3", "gender": "fake/3"}
    assert first["box"] == {"probability": 0.99, "x_max": 80, "y_max": 80, "x_min": 20, "y_min": 20}
    assert first["age"] == {"low": ours["age"]["low"], "high": ours["age"]["high"], "probability": 0.8}
    assert first["gender"] == {"value": "female", "probability": ours["gender"]["confidence"]}
    assert second["gender"]["value"] == "male"
    assert first["landmarks"] == [[38, 38], [62, 38], [50, 50], [41, 62], [59, 62]]
    assert set(first["execution_time"]) == {"detector", "age", "gender"}
    assert set(first) == {"box", "age", "gender", "landmarks", "execution_time"}


async def test_without_plugins_there_are_boxes_alone() -> None:
    async with serving(compat="compreface") as client:
        document = await answered(client)
        assert list(document) == ["result"]
        assert [set(face) for face in document["result"]] == [{"box"}, {"box"}]


async def test_the_limit_and_the_threshold() -> None:
    async with serving(compat="compreface") as client:
        assert len((await answered(client, query="&limit=1"))["result"]) == 1
        assert len((await answered(client, query="&det_prob_threshold=0.0"))["result"]) == 2
        await failed(client, 400, 28, **sent(PHOTO, "&det_prob_threshold=1.0"))
        await failed(client, 400, 26, **sent(PHOTO, "&limit=-1"))
        await failed(client, 400, 26, **sent(PHOTO, "&det_prob_threshold=1.5"))


async def test_the_largest_face_comes_first() -> None:
    """As `_fetch_faces` of CompreFace's embedding-calculator has it: clients take the first one for the photo's subject."""
    sizes = [squares((200, 20, side), side=side, height=120) for side in (40, 60, 50)]
    async with serving(compat="compreface") as client:
        document = await answered(client, encoded(np.hstack(sizes)))
    assert [face["box"]["x_max"] - face["box"]["x_min"] for face in document["result"]] == [60, 50, 40]


async def test_parameters_may_be_fields_of_the_form() -> None:
    """Spring, which CompreFace is made with, binds both alike."""

    def form(*fields: tuple[str, str]) -> dict[str, Any]:
        parts = [(disposition(name), text.encode()) for name, text in fields]
        return {"url": PATH} | multipart((disposition("file", filename="a.png"), PHOTO), *parts)

    async with serving(compat="compreface") as client:
        wanted = form(("limit", "1"), ("face_plugins", "age,gender"), ("det_prob_threshold", ""))
        (face,) = (await client.post(**wanted)).json()["result"]
        assert set(face) == {"box", "age", "gender"}
        both = await client.post(**form(("limit", "1")), params={"limit": "2"})
        assert len(both.json()["result"]) == 2, "the address goes before the form"
        await failed(client, 400, 26, **form(("limit", "-1")))


async def test_a_model_has_the_plugins_of_what_it_says() -> None:
    glasses = engine_factory(network=ColourNetwork(("glasses",)), attributes=[GLASSES])
    async with serving(glasses, compat="compreface") as client:
        document = await answered(client, query="&face_plugins=age,gender&status=true")
    assert document["plugins_versions"] == {"detector": "fake/3"}
    assert set(document["result"][0]["execution_time"]) == {"detector"}


async def test_an_empty_parameter_is_an_absent_one() -> None:
    async with serving(compat="compreface") as client:
        left_open = await answered(client, query="&limit=&det_prob_threshold=&face_plugins=&status=")
        assert left_open == await answered(client)


async def test_base64_in_json() -> None:
    async with serving(compat="compreface") as client:
        response = await client.post(PATH, json={"file": base64.b64encode(PHOTO).decode()})
        assert response.json() == await answered(client)
        await failed(client, 400, 21, url=PATH, json={"file": "§"})
        await failed(client, 400, 34, url=PATH, json={"image": "AAAA"})


async def test_no_face_has_the_code_that_clients_look_for() -> None:
    async with serving(compat="compreface") as client:
        response = await client.post(**sent(encoded(squares())))
    assert response.status_code == 400
    assert response.json() == {"message": "No face is found in the given image", "code": 28}


async def test_requests_that_cannot_be_served() -> None:
    async with serving(compat="compreface", deadline_s=1e-6) as client:
        await failed(client, 504, 41, **sent(PHOTO))
    async with serving(compat="compreface", max_body_mib=0.05) as client:
        await failed(client, 400, 21, **sent(b"no photo"))
        await failed(client, 400, 34, url=PATH, **multipart((disposition("image", filename="a.png"), PHOTO)))
        await failed(client, 400, 0, **sent(b""))
        await failed(client, 400, 0, url=PATH, content=PHOTO, headers={"content-type": "image/png"})
        await failed(client, 413, 0, **sent(bytes(60_000)))
        await failed(client, 404, 0, url="/compat/compreface/api/v1/recognition/recognize")


@pytest.mark.parametrize(("text", "said"), [(b"photo.jpg", "@"), (base64.b64encode(PHOTO), '{"file": "<base64>"}')])
async def test_what_stands_in_the_place_of_the_photo_is_told_apart(text: bytes, said: str) -> None:
    async with serving(compat="compreface") as client:
        document = (await client.post(**sent(text))).json()
    assert said in document["message"]
    assert document["code"] == 21


async def test_its_key_is_an_api_key() -> None:
    async with serving(compat="compreface", api_keys="a-key", rate_limit=1) as client:
        await failed(client, 401, 10, **sent(PHOTO, key="another"))
        assert (await client.post(**sent(PHOTO))).status_code == 200
        await failed(client, 429, 0, **sent(PHOTO))
