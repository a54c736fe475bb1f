"""Every file of tests has its turn, within the memory that all may hold together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.processes import ALONE, APART, BUSY_AT_ONCE, FORKED_MIB, MEMORY_MIB, Watch, groups, needed, title_of


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_all_have_their_turn_and_fit_together(root: Path, at_once: int) -> None:
    waiting = groups(root / "tests")
    expected = sorted(name for names in waiting for name in names)
    waiting.sort(key=lambda names: title_of(names).startswith(ALONE))
    watch, taken, running = Watch(), list[str](), list[str]()
    forked = False
    while waiting or running:
        # Nothing else ends a process here, so that `take` must not wait where one runs and none fits.
        while waiting and len(running) < at_once and any(watch.fits(title_of(names)) or not running for names in waiting):
            names = watch.take(waiting)
            assert names is not None
            taken += names
            running.append(title_of(names))
            forked |= running[-1].startswith(ALONE)
            assert sum(map(needed, running)) + FORKED_MIB * forked <= MEMORY_MIB, running
            assert sum(one.startswith(ALONE) for one in running) <= BUSY_AT_ONCE
            assert len(APART & set(running)) < 2
        watch.finish(running.pop(0))
    assert sorted(taken) == expected


def test_containers_wait_for_their_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pending = tmp_path / "pending"
    pending.touch()
    monkeypatch.setenv("ENGINE_PENDING", str(pending))
    watch, waiting = Watch(), [["tests/deploy/test_container.py"], ["tests/soak/test_soak.py"]]
    assert watch.take(waiting) == ["tests/soak/test_soak.py"]
    watch.finish("tests/soak")
    made = threading.Timer(0.1, pending.unlink)
    made.start()
    assert watch.take(waiting) == ["tests/deploy/test_container.py"], "though nothing else ran before"
    made.join()
    assert not pending.exists()
