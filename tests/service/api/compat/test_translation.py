"""What is the same for every translated system: it is off by default, known by name, and held to the service's limits."""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pydantic import ValidationError

from service.api.compat import compreface, deepface, insightface, rekognition
from service.api.compat.systems import SYSTEMS, chosen
from service.api.compat.translation import Parser, largest_first
from service.api.schemas import EXAMPLE, FaceAnswer, Problem
from service.errors import RequestError
from service.settings import Settings
from tests.client import assert_problem, serving

NAMES = "deepface,rekognition,compreface,insightface,kserve,sagemaker"
FIELDS = ("img", "actions", "Image", "Bytes", "S3Object", "Attributes", "file", "enforce_detection", "images", "data", "urls")
PATHS = [path for system in SYSTEMS.values() for path in system.paths]
PHOTO_PATHS = [path for system in SYSTEMS.values() for path in system.photo_paths]
TRANSLATED = [name for name, system in SYSTEMS.items() if system.failure is not None]


def count(path: str, status: str) -> float:
    labels = {"route": path, "method": "POST", "status": status}
    return REGISTRY.get_sample_value("facet_request_seconds_count", labels) or 0


def test_the_setting_names_every_system_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    (kinds, _) = get_args(Settings.model_fields["compat"].annotation)
    assert set(get_args(kinds)) == set(SYSTEMS)
    monkeypatch.setenv("FACET_COMPAT", "compreface, deepface")
    assert [one.name for one in chosen(Settings().compat)] == ["deepface", "compreface"]
    monkeypatch.setenv("FACET_COMPAT", "deepface,azure")
    others = "'deepface', 'rekognition', 'compreface', 'insightface', 'kserve' or 'sagemaker'"
    with pytest.raises(ValidationError, match=others):
        Settings()


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_there_by_default(path: str) -> None:
    async with serving() as client:
        assert_problem(await client.post(path), 404, "not_found")


async def test_the_openapi_document_stays_as_it_is() -> None:
    async with serving() as client:
        without = (await client.get("/openapi.json")).json()
    async with serving(compat=NAMES) as client:
        assert (await client.get("/openapi.json")).json() == without


async def test_the_others_stay_off() -> None:
    async with serving(compat="deepface") as client:
        assert_problem(await client.post("/compat/rekognition"), 404, "not_found")
        assert_problem(await client.post("/predict"), 400, "missing_file")


@pytest.mark.parametrize("path", PHOTO_PATHS)
async def test_requests_are_counted_by_route(path: str) -> None:
    """Their template is the label, also of a request that is refused before its route is known."""
    async with serving(compat=NAMES, api_keys="a-key") as client:
        before: dict[str, Any] = {status: count(path, status) for status in ("400", "401")}
        response = await client.post(path.format(model_name="fake", model_version=3))
        status = str(response.status_code)
        assert count(path, status) == before[status] + 1
        assert response.headers["x-request-id"]


@pytest.mark.parametrize("name", TRANSLATED)
async def test_who_has_no_key_is_told_how_to_send_one(name: str) -> None:
    """RFC 9110, 11.6.1, wants it of every 401."""
    path = SYSTEMS[name].photo_paths[0].format(model_name="fake", model_version=3)
    async with serving(compat=name, api_keys="a-key") as client:
        response = await client.post(path)
        assert response.status_code in (400, 401)
        assert response.headers["www-authenticate"] == 'Bearer realm="facet"'


@pytest.mark.parametrize("name", ["deepface", "compreface", "insightface", "kserve"])
async def test_where_nothing_is_the_systems_own_path_is_named(name: str) -> None:
    """`/docs` knows nothing of it."""
    system = SYSTEMS[name]
    async with serving(compat=name) as client:
        document = (await client.post(f"{system.prefix}/verify")).json()
    said = document.get("message") or document.get("error") or document["detail"]
    assert system.photo_paths[0] in said
    assert "/docs" not in said


def test_the_largest_face_comes_first_and_of_equal_ones_the_left_one() -> None:
    sides = ((4, 4), (2, 9), (9, 2), (5, 4))
    boxes = [{"x": x, "y": 0, "width": width, "height": height} for x, (width, height) in enumerate(sides)]
    faces = [FaceAnswer.model_validate(EXAMPLE["faces"][0] | {"box": box}) for box in boxes]
    assert [face.box.x for face in largest_first(faces)] == [3, 1, 2, 0]


OF_AWS = (
    "amz-sdk-invocation-id,amz-sdk-request,authorization,content-type,x-amz-content-sha256,x-amz-date,x-amz-security-token,"
    "x-amz-target,x-amz-user-agent"
)
"""Headers of `DetectFacesCommand` of @aws-sdk/client-rekognition 3, with a session's token."""


@pytest.mark.parametrize(
    ("name", "sent", "read"),
    [
        ("deepface", "authorization,content-type", "x-request-id"),
        ("compreface", "content-type,x-api-key", "x-request-id"),
        ("insightface", "content-type,x-api-key", "x-request-id"),
        ("rekognition", OF_AWS, "x-amzn-requestid"),
        ("kserve", "content-type,inference-header-content-length,x-api-key", "inference-header-content-length"),
    ],
)
async def test_a_page_of_an_allowed_origin_may_use_the_client(name: str, sent: str, read: str) -> None:
    path = SYSTEMS[name].photo_paths[0].format(model_name="fake", model_version=3)
    page = {"origin": "https://shop.example"}
    asked = page | {"access-control-request-method": "POST", "access-control-request-headers": sent}
    async with serving(compat=name, cors_origins=page["origin"]) as client:
        assert (await client.options(path, headers=asked)).status_code == 200
        exposed = (await client.post(path, headers=page)).headers["access-control-expose-headers"].lower()
        assert read in exposed.split(", ")
    async with serving(cors_origins=page["origin"]) as client:
        status = 400 if name in ("rekognition", "kserve") else 200
        assert (await client.options(path, headers=asked)).status_code == status, "what no system needs stays refused"


@pytest.mark.parametrize("name", TRANSLATED)
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(name: str) -> None:
    path = SYSTEMS[name].photo_paths[0].format(model_name="fake", model_version=3)
    async with serving(compat=name, max_body_mib=1 / 64, max_batch_mib=1 / 64) as client:
        response = await client.post(path, content=bytes(20_000))
        assert response.headers["connection"] == "close"
        assert "larger than 0.015625 MiB" in response.text
        assert set(response.json()) != set(Problem.model_fields)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.sampled_from(["data:,", "data:a;base64,AAAA", "ALL"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.binary(max_size=200) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda one: json.dumps(one).encode())
TYPES = st.sampled_from(
    [
        "application/json",
        "application/x-amz-json-1.1",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "",
    ]
)


@pytest.mark.parametrize("parse", [deepface.fields, rekognition.fields, compreface.fields])
@given(BODIES, TYPES)
def test_a_body_of_any_kind_is_taken_apart_or_refused(parse: Parser, body: bytes, content_type: str) -> None:
    with contextlib.suppress(RequestError):
        photo, given = parse(body, content_type, "")
        assert isinstance(photo, bytes)
        with contextlib.suppress(RequestError):
            deepface.actions_of(given.get("actions"))
        with contextlib.suppress(RequestError):
            rekognition.wanted(given.get("Attributes"))
        deepface.flag(given.get("enforce_detection"))


@given(BODIES, TYPES)
def test_a_body_with_several_photos_is_taken_apart_or_refused(body: bytes, content_type: str) -> None:
    with contextlib.suppress(RequestError, RequestValidationError):
        photos, _ = insightface.extraction(body, content_type, "", 4)
        assert 1 <= len(photos) <= 4


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_a_key_is_found_in_any_header(api_key: str, authorization: str) -> None:
    for header in (authorization, f"AWS4-HMAC-SHA256 Credential={authorization}/20260101/eu/rekognition/aws4_request, x"):
        assert isinstance(rekognition.key_of(None, header), str)
        assert rekognition.key_of(api_key, header) == api_key or not api_key


@pytest.mark.parametrize("key", ["a-key", "with/slash+and=more", "a/20260101/b"])
def test_a_key_is_the_whole_id_of_a_credential(key: str) -> None:
    header = f"AWS4-HMAC-SHA256 Credential={key}/20261127/us-east-1/rekognition/aws4_request, SignedHeaders=host, Signature=0"
    assert rekognition.key_of(None, header) == key
    assert rekognition.key_of(None, header.replace("AWS4", "AWS5")) == ""
