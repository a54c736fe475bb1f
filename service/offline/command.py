"""`facet predict`: a request, and where each photo's outcome goes: a terminal, a table, or counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from service.errors import InvalidParameter
from service.files import replacing, require_name
from service.models.manifest import AGE, Attribute
from service.offline import counts, sources, terminal
from service.offline.counts import BAND_EDGES, Counts
from service.offline.errors import Interrupted, OutputError
from service.offline.formats import format_of
from service.offline.output import PHOTOS_A_PART, Output
from service.offline.parameters import Parameters
from service.offline.run import Emit, Runner
from service.offline.sources import LeftOut, Place
from service.offline.table import Answered, Failure, Outcome, Table


@dataclass(frozen=True, slots=True)
class Request:
    """What is requested, but for the model. `listed` names a file of more sources; `jobs` 0 leaves their number open.
    `called` is the table's name for people, where that is not its file's.

    `every` are the seconds from one picture of a film to the next; None looks at films that are named, and at none of a folder.
    """

    sources: Sequence[str]
    listed: str | None = None
    recursive: bool = False
    every: float | None = None
    json: bool = False
    out: Path | None = None
    called: str | None = None
    resume: bool = False
    overwrite: bool = False
    aggregate: bool = False
    draw: str | None = None
    parameters: Parameters = field(default_factory=Parameters)
    jobs: int = 0
    photos_a_part: int = PHOTOS_A_PART

    def check(self) -> None:
        """Check that the options fit each other.

        Raises:
            InvalidParameter: They do not.
        """
        if not self.sources and self.listed is None:
            raise InvalidParameter("name a source: a photo, a folder, an archive, an address, or a list of them with --from")
        if "" in self.sources:  # such as an empty variable of a script; a path makes the current folder of it
            raise InvalidParameter("a source is empty: name a photo or a folder, such as . for the current one")
        if self.draw is not None and (not self.draw or "://" in self.draw):
            raise InvalidParameter("--draw: name a file or a folder of this machine, such as . for the current one")
        if self.sources.count("-") + (self.listed == "-") > 1:
            raise InvalidParameter("standard input can be read once")
        if self.out is None and (self.resume or (self.overwrite and not self.draw) or self.aggregate):
            raise InvalidParameter("--resume, --overwrite and --aggregate need a table: name it with --out")
        if self.out is not None and self.json:
            raise InvalidParameter("--json prints and --out writes: give one of them; --out faces.jsonl writes JSON lines")
        if self.resume and self.overwrite:
            raise InvalidParameter("--resume continues a table and --overwrite replaces it: give one of them")
        if self.aggregate and (self.resume or self.parameters.landmarks or self.parameters.distribution):
            raise InvalidParameter(
                "--aggregate writes counts when all photos are done: no --resume, --landmarks, --distribution"
            )

    def parameters_of(self, attributes: Sequence[Attribute]) -> Parameters:
        """The parameters of every photo: JSON shows landmarks, and counts need probabilities of their bands.

        Args:
            attributes: What the model declares, without what the operator switched off.

        Returns:
            The parameters, with those that the output needs.
        """
        parameters = self.parameters
        if self.json:
            return replace(parameters, landmarks=True)
        if not self.aggregate:
            return parameters
        distributed = {
            one.name
            for one in attributes
            if one.kind == "expectation" and len(one.outputs) > 1 and parameters.includes(one.name)
        }
        at_least = parameters.at_least or (BAND_EDGES if AGE in distributed else ())
        return replace(parameters, at_least=at_least, distribution=bool(distributed - {AGE}))

    def places(self, left_out: LeftOut | None = None) -> Iterator[Place]:
        """Every photo and archive of the sources.

        Args:
            left_out: Counts what is not looked at.

        Yields:
            They, in order.

        Raises:
            RunError: As of `sources.places`.
        """
        yield from sources.places(self.sources, recursive=self.recursive, every=self.every, left_out=left_out)
        if self.listed is not None:
            names = sources.names_in(self.listed)
            yield from sources.places(names, recursive=self.recursive, every=self.every, left_out=left_out, listed=True)

    def count(self) -> int | None:
        """Number of photos.

        Returns:
            The number, or None where it is not known.
        """
        if self.listed is not None and not Path(self.listed).is_file():  # a pipe can be read once
            return None
        return sources.count(self.sources, self.listed, recursive=self.recursive, every=self.every)


def predict(request: Request, runner: Runner, errors: Console) -> bool:
    """Answer a request.

    Args:
        request: As `check` lets it pass.
        runner: What answers; it is closed.
        errors: Console of standard error.

    Returns:
        Whether it may be called a success: with a table, that it is there, else that no photo failed.

    Raises:
        RunError: The run cannot go on, as of `run`.
        Interrupted: Its user ended it.
        ReaderGone: Nobody reads standard output any more.
    """
    command = _Command(request, runner, errors)
    try:
        if request.out is None:
            success = command.print()
        elif request.aggregate:
            success = command.count(request.out)
        else:
            success = command.write(request.out)
    finally:
        runner.close()
    left_out = command.left_out
    if not command.found:
        errors.print("no photo was found")
    if left_out.files:
        errors.print(f"left out {_counted(left_out.files, 'file')} of folders: no photo in a format that Facet reads")
    if left_out.folders:
        rest = ": a link" if request.recursive else " inside of folders: --recursive looks into them"
        errors.print(f"left out {_counted(left_out.folders, 'folder')}{rest}")
    if left_out.films:
        errors.print(f"left out {_counted(left_out.films, 'film')} of folders: --every SECONDS looks into films")
    return success


def _counted(number: int, thing: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


@dataclass(slots=True)
class _Command:
    """One run of the command."""

    request: Request
    runner: Runner
    errors: Console
    left_out: LeftOut = field(default_factory=LeftOut)
    tally: terminal.Tally = field(default_factory=terminal.Tally)
    before: int = 0

    def print(self) -> bool:
        """Each photo's answer on standard output, each failure on standard error."""

        def emit(name: str, outcome: Outcome) -> None:
            self._add(outcome)
            if isinstance(outcome, Failure):
                self.errors.print(f"facet: {name}: {outcome.detail}")
            elif self.request.json:
                terminal.write(terminal.as_json(outcome.answer))
            else:
                terminal.write(terminal.as_table(name, outcome.answer, self.runner.model.attributes))

        self._run(emit)
        return not self.tally.failed

    def write(self, path: Path) -> bool:
        """Rows into a table."""
        model, parameters = self.runner.model, self.request.parameters
        table = Table(
            model.attributes,
            parameters.attributes,
            parameters.at_least,
            landmarks=parameters.landmarks,
            distribution=parameters.distribution,
        )
        asked = model.answered if parameters.attributes is None else parameters.attributes
        recorded = {
            **model.settings,
            "model": f"{model.name}/{model.version}",
            "digest": model.digest,
            "detector": model.detector,
            "attributes": [one.name for one in model.attributes if asked is None or one.name in asked],
            "max_faces": parameters.max_faces or model.settings.get("max_faces"),
            "min_confidence": model.min_confidence if parameters.min_confidence is None else parameters.min_confidence,
            "every": self.request.every,
        }
        output = Output(path, table.columns, recorded, self.request.photos_a_part)
        output.begin(resume=self.request.resume, overwrite=self.request.overwrite)
        try:
            with output, terminal.progress(self.errors, self.request.count, output.photos) as advance:

                def emit(name: str, outcome: Outcome) -> None:
                    if name not in output:  # it was named twice, and both were under way
                        self._add(outcome)
                        output.add(name, table.rows(name, outcome))
                    advance()

                self._run(emit, output.__contains__)
                output.finish()
        except KeyboardInterrupt:
            raise Interrupted(f"stopped: {path} has {output.photos:,} photos so far, and --resume goes on") from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{path}: {reason}; {output.photos:,} photos are written, and --resume goes on with the others"
            ) from error
        before = self.before = output.photos - self.tally.photos
        resumed = f"; {before:,} photo{' was' if before == 1 else 's were'} there before" if before else ""
        self.errors.print(f"{self.request.called or path}: {self.tally}{resumed}")
        return True

    def count(self, path: Path) -> bool:
        """Counts into a table, when all photos are done."""
        form = format_of(path, counts.COLUMNS)
        if path.is_dir():
            raise OutputError(f"{path} is a folder: name a file")
        if path.exists() and not self.request.overwrite:
            raise OutputError(f"{path} is there already: --overwrite takes its place")
        try:  # now, and not after the hours that photos may take
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
            require_name(path)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        sums = Counts(self.request.parameters.at_least or BAND_EDGES)
        with terminal.progress(self.errors, self.request.count, 0) as advance:

            def emit(name: str, outcome: Outcome) -> None:
                self._add(outcome)
                sums.add(name, outcome)
                advance()

            self._run(emit)
        try:
            with replacing(path) as new:
                form.write(new, sums.rows())
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        self.errors.print(f"{self.request.called or path}: {self.tally}")
        return True

    @property
    def found(self) -> bool:
        """Whether there was any photo, in an earlier run or this one."""
        return bool(self.tally.photos or self.before)

    def _add(self, outcome: Outcome) -> None:
        self.tally.add(outcome.answer if isinstance(outcome, Answered) else None)

    def _run(self, emit: Emit, skip: Callable[[str], bool] = lambda _: False) -> None:
        self.runner.run(self.request.places(self.left_out), emit, skip)
