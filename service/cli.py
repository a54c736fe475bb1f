"""The command line: `facet serve | predict | annotate | models`. An error is one line, and an exit status."""

from __future__ import annotations

import os
import signal
import sys

if sys.argv[1:2] == ["serve"]:  # as `exit_on_sigterm` says; what is imported below takes a second
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from service import __version__
from service.app import create_app, create_engine
from service.errors import FacetError, ModelNotFound
from service.inference.at_least import parse_ages
from service.inference.attributes import Expectation, LabelProbabilities
from service.inference.engine import Engine
from service.inference.pipeline import Analysis, Options
from service.models.store import ModelStore
from service.server.protocol import ConnectionLimits
from service.server.uvicorn import configure_logging, exit_on_sigterm, limit_arenas, own_certificate, run
from service.settings import Settings, check_names
from service.video.annotate import TrackRow, write_table
from service.video.annotate import annotate as annotate_film

app = typer.Typer(
    help="Facet: the age, gender and race of every face in a photo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
CLOSED_PIPE: Final = 141
"""Exit status of a command whose reader has left: what shells say of one that SIGPIPE ended."""
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the `facet` command."""
    app()


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn what can go wrong into one line on standard error and the exit status 1."""
    try:
        check_names(os.environ)
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        _fail(f"setting FACET_{name}: {first['msg']}" if name else str(first["msg"]))
    except ModelNotFound as error:
        _fail(f"{error} {_advice(ModelStore(Settings().model_store))}")
    except (FacetError, OSError) as error:
        _fail(str(error))


def _advice(store: ModelStore) -> str:
    """What to do about a model that the store lacks."""
    elsewhere = "set FACET_MODEL_STORE to a folder of models, such as model_store/ of Facet's repository."
    names = [f"{one.name}/{one.version}" for one in store.manifests()]
    if not names:
        return f"There are no models in {store.root}: {elsewhere}"
    return f"{store.root} holds {', '.join(names)}. Choose with FACET_MODEL and FACET_MODEL_VERSION, or {elsewhere}"


def _print_error(message: str) -> None:
    """Print a line for people, or log it where every line is to be a document."""
    if os.environ.get("FACET_LOG_FORMAT") == "json" and sys.argv[1:2] == ["serve"]:
        configure_logging("error", "json")
        logging.getLogger("facet").critical(message)
    else:
        errors.print(f"facet: {message}", markup=False)


def _fail(message: str) -> None:
    _print_error(" ".join(message.split()))
    raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    https: Annotated[
        bool | None, typer.Option("--tls", help="Speak HTTPS, which phones ask for before they lend a camera.")
    ] = None,
) -> None:
    """Serve over HTTP; every setting comes from the environment (FACET_…, see docs/reference/settings.md)."""
    with _one_line(), exit_on_sigterm():
        options = (("host", host), ("port", port), ("tls", https))
        given = {name: value for name, value in options if value is not None}
        settings = Settings.model_validate({**Settings().model_dump(), **given})
        configure_logging(settings.log_level, settings.log_format)
        limit_arenas()
        built = create_engine(settings)  # before the server, so that a refused model is one line and no traceback
        run(
            create_app(settings, lambda _: built),
            host=settings.host,
            port=settings.port,
            certificate=_certificate(settings),
            # A frame somewhat too large is answered with a problem, one far too large with the close code alone.
            max_message_bytes=2 * 1024 * settings.stream_max_frame_kib,
            keep_alive=settings.keep_alive_s,
            drain_delay=settings.drain_delay_s,
            shutdown_timeout=settings.shutdown_timeout_s,
            limits=ConnectionLimits(
                settings.max_head_kib * 1024, settings.head_timeout_s, settings.max_connections, settings.trusted_proxies
            ),
        )
        if built.batcher.hung or built.workers.hung:
            _print_error(f"{'a network' if built.batcher.hung else 'a photo'} hangs; leaving without it")
            os._exit(1)  # the interpreter would wait for its thread


def _certificate(settings: Settings) -> tuple[Path, Path] | None:
    """Files of the certificate and its key, where HTTPS is to be spoken."""
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return settings.tls_certificate, settings.tls_key
    return own_certificate(settings.port) if settings.tls else None


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos to look at.", metavar="PHOTO...", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line instead of a table.")] = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write the photo with boxes and labels: a file, or a folder for several.")
    ] = None,
    min_confidence: Annotated[float | None, typer.Option(min=0.5, max=1.0, help="Least confidence of a face.")] = None,
    at_least: Annotated[
        str | None, typer.Option(metavar="AGES", help="Ages, such as 18,21: say how probable it is to be at least so old.")
    ] = None,
) -> None:
    """Estimate age, gender and race on photos, without a server."""
    with _one_line():
        ages = parse_ages(at_least)
        pictures = [None] * len(photos) if draw is None else _targets(draw, photos)
        engine = create_engine(Settings())
        options = engine.options(None, None, min_confidence, at_least=ages)
        failed = asyncio.run(_predict_all(engine, options, list(zip(photos, pictures, strict=True)), json))
    if failed:
        raise typer.Exit(1)


async def _predict_all(engine: Engine, options: Options, photos: Sequence[tuple[Path, Path | None]], json: bool) -> bool:
    """Answer every photo, and draw the picture beside it; True where one of them failed."""
    failed = False
    try:
        for path, picture in photos:
            try:
                data = await asyncio.to_thread(path.read_bytes)
                analysis = await engine.analyse(data, options)
                shown = _shown(engine, path, analysis, json)
                if picture is not None:
                    await asyncio.to_thread(_draw, data, analysis, picture)
            except (FacetError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                errors.print(f"facet: {path}: {reason}", markup=False)
                failed = True
            else:
                _print(shown)
    finally:
        await engine.close()
    return failed


def _print(text: str) -> None:
    """Write to standard output; end at once where nobody reads it any more, or where it has no room."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter would flush once more
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(CLOSED_PIPE) from error
        _fail(f"standard output: {error.strerror}")


def _shown(engine: Engine, path: Path, analysis: Analysis, json: bool) -> str:
    from service.api.schemas import ModelName, answer

    if json:
        document = answer(analysis, path.name, ModelName.of(engine.model), landmarks=True, distribution=False)
        return document.model_dump_json(exclude_none=True) + "\n"
    count = len(analysis.faces)
    table = Table(title=f"{path}: {count} face{'' if count == 1 else 's'}", title_justify="left")
    names = [attribute.name for attribute in engine.model.manifest.attributes]
    for column in ("box", "confidence", *names, "warnings"):
        table.add_column(column, overflow="fold")
    for person in analysis.faces:
        x0, y0, x1, y1 = (round(float(value)) for value in person.face.box)
        table.add_row(
            f"{x1 - x0}x{y1 - y0} at {x0},{y0}",
            f"{person.face.confidence:.1%}",
            *(_cell(person.attributes.get(name)) for name in names),
            ", ".join(person.warnings),
        )
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _cell(value: Expectation | LabelProbabilities | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Expectation):
        return " ".join([str(value), *(f"≥{least}: {chance:.0%}" for least, chance in (value.at_least or {}).items())])
    return f"{value.label}{'?' if value.uncertain else ''} {value.confidence:.0%}"


def _targets(draw: Path, photos: Sequence[Path]) -> list[Path]:
    """A picture for each photo: `draw` itself of a single one, else a file in it, below the photos' own folders.

    Photos of one name in different folders, or with different endings, keep pictures of their own.
    """
    if len(photos) == 1 and not draw.is_dir():
        found = [draw]
    else:
        whole = [Path(os.path.abspath(photo)) for photo in photos]  # noqa: PTH100 - a link keeps its own name
        try:
            common = Path(os.path.commonpath([photo.parent for photo in whole]))
        except ValueError:  # of several drives
            common = Path()
        places = [photo.parent.relative_to(common) if photo.is_relative_to(common) else Path() for photo in whole]
        alike = Counter(photo.with_suffix("") for photo in set(whole))
        names = [photo.stem if alike[photo.with_suffix("")] == 1 else photo.name for photo in whole]
        found = [draw / place / f"{name}.faces.jpg" for place, name in zip(places, names, strict=True)]
    originals = {photo.resolve() for photo in photos}
    if lost := next((target for target in found if target.resolve() in originals), None):
        _fail(f"{lost}: the picture would overwrite a photo; choose another name")
    return found


def _draw(data: bytes, analysis: Analysis, out: Path) -> None:
    from PIL import Image

    from service.video.drawing import draw
    from service.vision.image import decode

    pixels = decode(data, max_pixels=analysis.width * analysis.height, side=max(analysis.width, analysis.height)).pixels
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw(Image.fromarray(pixels), analysis).save(out)
    except ValueError as error:
        raise OSError(f"{out}: the picture's name must end in .jpg, .png or .webp") from error


@app.command()
def annotate(
    film: Annotated[Path, typer.Argument(help="Film to look at.", metavar="VIDEO", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="OUT", help="Film to write: .mp4, .mov or .mkv; the tables lie beside it.")],
    fps: Annotated[
        float | None, typer.Option(min=0.1, help="Look at so many frames a second only; the others show the last faces.")
    ] = None,
    min_confidence: Annotated[float | None, typer.Option(min=0.5, max=1.0, help="Least confidence of a face.")] = None,
) -> None:
    """Mark and follow the faces of a film; write a table of them: OUT.tracks.csv, and Parquet where pyarrow is installed."""
    with _one_line():
        engine = create_engine(Settings())

        async def answer(progress: Progress) -> list[TrackRow]:
            task = progress.add_task(film.name, total=1.0)
            try:
                options = engine.options(None, None, min_confidence)
                return await annotate_film(
                    film, out, engine, options, fps, lambda done: progress.update(task, completed=done), _print_error
                )
            finally:
                await engine.close()

        with Progress(console=errors) as progress:
            rows = asyncio.run(answer(progress))
        tables = write_table(rows, engine.model.manifest.attributes, out.with_suffix(".tracks.csv"))
        written = ", ".join(str(path) for path in (out, *tables))
        faces = f"{len(rows)} face{'' if len(rows) == 1 else 's'}"
        Console(highlight=False, soft_wrap=True).print(f"{faces}; wrote {written}", markup=False)


@app.command()
def models() -> None:
    """List the models in the store."""
    with _one_line():
        settings = Settings()
        console = Console(highlight=False)
        store = ModelStore(settings.model_store)
        found = list(store.manifests())
        if not found:
            _fail(_advice(store))
        for manifest in found:
            says = f": {', '.join(attribute.name for attribute in manifest.attributes)}" if manifest.attributes else ""
            console.print(f"{manifest.name}/{manifest.version}  {manifest.kind}{says}", style="bold", markup=False)
            console.print(f"  trained on {', '.join(manifest.trained_on)}; {manifest.licence}", markup=False)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"facet {__version__}\n")


if __name__ == "__main__":
    main()
