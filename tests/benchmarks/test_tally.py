"""What the generator of load counts."""

from __future__ import annotations

import pytest

from benchmarks.bench.tally import Tally, percentiles


def test_a_rate_is_of_the_time_in_which_photos_were_sent() -> None:
    """Twice what a service can is offered for two seconds: five answers wait in its line then, and a refusal is held back."""
    tally = Tally(2.0)
    for number in range(1, 26):
        tally.add(200, 0.5, number / 10)
    tally.add(503, 1.0, 3.0)
    assert tally.rate == 10
    assert len(tally.answered) == 25
    assert tally.refused == [1.0]


def test_what_is_no_answer_and_no_refusal_is_counted_by_its_status_alone() -> None:
    tally = Tally(1.0)
    for status in (0, 400, 200):
        tally.add(status, 0.1, 0.1)
    assert (tally.rate, tally.refused, dict(tally.statuses)) == (1, [], {0: 1, 400: 1, 200: 1})


def test_percentiles_are_milliseconds() -> None:
    assert percentiles([0.001 * number for number in range(101)]) == pytest.approx({"p50": 50, "p95": 95, "p99": 99})
    assert percentiles([0.1]) == {}
