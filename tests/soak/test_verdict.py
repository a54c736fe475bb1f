"""The judges of a soak and of a fuzz: what grows, differs or is undocumented fails, and what does not passes."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from typing import Any

import pytest

from service.vision.image import sniff
from tests.soak.answers import distance, essence, flaw_of
from tests.soak.output import faults_of
from tests.soak.pictures import FORMATS, MUTATIONS, mutate, small
from tests.soak.sampling import Sample, look
from tests.soak.traffic import Record
from tests.soak.verdict import levels, windows

ONE = Sample(0, 500, 600, 900, 450, 24, 30, 3, 0)
PROBLEM = {"status": 422, "code": "corrupt_image"}


def hour(**last: Any) -> list[Sample]:
    """A sample a minute: the service warms up for five minutes, and in the last ten holds what is named."""
    warming = [replace(ONE, at=60.0 * minute, anonymous_mib=300, threads=10, descriptors=10) for minute in range(5)]
    steady = [replace(ONE, at=60.0 * minute) for minute in range(5, 50)]
    return warming + steady + [replace(ONE, at=60.0 * minute, **last) for minute in range(50, 61)]


def flat(samples: list[Sample]) -> dict[str, bool]:
    return {level.name: level.flat for level in levels(samples, samples, 60)}


def test_an_hour_is_judged_by_its_tenth_minute_and_its_last_ten() -> None:
    assert windows(60) == ((540, 600), (3000, 3600))
    assert set(flat(hour()).values()) == {True}


@pytest.mark.parametrize(
    ("last", "names"),
    [
        ({"anonymous_mib": 526}, {"memory under traffic [MiB]", "memory at rest [MiB]"}),
        ({"threads": 27}, {"threads"}),
        ({"descriptors": 39}, {"descriptors"}),
        ({"anonymous_mib": 524, "threads": 26, "descriptors": 38}, set()),
    ],
)
def test_what_grows_is_not_flat(last: dict[str, float], names: set[str]) -> None:
    assert {name for name, holds in flat(hour(**last)).items() if not holds} == names


def test_a_process_is_seen_as_it_is() -> None:
    before = look(os.getpid(), 1, 2)
    held = bytearray(os.urandom(2**20) * 64)
    after = look(os.getpid(), 1, 2)
    assert before is not None
    assert after is not None
    assert 56 < after.anonymous_mib - before.anonymous_mib < 72
    assert after.threads >= 1
    assert after.descriptors > 2
    assert len(held) == 2**26
    assert look(2**22 + 1, 1, 2) is None


@pytest.mark.parametrize(
    ("status", "content_type", "document", "wrong"),
    [
        (200, "application/json", {"faces": []}, False),
        (422, "application/problem+json", PROBLEM, False),
        (503, "application/problem+json", {"status": 503, "code": "queue_full"}, False),
        (404, "application/problem+json", {"status": 404, "code": "not_found"}, False),
        (200, "text/html", None, True),
        (422, "application/json", PROBLEM, True),
        (400, "application/problem+json", PROBLEM, True),
        (422, "application/problem+json", {"status": 422, "code": "of_ones_own"}, True),
        (500, "application/problem+json", {"status": 500, "code": "internal_error"}, True),
        (502, "text/plain", None, True),
    ],
)
def test_only_documented_answers_have_no_flaw(status: int, content_type: str, document: Any, wrong: bool) -> None:
    assert (flaw_of(status, content_type, document) is not None) == wrong


def test_answers_are_compared_number_by_number() -> None:
    golden = {"faces": [{"age": {"years": 31.4, "low": 26}, "gender": {"label": "male", "uncertain": False}}]}
    assert distance(golden, golden) == 0
    other = {"faces": [{"age": {"years": 31.5, "low": 26}, "gender": {"label": "male", "uncertain": False}}]}
    assert distance(golden, other) == pytest.approx(0.1)
    others: list[dict[str, Any]] = [
        {"faces": []},
        {"faces": [{"age": {"years": 31.4, "low": 26}, "gender": {"label": "female", "uncertain": False}}]},
        {"faces": [{"age": {"years": 31.4, "low": 26}, "gender": {"label": "male", "uncertain": 0}}]},
        {"faces": [{"age": {"years": 31.4}, "gender": {"label": "male", "uncertain": False}}]},
    ]
    for different in others:
        assert distance(golden, different) == math.inf
    sent = {"request_id": "a", "timing_ms": {"total": 3}, "faces": []}
    assert essence({"request_id": "b", "results": [{"index": 0, "status": 200, "result": sent}]}) == {
        "results": [{"faces": []}]
    }


def test_a_record_keeps_the_answer_that_differs() -> None:
    record = Record()
    record.compare("one", {"years": 31.4}, {"years": 31.4})
    record.compare("one", {"years": 31.4}, {"years": 31.5})
    assert (record.compared, record.identical, record.flaw_count) == (2, 1, 0)
    record.compare("one", {"years": 31.4}, {"years": 31.7})
    assert record.flaw_count == 1
    assert "31.7" in record.flaws[0]


def test_faults_are_read_from_a_log() -> None:
    error, start = "2026 ERROR facet: request 1 failed", "Traceback (most recent call last):"
    log = f"2026 INFO facet: ready\n2026 WARNING facet: no ERROR\n{error}\n{start}\n  File\n"
    assert faults_of(log) == [error, start]


@pytest.mark.parametrize("form", FORMATS)
def test_whole_pictures_are_of_the_format_that_they_are_named_after(form: str) -> None:
    assert sniff(small(form)) == {"progressive.jpeg": "JPEG", "heic": "HEIF"}.get(form, form.upper())


@pytest.mark.parametrize("change", MUTATIONS, ids=lambda change: change.__name__)
def test_every_mutation_changes_a_file_and_is_the_same_for_the_same_seed(change: Any) -> None:
    whole = small("png")

    def damaged(seed: int) -> bytes:
        data = bytearray(whole)
        change(data, random.Random(seed))
        return bytes(data)

    assert sum(damaged(seed) != whole for seed in range(20)) >= 18
    assert damaged(7) == damaged(7)
    assert mutate(whole, random.Random(7)) == mutate(whole, random.Random(7))
