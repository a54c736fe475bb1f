"""POST /predict: every way to send a photo, every parameter, and the answer's shape."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.client import Client, assert_problem, disposition, multipart, png, same, serving, years
from tests.conftest import encoded
from tests.fakes import GLASSES, INTERVAL, ColourNetwork, Pixels, engine_factory, squares

RED, GREEN, BLUE = (200, 100, 50), (50, 200, 100), (100, 50, 200)
SHARE = 0.945
"""Part of a crop of `squares` that its square fills; the rest is its black edge, blended in."""
PHOTO = encoded(squares(RED))


def expected_years(colour: tuple[int, int, int]) -> Any:
    return pytest.approx(SHARE * colour[0] / 255 * 100, abs=1)


async def faces(client: Client, photo: bytes, query: str = "") -> list[dict[str, Any]]:
    response = await client.post(f"/predict?{query}", content=photo)
    assert response.status_code == 200, response.text
    return response.json()["faces"]


async def test_the_answer_has_the_documented_shape(client: Client) -> None:
    answer = (await client.post("/predict", files={"file": PHOTO})).json()
    assert list(answer) == ["request_id", "model", "image", "faces", "timing_ms"]
    assert answer["model"] == {"name": "fake", "version": 3}
    assert answer["image"] == {"width": 80, "height": 80}
    assert list(answer["timing_ms"]) == ["wait", "decode", "detect", "crop", "predict", "total"]
    assert sum(list(answer["timing_ms"].values())[:-1]) <= answer["timing_ms"]["total"] + 0.1
    (face,) = answer["faces"]
    assert list(face) == ["box", "confidence", "age", "gender", "race", "quality", "warnings"]
    assert face["box"] == {"x": 20, "y": 20, "width": 40, "height": 40}
    assert face["confidence"] == 0.99
    assert list(face["age"]) == ["years", "low", "high", "coverage"]
    assert years(face) == expected_years(RED)
    assert face["age"]["low"] <= years(face) <= face["age"]["high"]
    assert face["age"]["coverage"] == 0.8
    assert face["gender"]["label"] == "male"
    assert face["gender"]["probabilities"]["female"] == pytest.approx(SHARE * 100 / 255, abs=0.01)
    assert list(face["race"]["probabilities"]) == ["white", "black", "asian", "indian", "other"]
    for label in (face["gender"], face["race"]):
        assert sum(label["probabilities"].values()) == pytest.approx(1, abs=0.001)
        assert list(label) == ["label", "confidence", "uncertain", "probabilities"]
        assert label["uncertain"] is False
        assert label["confidence"] == max(label["probabilities"].values()) == label["probabilities"][label["label"]]
    assert list(face["quality"]) == ["size_px", "sharpness", "brightness", "roll", "yaw", "noise", "contrast"]
    assert face["warnings"] == ["low_contrast", "occluded"]  # a square of one colour shows neither eyes nor mouth


@pytest.mark.parametrize(
    "arguments",
    [
        {"files": {"file": PHOTO}},
        {"files": {"image": PHOTO}},
        {"files": {"file": PHOTO}, "data": {"comment": "hello", "consent": "yes"}},
        {"content": PHOTO},
        {"content": PHOTO, "headers": {"content-type": "image/png"}},
        {"content": PHOTO, "headers": {"content-type": "IMAGE/PNG; q=1"}},
        {"content": PHOTO, "headers": {"content-type": "application/octet-stream"}},
        {"json": {"image": base64.b64encode(PHOTO).decode()}},
        {"json": {"image": base64.encodebytes(PHOTO).decode()}},  # broken into lines
        {"json": {"image": "data:image/png;base64," + base64.b64encode(PHOTO).decode(), "note": "more keys are ignored"}},
        {"json": {"image": "data:image/png;name=a.png;base64," + base64.b64encode(PHOTO).decode()}},
    ],
    ids=["file", "image", "spare", "raw", "png", "parameters", "octets", "base64", "lines", "data-url", "data-url-name"],
)
async def test_every_way_to_send_a_photo_gets_the_same_answer(client: Client, arguments: dict[str, Any]) -> None:
    response = await client.post("/predict", **arguments)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert same(response.json()) == same((await client.post("/predict", files={"file": PHOTO})).json())
    assert [years(face) for face in response.json()["faces"]] == [expected_years(RED)]


def polyglot(photo: bytes) -> bytes:
    """A picture that is also, to a careless reader, a web page and an archive."""
    return photo + b"<html><script>alert(1)</script></html>PK\x03\x04" + bytes(40) + b"PK\x05\x06" + bytes(18)


PARTS = {
    "pdf": (disposition(filename="me.jpg") + "\r\nContent-Type: application/pdf", PHOTO),
    "other-type": (disposition(filename="me.png") + "\r\nContent-Type: image/jpeg", PHOTO),
    "svg": (disposition(filename="me.svg") + "\r\nContent-Type: image/svg+xml", PHOTO),
    "octets": (disposition(filename="me") + "\r\nContent-Type: application/octet-stream", PHOTO),
    "no-type": (disposition(filename="me.png"), PHOTO),
    "no-name": (disposition(), PHOTO),
    "empty-name": (disposition(filename=""), PHOTO),
    "climbs": (disposition(filename="../../../etc/passwd\0.png"), PHOTO),
    "device": (disposition(filename="C:\\\\CON.png"), PHOTO),
    "long": (disposition(filename="x" * 3000), PHOTO),
    "escapes": (disposition(filename="%00%0d%0a; name=other"), PHOTO),
    "rfc5987": ("content-DISPOSITION: form-data; NAME=x; name=file; filename*=UTF-8''%e2%82%ac.png", PHOTO),
    "polyglot-png": (disposition(filename="both.png"), polyglot(PHOTO)),
    "polyglot-jpeg": (
        disposition(filename="both.html") + "\r\nContent-Type: text/html",
        polyglot(encoded(squares(RED), "JPEG")),
    ),
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_part_is_judged_by_its_bytes_alone(client: Client, part: tuple[str, bytes]) -> None:
    response = await client.post("/predict", **multipart(part))
    assert response.status_code == 200, response.text
    assert [years(face) for face in response.json()["faces"]] == [expected_years(RED)]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
async def test_formats(client: Client, form: str) -> None:
    assert [years(face) for face in await faces(client, encoded(squares(RED), form))] == [expected_years(RED)]


async def test_heic(client: Client, root: Any) -> None:
    response = await client.post("/predict", content=(root / "tests/service/vision/data/turned.heic").read_bytes())
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
async def test_of_an_animation_the_first_frame_is_answered(client: Client, form: str) -> None:
    first, second = Image.fromarray(squares(RED)), Image.fromarray(squares(GREEN))
    buffer = io.BytesIO()
    first.save(buffer, form, save_all=True, append_images=[second, second], duration=100, **WHOLE.get(form, {}))
    assert getattr(Image.open(io.BytesIO(buffer.getvalue())), "n_frames", 1) > 1
    assert [years(face) for face in await faces(client, buffer.getvalue())] == [expected_years(RED)]


WHOLE = {"WEBP": {"lossless": True}}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow says so; here warnings are errors, in service they are not
async def test_damaged_exif_does_not_cost_the_photo(client: Client) -> None:
    photo = encoded(squares(RED), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 30)
    assert [years(face) for face in await faces(client, photo)] == [expected_years(RED)]


async def test_boxes_and_landmarks_are_in_pixels_of_the_upright_photo(client: Client) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # what is stored is turned 90° anticlockwise
    stored = np.ascontiguousarray(np.rot90(squares(RED, GREEN)))
    answer = (await client.post("/predict?landmarks=true", content=encoded(stored, exif=exif))).json()
    assert answer["image"] == {"width": 140, "height": 80}
    assert [face["box"]["x"] for face in answer["faces"]] == [20, 80]
    assert [years(face) for face in answer["faces"]] == [expected_years(RED), expected_years(GREEN)]
    assert answer["faces"][1]["landmarks"] == {
        "left_eye": [92, 32],
        "right_eye": [108, 32],
        "nose": [100, 40],
        "mouth_left": [94, 48],
        "mouth_right": [106, 48],
    }


async def test_faces_come_from_left_to_right_each_with_its_own_answer(client: Client) -> None:
    found = await faces(client, encoded(squares(BLUE, RED, GREEN)))
    assert [face["box"]["x"] for face in found] == [20, 80, 140]
    assert [years(face) for face in found] == [expected_years(colour) for colour in (BLUE, RED, GREEN)]
    assert [face["race"]["label"] for face in found] == ["indian", "black", "black"]
    assert [face["gender"]["label"] for face in found] == ["male", "male", "female"]


async def test_no_face_is_an_empty_list(client: Client) -> None:
    assert await faces(client, encoded(squares())) == []


async def test_a_png_by_hand_is_read(client: Client) -> None:
    """The hostile PNGs of `test_failures` differ from this one in what makes them hostile alone."""
    rows = b"".join(b"\0" + row.tobytes() for row in squares(RED))
    assert [years(face) for face in await faces(client, png(80, 80, pixels=rows))] == [expected_years(RED)]


ALL = {"age", "gender", "race"}


@pytest.mark.parametrize(
    ("query", "answered"),
    [
        ("", ALL),
        ("attributes=age,gender,race", ALL),
        ("attributes=age", {"age"}),
        ("attributes=gender", {"gender"}),
        ("attributes=race", {"race"}),
        ("attributes=race,%20age", {"race", "age"}),
        ("attributes=age,age,", {"age"}),
        ("attributes=", set()),
    ],
)
async def test_what_is_not_asked_for_is_not_answered(client: Client, query: str, answered: set[str]) -> None:
    (face,) = await faces(client, PHOTO, query)
    assert set(face) & ALL == answered


async def test_every_attribute_of_a_model_may_be_named_at_once() -> None:
    others = [GLASSES | {"name": f"an_attribute_with_a_long_name_{n}", "outputs": [f"output_{n}"]} for n in range(90)]
    names = ["glasses", *(str(one["name"]) for one in others)]
    async with serving(engine_factory(ColourNetwork(("glasses",)), attributes=[GLASSES, *others])) as client:
        (face,) = await faces(client, PHOTO, f"attributes={','.join(names)}")
    assert set(face["glasses"]["probabilities"]) == {"no", "yes"}


async def test_an_attribute_that_is_switched_off_is_absent_unasked() -> None:
    async with serving(attributes="age,gender") as client:
        (face,) = await faces(client, PHOTO)
        assert set(face) & ALL == {"age", "gender"}


async def test_only_what_may_be_named_is_offered() -> None:
    async with serving(attributes="age,gender") as client:
        unknown = await client.post("/predict?attributes=height", content=PHOTO)
        assert "choose from age, gender." in assert_problem(unknown, 422, "invalid_parameter")["detail"]


async def test_what_a_model_does_not_say_is_absent() -> None:
    age = {"name": "age", "kind": "expectation", "outputs": ["age"], "calibration": {"interval": INTERVAL}}
    gender = {"name": "gender", "kind": "labels", "labels": ["male", "female"], "outputs": ["gender"]}
    engine = engine_factory(ColourNetwork(("age", "gender")), attributes=[age, gender])
    async with serving(engine) as client:
        (face,) = await faces(client, PHOTO, "attributes=age,race&distribution=true")
        assert set(face) & ALL == {"age"}
        assert face["age"] == {"years": expected_years(RED)}  # the interval is made of the distribution, which it lacks


async def test_the_probability_of_being_so_old_is_answered_on_request(client: Client) -> None:
    (face,) = await faces(client, PHOTO, "at_least=21,18,99,1&distribution=true")
    chances = face["age"]["at_least"]
    assert list(chances) == ["1", "18", "21", "99"]
    for age, chance in chances.items():
        tail = sum(face["age"]["distribution"][int(age) :])
        assert chance == pytest.approx(min(max(tail, 1e-4), 1 - 1e-4), abs=0.002)
    assert 1 > chances["18"] >= chances["21"] > chances["99"] > 0
    (face,) = await faces(client, PHOTO)
    assert "at_least" not in face["age"]
    (face,) = await faces(client, PHOTO, "at_least=18&attributes=age")
    assert face["age"]["at_least"] == {"18": chances["18"]}
    batch = (await client.post("/predict/batch?at_least=18", files={"file": PHOTO})).json()
    assert batch["results"][0]["result"]["faces"][0]["age"]["at_least"] == {"18": chances["18"]}


async def test_a_model_without_a_distribution_is_not_asked_how_probable_an_age_is() -> None:
    age = {"name": "age", "kind": "expectation", "outputs": ["age"]}
    async with serving(engine_factory(ColourNetwork(("age",)), attributes=[age])) as client:
        refused = await client.post("/predict?at_least=18", content=PHOTO)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameter")


async def test_landmarks_and_distribution_are_answered_on_request(client: Client) -> None:
    (face,) = await faces(client, PHOTO, "landmarks=true&distribution=yes")
    assert face["landmarks"]["left_eye"] == [32, 32]
    distribution = face["age"]["distribution"]
    assert len(distribution) == 101
    assert sum(distribution) == pytest.approx(1, abs=0.002)
    assert sum(year * share for year, share in enumerate(distribution)) == pytest.approx(years(face), abs=0.2)
    (face,) = await faces(client, PHOTO, "landmarks=false&distribution=0")
    assert "landmarks" not in face
    assert "distribution" not in face["age"]


def sized(*sides: int) -> Pixels:
    """Red squares of these sides, left to right."""
    picture = np.zeros((100, 20 + sum(sides) + 20 * len(sides), 3), np.uint8)
    x = 20
    for side in sides:
        picture[10 : 10 + side, x : x + side] = RED
        x += side + 20
    return picture


@pytest.mark.parametrize(
    ("most", "widths"), [(1, [60]), (2, [50, 60]), (3, [40, 50, 60]), (4, [40, 30, 50, 60]), (999, [40, 30, 50, 60])]
)
async def test_max_faces_keeps_the_largest_in_their_order(client: Client, most: int, widths: list[int]) -> None:
    found = await faces(client, encoded(sized(40, 30, 50, 60)), f"max_faces={most}")
    assert [face["box"]["width"] for face in found] == widths


async def test_the_operators_max_faces_is_the_most() -> None:
    async with serving(max_faces=2) as client:
        assert len(await faces(client, encoded(squares(RED, GREEN, BLUE)), "max_faces=3")) == 2
        assert len(await faces(client, encoded(squares(RED, GREEN, BLUE)))) == 2
        assert len(await faces(client, encoded(squares(RED, GREEN, BLUE)), "max_faces=1")) == 1


@pytest.mark.parametrize(("least", "count"), [("0.5", 1), ("0.99", 1), ("0.991", 0), ("1", 0)])
async def test_min_confidence(client: Client, least: str, count: int) -> None:
    assert len(await faces(client, PHOTO, f"min_confidence={least}")) == count


async def test_a_request_may_ask_for_less_confidence_than_the_operator() -> None:
    async with serving(min_confidence=1) as client:
        assert await faces(client, PHOTO) == []
        assert len(await faces(client, PHOTO, "min_confidence=0.9")) == 1


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("order-66.A_b", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("a/b", False), ("", False)],
)
async def test_a_plain_request_id_is_taken_over_and_any_other_replaced(client: Client, sent: str, taken: bool) -> None:
    response = await client.post("/predict", content=PHOTO, headers={"x-request-id": sent})
    assert response.headers.get_list("x-request-id") == [response.json()["request_id"]]
    assert (response.json()["request_id"] == sent) == taken
    assert len(response.json()["request_id"]) >= 8


async def test_request_ids_differ(client: Client) -> None:
    assert len({(await client.get("/health")).headers["x-request-id"] for _ in range(20)}) == 20


async def test_a_percent_encoded_path_is_the_same_path(client: Client) -> None:
    assert (await client.post("/%70redict", content=PHOTO)).status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    "query",
    ["attributes=age&attributes=race", "landmarks=1&landmarks=1", "atributes=age", "request=1", "engine=1", "x=" + "y" * 9999],
)
async def test_a_name_that_is_none_or_comes_twice_is_422(client: Client, path: str, query: str) -> None:
    response = await client.post(f"{path}?{query}", files={"file": PHOTO})
    assert_problem(response, 422, "invalid_parameter")


# Preview --------------------------------------------------------------------------------------------------------------


async def test_a_preview_is_the_upright_photo_and_answered_only_where_it_is_asked_for(client: Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (2000, 1000), (200, 100, 50)).save(buffer, "WEBP", exif=exif)
    plain = (await client.post("/predict", content=buffer.getvalue())).json()
    assert plain["image"] == {"width": 1000, "height": 2000}
    answered = (await client.post("/predict?preview=true", content=buffer.getvalue())).json()["image"]
    kind, _, encoded_jpeg = answered.pop("preview").partition(",")
    assert (kind, answered) == ("data:image/jpeg;base64", plain["image"])
    with Image.open(io.BytesIO(base64.b64decode(encoded_jpeg))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (640, 1280))
        assert picture.getpixel((320, 640)) == pytest.approx((200, 100, 50), abs=3)
