"""Photos on the workers of a Ray cluster: the table of a local run, where a worker dies too, and one line where all fails."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from service.errors import FacetError
from service.offline import command
from service.offline.errors import RunError
from service.offline.predictors import Predictor, ServedModel
from service.offline.ray_data import RayRunner
from service.offline.table import Outcome
from service.offline.terminal import plain
from tests.service.offline.made import folder, local, photo, predict, requested

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")
"""Ray warns of its own options."""


class Dying(Predictor):
    """A predictor whose process ends in the middle, once: at its third photo, if no file says that it has happened."""

    def __init__(self, inner: Predictor, happened: Path) -> None:
        self._inner, self._happened, self._left = inner, happened, 3

    @property
    def model(self) -> ServedModel:
        return self._inner.model

    async def predict(self, name: str, data: bytes) -> Outcome:
        self._left -= 1
        if self._left == 0 and not self._happened.exists():
            self._happened.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return await self._inner.predict(name, data)

    async def close(self) -> None:
        await self._inner.close()


def dying(request: command.Request, happened: Path, _: int) -> Predictor:
    return Dying(local(request), happened)


def on_one_machine(request: command.Request, _: int) -> Predictor:
    return local(request)


def failing(_: int) -> Predictor:
    raise FacetError("there is no model here")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder of photos, one that is cut off, one that is not there, and a shard with two."""
    photos = folder(tmp_path_factory.mktemp("ray") / "photos", 40)
    (photos / "0007.png").write_bytes(photo(100)[:90])
    shard = photos.parent / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        for name in ("0001.png", "0002.png"):
            tar.add(photos / name, name)
    return [photos, shard, photos / "missing.png"]


def on_ray(create: Callable[[int], Predictor], sources: list[Path], out: Path, **options: object) -> str:
    """Run on a cluster of this machine; what was printed on standard error."""
    request = requested(*sources, out=out, **options)
    errors = plain(file=io.StringIO(), width=200)
    model = local(request).model
    assert command.predict(request, RayRunner(model, create, None, 1, cpus=1), errors)
    return errors.file.getvalue()


@pytest.fixture(scope="module")
def whole(sources: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The local run's table."""
    out = tmp_path_factory.mktemp("whole") / "faces.jsonl"
    predict(*sources, out=out)
    return out.read_text()


def test_the_table_is_that_of_the_local_run_although_a_worker_dies(sources: list[Path], whole: str, tmp_path: Path) -> None:
    happened = tmp_path / "happened"
    printed = on_ray(partial(dying, requested(), happened), sources, tmp_path / "faces.jsonl")
    assert happened.exists()
    assert (tmp_path / "faces.jsonl").read_text() == whole
    assert "43 photos (2 failed)" in printed


def test_a_model_that_no_worker_can_load_ends_the_run_with_one_line(sources: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the run on Ray failed: .*there is no model here"):
        on_ray(failing, sources, tmp_path / "faces.jsonl")


def test_standard_input_is_nothing_that_a_cluster_can_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo(100))))
    with pytest.raises(RunError, match="only files and addresses"):
        on_ray(partial(on_one_machine, requested()), [Path("-")], tmp_path / "faces.jsonl")
