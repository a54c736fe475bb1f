"""The page: every figure of the report is on it, every name is escaped, nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import json
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import encoded
from tests.training import made
from tests.training.evaluation.made import predictions_of
from training.datasets.duplicates import NearDuplicate
from training.errors import EvaluationError
from training.evaluation import html_report
from training.evaluation.documents import Report
from training.evaluation.evaluate import report_part
from training.evaluation.html_report import write_page
from training.evaluation.plots import draw_all
from training.evaluation.predictions import ExpectationPredictions, Predictions
from training.evaluation.service_client import Scored


def page(document: dict[str, Any], folder: Path) -> str:
    return html_report.page(Report.model_validate(document), folder)


HOSTILE = '<img src=x onerror="alert(1)">.jpg'


class Checked(HTMLParser):
    """Collects headings, cells and links, and holds every element to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.sources: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag in ("h2", "td"):
            {"h2": self.headings, "td": self.cells}[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag, texts in (("h2", self.headings), ("td", self.cells)):
            if tag in self.open:
                texts[-1] += ("|" if self.open[-1] == "small" else "") + data


def document_of(
    outputs: tuple[str, ...], found: bool = True, names: list[str] | None = None
) -> tuple[dict[str, Any], Predictions]:
    """A report of chance on 40 pictures, of a model that predicts some of the attributes."""
    random = np.random.default_rng(0)
    values = {name: np.full((40, 5) if name == "races" else 40, np.nan) for name in ("years", "low", "high", "female", "races")}
    shares = {"female": random.uniform(0, 1, 40), "races": random.dirichlet(np.ones(5), 40)}
    ages = {"years": random.uniform(0, 90, 40), "low": np.full(40, 20.0), "high": np.full(40, 50.0)}
    values |= {name: value for name, value in (shares | ages).items() if name in outputs and found}
    predictions = predictions_of(
        age=random.integers(0, 90, 40).astype(np.float64),
        gender=np.arange(40) % 2,
        race=np.arange(40) % 5,
        found=np.full(40, found),
        gender_uncertain=(np.arange(40) < 10) & found,
        **values,
    )
    given = Scored(names or [f"{i}.jpg" for i in range(40)], predictions.with_fallbacks({"age": 30.0}), {}, [[]] * 40)
    figured = json.loads(report_part(given, [NearDuplicate("3.jpg", HOSTILE, 12, True)]).model_dump_json(exclude_unset=True))
    differing = {"any": 1, "age": 1, "gender": 0, "race": 0, "years": 17.25}
    found_twins = {"compared_with": ["train", "validation"], "bits": 256, "threshold": 40, "pictures": 1, "pairs": 1}
    found_twins |= {
        "mirrored": 1,
        "differing": differing,
        "twins": [{"name": "3.jpg", "other": HOSTILE, "bits": 12, "mirrored": True}],
    }
    served = {"model": {"name": "tiny", "version": 7}, "precision": "bf16", "runtime": "openvino", "detector": "found/3"}
    served |= {"promised_coverage": 0.8}
    head = {"data": "UTKFace", "split": "test", "created": "2026-01-02", **served}
    return head | figured | {"duplicates": found_twins}, predictions


EVERYTHING = ("years", "low", "high", "female", "races")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A report with all outputs and a second set, and the folder with its plots."""
    folder = tmp_path_factory.mktemp("report")
    document, predictions = document_of(EVERYTHING)
    head = ("data", "split", "created", "model", "precision", "runtime", "detector", "promised_coverage")
    document["also"] = {
        "All-Age-Faces": {key: value for key, value in document_of(("years", "female"))[0].items() if key not in head}
    }
    document["plots"] = draw_all(predictions, Report.model_validate(document), folder, 0.8)
    return document, folder


@pytest.fixture
def whole(drawn: tuple[dict[str, Any], Path], tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """The same in a folder that the test may add to."""
    return drawn[0], Path(shutil.copytree(drawn[1], tmp_path / "report"))


def test_every_section_and_figure_is_on_the_page(whole: tuple[dict[str, Any], Path]) -> None:
    document, folder = whole
    text = page(document, folder)
    checked = Checked(text)
    assert checked.headings == [
        *("Headline", "Groups", "Uncertain labels", "Calibration", "Ages and labels", "Near-duplicates", "Worst errors"),
    ]
    for part in (
        "tiny, version 7",
        "bf16",
        "<dt>detector</dt><dd>found/3</dd>",
        "openvino",
        "2026-01-02",
        "without near-duplicates",
        "All-Age-Faces",
        "256-bit",
        "80 %",
    ):
        assert part in text
    low, high = document["intervals"]["headline"]["age_mae"]
    assert f"{document['headline']['age_mae']:.2f}|{low:.2f} – {high:.2f}" in checked.cells
    forms = {
        "age_rmse": "{:.2f}",
        "gender_auc": "{:.4f}",
        "gender_ece": "{:.4f}",
        "race_accuracy": "{:.4f}",
        "race_macro_f1": "{:.4f}",
    }
    for part in (document["headline"], document["found_only"], document["without_duplicates"]["headline"]):
        for key, form in forms.items():
            assert any(cell.split("|")[0] == form.format(part[key]) for cell in checked.cells)
    for members in document["groups"].values():
        for figures in members.values():
            assert str(figures["count"]) in checked.cells
            assert any(cell.startswith(f"{figures['gender_accuracy']:.3f}|") for cell in checked.cells)
    share, accuracy = (document["found_only"][f"gender_certain_{name}"] for name in ("share", "accuracy"))
    assert share == 0.75
    assert any(cell.startswith("75.0%|") for cell in checked.cells)
    assert any(cell.startswith(f"{accuracy:.4f}|") for cell in checked.cells)
    assert "17.25" in checked.cells
    ages = document["headline"]
    for text in (f"{ages['age_mse']:.1f}", *(f"{ages[key]:.1%}" for key in ("age_exact", "age_bins_5", "age_bins_9"))):
        assert any(cell.split("|")[0] == text for cell in checked.cells)
    for gender in document["headline"]["gender"].values():
        assert {f"{value:.4f}" for value in gender.values()} <= set(checked.cells)
    place = checked.cells.index("white")
    assert checked.cells[place + 1 : place + 6] == [str(count) for count in document["confusion"]["race"][0]]
    for key in ("worst_ages", "worst_genders", "worst_races"):
        assert {one["name"] for one in document[key]} <= set(checked.cells)


def test_plots_are_inside_the_page_and_nothing_is_outside(whole: tuple[dict[str, Any], Path]) -> None:
    document, folder = whole
    checked = Checked(page(document, folder))
    assert len(document["plots"]) == 6
    prefix = "data:image/png;base64,"
    assert all(source.startswith(prefix) for source in checked.sources)
    shown = {base64.b64decode(source.removeprefix(prefix)) for source in checked.sources}
    assert shown == {(folder / name).read_bytes() for name in document["plots"]}
    assert "http://" not in (text := page(document, folder))
    assert "https://" not in text


def test_names_of_files_are_escaped(tmp_path: Path) -> None:
    names = [HOSTILE.replace("x", str(i)) for i in range(40)]
    for found in (True, False):
        document, _ = document_of(EVERYTHING, found, names)
        text = page(document, tmp_path)
        assert "<img" not in text
        assert names[0] in unescape(text)
        Checked(text)


@pytest.mark.parametrize(
    ("outputs", "found", "headings"),
    [
        (("years",), True, ["Headline", "Groups", "Calibration", "Ages and labels", "Near-duplicates", "Worst errors"]),
        (("female",), True, ["Headline", "Groups", "Uncertain labels", "Calibration", "Ages and labels"]),
        (("races",), True, ["Headline", "Groups", "Uncertain labels", "Calibration", "Ages and labels"]),
        (
            EVERYTHING,
            False,
            ["Headline", "Groups", "Calibration", "Near-duplicates", "No face found: UTKFace"],
        ),
    ],
)
def test_a_model_of_fewer_outputs_and_a_split_without_faces(
    outputs: tuple[str, ...], found: bool, headings: list[str], tmp_path: Path
) -> None:
    document, predictions = document_of(outputs, found)
    document["plots"] = draw_all(predictions, Report.model_validate(document), tmp_path, 0.8)
    (tmp_path / "report.json").write_text(json.dumps(document, allow_nan=False))
    text = write_page(tmp_path).read_text()
    checked = Checked(text)
    assert checked.headings[: len(headings)] == headings
    assert not [cell for cell in checked.cells if "nan" in cell or "None" in cell]
    if outputs == ("years",):
        assert "race: accuracy" not in text
        assert "gender: accuracy" not in text


@pytest.mark.parametrize(("range_", "unknown"), [((0, 100_000), 10**9), ((10, 50), 999_999), ((-1, 1), -9999)])
def test_an_expectation_of_any_range_with_values_beside_it_is_shown(
    range_: tuple[float, float], unknown: float, tmp_path: Path
) -> None:
    nothing = np.full(3, np.nan)
    one = ExpectationPredictions(
        np.array([range_[1], 22.5, unknown]), np.array([range_[0], 20.0, 21.0]), nothing, nothing, range=range_
    )
    scored = Scored(["a", "b", "c"], Predictions(np.ones(3, np.bool_), {"pay": one}), {}, [[]] * 3)
    part = report_part(scored)
    fields = part.model_dump() | {"data": "own", "split": "test", "created": "2026-11-29"}
    report = Report.model_validate(fields | {"attributes": scored.predictions.attributes})
    report = report.model_copy(update={"plots": tuple(draw_all(scored.predictions, part, tmp_path))})
    cells = Checked(html_report.page(report, tmp_path)).cells
    assert "pay_scatter.png" in report.plots
    assert {"22.5", f"{unknown:.15g}"} <= set(cells)


def test_other_reports_in_the_folder_are_shown(whole: tuple[dict[str, Any], Path]) -> None:
    document, folder = whole
    plot = encoded(made.square_picture(1, 1), "PNG")
    (folder / "blur.png").write_bytes(plot)
    extra = {
        "title": "Blur & noise",
        "text": "First.\n\nSecond.",
        "tables": [{"caption": "By <level>", "header": ["level", "error"], "rows": [["strong", "4.31"]]}],
        "plots": ["blur.png"],
        "figures": {"more": 1},
    }
    (folder / "robustness.json").write_text(json.dumps(extra))
    text = page(document, folder)
    checked = Checked(text)
    assert checked.headings[-1] == "Blur & noise"
    assert checked.cells[-2:] == ["strong", "4.31"]
    assert "By &lt;level&gt;" in text
    assert "<p>First.</p>\n<p>Second.</p>" in text
    assert base64.b64encode(plot).decode() in text


@pytest.mark.parametrize("key", ["subject", "asked"])  # the second is that of documents of before
def test_another_models_measurement_is_left_out(key: str, whole: tuple[dict[str, Any], Path]) -> None:
    document, folder = whole
    subject = {"model": document["model"], "precision": "f32", "data": ["UTKFace"], "split": "validation", "pictures": 400}
    extra = {"title": "Blur", "text": "A curve.", "tables": [], "plots": [], key: subject}
    (folder / "robustness.json").write_text(json.dumps(extra))
    text = page(document, folder)
    assert "<p>A curve.</p>" in text
    assert "f32; 400 pictures of UTKFace, validation" in text
    extra[key] = subject | {"detector": "found/3"}
    (folder / "robustness.json").write_text(json.dumps(extra))
    assert "f32, found/3; 400 pictures of UTKFace, validation" in page(document, folder)
    extra[key] = subject | {"model": {"name": "another", "version": 3}}
    (folder / "robustness.json").write_text(json.dumps(extra))
    text = page(document, folder)
    assert "A curve." not in text
    assert "robustness.json is a measurement of another, version 3, and is left out." in text


@pytest.mark.parametrize(
    "content", ["no JSON", "[]", '{"title": "a", "text": "", "tables": [], "plots": ["../../secret.png"]}']
)
def test_what_is_no_report_is_refused_by_name(content: str, whole: tuple[dict[str, Any], Path]) -> None:
    document, folder = whole
    (folder / "conditions.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"conditions\.json is no report that the page can show"):
        page(document, folder)
