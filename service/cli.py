"""The command line: `facet serve`, `facet predict`, `facet models`. An error is one line, and an exit status."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from service import __version__
from service.app import create_app, create_engine
from service.engine import Engine
from service.errors import FacetError
from service.model_store import ModelStore
from service.pipeline import Analysis, Options
from service.settings import Settings

app = typer.Typer(
    help="Facet: the age, gender and race of every face in a photo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the `facet` command."""
    app()


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn what can go wrong into one line on standard error and the exit status 1."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        _fail(f"setting FACET_{name}: {first['msg']}" if name else str(first["msg"]))
    except (FacetError, OSError) as error:
        _fail(str(error))


def _fail(message: str) -> None:
    errors.print(f"facet: {message}", markup=False)
    raise typer.Exit(1)


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM first turns readiness off, waits `drain_delay` seconds, and the process then exits with 0.

    uvicorn's own handler stops listening at once, while load balancers still send, and re-raises the signal at the end.
    """

    def __init__(self, config: uvicorn.Config, drain_delay: float) -> None:
        super().__init__(config)
        self._drain_delay = drain_delay
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Own SIGTERM and SIGINT while the server runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    def _terminate(self) -> None:
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    def _interrupt(self) -> None:
        self.force_exit = self.should_exit  # a second Ctrl+C does not wait
        self.should_exit = True

    async def _drain(self) -> None:
        engine: Engine | None = getattr(getattr(self.config.app, "state", None), "engine", None)
        if engine is not None:
            engine.drain()
        logging.getLogger("facet").info("draining for %g s", self._drain_delay)
        await asyncio.sleep(self._drain_delay)
        self.should_exit = True


@contextlib.contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """End with 0 on SIGTERM, until the server owns it: models load for a while, and the first process of a container, for
    which the kernel knows no default, would not even notice."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _few_arenas() -> None:
    """Let all threads share two of glibc's arenas: with one a thread, what one frees no other can use.

    Over photos of 50 sizes, four at a time, the process came to 664 MB instead of 686. Other C libraries have no such call.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX in malloc.h


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve over HTTP; every setting comes from the environment (FACET_…, see the README)."""
    with _one_line():
        given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
        settings = Settings.model_validate({**Settings().model_dump(), **given})
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        _few_arenas()
        with _leaving_on_sigterm():
            built = create_engine(settings)  # before the server, so that a refused model is one line and no traceback
        config = uvicorn.Config(
            create_app(settings, lambda _: built),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout_s)),
        )
        Server(config, settings.drain_delay_s).run()
        if built.batcher.hung:
            errors.print("facet: a network hangs; leaving without it")
            os._exit(1)  # the interpreter would wait for its thread


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos to look at.", metavar="PHOTO...", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line instead of a table.")] = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the photo with boxes and labels: a file, or a folder for several.")
    ] = None,
    min_confidence: Annotated[float | None, typer.Option(min=0.5, max=1.0, help="Least confidence of a face.")] = None,
) -> None:
    """Say who is on photos, without a server."""
    with _one_line():
        engine = create_engine(Settings())
        least = engine.min_confidence if min_confidence is None else min_confidence
        options = Options(engine.attributes, engine.max_faces, least)
        failed = asyncio.run(_predict_all(engine, options, photos, json, draw))
    if failed:
        raise typer.Exit(1)


async def _predict_all(engine: Engine, options: Options, photos: list[Path], json: bool, draw: Path | None) -> bool:
    """Answer every photo; True where one of them failed."""
    failed = False
    try:
        for path in photos:
            try:
                data = await asyncio.to_thread(path.read_bytes)
                analysis = await engine.analyse(data, options)
                _show(engine, path, analysis, json)
                if draw is not None:
                    await asyncio.to_thread(_draw, data, analysis, _target(draw, path, len(photos) > 1))
            except (FacetError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                errors.print(f"facet: {path}: {reason}", markup=False)
                failed = True
    finally:
        await engine.close()
    return failed


def _show(engine: Engine, path: Path, analysis: Analysis, json: bool) -> None:
    from service.schemas import answer

    if json:
        document = answer(analysis, path.name, engine.model_name, landmarks=True, distribution=False)
        sys.stdout.write(document.model_dump_json(exclude_none=True) + "\n")
        return
    count = len(analysis.people)
    table = Table(title=f"{path}: {count} face{'' if count == 1 else 's'}", title_justify="left")
    for column in ("box", "confidence", "age", "gender", "race", "warnings"):
        table.add_column(column, overflow="fold")
    for person in analysis.people:
        attributes = person.attributes
        age = attributes.age
        x0, y0, x1, y1 = (round(float(value)) for value in person.face.box)
        table.add_row(
            f"{x1 - x0}x{y1 - y0} at {x0},{y0}",
            f"{person.face.confidence:.1%}",
            "" if age is None else f"{age.years:.0f}" + (f" ({age.low}-{age.high})" if age.low is not None else ""),
            *(
                "" if label is None else f"{label.label}{'?' if label.uncertain else ''} {label.confidence:.0%}"
                for label in (attributes.gender, attributes.race)
            ),
            ", ".join(person.warnings),
        )
    Console(highlight=False).print(table)


def _target(draw: Path, photo: Path, several: bool) -> Path:
    if several or draw.is_dir():
        draw.mkdir(parents=True, exist_ok=True)
        return draw / f"{photo.stem}.faces.jpg"
    return draw


def _draw(data: bytes, analysis: Analysis, out: Path) -> None:
    from PIL import Image

    from service.drawing import draw
    from service.image import decode

    pixels = decode(data, max_pixels=analysis.width * analysis.height, side=max(analysis.width, analysis.height)).pixels
    try:
        draw(Image.fromarray(pixels), analysis).save(out)
    except ValueError as error:
        raise OSError(f"{out}: the picture's name must end in .jpg, .png or .webp") from error


@app.command()
def models() -> None:
    """List the models in the store."""
    with _one_line():
        settings = Settings()
        console = Console(highlight=False)
        for manifest in ModelStore(settings.model_store).manifests():
            says = f": {', '.join(manifest.outputs)}" if manifest.outputs else ""
            console.print(f"{manifest.name}/{manifest.version}  {manifest.kind}{says}", style="bold", markup=False)
            console.print(f"  trained on {', '.join(manifest.trained_on)}; {manifest.licence}", markup=False)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"facet {__version__}\n")


if __name__ == "__main__":
    main()
