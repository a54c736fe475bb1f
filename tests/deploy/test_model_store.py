"""The model store in a bucket of S3, as moto answers for it: copied, held to its hashes and its pin, swapped, never half."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
