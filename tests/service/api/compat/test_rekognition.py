"""DetectFaces as botocore, which is what boto3's clients are, asks for it and reads it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import botocore.session
import httpx
import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.client import assert_discreet, multipart, serving
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.api.compat.serving import listening

KEY = "facet/key+1"
PHOTO = encoded(squares((100, 200, 0), (200, 20, 0)))


def rekognition(url: str, key: str = "nobody", **options: Any) -> Any:
    """A client as `boto3.client("rekognition", …)` makes it."""
    return botocore.session.Session().create_client(
        "rekognition",
        region_name="eu-central-1",
        endpoint_url=f"{url}/compat/rekognition",
        aws_access_key_id=key,
        aws_secret_access_key="not looked at",
        config=Config(retries={"total_max_attempts": 1}, **options),
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(compat="rekognition") as address:
        yield address


@pytest.fixture(scope="module")
def keyed() -> Iterator[str]:
    with listening(compat="rekognition", api_keys=KEY, rate_limit=2, max_body_mib=0.05) as address:
        yield address


def kind(client: Any, **request: Any) -> tuple[str, int]:
    """Code and status of the error that a request is answered with."""
    with pytest.raises(ClientError) as caught:
        client.detect_faces(**request)
    error = caught.value.response
    assert error["Error"]["Message"]
    assert len(error["ResponseMetadata"]["RequestId"]) == 16
    assert_discreet(str(error["Error"]))
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_all_attributes_that_there_are(url: str) -> None:
    answer = rekognition(url).detect_faces(Image={"Bytes": PHOTO}, Attributes=["ALL"])
    first, second = answer["FaceDetails"]
    ours, other = httpx.post(f"{url}/predict", content=PHOTO).json()["faces"]
    assert list(first) == ["BoundingBox", "AgeRange", "Gender", "Landmarks", "Pose", "Quality", "Confidence"]
    assert first["BoundingBox"] == {"Width": 40 / 140, "Height": 0.5, "Left": 20 / 140, "Top": 0.25}
    assert second["BoundingBox"]["Left"] == 80 / 140
    assert first["AgeRange"] == {"Low": ours["age"]["low"], "High": ours["age"]["high"]}
    assert first["Gender"] == {"Value": "Female", "Confidence": pytest.approx(100 * ours["gender"]["confidence"])}
    assert second["Gender"] == {"Value": "Male", "Confidence": pytest.approx(100 * other["gender"]["confidence"])}
    assert first["Confidence"] == 99
    assert first["Pose"] == {"Roll": 0}
    assert set(first["Quality"]) == {"Brightness"}
    assert 0 < first["Quality"]["Brightness"] < 100
    points = {one["Type"]: (one["X"], one["Y"]) for one in first["Landmarks"]}
    assert set(points) == {"eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"}
    assert points["eyeLeft"][0] < points["nose"][0] < points["eyeRight"][0]  # the viewer's, as there
    assert points["eyeLeft"] == pytest.approx((32 / 140, 32 / 80))
    assert answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("attributes", "more"),
    [
        (None, set()),
        (["DEFAULT"], set()),
        (["GENDER"], {"Gender"}),
        (["SMILE", "AGE_RANGE"], {"AgeRange"}),
        (["EMOTIONS"], set()),
    ],
)
def test_only_what_is_asked_for(url: str, attributes: list[str] | None, more: set[str]) -> None:
    asked = {} if attributes is None else {"Attributes": attributes}
    face = rekognition(url).detect_faces(Image={"Bytes": PHOTO}, **asked)["FaceDetails"][0]
    assert set(face) == {"BoundingBox", "Landmarks", "Pose", "Quality", "Confidence"} | more


def test_no_face_is_an_empty_list(url: str) -> None:
    assert rekognition(url).detect_faces(Image={"Bytes": encoded(squares())})["FaceDetails"] == []


def test_the_largest_face_comes_first(url: str) -> None:
    sizes = [squares((200, 20, side), side=side, height=120) for side in (40, 60, 50)]
    faces = rekognition(url).detect_faces(Image={"Bytes": encoded(np.hstack(sizes))})["FaceDetails"]
    assert [round(120 * face["BoundingBox"]["Height"]) for face in faces] == [60, 50, 40]


def test_errors_are_exceptions_of_the_client(url: str) -> None:
    client = rekognition(url)
    with pytest.raises(client.exceptions.InvalidImageFormatException):
        client.detect_faces(Image={"Bytes": b"no photo"})
    with pytest.raises(client.exceptions.InvalidS3ObjectException):
        client.detect_faces(Image={"S3Object": {"Bucket": "photos", "Name": "one.jpg"}})
    unchecked = rekognition(url, parameter_validation=False)
    assert kind(client, Image={"Bytes": PHOTO[:-40]}) == ("InvalidImageFormatException", 400)
    assert kind(unchecked, Image={}) == ("InvalidParameterException", 400)
    assert kind(unchecked, Image={"Bytes": PHOTO}, Attributes=["HAT"]) == ("InvalidParameterException", 400)
    assert kind(unchecked, Image={"Bytes": PHOTO}, Attributes=["ALL", "ALL", "all"]) == ("InvalidParameterException", 400)
    with pytest.raises(ClientError, match=r"UnknownOperationException.*DetectFaces alone"):
        client.detect_labels(Image={"Bytes": PHOTO})


def test_the_access_key_is_the_api_key(keyed: str) -> None:
    assert kind(rekognition(keyed, "other"), Image={"Bytes": PHOTO}) == ("AccessDeniedException", 400)
    client = rekognition(keyed, KEY)
    assert len(client.detect_faces(Image={"Bytes": PHOTO})["FaceDetails"]) == 2
    assert kind(client, Image={"Bytes": bytes(60_000)}) == ("ImageTooLargeException", 400)
    assert kind(client, Image={"Bytes": PHOTO}) == ("ProvisionedThroughputExceededException", 400)


def test_a_header_is_a_key_too() -> None:
    """What a script does that keeps its access key to itself."""
    with listening(compat="rekognition", api_keys=KEY) as url:
        client = rekognition(url, "other")
        client.meta.events.register(
            "before-send.rekognition.*", lambda request, **_: request.headers.update({"X-API-Key": KEY})
        )
        assert len(client.detect_faces(Image={"Bytes": PHOTO})["FaceDetails"]) == 2


async def test_faults_of_the_body_and_of_the_service() -> None:
    headers = {"x-amz-target": "RekognitionService.DetectFaces", "content-type": "application/x-amz-json-1.1"}
    photo = base64.b64encode(PHOTO).decode()
    async with serving(compat="rekognition", deadline_s=1e-6) as client:
        bad = await client.post("/compat/rekognition", content=b"{", headers=headers)
        assert (bad.status_code, bad.json()["__type"]) == (400, "SerializationException")
        assert bad.headers["content-type"] == "application/x-amz-json-1.1"
        assert bad.headers["x-amzn-requestid"] == bad.headers["x-request-id"]
        bad = await client.post("/compat/rekognition", json={"Image": {"Bytes": "§"}}, headers=headers)
        assert (bad.status_code, bad.json()["__type"]) == (400, "SerializationException")
        late = await client.post("/compat/rekognition/", json={"Image": {"Bytes": photo}}, headers=headers)
        assert (late.status_code, late.json()["__type"]) == (504, "ThrottlingException")
        assert late.headers["retry-after"]
        form = await client.post("/compat/rekognition", **multipart(), params={})
        assert (form.status_code, form.json()["__type"]) == (400, "UnknownOperationException")


async def test_what_is_switched_off_is_left_out() -> None:
    headers = {"x-amz-target": "RekognitionService.DetectFaces"}
    request = {"Image": {"Bytes": base64.b64encode(PHOTO).decode()}, "Attributes": ["ALL"]}
    async with serving(compat="rekognition", attributes="age") as client:
        face = (await client.post("/compat/rekognition", json=request, headers=headers)).json()["FaceDetails"][0]
    assert "AgeRange" in face
    assert "Gender" not in face
