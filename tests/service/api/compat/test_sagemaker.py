"""A container of SageMaker's as the runtime's client reaches it: through an address that answers at `/invocations`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.client import assert_problem, serving
from tests.conftest import encoded
from tests.fakes import squares
from tests.service.api.compat.serving import listening
from tests.service.test_several_models import several

PHOTO = encoded(squares((100, 200, 0), (200, 20, 0)))
RED = encoded(squares((250, 10, 10)))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(compat="sagemaker") as address:
        yield address


@pytest.fixture(scope="module")
def runtime(url: str) -> Any:
    """A client as `boto3.client("sagemaker-runtime")` makes it; its requests reach the container as SageMaker hands them on."""
    client = botocore.session.Session().create_client(
        "sagemaker-runtime",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def handed_on(request: Any, **_: Any) -> None:
        assert request.url == f"{url}/endpoints/facet/invocations"
        request.url = f"{url}/invocations"

    client.meta.events.register("before-send.sagemaker-runtime.InvokeEndpoint", handed_on)
    return client


def invoked(runtime: Any, body: bytes, content_type: str, **more: str) -> dict[str, Any]:
    answer = runtime.invoke_endpoint(EndpointName="facet", Body=body, ContentType=content_type, **more)
    assert answer["ContentType"] == "application/json"
    return dict(json.loads(answer["Body"].read()))


async def test_a_file_of_another_format_is_told_of_its_format_whatever_its_type() -> None:
    async with serving(compat="sagemaker") as client:
        for kind in ("image/tiff", "application/x-image", "application/octet-stream"):
            headers = {"content-type": kind}
            tiff = await client.post("/invocations", content=b"II*\0" + bytes(60), headers=headers)
            assert_problem(tiff, 415, "unsupported_format")
            assert_problem(await client.post("/invocations", headers=headers), 400, "empty_file")


def test_the_runtimes_client_gets_the_answer_of_predict(url: str, runtime: Any) -> None:
    assert httpx.get(f"{url}/ping").status_code == 200
    ours = httpx.post(f"{url}/predict", content=PHOTO).json()["faces"]
    document = json.dumps({"image": base64.b64encode(PHOTO).decode()}).encode()
    for body, kind in ((PHOTO, "image/png"), (PHOTO, "application/x-image"), (document, "application/json")):
        assert invoked(runtime, body, kind)["faces"] == ours


def test_custom_attributes_are_the_query(runtime: Any) -> None:
    (face,) = invoked(runtime, PHOTO, "image/png", CustomAttributes="attributes=age&max_faces=1")["faces"]
    assert "age" in face
    assert "gender" not in face
    with pytest.raises(ClientError, match="invalid_parameter") as caught:
        invoked(runtime, PHOTO, "image/png", CustomAttributes="max_facse=1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 422


async def test_limits_keys_and_problems_are_those_of_predict() -> None:
    async with serving(compat="sagemaker", api_keys="a-key", max_body_mib=0.01) as client:
        assert (await client.get("/ping")).status_code == 200
        assert_problem(await client.post("/invocations", content=RED), 401, "unauthenticated")
        client.headers["x-api-key"] = "a-key"
        assert_problem(await client.post("/invocations", content=bytes(20_000)), 413, "body_too_large")
        assert_problem(await client.post("/invocations"), 400, "missing_file")
        assert_problem(await client.post("/invocations", content=b"no photo"), 415, "unsupported_format")
        client.engine.drain()
        assert (await client.get("/ping")).status_code == 503


async def test_a_model_is_named_in_the_query_or_the_attributes() -> None:
    async with serving(several(), compat="sagemaker") as client:
        header = {"X-Amzn-SageMaker-Custom-Attributes": "model=half"}
        named = await client.post("/invocations", content=RED, headers=header)
        assert named.json()["model"] == {"name": "half", "version": 1}
        assert (await client.post("/invocations?model=fake", content=RED)).json()["model"]["name"] == "fake"
        twice = await client.post("/invocations?model=fake", content=RED, headers=header)
        assert_problem(twice, 422, "invalid_parameter")
