"""Folders of small photos, and the real command round a fake model."""

from __future__ import annotations

import io
from dataclasses import fields
from pathlib import Path
from typing import Any

from service.offline import command
from service.offline.parameters import Parameters
from service.offline.predictors import LocalPredictor, Predictor
from service.offline.run import PredictorRunner
from service.offline.terminal import plain
from service.settings import Settings
from tests.conftest import encoded
from tests.fakes import engine_factory, squares


def photo(*reds: int) -> bytes:
    """A picture with a face for each value of red, which is its age in percent of 255."""
    return encoded(squares(*((red, 120, 60) for red in reds)))


def folder(path: Path, count: int) -> Path:
    """A folder of so many photos, each with a face of an age of its own, every fifth with two and every seventh with none."""
    path.mkdir(parents=True)
    for index in range(count):
        reds = [] if index % 7 == 3 else [60 + index % 150] * (2 if index % 5 == 4 else 1)
        (path / f"{index:04d}.png").write_bytes(photo(*reds))
    return path


def local(request: command.Request, allowed: str | None = None, **engine: Any) -> Predictor:
    """A fake model in this process, with the parameters of the request; `allowed` are attributes as in a setting."""
    settings = Settings(photo_queue=1000, photo_wait_s=60, face_queue=10_000, attributes=allowed)
    return LocalPredictor(engine_factory(**engine)(settings), request.parameters_of)


def requested(*sources: str | Path, **options: Any) -> command.Request:
    """A request with these options, the parameters of photos among them."""
    names = {one.name for one in fields(Parameters)} & options.keys()
    parameters = Parameters(**{name: options.pop(name) for name in names})
    return command.Request([str(source) for source in sources], parameters=parameters, **options)


def predict(*sources: str | Path, predictor: Predictor | None = None, **options: Any) -> tuple[bool, str]:
    """Run a request; whether it succeeded, and what it printed on standard error."""
    request = requested(*sources, **options)
    request.check()
    errors = plain(file=io.StringIO(), width=200)
    success = command.predict(request, PredictorRunner(predictor or local(request), request.jobs or 4), errors)
    return success, errors.file.getvalue()
