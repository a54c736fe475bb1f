"""Scripts of other systems' own clients call Facet instead, with their address changed and nothing else.

So does a client that a generator makes of the OpenAPI document.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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

GENERATED = """
import json
import sys
from io import BytesIO
from pathlib import Path

from facet_generated import AuthenticatedClient
from facet_generated.api.operate import model
from facet_generated.api.predict import predict, predict_batch
from facet_generated.models import PredictBatchBody, PredictFilesBody
from facet_generated.types import File

photo, url = Path(sys.argv[1]).read_bytes(), sys.argv[2]


def sent(content=photo):
    return File(payload=BytesIO(content), file_name="photo.png")


with AuthenticatedClient(url, token="a-key") as bearer:
    answer = predict.sync(client=bearer, body=PredictFilesBody(file=sent()), at_least="18", max_faces=1)
    batch = predict_batch.sync(client=bearer, body=PredictBatchBody(file=[sent(), sent(b"no photo")]))
    card = model.sync(client=bearer)
header = AuthenticatedClient(url, token="a-key", prefix="", auth_header_name="X-API-Key")
raw = predict.sync(client=header, body=sent())
refused = predict.sync_detailed(client=AuthenticatedClient(url, token="another"), body=sent())
(face,) = answer.faces
print(json.dumps({
    "face": [face.gender.label, face.age.years, face.age.at_least["18"]],
    "raw": [face.gender.label for face in raw.faces],
    "batch": [(one.status, one.problem.code if one.problem else len(one.result.faces)) for one in batch.results],
    "card": [card.name, card.version],
    "refused": [refused.status_code, refused.parsed.code],
}))
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


def test_a_client_made_of_the_openapi_document(url: str, photo: Path) -> None:
    """`image/*` is a range of types, which the generator passes over: the other three ways to send a photo are there."""
    document, made = photo.with_name("openapi.json"), photo.with_name("facet_generated")
    document.write_bytes(httpx.get(f"{url}/openapi.json").content)
    program = checker("openapi-python-client")
    path = f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"  # of the formatter that it runs
    generate = ("generate", "--path", str(document), "--meta", "none", "--output-path", str(made))
    report = ran(program, *generate, environment={"PATH": path})
    assert re.findall(r"^WARNING .*", report, re.MULTILINE) == ["WARNING parsing POST /predict within predict."]
    assert "Unsupported content type image/*" in report
    answer = answer_of(GENERATED, photo, url)
    gender, years, adult = answer["face"]
    assert gender in ("female", "male")
    assert 30 < years < 80
    assert adult > 0.9
    assert answer["raw"] == ["female", "male"]
    assert answer["batch"] == [[200, 2], [415, "unsupported_format"]]
    assert answer["card"] == ["fake", 3]
    assert answer["refused"] == [401, "unauthenticated"]
