"""Counts instead of faces: their expectations, how far off they may be, and that no face is in them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from service.offline.counts import Counts, bands
from tests.service.offline.made import folder, predict


def test_bands_have_names() -> None:
    assert bands((3, 13, 14)) == ("0-2", "3-12", "13", "14+")
    assert bands(()) == ("0+",)


def test_counts_are_expectations_over_the_probabilities(tmp_path: Path) -> None:
    folder(tmp_path / "photos/one", 8)
    folder(tmp_path / "photos/two", 5)
    asked = {"recursive": True, "ages": (18, 40)}
    predict(tmp_path / "photos", out=tmp_path / "faces.jsonl", **asked)
    predict(tmp_path / "photos", out=tmp_path / "counts.jsonl", aggregate=True, **asked)
    faces = [row for row in map(json.loads, (tmp_path / "faces.jsonl").read_text().splitlines()) if row["face"] is not None]
    counts = [json.loads(line) for line in (tmp_path / "counts.jsonl").read_text().splitlines()]
    cells = {(row["folder"], row["attribute"], row["label"], row["age_band"]): row for row in counts}
    assert len(cells) == len(counts)
    for place in (None, (tmp_path / "photos/one").as_posix(), (tmp_path / "photos/two").as_posix()):
        these = [face for face in faces if place is None or face["file"].startswith(f"{place}/")]
        assert cells[place, "faces", None, None]["expected"] == len(these)
        for label in ("male", "female"):
            p = np.array([face[f"p_{label}"] for face in these])
            cell = cells[place, "gender", label, None]
            assert cell["expected"] == pytest.approx(p.sum(), abs=1e-3)
            assert cell["deviation"] == pytest.approx(math.sqrt((p * (1 - p)).sum()), abs=1e-3)
            band = p * np.array([face["p_at_least_18"] - face["p_at_least_40"] for face in these])
            assert cells[place, "gender", label, "18-39"]["expected"] == pytest.approx(band.sum(), abs=1e-3)
        total = sum(cells[place, "age", None, band]["expected"] for band in bands((18, 40)))
        assert total == pytest.approx(len(these), abs=0.01)
    assert cells[None, "photos", None, None]["expected"] == 13


def test_the_deviation_is_that_of_the_number_of_faces() -> None:
    """Against draws: of faces that are each of a label with their own probability."""
    p = np.linspace(0.02, 0.98, 60)
    drawn = (np.random.default_rng(1).random((4000, 60)) < p).sum(axis=1)
    counts = Counts(())
    cells = counts.rows()
    assert cells == []
    assert math.sqrt((p * (1 - p)).sum()) == pytest.approx(drawn.std(), rel=0.05)


def test_no_face_is_in_the_table(tmp_path: Path) -> None:
    predict(folder(tmp_path / "photos", 9), out=tmp_path / "counts.csv", aggregate=True)
    text = (tmp_path / "counts.csv").read_text()
    assert text.startswith("folder,attribute,label,age_band,expected,deviation\n")
    assert ".png" not in text
    assert "18-24" in text


def test_a_model_without_ages_is_counted_without_bands(tmp_path: Path) -> None:
    predict(folder(tmp_path / "photos", 4), out=tmp_path / "counts.csv", aggregate=True, attributes=["gender"])
    text = (tmp_path / "counts.csv").read_text()
    assert "gender,female" in text
    assert ",age," not in text
