"""A script with boto3 that calls Amazon Rekognition calls Facet instead, with its endpoint changed and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import encoded
from tests.deploy.files import checker, ran
from tests.fakes import squares
from tests.service.api.compat.serving import listening

SCRIPT = """
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


def test_only_the_endpoint_is_changed(tmp_path: Path) -> None:
    python = checker("python")
    photo, script = tmp_path / "photo.png", tmp_path / "script.py"
    photo.write_bytes(encoded(squares((100, 200, 0), (200, 20, 0))))
    script.write_text(SCRIPT)
    with listening(compat="rekognition", api_keys="a-key") as url:
        environment = {
            "AWS_ENDPOINT_URL_REKOGNITION": f"{url}/compat/rekognition",
            "AWS_ACCESS_KEY_ID": "a-key",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
        }
        answer = json.loads(ran(python, str(script), str(photo), environment=environment))
    assert [face["Gender"]["Value"] for face in answer["FaceDetails"]] == ["Female", "Male"]
    assert all(face["AgeRange"]["Low"] < face["AgeRange"]["High"] for face in answer["FaceDetails"])
    assert "InvalidImageFormatException" in answer["error"]
