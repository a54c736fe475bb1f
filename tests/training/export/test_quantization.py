"""An int8 variant of a model: what may be lost, and what is left where none can be made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.models.evaluation import Figures, VariantPart
from service.models.manifest import Manifest
from tests import tiny_model
from tests.training import made
from training.__main__ import app
from training.export.quantization import losses, quantize


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("store")
    tiny_model.write(folder / "tiny/1")
    yield folder
    assert not (folder / "tiny/1/int8").exists()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.prepared(tmp_path_factory.mktemp("faces") / "prepared", train=32, validation=8)


def measured(f32: dict[str, float], int8: dict[str, float]) -> VariantPart:
    return VariantPart(figures={"f32": Figures(count=10, **f32), "int8": Figures(count=10, **int8)})


def test_a_loss_is_a_larger_error_or_fewer_right_labels(store: Path) -> None:
    manifest = Manifest.model_validate_json((store / "tiny/1/model.json").read_bytes())
    part = measured(
        {"age_mae": 4.0, "gender_accuracy": 0.95, "race_accuracy": 0.8},
        {"age_mae": 4.3, "gender_accuracy": 0.94, "race_accuracy": 0.81},
    )
    assert [(name, round(lost, 6), most) for name, lost, most in losses(manifest, part)] == [
        ("age", 0.3, 0.1),
        ("gender", 0.01, 0.003),
        ("race", -0.01, 0.003),
    ]
    assert [name for name, *_ in losses(manifest, measured({"age_mae": 4.0}, {"age_mae": 4.0}))] == ["age"]


def test_without_its_package_nothing_is_left_behind(store: Path, faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    words = ["quantize", "--model", "tiny/1", "--prepared", str(faces), "--set", "UTKFace", "--store", str(store)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert result.stderr == "training: an int8 variant needs nncf: make extra EXTRA=quantize\n"
    assert sorted(path.name for path in (store / "tiny/1").iterdir()) == sorted(
        ["assets", "fingerprint.pb", "golden.npz", "model.json", "saved_model.pb", "variables"]
    )


def test_a_variant_that_is_there_stays(store: Path, faces: Path) -> None:
    (store / "tiny/1/int8").mkdir()
    try:
        with pytest.raises(FileExistsError, match="never change"):
            quantize(store, "tiny", 1, faces, "2026-01-01", ["UTKFace"])
    finally:
        (store / "tiny/1/int8").rmdir()


def test_a_process_that_is_killed_leaves_no_half_of_a_variant(
    store: Path, faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def killed(saved_model: Path, batches: object, target: Path) -> None:
        seen.append((target.parent.is_dir(), (store / "tiny/1/int8").exists()))
        raise KeyboardInterrupt

    monkeypatch.setattr("training.export.quantization.write_network", killed)
    with pytest.raises(KeyboardInterrupt):
        quantize(store, "tiny", 1, faces, "2026-01-01", ["UTKFace"])
    assert seen == [(True, False)]


def test_a_variant_is_made_of_a_model(store: Path, faces: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf")
    tiny_model.write(tmp_path / "tiny/1")
    found = quantize(tmp_path, "tiny", 1, faces, "2026-01-01", ["UTKFace"], 32)
    assert set(found.sets["all"].figures) == {"f32", "int8"}
    assert found.sets["UTKFace"].figures["int8"].count == 8
    assert {path.name for path in (tmp_path / "tiny/1/int8").iterdir()} == {
        "faces.bin",
        "faces.xml",
        "golden.npz",
        "variant.json",
    }
    assert "INFO" not in "".join(capfd.readouterr())
