"""A model in the store to a report: every picture of a split through the service's own `POST /predict`."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import Progress

from service.app import create_app
from service.model_store import CARD, MANIFEST, ModelStore, write_manifest
from service.settings import Settings
from training.card import card
from training.data import GENDERS, MAX_AGE, RACES, Label, Split, parse_utkface, pictures, split_of
from training.scoring import Answers, by_group, confusion, figures, mae_by_age

ROUTE = "/predict"


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers of a split, with the files' names and the age distributions [N, 101], NaN where there is no face."""

    names: list[str]
    answers: Answers
    distributions: npt.NDArray[np.float64]


def ask(settings: Settings, source: Path, split: Split, limit: int | None = None) -> Scored:
    """Post every labelled picture of a split to the service; of several faces, the one nearest the centre counts.

    Raises `ValueError` where there is none, or where the service refuses one.
    """
    labelled = []
    for name, data in pictures(source):
        label = parse_utkface(name)
        if label is not None and split_of(name) is split:
            labelled.append((name, label, data))
    if not labelled:
        raise ValueError(f"{source} has no labelled picture of the {split.value} split")
    return asyncio.run(_ask(settings, labelled[:limit]))


async def _ask(settings: Settings, labelled: list[tuple[str, Label, bytes]]) -> Scored:
    app = create_app(settings)
    turns = asyncio.Semaphore(4)  # enough to keep the workers busy
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://facet", timeout=60) as client:
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("asking the service", total=len(labelled))

                async def one(name: str, data: bytes) -> dict[str, Any] | None:
                    async with turns:
                        answer = await client.post(ROUTE, content=data, params={"distribution": "true"})
                    progress.advance(task)
                    if answer.is_error:
                        raise ValueError(f"the service refuses {name}: {answer.status_code} {answer.text}")
                    return central(answer.json())

                faces = await asyncio.gather(*(one(name, data) for name, _, data in labelled))
    return Scored([name for name, _, _ in labelled], *_arrays([label for _, label, _ in labelled], faces))


def central(document: dict[str, Any]) -> dict[str, Any] | None:
    """The face whose box's centre is nearest the picture's, or None."""
    middle = np.array([document["image"]["width"], document["image"]["height"]]) / 2

    def distance(face: dict[str, Any]) -> float:
        box = face["box"]
        centre = np.array([box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
        return float(np.hypot(*(centre - middle)))

    return min(document["faces"], key=distance, default=None)


def _arrays(labels: list[Label], faces: list[dict[str, Any] | None]) -> tuple[Answers, npt.NDArray[np.float64]]:
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
    return answers, np.array(distributions, np.float64)


def _at(document: Any, path: tuple[str, ...]) -> float:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return float("nan") if document is None else float(document)


def report(scored: Scored, mean_age: float, model: str, split: Split) -> dict[str, Any]:
    """All figures of a split as one JSON document."""
    answers = scored.answers
    seen = answers.where(answers.found)
    document: dict[str, Any] = {
        "model": model,
        "split": split.value,
        "mean_age_of_train": mean_age,
        "headline": figures(answers, mean_age),
        "found_only": figures(seen, mean_age),
        "groups": by_group(answers, mean_age),
        "confusion": {name: matrix.tolist() for name, matrix in confusion(answers).items()},
        "not_found": [name for name, found in zip(scored.names, answers.found, strict=True) if not found],
    }
    if "age" in answers.said():
        error = np.where(answers.found, np.abs(answers.years - answers.age), -1)
        worst = [i for i in np.argsort(-error)[:30] if answers.found[i]]
        document |= {
            "age_mae_by_age": {str(age): {"mae": mae, "count": count} for age, (mae, count) in mae_by_age(answers).items()},
            "worst_ages": [{"name": scored.names[i], "age": answers.age[i], "years": answers.years[i]} for i in worst],
        }
    return document


def evaluate(
    settings: Settings, source: Path, split: Split, mean_age: float, out: Path, limit: int | None = None
) -> dict[str, Any]:
    """Score a split and write `report.json` and the plots under `out`; returns the report."""
    from training.plots import draw_all

    scored = ask(settings, source, split, limit)
    document = report(scored, mean_age, settings.model, split)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(document, indent=2, allow_nan=False))
    draw_all(scored.answers, out)
    return document


def mean_age_of_train(source: Path) -> float:
    """Mean age, in years, of the training split: what is answered, for scoring, where no face is found."""
    labels = (parse_utkface(name) for name, _ in pictures(source) if split_of(name) is Split.TRAIN)
    ages = [label.age for label in labels if label is not None]
    if not ages:
        raise ValueError(f"{source} has no labelled picture of the train split, whose mean age stands for faces not found")
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
