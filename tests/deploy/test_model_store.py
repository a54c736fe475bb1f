"""The model store in a bucket of S3, as moto answers for it, or Google: copied, held to its hashes and its pin, never half."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from service.errors import ModelDamaged, ModelNotFound
from service.inference.engine import Engine
from service.inference.memory import MemoryBudget
from service.models.remote import open_store
from service.models.store import MANIFEST, ModelStore
from service.reloading import ModelSource
from service.settings import Settings
from tests.client import assert_problem, serving, until
from tests.deploy.files import checker
from tests.service.test_reloading import FACES, factory, load, reload, ship

s3fs = pytest.importorskip("s3fs")
BUCKET = "s3://store/models"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where S3 is, with one bucket; s3fs finds it by the environment."""
    server = checker("moto_server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [server, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("store")
        yield url
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        process.kill()
        process.wait()


def put(system: Any, made: Path, version: int) -> None:
    """A version in the bucket, its manifest last: without one there is no version."""
    made.mkdir(exist_ok=True)
    folder = ship(made, version)
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name == MANIFEST)
    for path in files:
        system.put_file(str(path), f"store/models/scaled/{version}/{path.relative_to(folder).as_posix()}")


async def test_models_of_a_bucket_are_copied_served_and_swapped(address: str, tmp_path: Path) -> None:
    system = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    made, cache = tmp_path / "made", tmp_path / "cache"
    for version in (1, 2):
        put(system, made, version)
    store = open_store(BUCKET, cache)
    assert store.names() == ["scaled"]
    assert store.versions("scaled") == [1, 2]
    pin = ModelStore(made).find("scaled", 2)[1]
    assert store.load("scaled", 2, load, digest=pin).digest == pin
    with pytest.raises(ModelDamaged, match="pinned"):
        store.load("scaled", 1, load, digest=pin)
    with pytest.raises(ModelNotFound):
        store.load("scaled", 7, load)
    before = store.state("scaled", 2)
    assert store.state("scaled", 2) == before
    system.pipe_file("store/models/scaled/1/variables/weights", bytes(99))
    with pytest.raises(ModelDamaged):
        open_store(BUCKET, tmp_path / "other").load("scaled", 1, load)
    assert not (tmp_path / "other/scaled/1").exists()

    def build(settings: Settings) -> Engine:
        engine = factory(made, 2)(settings)
        engine.source = ModelSource(store, "scaled", None, None, None, 100, load, None, MemoryBudget(2**30))
        return engine

    async with serving(build, operator_keys="operator", model_poll_s=0.2) as client:
        put(system, made, 3)
        await until(lambda: client.engine.model.manifest.version == 3, 60)
        assert (await client.post("/predict", content=FACES)).json()["model"]["version"] == 3
        assert_problem(await reload(client, 7), 409, "model_refused")
        assert (await reload(client, 2)).json()["model"]["version"] == 2
        assert sorted(path.name for path in cache.iterdir()) == ["scaled"]


class Objects(BaseHTTPRequestHandler):
    """Google Cloud Storage's JSON API as far as a store needs it: list, look at and read objects of one bucket."""

    server: GoogleBucket

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, _, quoted = parts.path.partition("/b/store/o")
        name = unquote(quoted.removeprefix("/"))
        if not name:
            self.answer(200, self.listing(query.get("prefix", ""), query.get("delimiter", "")))
        elif name not in self.server.objects:
            self.answer(404, {"error": {"code": 404, "message": "Not Found"}})
        elif query.get("alt") == "media":
            self.answer(200, self.server.objects[name])
        else:
            self.answer(200, self.described(name))

    def listing(self, prefix: str, delimiter: str) -> dict[str, Any]:
        """Objects below a prefix, those deeper than the delimiter by their folder alone."""
        rest = {name: name.removeprefix(prefix) for name in self.server.objects if name.startswith(prefix)}
        deeper = {prefix + one.split(delimiter)[0] + delimiter for one in rest.values() if delimiter and delimiter in one}
        items = [self.described(name) for name, one in rest.items() if not delimiter or delimiter not in one]
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(deeper)}

    def described(self, name: str) -> dict[str, str]:
        content = self.server.objects[name]
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        media = f"{self.server.address}/download/storage/v1/b/store/o/{quote(name, safe='')}?alt=media"
        return {"name": name, "bucket": "store", "size": str(len(content)), "md5Hash": digest, "mediaLink": media}

    def answer(self, status: int, document: dict[str, Any] | bytes) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(document, bytes) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the base class's name
        """Write nothing."""


class GoogleBucket(ThreadingHTTPServer):
    """One bucket, `store`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Objects)
        self.objects: dict[str, bytes] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Objects of a bucket of Google's by their names; gcsfs finds it by the environment."""
    monkeypatch.setenv(
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
    )  # read on import; it asks by gRPC, which is not spoken here
    pytest.importorskip("gcsfs", reason="gs:// needs the extra `remote`: make extra EXTRA=remote")
    with GoogleBucket() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        try:
            yield server.objects
        finally:
            server.shutdown()
            thread.join()


def test_models_of_a_bucket_of_google_are_copied_and_held_to_their_hashes(google: dict[str, bytes], tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for version in (1, 2):
        folder = ship(made, version)
        for path in (path for path in folder.rglob("*") if path.is_file()):
            google[f"models/scaled/{version}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    store = open_store("gs://store/models", tmp_path / "cache")
    assert (store.names(), store.versions("scaled")) == (["scaled"], [1, 2])
    pin = ModelStore(made).find("scaled", 2)[1]
    assert store.load("scaled", 2, load, digest=pin).digest == pin
    with pytest.raises(ModelNotFound):
        store.load("scaled", 7, load)
    before = store.state("scaled", 1)
    assert store.state("scaled", 1) == before
    google["models/scaled/1/variables/weights"] = bytes(99)
    assert store.state("scaled", 1) != before
    with pytest.raises(ModelDamaged):
        store.load("scaled", 1, load)
