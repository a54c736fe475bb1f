"""The Open Inference Protocol as its clients speak it: JSON, JSON with binary data, and the names of models in the path."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.compat.tensors import Tensor, inference
from service.errors import RequestError
from tests.client import assert_problem_document, serving
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.test_several_models import several

PHOTO = encoded(squares((100, 200, 0), (200, 20, 0)))
RED = encoded(squares((250, 10, 10)))
NONE = encoded(squares())
INFER = "/v2/models/fake/infer"


def tensor(*photos: bytes, **changes: Any) -> dict[str, Any]:
    """The input with some photos, as base64."""
    texts = [base64.b64encode(photo).decode() for photo in photos]
    return {"name": "image", "shape": [len(photos)], "datatype": "BYTES", "data": texts} | changes


def asked(*photos: bytes, **more: Any) -> dict[str, Any]:
    return {"inputs": [tensor(*photos)]} | more


def elements(*photos: bytes) -> bytes:
    """Photos as binary data."""
    return b"".join(struct.pack("<I", len(photo)) + photo for photo in photos)


def binary(document: dict[str, Any], data: bytes, length: int | None = None) -> dict[str, Any]:
    """Arguments of a POST whose JSON is followed by binary data."""
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head) if length is None else length)}
    return {"content": head + data, "headers": headers | {"content-type": "application/octet-stream"}}


def outputs(response: httpx.Response) -> dict[str, dict[str, Any]]:
    assert response.status_code == 200, response.text
    return {one["name"]: one for one in response.json()["outputs"]}


def assert_failure(response: httpx.Response, status: int, code: str) -> str:
    """A problem that says its detail as `error` too."""
    assert response.status_code == status, response.text
    document = response.json()
    error = document.pop("error")
    assert_problem_document(document, status, code)
    assert error == document["detail"]
    return str(error)


async def test_metadata_and_health() -> None:
    async with serving(compat="kserve") as client:
        server = (await client.get("/v2")).json()
        assert (server["name"], server["extensions"]) == ("facet", ["binary_tensor_data"])
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        for path in ("/v2/models/fake/ready", "/v2/models/fake/versions/3/ready"):
            assert (await client.get(path)).json() == {"name": "fake", "ready": True}
        model = (await client.get("/v2/models/fake")).json()
        assert model == (await client.get("/v2/models/fake/versions/3")).json()
        assert (model["name"], model["versions"], model["platform"]) == ("fake", ["3"], "fake")
        assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
        client.engine.drain()
        ready = await client.get("/v2/health/ready")
        assert (ready.status_code, ready.json()) == (503, {"ready": False})
        assert (await client.get("/v2/models/fake/ready")).status_code == 503
        assert (await client.get("/v2/health/live")).status_code == 200


async def test_the_outputs_are_what_the_metadata_say_and_predict_answers() -> None:
    async with serving(compat="kserve") as client:
        declared = (await client.get("/v2/models/fake")).json()["outputs"]
        response = await client.post(INFER, json=asked(PHOTO, id="42"))
        ours = (await client.post("/predict", content=PHOTO)).json()
        assert {key: response.json()[key] for key in ("model_name", "model_version", "id")} == {
            "model_name": "fake",
            "model_version": "3",
            "id": "42",
        }
        found = outputs(response)
        assert [(one["name"], one["datatype"], len(one["shape"])) for one in declared] == [
            (one["name"], one["datatype"], len(one["shape"])) for one in found.values()
        ]
        assert all(one["shape"][1:] == found[one["name"]]["shape"][1:] for one in declared)
        (document,) = found["answer"]["data"]
        assert json.loads(document)["faces"] == ours["faces"]
        assert (found["status"]["data"], found["face_photo"]["data"]) == ([200], [0, 0])
        boxes = [list(face["box"].values()) for face in ours["faces"]]
        assert found["face_box"] == {
            "name": "face_box",
            "datatype": "INT32",
            "shape": [2, 4],
            "data": [cell for box in boxes for cell in box],
        }
        assert found["age"]["data"] == [face["age"]["years"] for face in ours["faces"]]
        assert found["age_interval"]["data"] == [face["age"][end] for face in ours["faces"] for end in ("low", "high")]
        assert found["gender"]["data"] == ["female", "male"]
        probabilities = [value for face in ours["faces"] for value in face["gender"]["probabilities"].values()]
        assert found["gender_probabilities"] | {"data": probabilities} == found["gender_probabilities"]


async def test_several_photos_each_have_a_status() -> None:
    async with serving(compat="kserve") as client:
        found = outputs(await client.post(INFER, json=asked(RED, b"no photo", NONE, PHOTO)))
        assert found["status"]["data"] == [200, 415, 200, 200]
        assert found["face_photo"]["data"] == [0, 3, 3]
        assert_problem_document(json.loads(found["answer"]["data"][1]), 415, "unsupported_format")
        nested = asked() | {"inputs": [tensor(RED, NONE, shape=[2, 1], data=[[one] for one in tensor(RED, NONE)["data"]])]}
        assert outputs(await client.post(INFER, json=nested))["face_photo"]["data"] == [0]
        assert outputs(await client.post(INFER, json=asked(NONE)))["face_box"]["shape"] == [0, 4]


async def test_parameters_are_those_of_predict() -> None:
    async with serving(compat="kserve") as client:
        parameters = {"attributes": "age", "max_faces": 1, "landmarks": True, "min_confidence": 0.6, "priority": 1}
        found = outputs(await client.post(INFER, json=asked(PHOTO, parameters=parameters)))
        assert [name for name in found if not name.startswith("face_")] == ["answer", "status", "age", "age_interval"]
        (face,) = json.loads(found["answer"]["data"][0])["faces"]
        assert "landmarks" in face
        for wrong in ({"max_faces": 0}, {"max_facse": 1}, {"landmarks": "yes"}):
            assert_failure(await client.post(INFER, json=asked(PHOTO, parameters=wrong)), 400, "malformed_tensor")
        wrong = {"attributes": "hat"}
        assert_failure(await client.post(INFER, json=asked(PHOTO, parameters=wrong)), 422, "invalid_parameter")


async def test_only_the_outputs_that_are_asked_for() -> None:
    async with serving(compat="kserve", attributes="age") as client:
        request = asked(PHOTO, outputs=[{"name": "age"}, {"name": "status", "parameters": {"binary_data": False}}])
        assert list(outputs(await client.post(INFER, json=request))) == ["age", "status"]
        error = assert_failure(
            await client.post(INFER, json=asked(PHOTO, outputs=[{"name": "gender"}])), 400, "malformed_tensor"
        )
        assert "choose from answer, status" in error


async def test_null_is_what_was_left_open() -> None:
    """Clients that write out every field of a request write so."""
    async with serving(compat="kserve") as client:
        request = asked(PHOTO, id=None, parameters=None, outputs=[{"name": "age", "parameters": None}])
        request["inputs"][0]["parameters"] = None
        assert list(outputs(await client.post(INFER, json=request))) == ["age"]


async def test_an_empty_list_of_outputs_asks_for_all_of_them() -> None:
    """As Triton has it: clients whose lists are never absent write so."""
    async with serving(compat="kserve") as client:
        every = outputs(await client.post(INFER, json=asked(PHOTO)))
        assert list(outputs(await client.post(INFER, json=asked(PHOTO, outputs=[])))) == list(every)


async def test_half_a_character_is_no_name() -> None:
    async with serving(compat="kserve") as client:
        request = json.dumps(asked(PHOTO, outputs=[{"name": "\ud800"}]))
        response = await client.post(INFER, content=request, headers={"Content-Type": "application/json"})
        assert_failure(response, 400, "malformed_tensor")


async def test_binary_data_in_and_out() -> None:
    data = elements(PHOTO, NONE)
    given = {"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
    wanted = [{"name": "gender"}, {"name": "status", "parameters": {"binary_data": False}}, {"name": "age"}]
    document = {"inputs": [given], "outputs": wanted, "parameters": {"binary_data_output": True}}
    async with serving(compat="kserve") as client:
        response = await client.post(INFER, **binary(document, data))
        plain = outputs(await client.post(INFER, json=asked(PHOTO, NONE)))
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    gender, status, age = json.loads(response.content[:length])["outputs"]
    assert status == {"name": "status", "datatype": "INT32", "shape": [2], "data": [200, 200]}
    assert gender["shape"] == age["shape"] == [2]
    size = gender["parameters"]["binary_data_size"]
    assert response.content[length : length + size] == elements(b"female", b"male")
    assert struct.unpack("<2f", response.content[length + size :]) == pytest.approx(plain["age"]["data"])
    assert age["parameters"]["binary_data_size"] == 8


def test_tensors_as_binary_data() -> None:
    assert Tensor("n", "INT32", (2,), [1, -1]).binary() == b"\x01\0\0\0\xff\xff\xff\xff"
    assert Tensor("n", "BYTES", (2,), ["é", ""]).binary() == b"\x02\0\0\0\xc3\xa9\0\0\0\0"


SIZED = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"content": b"{"}, 400, "malformed_json"),
        ({"json": {"inputs": []}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED), tensor(RED)]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, name="photo")]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, datatype="UINT8")]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, shape=[2])]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, shape=[-1])]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(shape=[0])]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, data=None)]}}, 400, "malformed_tensor"),
        ({"json": {"inputs": [tensor(RED, data=["§"])]}}, 400, "malformed_base64"),
        ({"json": {"inputs": [tensor(RED, data=[""])]}}, 400, "empty_file"),
        ({"json": asked(*[NONE] * 4)}, 400, "too_many_fields"),
        ({"json": asked(b"no photo")}, 415, "unsupported_format"),
        ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
        (binary({"inputs": [SIZED]}, elements(b"four")[:-1]), 400, "malformed_tensor"),
        (binary({"inputs": [SIZED]}, struct.pack("<I", 9) + b"four"), 400, "malformed_tensor"),
        (binary({"inputs": [SIZED]}, b"", 10**9), 400, "malformed_tensor"),
        (binary({"inputs": [SIZED | {"parameters": {"binary_data_size": 4}}]}, elements(b"")), 400, "empty_file"),
        (binary(asked(RED), b"more"), 400, "malformed_tensor"),
    ],
)
async def test_what_is_not_as_the_protocol_says_is_a_problem(arguments: dict[str, Any], status: int, code: str) -> None:
    async with serving(compat="kserve", max_batch_files=3) as client:
        assert_failure(await client.post(INFER, **arguments), status, code)


async def test_a_path_names_a_model_in_service() -> None:
    async with serving(several(), compat="kserve", api_keys="a-key", max_batch_mib=0.01, max_bodies_mib=20) as client:
        for path in ("/v2/models/none", "/v2/models/fake/versions/2", "/v2/models/fake/versions/x"):
            refused = await client.get(path, headers={"x-api-key": "a-key"})
            assert "fake/3, fake/4, half/1" in assert_failure(refused, 404, "unknown_model")
        assert_failure(await client.get("/v2/nothing"), 404, "not_found")
        assert (await client.get("/v2/models/half/versions/1/ready")).json()["ready"]
        assert (await client.get("/v2/health/ready")).status_code == 200
        for path in ("/v2/models/fake", INFER, INFER + "/"):
            assert_failure(await client.request("POST" if "infer" in path else "GET", path), 401, "unauthenticated")
        client.headers["x-api-key"] = "a-key"
        assert (await client.get("/v2/models/fake")).json()["versions"] == ["3", "4"]
        ages = {}
        for path in ("fake", "fake/versions/4", "half", "half/versions/1"):
            response = await client.post(f"/v2/models/{path}/infer", json=asked(RED))
            name, _, version = path.partition("/versions/")
            assert response.json()["model_name"] == name
            assert response.json()["model_version"] == (version or {"fake": "3", "half": "1"}[name])
            ages[path] = outputs(response)["age"]["data"][0]
        assert ages["half"] == ages["half/versions/1"] == pytest.approx(ages["fake"] / 2, abs=0.1)
        large = await client.post(INFER, content=bytes(20_000))
        assert_failure(large, 413, "body_too_large")


async def test_a_canary_answers_its_share_of_the_default_models_requests() -> None:
    async with serving(several(1.0), compat="kserve") as client:
        assert (await client.post(INFER, json=asked(RED))).json()["model_version"] == "4"
        named = await client.post("/v2/models/fake/versions/3/infer", json=asked(RED))
        assert named.json()["model_version"] == "3"


async def test_deadlines_hold() -> None:
    async with serving(compat="kserve", deadline_s=1e-6) as client:
        late = await client.post(INFER, json=asked(RED))
        assert_failure(late, 504, "deadline_exceeded")
        assert late.headers["retry-after"]
        assert outputs(await client.post(INFER, json=asked(RED, RED)))["status"]["data"] == [504, 504]


@given(st.binary(max_size=120), st.none() | st.integers(0, 200).map(str) | st.text(max_size=5))
def test_any_body_is_taken_apart_or_refused(body: bytes, header: str | None) -> None:
    document = json.dumps({"inputs": [SIZED | {"parameters": {"binary_data_size": len(body)}}]}).encode()
    for content, length in ((body, header), (document + body, header), (document + body, str(len(document)))):
        try:
            found = inference(content, "application/octet-stream", "", length, 3)
        except RequestError:
            continue
        assert 1 <= len(found.photos) <= 3
