"""What is the same for every translated system: it is off by default, known by name, and held to the service's limits."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from service.api.compat.systems import SYSTEMS, chosen
from service.settings import Settings
from tests.client import assert_problem, serving

NAMES = "deepface,rekognition,compreface"
PATHS = [path for system in SYSTEMS.values() for path in system.paths]


def count(path: str, status: str) -> float:
    labels = {"route": path, "method": "POST", "status": status}
    return REGISTRY.get_sample_value("facet_request_seconds_count", labels) or 0


def test_the_setting_names_every_system_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    (kinds, _) = get_args(Settings.model_fields["compat"].annotation)
    assert set(get_args(kinds)) == set(SYSTEMS)
    monkeypatch.setenv("FACET_COMPAT", "compreface, deepface")
    assert [one.name for one in chosen(Settings().compat)] == ["deepface", "compreface"]
    monkeypatch.setenv("FACET_COMPAT", "deepface,azure")
    with pytest.raises(ValidationError, match="'deepface', 'rekognition' or 'compreface'"):
        Settings()


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_is_there_by_default(path: str) -> None:
    async with serving() as client:
        assert_problem(await client.post(path), 404, "not_found")


async def test_the_openapi_document_stays_as_it_is() -> None:
    async with serving() as client:
        without = (await client.get("/openapi.json")).json()
    async with serving(compat=NAMES) as client:
        assert (await client.get("/openapi.json")).json() == without


async def test_the_others_stay_off() -> None:
    async with serving(compat="deepface") as client:
        assert_problem(await client.post("/compat/rekognition"), 404, "not_found")
        assert_problem(await client.post("/predict"), 400, "missing_file")


@pytest.mark.parametrize("path", PATHS)
async def test_requests_are_counted_by_route(path: str) -> None:
    async with serving(compat=NAMES, api_keys="a-key") as client:
        before: dict[str, Any] = {status: count(path, status) for status in ("400", "401")}
        response = await client.post(path)
        status = str(response.status_code)
        assert count(path, status) == before[status] + 1
        assert response.headers["x-request-id"]


@pytest.mark.parametrize("name", SYSTEMS)
async def test_a_body_that_is_too_large_is_refused_before_it_is_read(name: str) -> None:
    path = SYSTEMS[name].paths[0]
    async with serving(compat=name, max_body_mib=1 / 64) as client:
        response = await client.post(path, content=bytes(20_000))
        assert response.headers["connection"] == "close"
        assert "larger than 0.015625 MiB" in response.text
        assert response.headers["content-type"] != "application/problem+json"
