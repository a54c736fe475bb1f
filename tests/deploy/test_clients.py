"""Scripts of other systems' own clients call Facet instead, with their address changed and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encoded
from tests.deploy.files import checker, ran
from tests.fakes import squares
from tests.service.api.compat.serving import listening

REKOGNITION = """
import json
import sys

import boto3

client = boto3.client("rekognition")
with open(sys.argv[1], "rb") as photo:
    answer = client.detect_faces(Image={"Bytes": photo.read()}, Attributes=["ALL"])
try:
    client.detect_faces(Image={"Bytes": b"no photo"})
except client.exceptions.InvalidImageFormatException as error:
    answer["error"] = str(error)
print(json.dumps(answer))
"""
COMPREFACE = """
import json
import sys

from compreface import CompreFace

host, port = sys.argv[2].rsplit(":", 1)
options = {"limit": 0, "det_prob_threshold": 0.8, "face_plugins": "age,gender,landmarks,mask,calculator", "status": True}
detection = CompreFace(host, f"{port}/compat/compreface", options).init_face_detection(sys.argv[3])
with open(sys.argv[1], "rb") as photo:
    answers = [detection.detect(sys.argv[1]), detection.detect(photo.read(), {"limit": 1}), detection.detect(b"no photo")]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(compat="rekognition,compreface", api_keys="a-key") as address:
        yield address


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo with a woman of 37 and a man of 74 on it, by the fakes' lights."""
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(squares((100, 200, 0), (200, 20, 0))))
    return path


def answer_of(script: str, photo: Path, *arguments: str, **environment: str) -> Any:
    """What a script prints, which the Python with the clients runs."""
    path = photo.with_name("script.py")
    path.write_text(script)
    return json.loads(ran(checker("python"), str(path), str(photo), *arguments, environment=environment))


def test_a_script_with_boto3(url: str, photo: Path) -> None:
    answer = answer_of(
        REKOGNITION,
        photo,
        AWS_ENDPOINT_URL_REKOGNITION=f"{url}/compat/rekognition",
        AWS_ACCESS_KEY_ID="a-key",
        AWS_SECRET_ACCESS_KEY="any",
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_CONFIG_FILE=str(photo.with_name("none")),
    )
    assert [face["Gender"]["Value"] for face in answer["FaceDetails"]] == ["Female", "Male"]
    assert all(face["AgeRange"]["Low"] < face["AgeRange"]["High"] for face in answer["FaceDetails"])
    assert "InvalidImageFormatException" in answer["error"]


def test_a_script_with_the_sdk_of_compreface(url: str, photo: Path) -> None:
    whole, largest, failed = answer_of(COMPREFACE, photo, url, "a-key")
    assert [face["gender"]["value"] for face in whole["result"]] == ["female", "male"]
    assert all(face["age"]["low"] < face["age"]["high"] for face in whole["result"])
    assert [len(face["landmarks"]) for face in whole["result"]] == [5, 5]
    assert set(whole["plugins_versions"]) == {"detector", "age", "gender"}
    assert [set(face) for face in largest["result"]] == [{"box"}]
    assert failed["code"] == 21
    (refused, *_) = answer_of(COMPREFACE, photo, url, "another key")
    assert refused["code"] == 10
