"""A model in the store to a report: every picture of a split through the service's own `POST /predict`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from service.app import create_app
from service.model_store import CARD, MANIFEST, ModelStore, write_manifest
from service.quality import Quality
from service.settings import Settings
from training.card import card
from training.data import GENDERS, MAX_AGE, RACES, DataSet, Label, Split
from training.scoring import Answers, by_group, confusion, figures, mae_by_age

ROUTE = "/predict"


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers of a split, with the files' names.

    Where there is no face, the age distributions [N, 101] and the measured qualities [N], by name, are NaN, and the
    warnings empty.
    """

    names: list[str]
    answers: Answers
    distributions: npt.NDArray[np.float64]
    qualities: dict[str, npt.NDArray[np.float64]]
    warnings: list[list[str]]


def ask(
    settings: Settings, data: DataSet, split: Split, limit: int | None = None, change: Callable[[bytes], bytes] | None = None
) -> Scored:
    """Post every labelled picture of a split to the service; of several faces, the one nearest the centre counts.

    `change` makes the bytes that are posted from those of the file: to ask what a degraded picture costs. Raises `ValueError`
    where the split is empty, or where the service refuses a picture.
    """
    labelled = list(islice(data.labelled(split), limit))
    if not labelled:
        raise ValueError(f"{data.source} has no labelled picture of the {split.value} split")
    return asyncio.run(_ask(settings, labelled, change))


async def _ask(settings: Settings, labelled: list[tuple[str, Label, bytes]], change: Callable[[bytes], bytes] | None) -> Scored:
    app = create_app(settings)
    turns = asyncio.Semaphore(4)  # enough to keep the workers busy
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://facet", timeout=60) as client:
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("asking the service", total=len(labelled))

                async def one(name: str, data: bytes) -> dict[str, Any] | None:
                    async with turns:
                        posted = data if change is None else await asyncio.to_thread(change, data)
                        answer = await client.post(ROUTE, content=posted, params={"distribution": "true"})
                    progress.advance(task)
                    if answer.is_error:
                        raise ValueError(f"the service refuses {name}: {answer.status_code} {answer.text}")
                    return central(answer.json())

                faces = await asyncio.gather(*(one(name, data) for name, _, data in labelled))
    return scored([name for name, _, _ in labelled], [label for _, label, _ in labelled], faces)


def central(document: dict[str, Any]) -> dict[str, Any] | None:
    """The face whose box's centre is nearest the picture's, or None."""
    middle = np.array([document["image"]["width"], document["image"]["height"]]) / 2

    def distance(face: dict[str, Any]) -> float:
        box = face["box"]
        centre = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        return float(np.hypot(*(centre - middle)))

    return min(document["faces"], key=distance, default=None)


def scored(names: list[str], labels: list[Label], faces: Sequence[dict[str, Any] | None]) -> Scored:
    """Labels and the faces of the service's answers, None where there was none, as arrays."""

    def column(*path: str) -> npt.NDArray[np.float64]:
        return np.array([_at(face, path) for face in faces], np.float64)

    answers = Answers(
        age=np.array([label.age for label in labels], np.float64),
        gender=np.array([label.gender for label in labels], np.int64),
        race=np.array([label.race for label in labels], np.int64),
        found=np.array([face is not None for face in faces]),
        years=column("age", "years"),
        low=column("age", "low"),
        high=column("age", "high"),
        female=column("gender", "probabilities", GENDERS[1]),
        races=np.stack([column("race", "probabilities", name) for name in RACES], axis=1),
    )
    nothing = [np.nan] * (MAX_AGE + 1)
    distributions = [face["age"].get("distribution", nothing) if face and "age" in face else nothing for face in faces]
    qualities = {field.name: column("quality", field.name) for field in fields(Quality)}
    warnings = [face["warnings"] if face else [] for face in faces]
    return Scored(names, answers, np.array(distributions, np.float64), qualities, warnings)


def _at(document: Any, path: tuple[str, ...]) -> float:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return float("nan") if document is None else float(document)


def report(given: Scored, mean_age: float, model: str, split: Split) -> dict[str, Any]:
    """All figures of a split as one JSON document."""
    answers = given.answers
    seen = answers.where(answers.found)
    document: dict[str, Any] = {
        "model": model,
        "split": split.value,
        "mean_age_of_train": mean_age,
        "headline": figures(answers, mean_age),
        "found_only": figures(seen, mean_age),
        "groups": by_group(answers, mean_age),
        "confusion": {name: matrix.tolist() for name, matrix in confusion(answers).items()},
        "not_found": [name for name, found in zip(given.names, answers.found, strict=True) if not found],
    }
    if "age" in answers.said():
        error = np.where(answers.found, np.abs(answers.years - answers.age), -1)
        worst = [i for i in np.argsort(-error)[:30] if answers.found[i]]
        document |= {
            "age_mae_by_age": {str(age): {"mae": mae, "count": count} for age, (mae, count) in mae_by_age(answers).items()},
            "worst_ages": [{"name": given.names[i], "age": answers.age[i], "years": answers.years[i]} for i in worst],
        }
    return document


def evaluate(settings: Settings, data: DataSet, split: Split, out: Path, limit: int | None = None) -> dict[str, Any]:
    """Score a split and write `report.json` and the plots under `out`; returns the report."""
    from training.plots import draw_all

    mean_age = mean_age_of_train(data)
    answers = ask(settings, data, split, limit)
    document = report(answers, mean_age, settings.model, split)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(document, indent=2, allow_nan=False))
    draw_all(answers.answers, out)
    return document


def mean_age_of_train(data: DataSet) -> float:
    """Mean age, in years, of the training split: what is answered, for scoring, where no face is found."""
    ages = [label.age for _, label, _ in data.labelled(Split.TRAIN)]
    if not ages:
        raise ValueError(f"{data.source} has no labelled picture of the train split, whose mean age stands for faces not found")
    return float(np.mean(ages))


def record_quality(store: Path, name: str, version: int | None, document: dict[str, Any]) -> Path:
    """Write a report's figures into the manifest of the model that it is about, the newest version where none is given, and
    its card beside it; returns the model's folder."""
    models = ModelStore(store)
    folder = store / name / str(version or models.versions(name)[-1])
    fields = json.loads((folder / MANIFEST).read_text())
    fields["quality"] = {key: document[key] for key in ("split", "mean_age_of_train", "headline", "found_only", "groups")}
    (folder / CARD).write_text(card(write_manifest(folder, fields)))
    return folder
