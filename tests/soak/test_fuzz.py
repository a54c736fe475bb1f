"""Random damage to what is read: pictures, forms and whole requests get a documented answer, and change nothing for others.

`make fuzz` does the same for minutes, against a process with the real networks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from service.api.schemas import BatchAnswer, PredictAnswer
from service.inference.memory import MIB, resident
from tests.client import Client, assert_discreet, same, serving
from tests.conftest import encoded
from tests.fakes import squares
from tests.soak.answers import flaw_of
from tests.soak.pictures import FORMATS, mutate, small, unusual

GROWTH_MIB = 64
"""What the process may come to hold on top while thousands of damaged files come; a photo of 64 pixels takes 12 kB."""
PHOTO = encoded(squares((200, 100, 50), (20, 200, 100)))
PATHS = ("/predict", "/predict/batch")


class Subject:
    """An app that runs on a loop of its own, so that Hypothesis' synchronous examples can ask it."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal, self.client = portal, client
        self.document: dict[str, Any] = self.request("GET", "/openapi.json").json()
        self.golden = same(self.request("POST", "/predict", content=PHOTO).json())
        self.held = resident()

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            return await self.client.request(method, path, **arguments)

        return self._portal.call(send)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        """The answer to a prediction, which is one of those that are documented, whatever was sent."""
        response = self.request("POST", path, **arguments)
        document = response.json()
        assert flaw_of(response.status_code, response.headers["content-type"], document) is None
        answers = self.document["paths"][path]["post"]["responses"]
        assert str(response.status_code) in answers
        if response.status_code == 200:
            (BatchAnswer if path.endswith("batch") else PredictAnswer).model_validate(document)
        else:
            assert document["code"] in answers[str(response.status_code)]["description"]
            assert_discreet(response.text)
        return response

    def assert_unharmed(self) -> None:
        assert same(self.request("POST", "/predict", content=PHOTO).json()) == self.golden
        assert self.request("GET", "/health/live").status_code == 200
        assert self.request("GET", "/health/ready").status_code == 200
        assert resident() - self.held < GROWTH_MIB * MIB


@pytest.fixture(scope="module")
def app() -> Iterator[Subject]:
    """An app round fakes, with decoders of its own; the photos of a request may take no longer than a busy machine takes."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(deadline_s=60)) as client:
        yield Subject(portal, client)


@pytest.fixture
def subject(app: Subject) -> Iterator[Subject]:
    """The app, which is as it was after the test."""
    yield app
    app.assert_unharmed()


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_picture_is_answered_as_documented(subject: Subject, form: str) -> None:
    whole = small(form)

    @settings(max_examples=80)
    @given(rng=st.randoms())
    def holds(rng: random.Random) -> None:
        damaged = mutate(whole, rng)
        note(damaged.hex())
        response = subject.post("/predict", content=damaged)
        assert response.status_code in ((200, 415, 422) if damaged else (400,))

    assert subject.post("/predict", content=whole).status_code == 200
    holds()


def test_a_damaged_picture_of_an_unusual_kind_is_answered_as_documented(subject: Subject) -> None:
    kinds = unusual()

    @settings(max_examples=300)
    @given(name=st.sampled_from(sorted(kinds)), rng=st.randoms())
    def holds(name: str, rng: random.Random) -> None:
        damaged = mutate(kinds[name], rng)
        note(damaged.hex())
        response = subject.post("/predict", content=damaged)
        assert response.status_code in ((200, 415, 422) if damaged else (400,))

    assert {name: subject.post("/predict", content=whole).status_code for name, whole in kinds.items()} == dict.fromkeys(
        kinds, 200
    )
    holds()


HEADS = st.sampled_from(
    [
        'Content-Disposition: form-data; name="file"; filename="a.png"',
        'Content-Disposition: form-data; name="image"',
        'Content-Disposition: form-data; name="other"',
        "Content-Disposition: form-data",
        'Content-Disposition: attachment; name="file"',
        "Content-Disposition: form-data; name*=utf-8''file",
        'content-disposition:form-data;name=file;filename="\\"; name=\\"x"',
        "Content-Type: image/png",
        "Content-Type: multipart/mixed; boundary=b",
        "Content-Transfer-Encoding: base64",
        "Content-Length: 3",
        "X-Empty:",
        ": no name",
        "no colon",
    ]
) | st.text(max_size=40)
DATA = st.sampled_from([PHOTO, b"", b"--b", b"\r\n--b--", b"\r\n--b\r\n\r\n", small("jpeg"), small("gif")]) | st.binary(
    max_size=64
)
ENDS = st.sampled_from([b"--b--\r\n", b"--b--", b"--b", b"", b"--b--\r\n--b\r\n", b"--b--epilogue" * 20])
BREAKS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"])
KINDS = st.sampled_from(
    [
        "multipart/form-data; boundary=b",
        'multipart/form-data; boundary="b"',
        "multipart/form-data; charset=utf-16; boundary=b",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; boundary=bb",
        "multipart/form-data; boundary*=utf-8''b",
        "Multipart/Form-Data;BOUNDARY=b",
        "multipart/form-data",
        "image/png",
        "application/octet-stream",
    ]
)


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """Multipart bodies, right and wrong in every place where one can be."""
    body = draw(st.sampled_from([b"", b"", b"preamble\r\n"]))
    for _ in range(draw(st.integers(0, 4))):
        newline = draw(BREAKS)
        heads = [head.encode() for head in draw(st.lists(HEADS, max_size=3))]
        body += b"--b" + newline + b"".join(head + newline for head in heads) + newline + draw(DATA) + newline
    body += draw(ENDS)
    return mutate(body, draw(st.randoms())) if body and draw(st.booleans()) else body


@pytest.mark.parametrize("path", PATHS)
def test_a_form_is_answered_as_documented(subject: Subject, path: str) -> None:
    @settings(max_examples=150)
    @given(body=forms(), kind=KINDS)
    def holds(body: bytes, kind: str) -> None:
        response = subject.post(path, content=body, headers={"content-type": kind})
        assert response.status_code in (200, 400, 415, 422)

    holds()


def test_requests_by_the_openapi_document_are_answered_as_it_says(subject: Subject) -> None:
    """Queries, bodies and labels within the document and outside; status, type and schema of each answer are held to it."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from requests import Request
    from schemathesis.checks import content_type_conformance, response_schema_conformance, status_code_conformance

    by_document = [status_code_conformance, content_type_conformance, response_schema_conformance]
    operations = [result.ok() for result in schemathesis.openapi.from_dict(subject.document).get_all_operations()]
    assert {*PATHS, "/model", "/health", "/metrics"} <= {operation.path for operation in operations}
    for operation in operations:
        modes = list(schemathesis.GenerationMode) if operation.method == "post" else [schemathesis.GenerationMode.POSITIVE]

        @settings(max_examples=25 if operation.method == "post" else 2, suppress_health_check=list(HealthCheck))
        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes)))
        def holds(case: Any) -> None:
            request = Request(**case.as_transport_kwargs(base_url="http://facet.test")).prepare()
            response = subject.request(
                str(request.method), str(request.url), content=request.body, headers=dict(request.headers)
            )
            assert response.status_code < 500
            case.validate_response(response, checks=by_document)
            if response.status_code >= 400 and not case.path.startswith("/compat/"):
                assert flaw_of(response.status_code, response.headers["content-type"], response.json()) is None

        holds()
