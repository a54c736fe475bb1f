"""A store behind an address: what is whole is copied and served, and nothing else ever is."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.cli import _model_names
from service.errors import ModelDamaged, ModelNotFound, StoreUnreachable
from service.inference.engine import Engine
from service.inference.memory import MemoryBudget
from service.models import remote
from service.models.evaluation import Evaluation
from service.models.remote import KEPT, RemoteStore, open_store
from service.models.store import MANIFEST, ModelStore
from service.reloading import ModelSource
from service.settings import Settings
from tests.client import assert_problem, serving, until
from tests.service.models.test_evaluation import DOCUMENT, FIGURES
from tests.service.test_reloading import FACES, factory, load, reload, reloads, ship

fsspec = pytest.importorskip("fsspec")
BUCKET = "memory://bucket/models"


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Any]:
    """A file system in memory whose bucket holds the versions 1 and 2 of a model."""
    system = fsspec.filesystem("memory")
    for version in (1, 2):
        put(system, tmp_path / "made", version)
    yield system
    system.rm("/bucket", recursive=True)


def put(system: Any, made: Path, version: int, **how: Any) -> None:
    """A version in the bucket."""
    made.mkdir(exist_ok=True)
    system.put(str(ship(made, version, **how)), f"/bucket/models/scaled/{version}", recursive=True)


def unreachable(*_: Any, **__: Any) -> Any:
    raise PermissionError("denied")


class Cut(RemoteStore):
    """A store whose connection breaks off in the middle of a file."""

    broken = True

    def _fetch(self, manifest: Any, folder: Path) -> None:
        super()._fetch(manifest, folder)
        if self.broken:
            (folder / "variables" / "weights").unlink()
            raise StoreUnreachable("The model store cannot be read: ConnectionError.")


def test_a_model_is_copied_whole_and_loaded(bucket: Any, tmp_path: Path) -> None:
    store = open_store(BUCKET, tmp_path / "cache")
    assert store.names() == ["scaled"]
    assert store.versions("scaled") == [1, 2]
    assert store.versions("none") == []
    assert [one.version for one in store.manifests()] == [1, 2]
    model = store.load("scaled", None, load)
    assert model.manifest.version == 2
    assert model.digest == ModelStore(tmp_path / "made").find("scaled", 2)[1]
    assert store.size(model.manifest) == ModelStore(tmp_path / "made").size(model.manifest)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["scaled"]
    with pytest.raises(ModelNotFound):
        store.find("scaled", 9)
    with pytest.raises(ModelDamaged, match="pinned"):
        store.load("scaled", 1, load, digest=model.digest)


def test_half_a_copy_is_never_there(bucket: Any, tmp_path: Path) -> None:
    store = Cut(BUCKET, tmp_path / "cache")
    with pytest.raises(StoreUnreachable):
        store.load("scaled", 2, load)
    assert list((tmp_path / "cache").rglob("*.*")) == []
    assert not (tmp_path / "cache/scaled/2").exists()
    store.broken = False
    assert store.load("scaled", 2, load).manifest.version == 2


@pytest.mark.parametrize("how", ["missing", "changed"])
def test_what_is_not_as_the_manifest_says_is_not_kept(bucket: Any, tmp_path: Path, how: str) -> None:
    weights = "/bucket/models/scaled/2/variables/weights"
    if how == "missing":
        bucket.rm(weights)
    else:
        bucket.pipe_file(weights, bytes(99))
    with pytest.raises(ModelDamaged):
        RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
    assert not (tmp_path / "cache/scaled/2").exists()


def test_a_manifest_writes_nothing_outside_its_folder(bucket: Any, tmp_path: Path) -> None:
    place = f"/bucket/models/scaled/2/{MANIFEST}"
    for name in ("../../../out", "/out"):
        changed = bucket.cat_file(place).replace(b'"variables/weights"', f'"{name}"'.encode())
        bucket.pipe_file(place, changed)
        with pytest.raises(ModelDamaged):
            RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
        bucket.pipe_file(place, changed.replace(f'"{name}"'.encode(), b'"variables/weights"'))
    assert not (tmp_path / "out").exists()


def test_a_copy_that_was_changed_is_made_again(bucket: Any, tmp_path: Path) -> None:
    store = RemoteStore(BUCKET, tmp_path / "cache")
    store.load("scaled", 2, load)
    (tmp_path / "cache/scaled/2/variables/weights").write_bytes(b"x")
    assert store.load("scaled", 2, load).manifest.version == 2


def test_shells_complete_copies_while_the_address_cannot_be_read(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
    monkeypatch.setenv("FACET_MODEL_STORE", BUCKET)
    monkeypatch.setenv("FACET_MODEL_CACHE", str(tmp_path / "cache"))
    for name in ("ls", "cat_file", "find"):
        monkeypatch.setattr(bucket, name, unreachable)
    assert _model_names("sc") == ["scaled", "scaled/2"]


def test_copies_serve_while_the_address_cannot_be_read(
    bucket: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)

    for name in ("ls", "cat_file", "find"):
        monkeypatch.setattr(type(bucket), name, unreachable)
    store = RemoteStore(BUCKET, tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert store.load("scaled", None, load).manifest.version == 2
    assert "cannot be read: PermissionError" in caplog.text
    assert store.names() == ["scaled"]
    with pytest.raises(StoreUnreachable):
        store.load("scaled", 1, load)
    with pytest.raises(StoreUnreachable):
        RemoteStore(BUCKET, tmp_path / "empty").versions("scaled")
    with pytest.raises(StoreUnreachable):
        store.state("scaled", 2)


def test_an_address_that_does_not_answer_is_not_waited_for_again(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start asks for listings, manifests and measurements of every model, each of which would wait."""
    RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
    asked = []

    def silent(*words: Any, **_: Any) -> Any:
        asked.append(words)
        time.sleep(0.02)
        raise TimeoutError

    for name in ("ls", "cat_file", "find"):
        monkeypatch.setattr(type(bucket), name, silent)
    monkeypatch.setattr(remote, "SLOW_S", 0.01)
    store = RemoteStore(BUCKET, tmp_path / "cache")
    assert store.load("scaled", None, load).manifest.version == 2
    assert len(asked) == 1
    monkeypatch.setattr(remote, "AWAY_S", 0.0)
    store = RemoteStore(BUCKET, tmp_path / "cache")
    assert store.load("scaled", None, load).manifest.version == 2
    assert len(asked) > 3


def test_copies_that_nobody_asks_for_go(bucket: Any, tmp_path: Path) -> None:
    store = RemoteStore(BUCKET, tmp_path / "cache")
    for version in (3, 4, 5):
        put(bucket, tmp_path / "made", version)
    for turn, version in enumerate((1, 2, 3, 4, 1, 5)):
        store.load("scaled", version, load)
        os.utime(tmp_path / "cache/scaled" / str(version), (turn, turn))
    kept = sorted(int(path.name) for path in (tmp_path / "cache/scaled").iterdir())
    assert len(kept) == KEPT
    assert {1, 5} < set(kept)


class Counting(RemoteStore):
    """A store that is slow, and counts the models that it copies."""

    copied = 0

    def _fetch(self, manifest: Any, folder: Path) -> None:
        super()._fetch(manifest, folder)
        Counting.copied += 1
        time.sleep(0.3)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
def test_those_that_share_copies_make_one(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers of Ray on one machine do, or replicas that start at a time on one volume."""
    monkeypatch.setattr(Counting, "copied", 0)
    stores = [Counting(BUCKET, tmp_path / "cache") for _ in range(6)]
    with ThreadPoolExecutor(len(stores)) as pool:
        models = list(pool.map(lambda store: store.load("scaled", 2, load), stores))
    assert [model.manifest.version for model in models] == [2] * 6
    assert Counting.copied == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
def test_what_was_copied_when_a_process_was_killed_goes(bucket: Any, tmp_path: Path) -> None:
    left = tmp_path / "cache/scaled/.copying-killed"
    left.mkdir(parents=True)
    (left / "weights").write_bytes(bytes(1000))
    RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
    assert [path.name for path in (tmp_path / "cache/scaled").iterdir()] == ["2"]


def test_a_copy_that_cannot_be_written_serves_where_it_is_whole(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an image, or on a volume that is mounted for reading."""
    store = RemoteStore(BUCKET, tmp_path / "cache")
    store.load("scaled", 1, load)
    bucket.pipe_file("/bucket/models/scaled/1/evaluation.json", json.dumps(DOCUMENT).encode())

    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    for place, name in ((os, "utime"), (tempfile, "TemporaryDirectory"), (Path, "write_bytes")):
        monkeypatch.setattr(place, name, refused)
    assert store.load("scaled", 1, load).evaluation == Evaluation.model_validate(DOCUMENT)
    with pytest.raises(StoreUnreachable, match="Read-only"):
        store.load("scaled", 2, load)


def test_a_full_disk_is_not_the_addresss_fault(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(bucket), "get_file", full)
    with pytest.raises(StoreUnreachable, match="copy of scaled cannot be written: No space left"):
        RemoteStore(BUCKET, tmp_path / "cache").load("scaled", 2, load)
    assert list((tmp_path / "cache/scaled").iterdir()) == []


def test_a_version_without_its_manifest_is_not_there(bucket: Any, tmp_path: Path) -> None:
    """It is uploaded last."""
    content = bucket.cat_file(f"/bucket/models/scaled/2/{MANIFEST}")
    bucket.rm(f"/bucket/models/scaled/2/{MANIFEST}")
    bucket.pipe_file(f"/bucket/models/scaled/²/{MANIFEST}", content)
    store = RemoteStore(BUCKET, tmp_path / "cache")
    assert store.load("scaled", None, load).manifest.version == 1
    with pytest.raises(ModelNotFound):
        store.load("scaled", 2, load)
    bucket.pipe_file(f"/bucket/models/scaled/2/{MANIFEST}", content)
    assert store.load("scaled", None, load).manifest.version == 2


def test_what_was_measured_is_as_the_address_says(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is outside of the digest, and may be recorded anew; nothing of a copy that was half-written then stays."""
    place = "/bucket/models/scaled/2/evaluation.json"
    bucket.pipe_file(place, b"half")
    store = RemoteStore(BUCKET, tmp_path / "cache")
    with pytest.raises(ModelDamaged):
        store.load("scaled", 2, load)
    for count in (3, 4):
        bucket.pipe_file(place, json.dumps(DOCUMENT | {"headline": FIGURES | {"count": count}}).encode())
        evaluation = store.load("scaled", 2, load).evaluation
        assert evaluation is not None
        assert evaluation.headline.count == count
    with monkeypatch.context() as patched:
        patched.setattr(type(bucket), "cat_file", unreachable)
        assert store.load("scaled", 2, load).evaluation == evaluation
    bucket.rm(place)
    assert store.load("scaled", 2, load).evaluation is None
    assert not (tmp_path / "cache/scaled/2/evaluation.json").exists()


def test_models_without_a_copy_have_their_size_and_figures(bucket: Any, tmp_path: Path) -> None:
    bucket.pipe_file("/bucket/models/scaled/2/evaluation.json", json.dumps(DOCUMENT).encode())
    store, made = RemoteStore(BUCKET, tmp_path / "cache"), ModelStore(tmp_path / "made")
    (manifest,) = (one for one in store.manifests() if one.version == 2)
    assert store.size(manifest) == made.size(manifest) > 0
    assert store.variants(manifest) == {}
    assert store.evaluation("scaled", 2) == Evaluation.model_validate(DOCUMENT)
    assert store.evaluation("scaled", 1) is None
    assert list(tmp_path.iterdir()) == [made.root]


async def test_a_new_version_in_the_bucket_is_served(bucket: Any, tmp_path: Path) -> None:
    def build(settings: Settings) -> Engine:
        engine = factory(tmp_path / "made", 2)(settings)
        store = RemoteStore(BUCKET, tmp_path / "cache")
        engine.source = ModelSource(store, "scaled", None, None, None, 100, load, None, MemoryBudget(2**30))
        return engine

    async with serving(build, operator_keys="operator", model_poll_s=0.02) as client:
        put(bucket, tmp_path / "made", 3)
        await until(lambda: client.engine.model.manifest.version == 3, 30)
        assert (await client.post("/predict", content=FACES)).json()["model"]["version"] == 3
        before = (await reloads(client))["refused"]
        bucket.pipe_file("/bucket/models/scaled/1/variables/weights", bytes(99))
        problem = assert_problem(await reload(client, 1), 409, "model_refused")
        assert "hash" in problem["detail"]
        assert (await reloads(client))["refused"] == before + 1
        assert (await client.post("/predict", content=FACES)).json()["model"]["version"] == 3


def test_a_folder_is_a_folder_and_an_address_needs_what_reads_it(tmp_path: Path) -> None:
    assert type(open_store(tmp_path)) is ModelStore
    assert Settings(model_store="/models").model_store == Path("/models")
    assert Settings(model_store="s3://bucket/models").model_store == "s3://bucket/models"
    with pytest.raises(StoreUnreachable, match="remote"):
        open_store("nosuchscheme://bucket", tmp_path)
    with pytest.raises(StoreUnreachable, match=r"^github://bucket: "):  # of which fsspec raises a TypeError
        open_store("github://bucket", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="who holds a folder is not known there")
def test_temporary_copies_of_processes_that_were_killed_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is 24 MB, and a service that is ended while its models load leaves it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held, fresh, left = open_store(BUCKET).root, tmp_path / "facet-models-fresh", tmp_path / "facet-models-left"
    for folder in (fresh, left):
        (folder / "scaled").mkdir(parents=True)
    for folder in (held, left):
        os.utime(folder, (0, 0))
    own = open_store(BUCKET).root
    assert sorted(tmp_path.iterdir()) == sorted((held, fresh, own))


def test_copies_of_a_process_lie_in_a_folder_of_its_own(bucket: Any) -> None:
    first, second = open_store(BUCKET).root, open_store(BUCKET).root
    assert first != second
    assert first.stat().st_mode & 0o777 == 0o700
