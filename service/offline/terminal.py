"""What people and programs read on a terminal: an answer as a table or as JSON, and how far a run has come."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from service.api.schemas import AgeAnswer, ExpectationAnswer, LabelAnswer, PredictAnswer
from service.inference.attributes import aged, undecided
from service.models.manifest import Attribute
from service.offline.errors import OutputError
from service.offline.table import answers_of

UNWRAPPED: Final = 100_000
"""Columns of what is no terminal."""
plain: Final = partial(Console, highlight=False, markup=False, emoji=False)
"""A console that shows texts as they are: names of files may have `[edited]` or `:100:` in them."""


_ESCAPED: Final = "facet.escaped"
"""What a codec does with characters that it lacks, by the name that Python knows it by."""


class ReaderGone(Exception):
    """Nobody reads standard output any more."""


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that an encoding lacks, by the numbers by which JSON and most languages escape them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_ESCAPED, _escaped)


def escape_what_is_lacking() -> None:
    """Have standard output escape what its encoding lacks, where that is not UTF-8, as on Windows; it would be an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPED)


def write(text: str) -> None:
    """Write to standard output.

    Args:
        text: Whole lines.

    Raises:
        ReaderGone: Nobody reads it any more.
        OutputError: It has no room.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter would flush once more
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from error
        raise OutputError(f"standard output: {error.strerror}") from error


def console() -> Console:
    """Standard output for people.

    Returns:
        A console that wraps lines at a terminal's width, and none where no terminal reads them.
    """
    found = plain()
    return found if found.is_terminal else plain(width=UNWRAPPED)


def as_json(answer: PredictAnswer) -> str:
    """An answer for programs.

    Args:
        answer: What was answered.

    Returns:
        A line with a document of JSON; in ASCII where standard output is not UTF-8, which JSON has to be.
    """
    line = answer.model_dump_json(exclude_none=True) + "\n"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return line if codecs.lookup(encoding).name == "utf-8" else line.encode("ascii", _ESCAPED).decode()


def as_table(name: str, answer: PredictAnswer, attributes: Sequence[Attribute]) -> str:
    """An answer for people.

    Args:
        name: The photo's name.
        answer: What was answered.
        attributes: What the model says; each is a column.

    Returns:
        Lines, with a row for each face.
    """
    count = len(answer.faces)
    table = Table()
    names = [attribute.name for attribute in attributes]
    for column in ("box", "confidence", *names, "warnings"):
        table.add_column(column, overflow="fold")
    for face in answer.faces:
        box, answers = face.box, answers_of(face)
        table.add_row(
            f"{box.width}x{box.height} at {box.x},{box.y}",
            f"{face.confidence:.1%}",
            *(_cell(answers.get(attribute)) for attribute in names),
            ", ".join(face.warnings),
        )
    shown = console()
    with shown.capture() as captured:  # a title would be broken to the width of the table
        shown.print(f"{name}: {count} face{'' if count == 1 else 's'}", style="table.title", soft_wrap=True)
        shown.print(table)
    return captured.get()


def _cell(value: AgeAnswer | ExpectationAnswer | LabelAnswer | None) -> str:
    if value is None:
        return ""
    if isinstance(value, ExpectationAnswer):
        bounds = f" ({value.low:.15g} to {value.high:.15g})" if value.low is not None else ""
        return f"{value.value:.15g}{bounds} {value.unit}"
    if isinstance(value, AgeAnswer):
        years = aged(value.years, value.low, value.high)
        return " ".join([years, *(f"≥{least}: {chance:.0%}" for least, chance in (value.at_least or {}).items())])
    return undecided(value.probabilities) if value.uncertain else f"{value.label} {value.confidence:.0%}"


class _Rate(ProgressColumn):
    """Photos a second, of late."""

    def render(self, task: Task) -> Text:
        """Text of a task."""
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


@contextlib.contextmanager
def progress(console: Console, count: Callable[[], int | None], done: int) -> Iterator[Callable[[], None]]:
    """Show how far a run has come, at what rate, and how long it takes still; on a terminal alone.

    Args:
        console: Where to.
        count: Number of all photos, or None; it is called on a thread, for it may take long.
        done: Photos that an earlier run has done.

    Yields:
        What is called after each photo.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("photos", total=None, completed=done)
        if console.is_terminal:
            threading.Thread(target=lambda: bar.update(task, total=count()), daemon=True).start()
        yield lambda: bar.advance(task)


class Tally:
    """Counts photos, faces and failures of a run, and its time."""

    def __init__(self) -> None:
        self.photos = self.faces = self.failed = 0
        self._began = time.monotonic()

    def add(self, answer: PredictAnswer | None) -> None:
        """Count a photo.

        Args:
            answer: What was answered; None where it failed.
        """
        self.photos += 1
        self.failed += answer is None
        self.faces += 0 if answer is None else len(answer.faces)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        failed = f" ({self.failed:,} failed)" if self.failed else ""
        photos, faces = _counted(self.photos, "photo"), _counted(self.faces, "face")
        return f"{photos}{failed}, {faces}, {self.photos / seconds:.1f} photos a second"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
