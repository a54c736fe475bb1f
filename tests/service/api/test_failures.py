"""Every row of the failure table that a single request can bring about, each with its status, code and whole problem.

Keys, rates, CORS and the limits of a body are in `test_limits`; full queues, deadlines and failing networks in
`test_concurrency`; the drain in `test_serve`.
"""

from __future__ import annotations

import base64
import gc
import gzip
import io
import json
import logging
import struct
import sys
import tracemalloc
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from service.inference.engine import Engine
from service.inference.pipeline import Analysis, Options
from tests.client import CANARY, Client, assert_problem, blank_rows, disposition, multipart, png, serving
from tests.conftest import encoded
from tests.fakes import engine_factory, failing_bitmaps, squares

PHOTO = encoded(squares((200, 100, 50)))
JPEG = encoded(squares((200, 100, 50)), "JPEG")
FILE = disposition(filename=f"{CANARY}.png") + "\r\nContent-Type: image/png"


def as_json(value: Any) -> dict[str, Any]:
    return {"content": json.dumps(value).encode(), "headers": {"content-type": "application/json"}}


def text_of(body: str) -> dict[str, Any]:
    return {"content": body.encode(), "headers": {"content-type": "application/json"}}


# What is no photo, or no body ---------------------------------------------------------------------------------------------


NO_PHOTO: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("missing_file", {}),
    "empty-body": ("empty_file", {"content": b"", "headers": {"content-type": "image/png"}}),
    "no-part": ("missing_file", multipart()),
    "other-parts": ("missing_file", multipart((disposition("photo", filename=CANARY), PHOTO))),
    "no-disposition": ("missing_file", multipart(("Content-Type: image/png", PHOTO))),
    "empty-part": ("empty_file", multipart((FILE, b""))),
    "empty-image": ("empty_file", as_json({"image": ""})),
    "empty-data-url": ("empty_file", as_json({"image": "data:image/png;base64,"})),
    "blank-image": ("empty_file", as_json({"image": " \n "})),
    "no-boundary": ("malformed_multipart", multipart((FILE, PHOTO)) | {"headers": {"content-type": "multipart/form-data"}}),
    "empty-boundary": (
        "malformed_multipart",
        multipart((FILE, PHOTO)) | {"headers": {"content-type": "multipart/form-data; boundary="}},
    ),
    "other-boundary": (
        "malformed_multipart",
        multipart((FILE, PHOTO)) | {"headers": {"content-type": f"multipart/form-data; boundary={CANARY}"}},
    ),
    "long-boundary": (
        "malformed_multipart",
        multipart((FILE, PHOTO)) | {"headers": {"content-type": "multipart/form-data; boundary=" + "b" * 5000}},
    ),
    "no-multipart": ("malformed_multipart", multipart() | {"content": CANARY.encode()}),
    "empty-multipart": ("malformed_multipart", multipart() | {"content": b""}),
    "no-end": ("malformed_multipart", multipart((FILE, PHOTO), end=b"")),
    "half-a-part": ("malformed_multipart", multipart(end=b"--b\r\n" + FILE.encode() + b"\r\n\r\n" + PHOTO[:99])),
    "half-a-head": ("malformed_multipart", multipart(end=b"--b\r\nContent-Dispo")),
    "bad-head": ("malformed_multipart", multipart((f"{CANARY} without a colon", PHOTO))),
    "long-head": ("malformed_multipart", multipart((FILE + "\r\nX-Long: " + "x" * 100_000, PHOTO))),
    "many-heads": ("malformed_multipart", multipart((FILE + "\r\nX-A: b" * 1000, PHOTO))),
    "two-photos": ("too_many_fields", multipart((FILE, PHOTO), (FILE, PHOTO))),
    "both-names": ("too_many_fields", multipart((FILE, PHOTO), (disposition("image"), PHOTO))),
    "many-fields": (
        "too_many_fields",
        multipart(*[(disposition(f"{CANARY}{i}"), b"x") for i in range(9)], (FILE, PHOTO)),
    ),
    "no-json": ("malformed_json", text_of(CANARY)),
    "empty-json": ("malformed_json", text_of("")),
    "half-json": ("malformed_json", text_of('{"image": "' + CANARY)),
    "list": ("malformed_json", as_json([CANARY])),
    "null": ("malformed_json", as_json(None)),
    "no-image": ("malformed_json", as_json({"img": CANARY})),
    "number": ("malformed_json", as_json({"image": 5})),
    "long-number": ("malformed_json", text_of('{"image": ' + "9" * 6000 + "}")),
    "list-of-images": ("malformed_json", as_json({"image": [CANARY]})),
    "deep": ("malformed_json", text_of("[" * 1_000_000)),
    "deep-inside": ("malformed_json", text_of('{"image": ' + "[" * 60)),
    "wide": ("malformed_json", text_of('{"image": "AAAA", "x": [' + "{}," * 100_000 + "{}]}")),
    "not-utf8": ("malformed_json", {"content": b'{"image": "\xff\xfe"}', "headers": {"content-type": "application/json"}}),
    "not-base64": ("malformed_base64", as_json({"image": f"{CANARY}!"})),
    "bad-padding": ("malformed_base64", as_json({"image": "AAAAA"})),
    "not-ascii": ("malformed_base64", as_json({"image": "Ĩ" * 8})),
    "surrogate": ("malformed_base64", text_of('{"image": "\\ud800\\ud800"}')),
    "url": ("malformed_base64", as_json({"image": f"http://127.0.0.1:1/{CANARY}.png"})),
    "file-url": ("malformed_base64", as_json({"image": "file:///etc/passwd"})),
    "data-url-no-comma": ("malformed_base64", as_json({"image": f"data:image/png;base64{CANARY}"})),
    "data-url-plain": ("malformed_base64", as_json({"image": "data:text/plain,AAAA"})),
}


@pytest.mark.parametrize(("code", "arguments"), NO_PHOTO.values(), ids=NO_PHOTO)
async def test_a_body_without_a_photo_is_400(client: Client, code: str, arguments: dict[str, Any]) -> None:
    assert_problem(await client.post("/predict", **arguments), 400, code)


def test_json_cannot_unfold_to_more_than_it_weighs() -> None:
    """A body of `{},` takes thirty times its size as Python objects."""
    from service.api.uploads import photos
    from service.errors import MalformedJson

    body = b'{"image": "AAAA", "x": [' + b"{}," * 300_000 + b"{}]}"
    with traced() as peak, pytest.raises(MalformedJson):
        photos(body, "application/json", "", 1)
    assert peak() < len(body)


# What is no image -----------------------------------------------------------------------------------------------------


def tiff() -> bytes:
    return encoded(squares((200, 100, 50)), "TIFF")


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
NOT_READ = {
    "svg": SVG,
    "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF",
    "tiff": tiff(),
    "bigtiff": b"II+\0\x08\0\0\0" + bytes(40),
    "psd": b"8BPS\0\x01" + bytes(6) + struct.pack(">HIIHH", 3, 80, 80, 8, 3) + bytes(40),
    "text": CANARY.encode() * 20,
    "html": b"<!doctype html><script>alert(1)</script>",
    "ico": encoded(squares((200, 100, 50)), "ICO"),
    "ppm": encoded(squares((200, 100, 50)), "PPM"),
    "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 80 80\n",
    "zip": b"PK\x03\x04" + bytes(40),
    "gzip": gzip.compress(PHOTO),
    "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40),
    "zeros": bytes(1000),
    "one-byte": b"\xff",
    "bm": b"BMW is a maker of cars, and this is a text.",
}


@pytest.mark.parametrize("data", NOT_READ.values(), ids=NOT_READ)
@pytest.mark.parametrize("declared", ["image/png", "application/octet-stream"])
async def test_other_formats_are_415_whatever_they_are_called(client: Client, data: bytes, declared: str) -> None:
    response = await client.post("/predict", content=data, headers={"content-type": declared})
    assert_problem(response, 415, "unsupported_format")
    part = disposition(filename="a.png") + "\r\nContent-Type: image/png"
    assert_problem(await client.post("/predict", **multipart((part, data))), 415, "unsupported_format")


async def test_a_format_that_is_not_read_is_415_in_json_too(client: Client) -> None:
    response = await client.post("/predict", **as_json({"image": base64.b64encode(SVG).decode()}))
    assert_problem(response, 415, "unsupported_format")


@pytest.mark.parametrize(
    "declared",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "application/pdf",
        "application/x-www-form-urlencoded",
        "application/json5",
        "multipart/mixed; boundary=b",
        "video/mp4",
        "nonsense",
        f"{CANARY}/x",
    ],
)
async def test_a_body_declared_as_something_else_is_415(client: Client, declared: str) -> None:
    response = await client.post("/predict", content=CANARY.encode(), headers={"content-type": declared})
    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP", "gzip, identity", CANARY])
async def test_a_compressed_body_is_415(client: Client, encoding: str) -> None:
    headers = {"content-type": "image/png", "content-encoding": encoding}
    assert_problem(await client.post("/predict", content=gzip.compress(PHOTO), headers=headers), 415, "unsupported_encoding")


async def test_identity_is_no_compression(client: Client) -> None:
    response = await client.post("/predict", content=PHOTO, headers={"content-encoding": "identity"})
    assert response.status_code == 200


# What is a bad image --------------------------------------------------------------------------------------------------


def spoiled(photo: bytes, at: int, with_: bytes) -> bytes:
    return photo[:at] + with_ + photo[at + len(with_) :]


NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
CORRUPT = {
    "truncated-png": encoded(NOISE)[:-2000],
    "truncated-jpeg": encoded(NOISE, "JPEG")[:-1000],
    "truncated-webp": encoded(NOISE, "WEBP")[:-1000],
    "truncated-gif": encoded(NOISE, "GIF")[:-1500],
    "truncated-bmp": encoded(NOISE, "BMP")[:-2000],
    "truncated-avif": encoded(NOISE, "AVIF")[:-1000],
    "magic-only-png": PHOTO[:8],
    "magic-only-jpeg": JPEG[:3],
    "magic-only-gif": b"GIF89a",
    "magic-only-webp": b"RIFF\xff\xff\xff\xffWEBP",
    "magic-only-heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    "spoiled-png": spoiled(encoded(NOISE), 100, CANARY.encode() * 20),
    "spoiled-header": spoiled(PHOTO, 18, b"\xff"),
    "jpeg-of-text": b"\xff\xd8\xff" + CANARY.encode() * 50,
    "png-of-text": PHOTO[:8] + CANARY.encode() * 50,
    "no-pixels": png(80, 80),
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT)
async def test_a_truncated_or_corrupt_image_is_422(client: Client, data: bytes) -> None:
    assert_problem(await client.post("/predict", **multipart((FILE, data))), 422, "corrupt_image")


class traced:  # noqa: N801 - reads as a function
    """Peak of the memory, in bytes, that Python and Pillow's Python took inside the block."""

    def __enter__(self) -> Any:
        tracemalloc.start()
        return lambda: tracemalloc.get_traced_memory()[1]

    def __exit__(self, *error: object) -> None:
        tracemalloc.stop()


BOMB = 48 * 2**20


@pytest.mark.parametrize(
    ("kind", "chunk"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(BOMB))),
        (b"iTXt", b"Comment\0\x01\0\0\0" + zlib.compress(bytes(BOMB))),
        (b"iCCP", b"sRGB\0\0" + zlib.compress(bytes(BOMB))),
    ],
    ids=["text", "international-text", "icc"],
)
async def test_a_bomb_in_a_chunk_is_422_and_does_not_go_off(client: Client, kind: bytes, chunk: bytes) -> None:
    photo = png(64, 64, (kind, chunk), pixels=blank_rows(64, 64))
    with traced() as peak:
        response = await client.post("/predict", content=photo)
        assert peak() < BOMB / 4
    assert_problem(response, 422, "corrupt_image")


async def test_many_text_chunks_are_422(client: Client) -> None:
    chunk = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**20 - 16)))
    photo = png(64, 64, *[chunk] * 80, pixels=blank_rows(64, 64))
    assert_problem(await client.post("/predict", content=photo), 422, "corrupt_image")


@pytest.mark.parametrize(("width", "height"), [(8001, 8000), (65535, 65535), (64_000_001, 1 << 4)])
async def test_more_than_64_megapixels_are_422_by_the_header_alone(client: Client, width: int, height: int) -> None:
    with traced() as peak:
        response = await client.post("/predict", content=png(width, height))
        assert peak() < 2**21
    assert_problem(response, 422, "image_too_large")


async def test_a_gif_that_claims_a_huge_screen_is_422(client: Client) -> None:
    gif = bytearray(encoded(squares((200, 100, 50)), "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    assert_problem(await client.post("/predict", content=bytes(gif)), 422, "image_too_large")


async def test_the_operators_megapixels_count() -> None:
    async with serving(max_megapixels=0.01) as client:
        assert (await client.post("/predict", content=encoded(np.zeros((100, 100, 3), np.uint8)))).status_code == 200
        response = await client.post("/predict", content=encoded(np.zeros((100, 101, 3), np.uint8)))
        assert_problem(response, 422, "image_too_large")


@pytest.mark.parametrize(
    ("shape", "status"), [((15, 16), 422), ((16, 15), 422), ((1, 1), 422), ((1, 5000), 422), ((16, 16), 200)]
)
async def test_under_16_pixels_is_422(client: Client, shape: tuple[int, int], status: int) -> None:
    response = await client.post("/predict", content=encoded(np.zeros((*shape, 3), np.uint8)))
    if status == 200:
        assert response.json()["faces"] == []
    else:
        assert_problem(response, 422, "image_too_small")


# What is a bad parameter, path or method -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "max_faces=0",
        "max_faces=-1",
        "max_faces=1.5",
        "max_faces=many",
        "max_faces=1_0",
        "max_faces=%2B3",
        "min_confidence=0.9_5",
        "max_faces=",
        "max_faces=%D9%A3",  # a three in Arabic-Indic digits
        "max_faces=1&max_faces=0",
        "max_faces=" + "9" * 5000,
        "min_confidence=0.49",
        "min_confidence=1.01",
        "min_confidence=nan",
        "min_confidence=inf",
        "min_confidence=-inf",
        f"min_confidence={CANARY}",
        "attributes=height",
        "attributes=Age",
        "attributes=age;gender",
        f"attributes=age,{CANARY}",
        "attributes=" + "age," * 1100,
        "landmarks=perhaps",
        "landmarks=",
        f"distribution={CANARY}",
        "distribution=2",
        "at_least=0",
        "at_least=100",
        "at_least=18.5",
        "at_least=1,2,3,4,5,6,7,8,9",
        f"at_least={CANARY}",
        "at_least=18&attributes=gender",
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
async def test_a_bad_query_value_is_422(client: Client, path: str, query: str) -> None:
    response = await client.post(f"{path}?{query}", files={"file": PHOTO})
    problem = assert_problem(response, 422, "invalid_parameter")
    assert query.partition("=")[0] in problem["detail"]
    assert "Value error" not in problem["detail"]  # the words are ours


async def test_every_bad_value_is_named(client: Client) -> None:
    response = await client.post("/predict?max_faces=0&landmarks=x", content=PHOTO)
    problem = assert_problem(response, 422, "invalid_parameter")
    assert "max_faces" in problem["detail"]
    assert "landmarks" in problem["detail"]


@pytest.mark.parametrize("asked", ["race", "age,race"])
async def test_an_attribute_that_is_switched_off_is_422(asked: str) -> None:
    async with serving(attributes="age,gender") as client:
        response = await client.post(f"/predict?attributes={asked}", content=PHOTO)
        assert "race" in assert_problem(response, 422, "invalid_parameter")["detail"]


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/predict/x", "http://facet.test//predict", "/redoc", "/..%2f..%2fetc/passwd", f"/{CANARY}", "/health/x"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_404(client: Client, method: str, path: str) -> None:
    assert "/docs" in assert_problem(await client.request(method, path), 404, "not_found")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/predict/batch", "POST"),
        ("OPTIONS", "/predict", "POST"),
        (CANARY, "/predict", "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
        ("POST", "/model", "GET, HEAD"),
        ("PATCH", "/metrics", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405(client: Client, method: str, path: str, allowed: str) -> None:
    response = await client.request(method, path)
    problem = assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed
    assert problem["detail"] == f"This path takes {allowed}."


async def test_an_unknown_path_or_method_is_no_label_of_a_metric(client: Client) -> None:
    made_up = uuid.uuid4().hex
    await client.get(f"/{made_up}")
    await client.post(f"/predict/{made_up}?{made_up}", headers={"x-request-id": made_up, "content-type": made_up})
    await client.request(made_up.upper(), "/predict")
    text = (await client.get("/metrics")).text
    assert made_up not in text.lower()
    assert 'route="unknown",status="404"' in text
    assert 'method="other",route="/predict",status="405"' in text


# What the service itself does wrong -----------------------------------------------------------------------------------


class BrokenDetector:
    def detect(self, pixels: Any) -> list[Any]:
        raise ValueError(f"{CANARY} in /etc/passwd")


async def test_a_failing_detector_is_500_and_says_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(engine_factory(detector=BrokenDetector())) as client:
        problem = assert_problem(await client.post("/predict", content=PHOTO), 500, "inference_failed")
    assert problem["detail"] == "The photo could not be analysed. The fault is the service's."
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None  # the operator is told
    assert problem["request_id"] in record.getMessage()


class BrokenEngine(Engine):
    """Fails on every photo, with an error that is none of Facet's."""

    async def analyse(self, photo: bytes, options: Options, due: float | None = None) -> Analysis:
        raise RuntimeError(f"{CANARY} in /etc/passwd")


async def test_what_nobody_foresaw_is_a_500_with_everything_a_problem_has(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(engine_factory(engine=BrokenEngine), cors_origins="https://shop.example") as client:
        response = await client.post("/predict", content=PHOTO, headers={"origin": "https://shop.example"})
        assert_problem(response, 500, "internal_error")
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        assert (await client.get("/health")).status_code == 200
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


# Nothing of what is sent is kept --------------------------------------------------------------------------------------

_written: list[str] | None = None
_audited = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 0b11:  # O_WRONLY or O_RDWR
        _written.append(str(arguments[0]))
    elif event.startswith(("tempfile.", "os.mkdir", "shutil.", "socket.connect", "subprocess.")):
        _written.append(event)


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Files opened for writing and connections made, by anything in the process, while the test runs."""
    global _audited, _written  # noqa: PLW0603 - an audit hook cannot be taken away again, only told to rest
    if not _audited:
        sys.addaudithook(_watch)
        _audited = True
    _written = []
    yield _written
    _written = None


def test_the_watch_sees_a_spooled_upload(written: list[str]) -> None:
    """What it is for: Starlette's own form parser puts parts above 1 MiB into such a file."""
    import tempfile

    with tempfile.SpooledTemporaryFile(max_size=2**20) as spooled:
        spooled.write(bytes(2**20))
        assert written == []
        spooled.write(b"x")
        assert written


async def test_a_large_upload_never_touches_the_disk(client: Client, written: list[str]) -> None:
    large = encoded(np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8))
    assert len(large) > 2.5 * 2**20
    assert (await client.post("/predict", files={"file": (f"{CANARY}.png", large, "image/png")})).status_code == 200
    assert (await client.post("/predict", content=large)).status_code == 200
    batch = await client.post("/predict/batch", files=[("file", large), ("file", large)])
    assert [result["status"] for result in batch.json()["results"]] == [200, 200]
    assert_problem(await client.post("/predict", files={"file": large[:-5000]}), 422, "corrupt_image")
    assert written == []


async def test_nothing_of_what_is_sent_is_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client logs the URL that it asks for
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = CANARY  # as a place could be
    for arguments in (
        multipart((FILE, PHOTO)),
        multipart((FILE, encoded(squares((200, 100, 50)), "JPEG", exif=exif))),
        multipart((FILE, CANARY.encode())),
        as_json({"image": CANARY}),
        {"content": JPEG[:400] + CANARY.encode() * 100, "headers": {"x-api-key": CANARY, "user-agent": CANARY}},
        {"content": PHOTO, "headers": {"content-type": CANARY}},
    ):
        await client.post("/predict", headers={"x-note": CANARY} | arguments.pop("headers", {}), **arguments)
    await client.get(f"/{CANARY}")
    access = [record.getMessage() for record in caplog.records if record.name == "facet.access"]
    assert len(access) == 7
    assert access[0].startswith("POST /predict 200 ")
    assert CANARY not in caplog.text


async def test_a_malformed_form_leaves_one_line_in_the_log_and_no_character_of_itself(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bodies = [
        multipart() | {"content": b"\x07"},
        multipart(("No\x7fName: 1", PHOTO)),
        multipart(end=b"--bX"),
        multipart(end=b"--b\rX"),
    ]
    for arguments in bodies:
        assert_problem(await client.post("/predict", **arguments), 400, "malformed_multipart")
    names = [record.name for record in caplog.records if not record.name.startswith(("asyncio", "http"))]
    assert names == ["facet.access"] * len(bodies)


async def test_many_bad_requests_leave_nothing_behind(client: Client) -> None:
    """Neither memory nor metrics grow by what strangers make up."""

    async def wave() -> None:
        for _ in range(30):
            made_up = uuid.uuid4().hex
            await client.post(f"/predict?max_faces={made_up}", content=PHOTO)
            await client.post(f"/{made_up}", headers={"x-request-id": made_up})
            await client.request(made_up[:6].upper(), "/predict")
            await client.post("/predict", content=made_up.encode() * 3000)
            await client.post("/predict", **multipart((disposition(made_up), made_up.encode())))
            await client.post("/predict", **as_json({"image": made_up}))

    def held() -> int:
        """Bytes that are in use, without what waits for the garbage collector: whether it came by is chance."""
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    await wave()
    await client.get("/metrics")  # has a series of its own from then on
    lines = len((await client.get("/metrics")).text.splitlines())
    tracemalloc.start()
    try:
        await wave()
        before = held()
        await wave()
        grown = held() - before
    finally:
        tracemalloc.stop()
    assert grown < 200_000  # 180 requests of up to 96 kB
    assert len((await client.get("/metrics")).text.splitlines()) == lines


def test_pillow_would_read_what_is_refused() -> None:
    """The formats above are refused by choice, not because nothing here could read them."""
    for name in ("tiff", "ico", "ppm"):
        assert Image.open(io.BytesIO(NOT_READ[name])).format == name.upper()


async def test_a_bug_of_the_decoder_is_not_blamed_on_the_photo() -> None:
    photo = encoded(squares((200, 100, 50)), "BMP")
    async with serving(engine_factory()) as client:
        with failing_bitmaps(AttributeError("bug")):
            assert_problem(await client.post("/predict", content=photo), 500, "internal_error")
        with failing_bitmaps(OSError("damaged")):
            assert_problem(await client.post("/predict", content=photo), 422, "corrupt_image")
