"""The command line: `facet serve | predict | annotate | models`. An error is one line, and an exit status."""

from __future__ import annotations

import atexit
import os
import signal
import sys

if os.name == "posix":  # a parent may have closed these: a socket would take their place, and get what libraries print
    while (_lowest := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(_lowest, True)
    os.close(_lowest)

if sys.argv[1:2] == ["serve"]:  # as `exit_on_sigterm` says; what is imported below takes a second
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if hasattr(signal, "SIGHUP"):  # Windows has none
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # no model was read that could be reloaded
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)  # the exit takes half a second, in which it may come
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        # Until the server has its own: an exception in the midst of an import leaves a lock behind, for which the thread that
        # loads the models waits, and the end for the thread.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))

if sys.argv[1:2] in (["predict"], ["annotate"]) and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while this is imported ends it without a traceback

import asyncio
import contextlib
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.progress import Progress

from service import __version__
from service.errors import FacetError, InvalidParameter, ModelError, ModelNotFound, in_own_words
from service.files import folder_made, require_name
from service.inference.at_least import parse_ages
from service.inference.engine import Engine
from service.inference.memory import tune_allocator
from service.loading import create_engine
from service.models.evaluation import Figures
from service.models.manifest import Attribute, Manifest
from service.models.remote import open_store
from service.models.runtime import prepare
from service.models.store import ModelStore
from service.models.title import ModelTitle
from service.offline import command
from service.offline.addresses import Upload, filled_in
from service.offline.errors import Interrupted, RunError
from service.offline.growing import GrowingTable
from service.offline.parameters import Parameters
from service.offline.pictures import Pictures
from service.offline.predictors import LocalPredictor, Predictor, ServedModel, ServicePredictor
from service.offline.ray_data import RayRunner
from service.offline.run import PredictorRunner, Runner, jobs_of, still_waiting
from service.offline.terminal import ReaderGone, console, escape_what_is_lacking, plain, write
from service.server import tls
from service.server.connections import ConnectionLimits
from service.server.process import configure_logging, exit_on_sigterm, hang_ups_remembered
from service.settings import Settings, check_names
from service.video.annotate import FrameRow, FrameTable, TrackRow, tables_of, write_table
from service.video.annotate import annotate as annotate_film
from service.video.film import FilmError, refuse_photo

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from service.reloading import Reloader

app = typer.Typer(
    help="Estimate age, gender and race from the faces in photos, with honest uncertainty.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
CLOSED_PIPE: Final = 141
"""Exit status of a command whose reader has left: what shells say of one that SIGPIPE ended."""
INTERRUPTED: Final = 130
"""Exit status of a command that Ctrl-C ended."""
TERMINATED: Final = 143
"""Exit status of one that SIGTERM ended."""
SERVICE_JOBS: Final = 8
"""Photos that a service is sent at a time, where nothing else is said: enough for one of a few CPUs."""
errors = plain(stderr=True, soft_wrap=True)


class EngineName(StrEnum):
    """Where the models of `facet predict` run."""

    LOCAL = "local"
    RAY = "ray"


def _create_app(settings: Settings, create: Callable[[Settings], Engine]) -> Starlette:
    """The app; what serves it is imported with it, while the models load."""
    import service.server.uvicorn  # noqa: F401 - now, rather than when the models are there
    from service.app import create_app

    return create_app(settings, create)


def _run(served: Starlette, **options: Any) -> None:
    """Serve an app by uvicorn."""
    from service.server.uvicorn import run

    run(served, **options)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the commands are put together from: the engine of the settings, its app, and the server that runs it."""

    create_engine: Callable[[Settings], Engine] = create_engine
    create_app: Callable[[Settings, Callable[[Settings], Engine]], Starlette] = _create_app
    run: Callable[..., None] = _run


def main(parts: Parts | None = None) -> None:
    """Entry point of the `facet` command.

    Args:
        parts: Other parts than those of the service, such as an engine without a model.

    Raises:
        SystemExit: The command has ended; with its exit status.
    """
    escape_what_is_lacking()
    status: Any = 0
    try:
        app(obj=parts)
    except SystemExit as error:
        status = error.code
    except OSError as error:  # of what prints help; commands tell of their own
        _print_error(_reason(error))
        status = 1
    status = _flushed(status)
    if isinstance(status, int) and (status in (CLOSED_PIPE, INTERRUPTED, TERMINATED) or still_waiting()):
        os._exit(status)  # a thread may be reading what never comes, and is not waited for
    raise SystemExit(status)


def _flushed(status: Any) -> Any:
    """Write what standard output still holds, of which the interpreter would fail with a traceback; returns the exit status."""
    try:
        if sys.stdout is not None:
            write("")
    except ReaderGone:
        return status or CLOSED_PIPE
    except RunError as error:
        if not status:
            _print_error(str(error))
        return status or 1
    return status


def _reason(error: OSError) -> str:
    """What the system says, and of which file."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facet {__version__}")
        raise typer.Exit


@app.callback()
def _facet(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Take the options that stand before a command."""


def _store(settings: Settings) -> ModelStore:
    """The model store of the settings; one behind an address with the cache that serves while that cannot be read."""
    return open_store(settings.model_store, settings.model_cache)


def _model_names(incomplete: str) -> list[str]:
    """What a shell completes `--model` with."""
    return _names("attributes", incomplete)


def _detector_names(incomplete: str) -> list[str]:
    """What a shell completes `--detector` with."""
    return _names("detector", incomplete)


def _names(kind: str, incomplete: str) -> list[str]:
    """Models of a kind, by name and with their version."""
    with contextlib.suppress(ValidationError, FacetError, OSError):
        found = [one for one in _store(Settings()).manifests() if one.kind == kind]
        names = dict.fromkeys([*(one.name for one in found), *(one.title for one in found)])
        return [name for name in names if name.startswith(incomplete)]
    return []


DetectorOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[/VERSION]", help="Detector that finds the faces, such as centerface.", autocompletion=_detector_names
    ),
]
"""The option of every command that loads a detector; without it `FACET_DETECTOR` chooses."""


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn what can go wrong into one line on standard error and the exit status 1."""
    try:
        check_names(os.environ)
        yield
    except ValidationError as error:
        if error.title != Settings.__name__:  # a document of our own: no setting is to blame
            raise
        first = error.errors()[0]
        message = in_own_words(first["msg"])
        name, *within = first["loc"] or ("",)
        places = "".join(f"no. {part + 1}: " for part in within if isinstance(part, int))  # of a list
        _fail(f"setting FACET_{str(name).upper()}: {places}{message}" if name else message)
    except ModelNotFound as error:
        _fail(f"{error} {_advice(Settings())}")
    except ReaderGone as error:
        raise typer.Exit(CLOSED_PIPE) from error
    except Interrupted as error:
        _print_error(str(error))
        raise typer.Exit(INTERRUPTED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(INTERRUPTED) from error
    except OSError as error:
        _fail(_reason(error))
    except (FacetError, RunError) as error:
        _fail(str(error))


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """End a run on SIGTERM, by which containers and jobs are ended, as on Ctrl-C: what is done is written."""
    terminated = False

    def end(*_: object) -> None:
        nonlocal terminated
        terminated = True
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in what a script runs in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)  # which asyncio, too, knows how to end for

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as it is while this module is imported
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except typer.Exit as error:
        if terminated and error.exit_code == INTERRUPTED:
            raise typer.Exit(TERMINATED) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _advice(settings: Settings) -> str:
    """What to do about a model that the store lacks."""
    place = settings.model_store
    elsewhere = "set FACET_MODEL_STORE to a folder of models, such as model_store/ of Facet's repository."
    try:
        names = [one.title for one in _store(settings).manifests()]
    except (FacetError, OSError):
        return f"{place} cannot be listed: {elsewhere}"
    if not names:
        return f"There are no models in {place}: {elsewhere}"
    given = ["FACET_MODELS" if settings.models else "FACET_MODEL", "FACET_DETECTOR"]
    given += [f"FACET_{name.upper()}" for name in ("stream_detector", "canary") if getattr(settings, name) is not None]
    return f"{place} holds {', '.join(names)}. Choose with {', '.join(given[:-1])} or {given[-1]}, or {elsewhere}"


def _print_error(message: str) -> None:
    """Print a line for people, or log it where every line is to be a document."""
    if os.environ.get("FACET_LOG_FORMAT") == "json" and sys.argv[1:2] == ["serve"]:
        configure_logging("error", "json")
        logging.getLogger("facet").critical(message)
    else:
        errors.print(f"facet: {message}")


def _fail(message: str) -> None:
    _print_error(" ".join(message.split()))
    raise typer.Exit(1)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    https: Annotated[
        bool | None, typer.Option("--tls", help="Serve over HTTPS, which browsers require for camera access.")
    ] = None,
    detector: DetectorOption = None,
) -> None:
    """Serve over HTTP. Settings come from the environment (FACET_…, see docs/reference/settings.md)."""
    parts = context.ensure_object(Parts)
    with _one_line(), hang_ups_remembered(), exit_on_sigterm():
        options = (("host", host), ("port", port), ("tls", https), ("detector", detector))
        given = {name: value for name, value in options if value is not None}
        settings = _settings_with(given)
        configure_logging(settings.log_level, settings.log_format)
        certificate = _given_certificate(settings)
        tune_allocator()
        served = _loaded(parts, settings)
        own = tls.own_certificate() if settings.tls and certificate is None else None
        parts.run(
            served,
            host=settings.host,
            port=settings.port,
            certificate=certificate if own is None else (own.certificate, own.key),
            on_listening=lambda port: None if own is None else tls.announce(own, port),
            # A frame somewhat too large is answered with a problem, one far too large with the close code alone.
            max_message_bytes=2 * 1024 * settings.stream_max_frame_kib,
            keep_alive=settings.keep_alive_s,
            drain_delay=settings.drain_delay_s,
            shutdown_timeout=settings.shutdown_timeout_s,
            limits=ConnectionLimits(
                settings.max_head_kib * 1024, settings.head_timeout_s, settings.max_connections, settings.trusted_proxies
            ),
        )
        engine: Engine = served.state.engine
        network_hangs = any(batcher.hung for batcher in engine.batchers())
        if network_hangs or engine.workers.hung:
            _print_error(f"{'a network' if network_hangs else 'a photo'} hangs; leaving without it")
            os._exit(1)  # the interpreter would wait for its thread
        reloader: Reloader = served.state.reloader
        if reloader.hung:
            os._exit(0)  # as above, and all that was asked for is answered


def _loaded(parts: Parts, settings: Settings) -> Starlette:
    """The app and its engine, made at the same time: compiling networks is most of the one, and importing of the other.

    The engine is there before the server, so that a refused model is one line and no traceback.
    """
    engines: list[Engine] = []
    prepare(settings.runtime)  # alone: where two threads import at a time, both wait, and compiling waits for this one
    with ThreadPoolExecutor(1, "load") as pool:
        loading = pool.submit(parts.create_engine, settings)
        served = parts.create_app(settings, lambda _: engines.pop())
        engines.append(loading.result())
    return served


def _given_certificate(settings: Settings) -> tuple[Path, Path] | None:
    """Files of the certificate that the settings name, and of its key. Raises `FacetError` where they are of no use."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    tls.usable(settings.tls_certificate, settings.tls_key)
    return settings.tls_certificate, settings.tls_key


@app.command()
def predict(  # noqa: PLR0913 - a command takes its options so
    context: typer.Context,
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Photos or videos: files, folders, globs, archives, addresses (s3://, https://), or - for standard input.",
            metavar="SOURCE...",
            show_default=False,
        ),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line instead of a table.")] = False,
    out: Annotated[
        str | None, typer.Option(metavar="TABLE", help="Write a row for each face to a .csv, .jsonl or .parquet file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue TABLE where an earlier run stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace TABLE, or OUT of --draw, if it already exists.")
    ] = False,
    aggregate: Annotated[
        bool,
        typer.Option("--aggregate", help="Write counts by attribute, age band and folder to TABLE instead of rows for faces."),
    ] = False,
    listed: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE", help="Read the list of sources from a file, one per line; - is standard input."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Include subfolders.")] = False,
    every: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Seconds between the frames used of a video, 0 for all; includes videos in folders. Named videos: 1.",
        ),
    ] = None,
    draw: Annotated[
        str | None,
        typer.Option(metavar="OUT", help="Save the photo with boxes and labels: to a file, or to a folder for several."),
    ] = None,
    attributes: Annotated[str | None, typer.Option(metavar="NAMES", help="Estimate only these, such as age,gender.")] = None,
    max_faces: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Maximum number of faces in a photo; the largest are kept.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0.5, max=1.0, help="Minimum detection confidence of a face.")
    ] = None,
    at_least: Annotated[
        str | None, typer.Option(metavar="AGES", help="Ages such as 18,21: add the probability of being at least that old.")
    ] = None,
    landmarks: Annotated[
        bool, typer.Option("--landmarks", help="Include the five landmarks of every face; --json always does.")
    ] = False,
    distribution: Annotated[bool, typer.Option("--distribution", help="Include the probability of every age.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME[/VERSION]", help="Model to use; `facet models` lists them.", autocompletion=_model_names),
    ] = None,
    detector: DetectorOption = None,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Photos processed at the same time; 0 lets Facet choose.")] = 0,
    engine: Annotated[
        EngineName, typer.Option(help="Where the models run: in this process, or on the workers of a Ray cluster.")
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster, such as auto or ray://head:10001; by default one is started here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Ray workers, each with its own model; by default as many as fit.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Ask the service at this address instead of loading a model.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="FACET_CLIENT_KEY", show_envvar=True, help="API key for that service.")
    ] = None,
) -> None:
    """Estimate age, gender and race in any number of photos and videos, without a server; `--out` writes a table of faces."""
    with _terminable(), _one_line(), _table(out, resume=resume, overwrite=overwrite) as table:
        names = None if attributes is None else [name for name in attributes.replace(" ", "").split(",") if name]
        request = command.Request(
            sources=photos or (),
            listed=None if listed is None else filled_in(listed),
            recursive=recursive,
            every=every,
            json=json,
            out=table,
            called=filled_in(out) if out is not None and "://" in out else None,
            resume=resume,
            overwrite=overwrite,
            aggregate=aggregate,
            draw=draw,
            parameters=Parameters(names, max_faces, min_confidence, parse_ages(at_least), landmarks, distribution),
            jobs=jobs,
        )
        request.check()
        pictures = (
            None if draw is None else Pictures(Path(draw), request.sources, listed=listed is not None, overwrite=overwrite)
        )
        if engine is EngineName.RAY:
            if pictures is not None or url is not None:
                raise InvalidParameter("--engine ray uses its own workers and cannot draw: leave out --url and --draw")
            settings = _settings(request, model, detector)
            runner: Runner = _on_ray(context.ensure_object(Parts), request, settings, address, workers)
        elif address is not None or workers is not None:
            raise InvalidParameter("--address and --workers need --engine ray")
        elif url is None:
            runner = _local(context.ensure_object(Parts), request, _settings(request, model, detector), pictures)
        elif detector is not None:
            raise InvalidParameter("--detector is for models that run here; the service at --url has its own")
        else:
            runner = _remote(request, model, pictures, url, key)
        success = command.predict(request, runner, errors)
    if not success:
        raise typer.Exit(1)


@contextlib.contextmanager
def _table(out: str | None, *, resume: bool, overwrite: bool) -> Iterator[Path | None]:
    """The file of a table; one of an address is written here first, and put there when it is whole."""
    if out is None or "://" not in out:
        yield None if out is None else Path(out)
        return
    out = filled_in(out)
    if resume:
        raise InvalidParameter("--resume goes on with a file of this machine: name one by --out, and copy it when it is done")
    upload = Upload(out, overwrite=overwrite)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="facet-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        file = folder / out.rpartition("/")[2]
        try:
            yield file
            upload.put(file)
        except (RunError, KeyboardInterrupt) as error:  # such as of a token that has ended meanwhile: it may have taken hours
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            kind, said = (Interrupted, f"stopped: nothing is written to {out}") if stopped else (type(error), str(error))
            if not any(folder.iterdir()):
                raise kind(said.replace(str(file), out)) from error
            stack.pop_all()
            rest = "" if file.exists() else ", with which --resume goes on"  # it is whole, or in parts
            raise kind(f"{said}; what is done is kept as {file}{rest}") from error
    errors.print(f"{out}: written")


def _local(parts: Parts, request: command.Request, settings: Settings, pictures: Pictures | None) -> Runner:
    """The models in this process, with as many photos at a time as keep it busy."""
    tune_allocator()
    engine = _engine(parts, settings)
    predictor = LocalPredictor(engine, request.parameters_of, None if pictures is None else pictures.write)
    return PredictorRunner(predictor, request.jobs or jobs_of(engine.photos_at_once))


def _engine(parts: Parts, settings: Settings) -> Engine:
    """An engine, made on a thread: what Ctrl-C interrupts here is a wait.

    In the midst of an import it would leave a lock behind that others wait for, or come out as an error of the import. A wait
    without an end is not interrupted where the signal comes just before it, or to another thread.
    """
    pool = ThreadPoolExecutor(1, "load")
    try:
        loading = pool.submit(parts.create_engine, settings)
        while not wait([loading], 0.2).done:
            pass
        return loading.result()
    finally:
        pool.shutdown(wait=False)


def _settings(request: command.Request, model: str | None, detector: str | None) -> Settings:
    """The settings of a run."""
    # The queues are no bounds here: so many photos are under way as `--jobs` says, and none is to be refused.
    changes: dict[str, object] = {"photo_queue": 4096, "photo_wait_s": 1e9, "face_queue": 10**6}
    changes |= _one_model(model)
    if detector is not None:
        changes["detector"] = detector
    if request.parameters.max_faces is not None:
        changes["max_faces"] = request.parameters.max_faces
    return _settings_with(changes)


def _settings_with(changes: Mapping[str, object]) -> Settings:
    """The settings of the environment, but for what a command line gives."""
    return Settings.model_validate({**Settings().model_dump(), **changes})


def _one_model(model: str | None = None) -> dict[str, object]:
    """What makes settings those of the one model that answers a run: `--model`, or the default one of a service."""
    title = Settings().served[0] if model is None else _named(model)
    return {"models": (), "canary": None, "model": title.name, "model_version": title.version}


def _on_ray(parts: Parts, request: command.Request, settings: Settings, address: str | None, workers: int | None) -> Runner:
    """The workers of a Ray cluster, which load the models from the store of these settings, each on its machine."""
    place = settings.model_store
    place = place.resolve() if isinstance(place, Path) else place
    settings = settings.model_copy(update={"model_store": place})
    store = _store(settings)
    manifest, digest = store.find(settings.model, settings.model_version, settings.precision.variant)
    detector, _ = store.find(*ModelTitle.of(settings.detector))
    answerable = [one for one in manifest.attributes if settings.attributes is None or one.name in settings.attributes]
    served = ServedModel(
        manifest.name,
        manifest.version,
        digest,
        manifest.attributes,
        detector.title,
        [one.name for one in answerable],
        settings.min_confidence,
        {name: getattr(settings, name) for name in ("max_faces", "min_face_px", "detection_side_px")},
    )
    create = partial(_worker, parts.create_engine, settings, request.parameters_of(answerable))
    return RayRunner(served, create, address, workers, jobs=request.jobs)


def _worker(create: Callable[[Settings], Engine], settings: Settings, parameters: Parameters, cpus: int) -> Predictor:
    """What answers on a worker of Ray: the machine has other workers, and this one takes no more than its CPUs."""
    tune_allocator()
    bounds = {"threads": settings.threads or cpus, "workers": settings.workers or cpus}
    return LocalPredictor(create(settings.model_copy(update=bounds)), lambda _: parameters)


def _remote(request: command.Request, model: str | None, pictures: Pictures | None, url: str, key: str | None) -> Runner:
    """A service that runs elsewhere, with as many photos at a time as it is sent."""
    if pictures is not None:
        raise InvalidParameter("--draw needs the photos and the model in one place: leave out --url")
    jobs = request.jobs or SERVICE_JOBS
    if model is not None:
        _named(model)  # that it may be a name
    predictor = ServicePredictor(url, key, request.parameters_of, jobs, model)
    return PredictorRunner(predictor, jobs)


def _named(model: str) -> ModelTitle:
    """Name and version of `--model`."""
    try:
        return ModelTitle.of(model)
    except ValueError as error:
        raise InvalidParameter(f"--model: {error}") from error


def _file(name: str) -> Path:
    """A file of this machine. Raises `BadParameter` for an address, of which a path makes a folder such as `s3:`."""
    if "://" in name:
        raise typer.BadParameter(f"{name} is an address: films are read from this machine, and written there.")
    return Path(name)


def _no_photo(context: typer.Context, film: Path) -> Path:
    """Refuse a photo before an option is found missing; the command for photos has other ones."""
    if not context.resilient_parsing:  # as the shell completes a line
        with _one_line():
            refuse_photo(film)
    return film


@app.command()
def annotate(
    context: typer.Context,
    film: Annotated[
        Path,
        typer.Argument(
            parser=_file, help="Video to analyse.", metavar="VIDEO", show_default=False, is_eager=True, callback=_no_photo
        ),
    ],
    out: Annotated[
        Path, typer.Option(parser=_file, metavar="OUT", help="Video to write: .mp4, .mov or .mkv; tables go next to it.")
    ],
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, help="Analyse only this many frames per second; the frames between keep the last faces."),
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0.5, max=1.0, help="Minimum detection confidence of a face.")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(
            parser=_file,
            metavar="TABLE",
            help="Also write a row for each face in each frame to a .csv, .jsonl or .parquet file.",
        ),
    ] = None,
    detector: DetectorOption = None,
) -> None:
    """Draw boxes and estimates on a video, following each face; write a table of the faces beside it, OUT.tracks.csv."""
    with _terminable(), _one_line(), ExitStack() as stack:
        if out.is_dir():
            raise FilmError(out, "this is a folder; name a file")
        tracks = out.with_suffix(".tracks.csv")
        for file in (out, *tables_of(tracks), *([] if frames is None else [frames])):
            require_name(file)
        if frames is not None and frames.resolve() in {tracks.resolve(), tracks.with_suffix(".parquet").resolve()}:
            raise InvalidParameter(f"--frames: {frames} is the table of the faces; name another file")
        given = _one_model() | ({} if detector is None else {"detector": detector, "stream_detector": None})
        engine = _engine(context.ensure_object(Parts), _settings_with(given))
        of_frames = FrameTable(engine.model.manifest.attributes)
        growing = None
        if frames is not None:
            stack.enter_context(folder_made(frames.parent))
            growing = stack.enter_context(GrowingTable(frames, of_frames.columns))

        def record(row: FrameRow) -> None:
            if growing is not None:
                growing.add(of_frames.row(row))

        async def answer(progress: Progress) -> list[TrackRow]:
            task = progress.add_task(escape(film.name), total=1.0)
            try:
                options = engine.options(None, None, min_confidence)
                return await annotate_film(
                    film, out, engine, options, fps, lambda done: progress.update(task, completed=done), _print_error, record
                )
            finally:
                await engine.close()

        with Progress(console=errors) as progress:
            rows = asyncio.run(answer(progress))
        tables = write_table(rows, engine.model.manifest.attributes, tracks)
        stack.close()
        written = ", ".join(str(path) for path in (out, *tables, *([] if frames is None else [frames])))
        faces = f"{len(rows)} face{'' if len(rows) == 1 else 's'}"
        plain(soft_wrap=True).print(f"{faces}; wrote {written}")


@app.command()
def models() -> None:
    """List the models in the store: which are served, how accurate and how large they are."""
    with _one_line():
        settings = Settings()
        shown = console()
        store = _store(settings)
        found = list(store.manifests())
        if not found:
            _fail(_advice(settings))
        titles = [*settings.served, *([] if settings.canary is None else [settings.canary.model])]
        detectors = {settings.detector, settings.stream_detector or settings.detector}
        served = {_served(found, *one) for one in (*titles, *map(ModelTitle.of, detectors))}
        for manifest in found:
            names = f": {', '.join(attribute.name for attribute in manifest.attributes)}" if manifest.attributes else ""
            variant = settings.precision.variant if manifest.kind == "attributes" else None
            mark = f"  (served{f' in {variant}' if variant else ''})" if (manifest.name, manifest.version) in served else ""
            sizes = "".join(f"; {name} {size / 1e6:.1f} MB" for name, size in store.variants(manifest).items())
            shown.print(f"{manifest.title}  {manifest.kind}{names}{mark}", style="bold")
            shown.print(f"  {store.size(manifest) / 1e6:.1f} MB{sizes}{_quality(store, manifest)}")
            shown.print(f"  trained on {', '.join(manifest.trained_on)}; {manifest.licence}")


def _served(found: list[Manifest], name: str, version: int | None) -> tuple[str, int | None]:
    """Name and version of what the settings choose; no version where there is none."""
    return name, version or max((one.version for one in found if one.name == name), default=None)


def _quality(store: ModelStore, manifest: Manifest) -> str:
    """The figures that most people ask for first, where they were measured."""
    try:
        evaluation = store.evaluation(manifest.name, manifest.version)
    except ModelError as error:
        return f"; {error}"
    if evaluation is None:
        return ""
    figures = [figure for one in manifest.attributes if (figure := _figure(one, evaluation.headline)) is not None]
    return f"; {', '.join(figures)} of {evaluation.headline.count:,} pictures of {evaluation.data}" if figures else ""


def _figure(attribute: Attribute, figures: Figures) -> str | None:
    """The mean error of an expectation, in its unit, or the share of right labels; None where it was not measured."""
    if attribute.kind == "labels":
        accuracy = figures.number(f"{attribute.name}_accuracy")
        return None if accuracy is None else f"{attribute.name} right for {accuracy:.1%}"
    error, scale = figures.number(f"{attribute.name}_mae"), attribute.scale
    return (
        None if error is None else " ".join(f"{attribute.name} within {error:.{scale.digits}f} {scale.unit} on average".split())
    )


@app.command()
def version() -> None:
    """Print the version, as `--version` does."""
    _version(wanted=True)


if __name__ == "__main__":
    main()
