"""What stands before the routes: API keys and their rates, CORS, the cap on a body and the time it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError

from service.app import COMPRESSED_BYTES
from service.errors import QueueFull
from service.settings import Settings
from tests.client import CANARY, Client, assert_problem, serving, until
from tests.conftest import encoded
from tests.fakes import squares

PHOTO = encoded(squares((200, 100, 50)))
KEYS = f"{CANARY}-one, {CANARY}-two,clé-ü"
ORIGIN = "https://shop.example"


@pytest.fixture
async def keyed() -> AsyncIterator[Client]:
    async with serving(api_keys=KEYS) as client:
        yield client


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": f"{CANARY}-one"},
        {"X-API-Key": f"{CANARY}-two"},
        {"Authorization": f"Bearer {CANARY}-two"},
        {"Authorization": f"bEARER   {CANARY}-two "},
        {"X-API-Key": f"{CANARY}-one", "Authorization": "Basic eDp5"},
        {"X-API-Key": "", "Authorization": f"Bearer {CANARY}-one"},
        {"X-API-Key": "clé-ü".encode()},
        {"Authorization": "Bearer clé-ü".encode()},
    ],
    ids=["header", "second", "bearer", "case", "beside-basic", "empty-header", "not-ascii", "not-ascii-bearer"],
)
async def test_a_known_key_passes(keyed: Client, headers: dict[str, str | bytes]) -> None:
    response = await keyed.post("/predict", content=PHOTO, headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": f"{CANARY}-on"},
        {"X-API-Key": f"{CANARY}-one2"},
        {"X-API-Key": f"{CANARY}-ONE"},
        {"X-API-Key": f"{CANARY}-one, {CANARY}-two"},
        {"X-API-Key": "clé-ü".encode("latin-1")},
        {"X-API-Key": b"\xff\xfe\x80"},
        {"X-API-Key": "k" * 60_000},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {CANARY}-one"},  # the more specific header decides
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {CANARY}-one"},
        {"Authorization": f"{CANARY}-one"},
        {"Cookie": f"X-API-Key={CANARY}-one"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/predict"), ("POST", "/predict/batch"), ("GET", "/model"), ("GET", "/predict")]
)
async def test_no_key_or_a_wrong_one_is_401(keyed: Client, method: str, path: str, headers: dict[str, str | bytes]) -> None:
    response = await keyed.request(method, path, headers=headers)
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_a_key_in_the_query_is_no_key(keyed: Client) -> None:
    assert_problem(
        await keyed.post(f"/predict?api_key={CANARY}-one&X-API-Key={CANARY}-one", content=PHOTO), 401, "unauthenticated"
    )


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/", "/predict//", "/%70redict", "/predict%2F", "/predict/batch/", "/model/"]
)
async def test_no_spelling_of_a_path_gets_round_the_key(keyed: Client, path: str) -> None:
    assert_problem(await keyed.post(path, content=PHOTO), 401, "unauthenticated")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/model", "/metrics", "/health", "/page/a.js", "/invocations"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
async def test_a_path_with_a_line_feed_at_its_end_is_none(method: str, path: str) -> None:
    """Starlette's router takes it for the one without, and neither a key nor a cap is asked for by it."""
    async with serving(api_keys="one", compat="sagemaker") as client:
        answer = await client.request(method, f"{path}%0A", content=PHOTO if method == "POST" else None)
        assert answer.status_code == 404
        if method != "HEAD":
            assert_problem(answer, 404, "not_found")


@pytest.mark.parametrize("path", ["/metrics", "/model/reload"])
async def test_no_spelling_of_a_path_gets_round_a_proxy_that_keeps_it(path: str) -> None:
    """A proxy may compare it as it was sent: OpenShift's does."""
    async with serving(operator_keys="operator") as client:
        assert (await client.request("GET" if path == "/metrics" else "POST", path)).status_code in (200, 401)
        for spelt in (f"/%{ord(path[1]):X}{path[2:]}", f"/%{ord(path[1]):x}{path[2:]}", path.replace("e", "%65")):
            assert_problem(await client.get(spelt), 404, "not_found")
            assert_problem(await client.post(spelt, headers={"X-API-Key": "operator"}), 404, "not_found")


async def test_a_model_of_the_path_with_a_line_feed_is_none_either() -> None:
    async with serving(api_keys="one", compat="kserve") as client:
        for path in ("/v2%0A", "/v2/models/colours%0A", "/v2/models/colours/infer%0A"):
            assert (await client.get(path, headers={"X-API-Key": "one"})).status_code == 404


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"])
async def test_what_an_operator_needs_asks_for_no_key(keyed: Client, path: str) -> None:
    assert (await keyed.get(path)).status_code == 200


async def test_without_keys_everybody_may(client: Client) -> None:
    assert (await client.post("/predict", content=PHOTO, headers={"X-API-Key": "whatever"})).status_code == 200


def test_keys_do_not_show_in_the_settings() -> None:
    assert CANARY not in repr(Settings(api_keys=KEYS))


# Rates ----------------------------------------------------------------------------------------------------------------


async def test_over_a_keys_rate_is_429_for_that_key_alone() -> None:
    now = 100.0
    async with serving(clock=lambda: now, api_keys="one,two", rate_limit=3) as client:

        async def send(key: str) -> int:
            return (await client.post("/predict", content=PHOTO, headers={"X-API-Key": key})).status_code

        assert [await send("one") for _ in range(5)] == [200, 200, 200, 429, 429]
        refused = await client.post("/predict/batch", content=PHOTO, headers={"Authorization": "Bearer one"})
        assert_problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "20"
        assert await send("two") == 200
        assert (await client.get("/health")).status_code == 200
        now += 19.9
        assert await send("one") == 429
        now += 0.2
        assert [await send("one") for _ in range(2)] == [200, 429]
        now += 3600
        assert [await send("one") for _ in range(4)] == [200, 200, 200, 429]  # a pause saves up no more than a minute


async def test_a_rate_below_one_a_minute_lets_one_pass() -> None:
    now = 100.0
    async with serving(clock=lambda: now, api_keys="one", rate_limit=0.5) as client:
        headers = {"X-API-Key": "one"}
        assert (await client.post("/predict", content=PHOTO, headers=headers)).status_code == 200
        refused = await client.post("/predict", content=PHOTO, headers=headers)
        assert_problem(refused, 429, "rate_limited")
        assert refused.headers["retry-after"] == "120"
        now += 120.1
        assert (await client.post("/predict", content=PHOTO, headers=headers)).status_code == 200


async def test_a_wrong_key_uses_up_nobodys_rate() -> None:
    async with serving(api_keys="one", rate_limit=1) as client:
        for _ in range(5):
            assert_problem(await client.post("/predict", headers={"X-API-Key": "two"}), 401, "unauthenticated")
        assert (await client.post("/predict", content=PHOTO, headers={"X-API-Key": "one"})).status_code == 200


async def test_a_request_that_is_asked_to_come_again_uses_up_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(client: str) -> None:
        raise QueueFull("Too many photos are waiting.")

    async with serving(clock=lambda: 100.0, api_keys="one", rate_limit=2) as client:
        headers = {"X-API-Key": "one"}
        with monkeypatch.context() as full:
            full.setattr(client.engine.workers, "require_place", refuse)
            for _ in range(4):
                assert_problem(await client.post("/predict", content=PHOTO, headers=headers), 503, "queue_full")
        statuses = [(await client.post("/predict", content=PHOTO, headers=headers)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_a_rate_without_keys_is_refused() -> None:
    with pytest.raises(ValidationError, match="FACET_API_KEYS"):
        Settings(rate_limit=5)


# CORS -----------------------------------------------------------------------------------------------------------------

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}


@pytest.fixture
async def shared() -> AsyncIterator[Client]:
    async with serving(cors_origins=f"{ORIGIN},https://other.example", api_keys="one", max_body_mib=0.01) as client:
        yield client


@pytest.mark.parametrize("origin", [ORIGIN, "https://other.example"])
async def test_a_preflight_of_an_allowed_origin_passes_without_a_key(shared: Client, origin: str) -> None:
    response = await shared.options("/predict", headers={"Origin": origin, **PREFLIGHT})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "x-api-key" in response.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in response.headers


async def test_a_page_whose_requests_are_traced_passes_too(shared: Client) -> None:
    """What OpenTelemetry puts into a browser's requests; the service goes by it."""
    traced = PREFLIGHT | {"Access-Control-Request-Headers": "content-type,traceparent,tracestate,x-api-key"}
    assert (await shared.options("/predict", headers={"Origin": ORIGIN, **traced})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        ORIGIN + ".evil.example",
        "https://sub.shop.example",
        "null",
        ORIGIN + ":8443",
    ],
)
async def test_any_other_origin_is_refused(shared: Client, origin: str) -> None:
    response = await shared.options("/predict", headers={"Origin": origin, **PREFLIGHT})
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers
    response = await shared.post("/predict", content=PHOTO, headers={"Origin": origin, "X-API-Key": "one"})
    assert "access-control-allow-origin" not in response.headers


async def test_a_page_may_read_answers_and_problems_alike(shared: Client) -> None:
    key, page = {"X-API-Key": "one"}, {"Origin": ORIGIN}
    good = await shared.post("/predict", content=PHOTO, headers=key | page)
    assert good.status_code == 200
    problems = [
        (await shared.post("/predict", headers=key | page), 400, "missing_file"),
        (await shared.post("/predict", content=PHOTO, headers=page), 401, "unauthenticated"),
        (await shared.get("/nothing", headers=page), 404, "not_found"),
        (await shared.get("/predict", headers=key | page), 405, "method_not_allowed"),
        (await shared.post("/predict", content=bytes(20_000), headers=key | page), 413, "body_too_large"),
        (await shared.post("/predict", content=b"text", headers=key | page), 415, "unsupported_format"),
        (await shared.post("/predict?max_faces=0", content=PHOTO, headers=key | page), 422, "invalid_parameter"),
    ]
    for response, status, code in problems:
        assert_problem(response, status, code)
    for response in (good, *(problem[0] for problem in problems)):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in response.headers["vary"]
        exposed = response.headers["access-control-expose-headers"]
        assert "X-Request-ID" in exposed
        assert "Retry-After" in exposed


async def test_without_origins_nobody_is_allowed(client: Client) -> None:
    response = await client.options("/predict", headers={"Origin": ORIGIN, **PREFLIGHT})
    assert_problem(response, 405, "method_not_allowed")
    response = await client.post("/predict", content=PHOTO, headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control")]


async def test_a_slash_behind_an_allowed_origin_is_none_of_it() -> None:
    async with serving(cors_origins=f"{ORIGIN}/") as client:
        response = await client.post("/predict", content=PHOTO, headers={"Origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin", [f"{ORIGIN}:443", ORIGIN.replace("shop", "Shop"), ORIGIN.upper()])
async def test_the_own_port_and_the_capitals_of_an_allowed_origin_are_none_of_it(origin: str) -> None:
    """No browser sends them."""
    async with serving(cors_origins=origin) as client:
        response = await client.post("/predict", content=PHOTO, headers={"Origin": ORIGIN})
        assert response.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        *("shop.example", f"{ORIGIN}/app", f"{ORIGIN}?x", "https://me@shop.example", "https://"),
        *("https://*.shop.example", "https://gesch\u00e4ft.example"),
    ],
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        Settings(cors_origins=origin)


async def test_all_origins_may_be_allowed() -> None:
    async with serving(cors_origins="*") as client:
        response = await client.post("/predict", content=PHOTO, headers={"Origin": "https://any.example"})
        assert response.headers["access-control-allow-origin"] == "*"


# The body's size ------------------------------------------------------------------------------------------------------


class Stream:
    """A body in pieces, without a Content-Length, that counts how many were taken."""

    def __init__(self, piece: bytes, count: int, pause: float = 0) -> None:
        self.piece, self.count, self.pause, self.taken = piece, count, pause, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield self.piece
            await asyncio.sleep(self.pause)


@pytest.fixture
async def narrow() -> AsyncIterator[Client]:
    """Takes bodies of 64 KiB and batches of 128."""
    async with serving(max_body_mib=1 / 16, max_batch_mib=1 / 8) as client:
        yield client


CAPS = [("/predict", 2**16), ("/predict/batch", 2**17), ("/health", 2**20), ("/nothing", 2**20)]


@pytest.mark.parametrize(("path", "cap"), CAPS)
async def test_a_body_over_its_cap_by_content_length_is_413(narrow: Client, path: str, cap: int) -> None:
    assert_problem(await narrow.post(path, content=bytes(cap + 1)), 413, "body_too_large")
    assert (await narrow.post(path, content=bytes(cap))).status_code != 413


@pytest.mark.parametrize(("path", "cap"), CAPS[:2])
async def test_a_body_that_grows_over_its_cap_is_413(narrow: Client, path: str, cap: int) -> None:
    response = await narrow.post(path, content=Stream(bytes(1024), cap // 1024 + 1))
    assert_problem(response, 413, "body_too_large")
    response = await narrow.post(path, content=Stream(bytes(1024), cap // 1024))
    assert response.status_code != 413


async def test_multipart_and_json_are_capped_too(narrow: Client) -> None:
    assert_problem(await narrow.post("/predict", files={"file": bytes(2**16)}), 413, "body_too_large")
    assert_problem(await narrow.post("/predict", json={"image": "A" * 2**16}), 413, "body_too_large")


@pytest.mark.parametrize("path", ["/predict/", "/%70redict"])
async def test_no_spelling_of_a_path_gets_round_the_cap(narrow: Client, path: str) -> None:
    assert_problem(await narrow.post(path, content=bytes(2**16 + 1)), 413, "body_too_large")


async def test_a_client_that_asks_first_is_told_before_it_sends(narrow: Client) -> None:
    body = Stream(bytes(1024), 1000)
    headers = {"Content-Length": str(1000 * 1024), "Expect": "100-continue"}
    assert_problem(await narrow.post("/predict", content=body, headers=headers), 413, "body_too_large")
    assert body.taken <= 1


async def test_what_is_over_the_cap_is_answered_at_once(narrow: Client) -> None:
    """What the client still sends is the server's to throw away."""
    body = Stream(bytes(2**16), 100)
    assert_problem(await narrow.post("/predict", content=body), 413, "body_too_large")
    assert body.taken < 5


@pytest.mark.parametrize("length", ["²", "+5", "-1", "1e9", "0x10", "", "nonsense", "0" * 5000 + "5"])
async def test_a_length_that_is_no_plausible_number_is_400(narrow: Client, length: str) -> None:
    for method, path in (("POST", "/predict"), ("GET", "/health")):
        headers = {"content-length": length.encode("latin-1")}
        response = await narrow.request(method, path, content=PHOTO, headers=headers)
        assert assert_problem(response, 400, "malformed_request")


async def test_all_requests_together_may_hold_so_many_bytes_and_give_them_back() -> None:
    """Slow uploads of allowed size would otherwise fill the memory, one connection each."""
    async with serving(max_body_mib=1, max_batch_mib=1, max_bodies_mib=1) as client:
        slow = Stream(bytes(2**18), 4, 0.25)
        first = asyncio.create_task(client.post("/predict", content=slow))
        await until(lambda: slow.taken >= 3)
        refused = await client.post("/predict", content=bytes(2**19))
        assert_problem(refused, 503, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await first).status_code == 415
        assert_problem(await client.post("/predict", content=bytes(2**19)), 415, "unsupported_format")


def test_the_bytes_of_all_must_hold_the_largest_body() -> None:
    with pytest.raises(ValidationError, match="max_bodies_mib"):
        Settings(max_bodies_mib=32)


async def test_no_path_is_redirected(client: Client) -> None:
    """The target would be built from the Host header, which the client writes."""
    assert_problem(await client.post("/predict/", content=PHOTO), 404, "not_found")


# The body's time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [30, 0.02], ids=["stalled", "dribbling"])
async def test_a_body_that_does_not_arrive_in_time_is_408(pause: float) -> None:
    """The time is that of the whole body: a byte now and then does not buy more."""
    async with serving(body_timeout_s=0.2) as client:
        began = time.monotonic()
        response = await client.post("/predict", content=Stream(b"x", 1000, pause))
        assert_problem(response, 408, "body_timeout")
        assert 0.15 < time.monotonic() - began < 2


@pytest.mark.parametrize("path", ["/health", "/metrics", "/model", "/openapi.json"])
async def test_a_body_that_no_route_reads_has_no_cap(client: Client, path: str) -> None:
    """These document no 413."""
    assert (await client.request("GET", path, content=bytes(2**20 + 1))).status_code == 200


async def test_a_body_that_comes_at_the_least_rate_may_take_longer() -> None:
    async with serving(body_timeout_s=0.2, body_min_kib_s=1) as client:
        began = time.monotonic()
        response = await client.post("/predict", content=Stream(bytes(8192), 6, pause=0.1))
        assert time.monotonic() - began > 0.5
        assert_problem(response, 415, "unsupported_format")


async def test_a_body_that_falls_behind_the_least_rate_is_408() -> None:
    body = Stream(bytes(1024), 1000, pause=0.05)
    async with serving(body_timeout_s=0.2, body_min_kib_s=1000) as client:
        assert_problem(await client.post("/predict", content=body), 408, "body_timeout")
    assert body.taken < 100


async def test_the_bodys_time_is_not_the_answers() -> None:
    async with serving(body_timeout_s=0.2) as client:
        assert (await client.post("/predict", content=Stream(PHOTO, 1))).status_code == 200
        # A route that reads no body is not hurried by one that does not come.
        assert (await client.request("GET", "/health", content=Stream(b"x", 2, 0.3))).status_code == 200


# Compression ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_a_large_answer_is_compressed_where_the_client_accepts_it(client: Client, path: str) -> None:
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    large = len(plain.content) >= COMPRESSED_BYTES
    assert large == (path == "/openapi.json")
    assert "content-encoding" not in plain.headers
    assert packed.headers.get("content-encoding") == ("gzip" if large else None)
    assert packed.content == plain.content
    if large:
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip;q=0", False),
        ("identity, GZIP ; q=0.000", False),
        ("br, gzip;q=0, *", False),
        ("gzip;q=0.5", True),
        ("br, gzip", True),
    ],
)
async def test_an_answer_is_not_compressed_for_who_says_so(client: Client, accepted: str, packed: bool) -> None:
    answer = await client.get("/openapi.json", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == ("gzip" if packed else None)
    assert answer.headers["vary"] == "Accept-Encoding"


async def test_head_says_of_a_compressed_answer_what_get_says(client: Client) -> None:
    given, asked = await client.get("/openapi.json"), await client.head("/openapi.json")
    assert asked.content == b""
    for name in ("content-encoding", "content-length", "content-type"):
        assert asked.headers[name] == given.headers[name]


async def test_an_answer_of_one_face_is_sent_as_it_is(client: Client) -> None:
    answer = await client.post("/predict", content=PHOTO, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
