"""What pages show for photos of the examples: the shipped models answer it, but for the arithmetic of the machine."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

pytestmark = pytest.mark.model

PLACE = "/compat/compreface/api/v1/detection/detect"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(compat=["deepface", "compreface", "insightface"]))) as client:
        yield client


def sample(page: Path) -> dict[str, Any]:
    return json.loads(re.findall(r"```json\n(.+?)```", page.read_text(), re.DOTALL)[0])


def assert_alike(shown: Any, answered: Any, place: str = "", *, shares: float = 0.05) -> None:
    """Texts and the shape are the same; numbers may differ as those of f32, bf16 and int8 do, such of at most 1 by `shares`."""
    assert type(shown) is type(answered), place
    if isinstance(shown, dict):
        assert list(shown) == list(answered), place
        for name in shown:
            assert_alike(shown[name], answered[name], f"{place}.{name}", shares=shares)
    elif isinstance(shown, list):
        assert len(shown) == len(answered), place
        for index, (one, other) in enumerate(zip(shown, answered, strict=True)):
            assert_alike(one, other, f"{place}[{index}]", shares=shares)
    elif isinstance(shown, int | float):
        within = 4 if isinstance(shown, int) or shown > 1 else shares
        assert answered == pytest.approx(shown, abs=within), place
    else:
        assert shown == answered, place


def test_the_answer_in_the_readme(client: TestClient, root: Path, examples: Path) -> None:
    shown = sample(root / "README.md")
    answer = client.post("/predict", files={"file": (examples / "astronaut.jpg").read_bytes()}).json()
    kept = ("model", "image", "faces")
    assert_alike({name: shown[name] for name in kept}, {name: answer[name] for name in kept})
    assert list(answer["timing_ms"]) == list(shown["timing_ms"])


@pytest.mark.parametrize(
    ("page", "route", "query", "field", "key", "place"),
    [
        ("deepface", "/compat/deepface/analyze", {}, "img", "results", 3),
        ("compreface", PLACE, {"face_plugins": "age,gender,landmarks"}, "file", "result", 1),
    ],
)
def test_a_face_of_another_system(
    client: TestClient,
    root: Path,
    examples: Path,
    page: str,
    route: str,
    query: dict[str, str],
    field: str,
    key: str,
    place: int,
) -> None:
    (shown,) = sample(root / f"docs/moving/{page}.md")[key]
    faces = client.post(route, params=query, files={field: (examples / "group.jpg").read_bytes()}).json()[key]
    assert len(faces) == 7
    assert_alike(shown, faces[place], shares=4 if page == "deepface" else 0.05)  # its probabilities are in percent


def test_a_face_of_insightface_rest(client: TestClient, root: Path, examples: Path) -> None:
    shown = sample(root / "docs/moving/insightface.md")
    photo = base64.b64encode((examples / "group.jpg").read_bytes()).decode()
    asked = {"images": {"data": [photo]}, "extract_ga": True, "return_landmarks": True}
    faces = client.post("/compat/insightface/extract", json=asked).json()["data"][0]["faces"]
    assert len(faces) == 7
    assert_alike(shown, faces[shown["num_det"]])
