"""A body's bytes to the photos in it. What the HTTP answers to a bad body are is in `test_failures`."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.query import known_names
from service.api.uploads import OPTIONS, photos
from service.errors import (
    EmptyFile,
    InvalidParameter,
    MalformedBase64,
    MalformedJson,
    MalformedMultipart,
    MissingFile,
    RequestError,
    TooManyFields,
    UnsupportedEncoding,
    UnsupportedFormat,
    UnsupportedMediaType,
)
from tests.client import disposition

FORM = "multipart/form-data; boundary=b"
ONE, TWO = b"\x89PNG one", b"\xff\xd8 two"


def form(*parts: tuple[str, bytes], boundary: bytes = b"b") -> bytes:
    body = b"".join(b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    return body + b"--" + boundary + b"--\r\n"


def test_multipart_gives_the_photos_in_their_order_and_nothing_else() -> None:
    body = form(
        (disposition("note"), b"not a photo"),
        (disposition("file", filename="a.png"), ONE),
        (disposition("image"), TWO),
        (disposition("files"), b"neither"),
    )
    assert photos(body, FORM, "", 2) == [ONE, TWO]


@pytest.mark.parametrize(
    "data",
    [
        b"--b",
        b"\r\n--b",
        b"\r\n--",
        b"--b--",
        b"\r\n--c\r\n",
        b"\r\r\n\n",
        b"\n--b\r\n",
        b"\r\n--bb",
        bytes(range(256)) * 50,
        b"\r",
    ],
)
def test_bytes_that_look_like_a_boundary_survive(data: bytes) -> None:
    boundary = b"bb--Boundary"
    body = form((disposition(), data), (disposition(), ONE), boundary=boundary)
    assert photos(body, f"multipart/form-data; boundary={boundary.decode()}", "", 2) == [data, ONE]


@given(data=st.binary(max_size=300), boundary=st.from_regex(r"[A-Za-z0-9'()+_,./:=?-]{1,70}", fullmatch=True))
def test_any_bytes_survive_any_boundary(data: bytes, boundary: str) -> None:
    if f"\r\n--{boundary}".encode() in b"\r\n" + data + b"\r\n":
        return
    body = form((disposition(), data + b"."), boundary=boundary.encode())
    assert photos(body, f'multipart/form-data; boundary="{boundary}"', "", 1) == [data + b"."]


def named(body: bytes, kind: str) -> str:
    """What becomes of a body: `photos`, or the name of the error. Anything else that is raised fails the test."""
    try:
        return "photos" if photos(body, kind, "", 3) else "nothing"
    except RequestError as error:
        return error.code


KINDS = [FORM, "application/json", "image/png", "", "text/x", "multipart/form-data"]


@given(body=st.binary(max_size=200), kind=st.sampled_from(KINDS))
def test_any_body_gives_photos_or_a_named_error(body: bytes, kind: str) -> None:
    assert named(body, kind) not in ("nothing", RequestError.code)


@given(tail=st.binary(max_size=60), kind=st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_multipart_tail_and_any_content_type_give_a_named_error(tail: bytes, kind: str) -> None:
    head = b"--b\r\n" + disposition().encode()
    for body, declared in ((head + tail, FORM), (ONE, kind), (form((disposition(), ONE)), "multipart/form-data;" + kind)):
        assert named(body, declared) not in ("nothing", RequestError.code)


def test_a_photo_of_many_megabytes_is_whole() -> None:
    data = bytes(range(256)) * 40_000
    assert photos(form((disposition(), data)), FORM, "", 1) == [data]


def test_a_preamble_and_an_epilogue_are_ignored() -> None:
    assert photos(form((disposition(), ONE)) + b"epilogue\r\n", FORM, "", 1) == [ONE]


@pytest.mark.parametrize(
    ("parts", "most", "error"),
    [
        ([], 1, MissingFile),
        ([(disposition("other"), ONE)], 1, MissingFile),
        ([(disposition(), b"")], 1, EmptyFile),
        ([(disposition(), ONE)] * 2, 1, TooManyFields),
        ([(disposition(), ONE)] * 5, 4, TooManyFields),
        ([(disposition("x"), b"")] * 9, 4, TooManyFields),
        ([("X: y", b"")] * 9, 4, TooManyFields),
    ],
)
def test_the_number_of_parts(parts: list[tuple[str, bytes]], most: int, error: type[RequestError]) -> None:
    with pytest.raises(error):
        photos(form(*parts), FORM, "", most)


def test_as_many_parts_as_are_allowed_pass() -> None:
    parts = [(disposition("x"), b"")] * 8 + [(disposition(), ONE)] * 4
    assert photos(form(*parts), FORM, "", 4) == [ONE] * 4


def test_an_empty_photo_among_several_keeps_its_place() -> None:
    assert photos(form((disposition(), ONE), (disposition(), b""), (disposition(), TWO)), FORM, "", 3) == [ONE, b"", TWO]


@pytest.mark.parametrize("end", range(1, len(form((disposition(), ONE))) - 4))
def test_a_multipart_body_that_is_cut_off_anywhere_is_malformed(end: int) -> None:
    with pytest.raises(MalformedMultipart):
        photos(form((disposition(), ONE))[:end], FORM, "", 1)


@pytest.mark.parametrize(
    "kind", ["", "application/octet-stream", "image/jpeg", "image/anything", "IMAGE/JPEG", " image/png ; a=b"]
)
def test_a_raw_body_is_the_photo(kind: str) -> None:
    assert photos(ONE, kind, "", 1) == [ONE]


@pytest.mark.parametrize(
    "kind", ["text/plain", "multipart/related; boundary=b", "imagex/png", "application/jsonx", "*/*", "\xff"]
)
def test_other_types_are_unsupported(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        photos(ONE, kind, "", 1)


def test_who_forgets_the_type_learns_what_the_client_declared() -> None:
    """`curl --data-binary @photo.jpg` declares a form."""
    with pytest.raises(UnsupportedMediaType, match=r"A URL-encoded form cannot carry a photo\. Send multipart/form-data"):
        photos(ONE, "application/x-www-form-urlencoded", "", 1)


def test_what_curl_leaves_out_of_a_photo_is_told() -> None:
    """`curl -d @photo.jpg` leaves out zeros and line ends, and declares a form."""
    photo = b"\xff\xd8\xff" + bytes(range(256)) * 8
    stripped = photo.translate(None, b"\0\r\n")
    with pytest.raises(UnsupportedMediaType, match="--data-binary"):
        photos(stripped, "application/x-www-form-urlencoded", "", 1)
    assert photos(photo, "application/x-www-form-urlencoded", "", 1) == [photo]
    assert photos(stripped, "image/jpeg", "", 1) == [stripped]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_an_option_in_the_body_is_refused_and_not_passed_over(name: str) -> None:
    """Who asks for age alone must not be answered race."""
    with pytest.raises(InvalidParameter, match=rf"^{name}: name it in the address"):
        photos(form((disposition(name), b"age"), (disposition(), ONE)), FORM, "", 1)
    with pytest.raises(InvalidParameter, match=rf"^{name}: name it in the address"):
        photos(json.dumps({"image": base64.b64encode(ONE).decode(), name: "age"}).encode(), "application/json", "", 1)


def test_the_options_are_those_of_the_query() -> None:
    assert sorted(OPTIONS) == known_names()


def test_an_address_in_the_place_of_a_photo_is_told_apart() -> None:
    with pytest.raises(MalformedBase64, match="is not fetched"):
        photos(b'{"image": "https://example.org/photo.jpg"}', "application/json", "", 1)


@pytest.mark.parametrize("text", [b"photo.jpg", b"C:\\photos\\me 1.JPEG", b"https://example.org/photo.png"])
def test_a_name_in_the_place_of_a_photo_is_told_apart(text: bytes) -> None:
    """`curl -F file=photo.jpg` and `curl --data-binary photo.jpg` lack the @."""
    for body, kind in ((form((disposition(), text)), FORM), (text, "image/jpeg")):
        with pytest.raises(UnsupportedFormat, match="@"):
            photos(body, kind, "", 1)
    assert photos(form((disposition(), text)), FORM, "", 2) == [text]


@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,"])
def test_base64_in_the_place_of_a_photo_is_told_apart(prefix: bytes) -> None:
    text = prefix + base64.encodebytes(bytes(range(256)))
    for body, kind in ((form((disposition(), text)), FORM), (text, "image/jpeg")):
        with pytest.raises(UnsupportedFormat, match="application/json"):
            photos(body, kind, "", 1)


def test_a_form_without_the_field_says_so() -> None:
    with pytest.raises(MissingFile, match="no field 'file'"):
        photos(form((disposition("photo"), ONE)), FORM, "", 1)


@pytest.mark.parametrize(
    ("encoding", "refused"), [("", False), ("identity", False), (" Identity ", False), ("gzip", True), ("identity, br", True)]
)
def test_content_encoding(encoding: str, refused: bool) -> None:
    if refused:
        with pytest.raises(UnsupportedEncoding):
            photos(ONE, "", encoding, 1)
    else:
        assert photos(ONE, "", encoding, 1) == [ONE]


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:;base64,", "data:application/x;charset=utf-8;base64,"])
def test_base64_in_json(kind: str, prefix: str) -> None:
    text = prefix + base64.b64encode(bytes(range(256))).decode()
    for body in (
        json.dumps({"image": text}),
        json.dumps({"note": 1, "image": text}),
        json.dumps({"image": text}).replace("/", "\\/"),
    ):
        assert photos(body.encode(), kind, "", 1) == [bytes(range(256))]


def test_base64_of_urls() -> None:
    data = bytes(range(256)) + b"\xfb\xff"
    text = base64.urlsafe_b64encode(data).decode()
    for image in (text, text.rstrip("="), "data:image/png;base64," + text):
        assert photos(json.dumps({"image": image}).encode(), "application/json", "", 1) == [data]


def test_base64_in_many_short_lines_takes_few_times_its_bytes() -> None:
    body = b'{"image": "' + b"AAAA " * 400_000 + b'"}'
    tracemalloc.start()
    try:
        assert photos(body, "application/json", "", 1) == [bytes(1_200_000)]
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["binary/octet-stream", "text/plain", "application/x-www-form-urlencoded", "*/*"])
def test_bytes_decide_before_a_label_does(kind: str) -> None:
    photo = b"\x89PNG\r\n\x1a\n rest"
    assert photos(photo, kind, "", 1) == [photo]


def test_a_very_long_type_is_refused_in_no_time() -> None:
    began = time.perf_counter()
    with pytest.raises(UnsupportedMediaType):
        photos(ONE, "image/png" + ';a="' * 250_000, "", 1)
    with pytest.raises(MalformedMultipart):
        photos(form((disposition() + ';a="' * 250_000, ONE)), FORM, "", 1)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", MalformedJson),
        ("[]", MalformedJson),
        ('{"image": null}', MalformedJson),
        ('{"image": {"image": "AAAA"}}', MalformedJson),
        ('{"Image": "AAAA"}', MalformedJson),
        ('{"image": ""}', EmptyFile),
        ('{"image": "AAA"}', MalformedBase64),
        ('{"image": "AA=A"}', MalformedBase64),
        ('{"image": "AA_+"}', MalformedBase64),  # two alphabets in one
        ('{"image": "A_A_A"}', MalformedBase64),
        ('{"image": "AAA\u00e9"}', MalformedBase64),
        ('{"image": "AAA\\ud83d"}', MalformedBase64),
        ('{"image": "data:image/png,AAAA"}', MalformedBase64),
        ('{"image": "data:image/png;base64"}', MalformedBase64),
        ('{"image": "data:image/png;base64,AAAA,AAAA"}', MalformedBase64),
    ],
)
def test_bad_json(text: str, error: type[RequestError]) -> None:
    with pytest.raises(error):
        photos(text.encode(), "application/json", "", 1)


def test_a_long_list_beside_the_image_is_refused_before_it_is_unfolded() -> None:
    assert photos(json.dumps({"image": "AAAA", "note": [1] * 50}).encode(), "application/json", "", 1) == [b"\0\0\0"]
    with pytest.raises(MalformedJson):
        photos(json.dumps({"image": "AAAA", "note": [1] * 5000}).encode(), "application/json", "", 1)
