"""`facet predict`: what was asked for, and where each photo's outcome goes: a terminal, a table, or counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from service.errors import InvalidParameter
from service.files import replacing
from service.models.manifest import Attribute
from service.offline import counts, sources, table, terminal
from service.offline.counts import BAND_EDGES, Counts
from service.offline.errors import Interrupted, OutputError
from service.offline.formats import format_of
from service.offline.output import PHOTOS_A_PART, Output
from service.offline.predictors import Predictor
from service.offline.run import run
from service.offline.sources import LeftOut, Photo
from service.offline.table import Answered, Failure, Outcome

THREADS: Final = 8
"""Threads beside those of the jobs: for sources, for what is written, and for pictures."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, but for the model. `words` are sources, `listed` names a file of more; `jobs` 0 leaves them open."""

    words: Sequence[str]
    listed: str | None = None
    recursive: bool = False
    json: bool = False
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    aggregate: bool = False
    attributes: Sequence[str] | None = None
    max_faces: int | None = None
    min_confidence: float | None = None
    ages: tuple[int, ...] = ()
    landmarks: bool = False
    distribution: bool = False
    jobs: int = 0
    photos_a_part: int = PHOTOS_A_PART

    def check(self) -> None:
        """See that the options fit each other.

        Raises:
            InvalidParameter: They do not.
        """
        if not self.words and self.listed is None:
            raise InvalidParameter("name a source: a photo, a folder, an archive, an address, or a list of them by --from")
        if self.words.count("-") + (self.listed == "-") > 1:
            raise InvalidParameter("standard input can be read once")
        if self.out is None and (self.resume or self.overwrite or self.aggregate):
            raise InvalidParameter("--resume, --overwrite and --aggregate say what becomes of a table: name it by --out")
        if self.out is not None and self.json:
            raise InvalidParameter("--json prints and --out writes: give one of them; --out faces.jsonl writes JSON lines")
        if self.resume and self.overwrite:
            raise InvalidParameter("--resume goes on with a table and --overwrite begins anew: give one of them")
        if self.aggregate and (self.resume or self.landmarks or self.distribution):
            raise InvalidParameter(
                "--aggregate writes counts when all photos are done: no --resume, --landmarks, --distribution"
            )

    @property
    def asked_ages(self) -> tuple[int, ...]:
        """Ages whose probability is asked for: with counts, the least ages of their bands."""
        wanted = self.attributes is None or "age" in self.attributes
        return (self.ages or BAND_EDGES) if self.aggregate and wanted else self.ages

    def sources(self, left_out: LeftOut | None = None) -> Iterator[Photo]:
        """Every photo that was named.

        Args:
            left_out: Counts what is not looked at.

        Yields:
            The photos, in order.

        Raises:
            RunError: As of `sources.photos`.
            OSError: The list cannot be read.
        """
        yield from sources.photos(self._all(), recursive=self.recursive, left_out=left_out)

    def count(self) -> int | None:
        """How many photos were named.

        Returns:
            The number, or None where it is not known.
        """
        return None if self.listed == "-" else sources.count(self._all(), recursive=self.recursive)

    def _all(self) -> Iterator[str]:
        yield from self.words
        if self.listed is not None:
            yield from sources.names_in(self.listed)

    def said(self, attributes: Sequence[Attribute]) -> list[Attribute]:
        """Attributes of the table.

        Args:
            attributes: What the model says.

        Returns:
            Those that were asked for.
        """
        return [one for one in attributes if self.attributes is None or one.name in self.attributes]


def predict(request: Request, predictor: Predictor, errors: Console, jobs: int) -> bool:
    """Answer what was asked for.

    Args:
        request: As `check` lets it pass.
        predictor: What answers; it is closed.
        errors: Console of standard error.
        jobs: Photos in work at a time, where the request leaves them open.

    Returns:
        Whether it may be called a success: with a table, that it is there, else that no photo failed.

    Raises:
        RunError: The run cannot go on, as of `run`.
        Interrupted: Its user ended it.
        ReaderGone: Nobody reads standard output any more.
    """
    left_out = LeftOut()
    try:
        if request.out is None:
            success = _print(request, predictor, errors, jobs, left_out)
        elif request.aggregate:
            success = _count(request, request.out, predictor, errors, jobs, left_out)
        else:
            success = _write(request, request.out, predictor, errors, jobs, left_out)
    finally:
        asyncio.run(predictor.close())  # where the run has not begun
    if left_out.files:
        errors.print(f"left out {left_out.files:,} files of folders that are no photos", markup=False)
    if left_out.folders:
        errors.print(f"left out {left_out.folders:,} folders inside of folders: --recursive looks into them", markup=False)
    return success


def _print(request: Request, predictor: Predictor, errors: Console, jobs: int, left_out: LeftOut) -> bool:
    """Each photo's answer on standard output, each failure on standard error."""
    tally = terminal.Tally()

    def emit(photo: Photo, outcome: Outcome) -> None:
        tally.add(outcome.answer if isinstance(outcome, Answered) else None)
        if isinstance(outcome, Failure):
            errors.print(f"facet: {photo.name}: {outcome.detail}", markup=False)
        elif request.json:
            terminal.write(outcome.answer.model_dump_json(exclude_none=True) + "\n")
        else:
            terminal.write(terminal.as_table(photo.name, outcome.answer, predictor.model.attributes))

    _run(request, request.sources(left_out), predictor, emit, jobs)
    return not tally.failed


def _write(request: Request, path: Path, predictor: Predictor, errors: Console, jobs: int, left_out: LeftOut) -> bool:
    """Rows into a table."""
    model = predictor.model
    columns = table.columns(
        request.said(model.attributes), request.ages, landmarks=request.landmarks, distribution=request.distribution
    )
    asked = {
        "model": f"{model.name}/{model.version}",
        "digest": model.digest,
        "max_faces": request.max_faces,
        "min_confidence": request.min_confidence,
    }
    tally, output = terminal.Tally(), Output(path, columns, asked, request.photos_a_part)
    output.begin(resume=request.resume, overwrite=request.overwrite)
    try:
        with output, terminal.progress(errors, request.count, output.photos) as advance:

            def emit(photo: Photo, outcome: Outcome) -> None:
                if photo.name not in output:  # it was named twice, and both were under way
                    tally.add(outcome.answer if isinstance(outcome, Answered) else None)
                    output.add(photo.name, table.rows(photo.name, outcome, columns))
                advance()

            _run(request, request.sources(left_out), predictor, emit, jobs, lambda photo: photo.name in output)
            output.finish()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped: {path} has {output.photos:,} photos so far, and --resume goes on") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: {reason}; {output.photos:,} photos are written, and --resume goes on with the others"
        ) from error
    errors.print(f"{path}: {tally}" + _before(output.photos - tally.photos), markup=False)
    return True


def _before(photos: int) -> str:
    return f"; {photos:,} photos were there before" if photos else ""


def _count(request: Request, path: Path, predictor: Predictor, errors: Console, jobs: int, left_out: LeftOut) -> bool:
    """Counts into a table, when all photos are done."""
    form = format_of(path, counts.COLUMNS)
    if path.exists() and not request.overwrite:
        raise OutputError(f"{path} is there already: --overwrite takes its place")
    sums, tally = Counts(request.asked_ages), terminal.Tally()
    with terminal.progress(errors, request.count, 0) as advance:

        def emit(photo: Photo, outcome: Outcome) -> None:
            tally.add(outcome.answer if isinstance(outcome, Answered) else None)
            sums.add(photo.name, outcome)
            advance()

        _run(request, request.sources(left_out), predictor, emit, jobs)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            form.write(new, sums.rows())
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error
    errors.print(f"{path}: {tally}", markup=False)
    return True


def _run(
    request: Request,
    photos: Iterator[Photo],
    predictor: Predictor,
    emit: Callable[[Photo, Outcome], None],
    jobs: int,
    skip: Callable[[Photo], bool] = lambda _: False,
) -> None:
    """Run to the end, on an event loop with as many threads as the jobs need, and let go of the predictor."""
    at_once = request.jobs or jobs

    async def whole() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2 * at_once + THREADS))
        try:
            await run(photos, predictor, emit, jobs=at_once, skip=skip)
        finally:
            await predictor.close()

    asyncio.run(whole())
