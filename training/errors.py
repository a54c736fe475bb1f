"""Everything that a user of `python -m training` can mend: one line on standard error, and no traceback.

    TrainingError
    ├── DataSetError            a data set, a table of labels or a split is not what was asked for
    ├── PreparedError           the folder that `prepare` writes lacks what is asked of it
    ├── RecipeError             a recipe, a search space or a comparison does not go together
    ├── WeightsError            initial or trained weights do not fit their network
    ├── RunError                a training run cannot go on from what its folder holds
    │   └── Diverged            its loss is no longer finite
    ├── CalibrationError        there are no predictions that a calibration could be fitted on
    ├── EvaluationError         a model, a split or a report cannot be measured or recorded
    ├── ExportError             a network cannot become a model of the store
    ├── UsageError              options of the command line do not go together
    └── MissingPackage          an optional package is not installed

What is none of these, and no `OSError` of the file system, is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from service.errors import in_own_words


class TrainingError(Exception):
    """Base of all; the message is one sentence, by which it can be mended."""


class DataSetError(TrainingError):
    """A data set, a table of labels or a split is not what was asked for."""


class PreparedError(TrainingError):
    """The folder that `prepare` writes lacks what is asked of it."""


class RecipeError(TrainingError):
    """A recipe, a search space or a comparison does not go together."""


class WeightsError(TrainingError):
    """Initial or trained weights do not fit their network."""


class RunError(TrainingError):
    """A training run cannot go on from what its folder holds."""


class Diverged(RunError):
    """The loss of a training run is no longer finite."""


class CalibrationError(TrainingError):
    """There are no predictions that a calibration could be fitted on."""


class EvaluationError(TrainingError):
    """A model, a split or a report cannot be measured or recorded."""


class ExportError(TrainingError):
    """A network cannot become a model of the store."""


class UsageError(TrainingError):
    """Options of the command line do not go together."""


class MissingPackage(TrainingError):
    """An optional package is not installed."""


@contextmanager
def raised_as(kind: type[TrainingError]) -> Iterator[None]:
    """Where documents of a user are read: what pydantic finds there can be mended; anywhere else it is a bug.

    Args:
        kind: What it is raised as.

    Yields:
        Nothing.

    Raises:
        TrainingError: Of that kind: the document, the place in it, and what is wrong there.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = in_own_words(first["msg"])
        raise kind(": ".join(part for part in (error.title.lower(), place, message) if part)) from error
