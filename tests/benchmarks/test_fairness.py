"""What the benchmark of fairness counts as answered."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from tests.client import Client
from tests.conftest import encoded
from tests.fakes import squares

PHOTO = encoded(squares((200, 100, 50)))


@pytest.fixture
def fairness(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, whose folder is on the path when it runs."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    return importlib.import_module("fairness")


async def test_every_photo_of_a_batch_that_is_answered_counts(client: Client, fairness: ModuleType) -> None:
    assert await fairness.one(PHOTO)(client) == -1
    assert await fairness.batch(PHOTO, 3)(client) == -3
    assert await fairness.one(b"no photo")(client) == 415
    assert await fairness.batch(b"no photo", 3)(client) == 415
