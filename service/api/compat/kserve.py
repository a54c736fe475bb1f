"""The Open Inference Protocol, version 2, over HTTP, as clients of KServe and Triton call it, at `/v2`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from service import __version__
from service.api.compat.tensors import HEADER, INPUT, Cell, Datatype, Inference, Tensor, encoded, inference
from service.api.compat.translation import System
from service.api.keys import client_of
from service.api.problems import MEDIA_TYPE, request_id
from service.api.routes import EngineDependency, answered, answered_each, engine_of
from service.api.schemas import BatchItem, FaceAnswer, PredictAnswer, Problem
from service.api.uploads import parsed
from service.errors import EmptyFile, InvalidParameter, MalformedTensor, UnknownModel
from service.inference.at_least import parse_ages
from service.inference.engine import Engine
from service.models.manifest import AGE, Attribute

MODEL: Final = "/v2/models/{model_name}"
VERSION: Final = MODEL + "/versions/{model_version}"
EXTENSIONS: Final = ("binary_tensor_data",)
NOT_STORED: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Output:
    """An output of every model, or of one that says an attribute.

    `columns` is how many values a row has; None where it is one value and no dimension. A row is a photo's, by `of_photo`, or a
    face's, by `of_face`, which gets the index of its photo.
    """

    name: str
    datatype: Datatype
    columns: int | None = None
    of_photo: Callable[[BatchItem], list[Cell]] | None = None
    of_face: Callable[[int, FaceAnswer], list[Cell]] | None = None

    def tensor(self, items: Sequence[BatchItem]) -> Tensor:
        """Make the tensor of some photos.

        Args:
            items: A result or a problem for each.

        Returns:
            A row for each photo, or for each face of those that have a result.
        """
        rows: list[list[Cell]] = []
        if self.of_photo is not None:
            rows = [self.of_photo(item) for item in items]
        if self.of_face is not None:
            rows += [self.of_face(item.index, face) for item in items if item.result is not None for face in item.result.faces]
        shape = (len(rows),) if self.columns is None else (len(rows), self.columns)
        return Tensor(self.name, self.datatype, shape, [cell for row in rows for cell in row])

    def described(self) -> dict[str, object]:
        """Describe the output, as a model's metadata do.

        Returns:
            Name, type and shape; -1 is as many as there are.
        """
        return {"name": self.name, "datatype": self.datatype, "shape": [-1, *([] if self.columns is None else [self.columns])]}


def _document(item: BatchItem) -> list[Cell]:
    document: PredictAnswer | Problem | None = item.problem if item.result is None else item.result
    return ["" if document is None else document.model_dump_json(exclude_none=True)]


FIXED: Final = (
    Output("answer", "BYTES", of_photo=_document),
    Output("status", "INT32", of_photo=lambda item: [item.status]),
    Output("face_photo", "INT32", of_face=lambda index, _: [index]),
    Output("face_box", "INT32", 4, of_face=lambda _, face: [face.box.x, face.box.y, face.box.width, face.box.height]),
    Output("face_confidence", "FP32", of_face=lambda _, face: [face.confidence]),
)
"""Outputs of every model: of each photo the document that `POST /predict` answers and its status; of each face where it is."""


def outputs_of(engine: Engine, wanted: Sequence[str]) -> list[Output]:
    """Outputs of a model.

    Args:
        engine: What answers.
        wanted: Attributes that are answered.

    Returns:
        Those of every model, and one or two for each attribute.
    """
    found = list(FIXED)
    for attribute in engine.model.manifest.attributes:
        if attribute.name in wanted:
            found += _labels(attribute) if attribute.kind == "labels" else _expectation(attribute)
    return found


def _labels(attribute: Attribute) -> list[Output]:
    """The label, and every label's probability in the order of the manifest."""
    name, labels = attribute.name, attribute.labels

    def probabilities(_: int, face: FaceAnswer) -> list[Cell]:
        known = getattr(face, name).probabilities
        return [known[label] for label in labels]

    return [
        Output(name, "BYTES", of_face=lambda _, face: [getattr(face, name).label]),
        Output(f"{name}_probabilities", "FP32", len(labels), of_face=probabilities),
    ]


def _expectation(attribute: Attribute) -> list[Output]:
    """The value, and its interval where the model has one."""
    name, interval = attribute.name, attribute.calibration.interval
    member = "years" if name == AGE else "value"
    found = [Output(name, "FP32", of_face=lambda _, face: [getattr(getattr(face, name), member)])]
    if interval is not None and (interval.unit != "deviation" or len(attribute.outputs) > 1):

        def ends(_: int, face: FaceAnswer) -> list[Cell]:
            return [getattr(face, name).low, getattr(face, name).high]

        found.append(Output(f"{name}_interval", "FP32", 2, of_face=ends))
    return found


async def named_engine(request: Request) -> AsyncIterator[Engine]:
    """The engine of the model that the path names; the name of the default one alone may find the canary.

    Args:
        request: Of a route below `MODEL`.

    Yields:
        The engine.

    Raises:
        UnknownModel: No such model is in service.
    """
    default = engine_of(request)
    name, version = request.path_params["model_name"], request.path_params.get("model_version")
    title = name if version is None else f"{name}/{version}"
    try:
        engine = default.chosen(None if title == default.model.manifest.name else title, request_id(request))
    except InvalidParameter as error:
        raise UnknownModel(str(error)) from error
    with engine.in_use():
        yield engine


NamedEngine = Annotated[Engine, Depends(named_engine)]

router = APIRouter(include_in_schema=False)


@router.get("/v2")
async def server() -> JSONResponse:
    """Name and version of the service."""
    return JSONResponse({"name": "facet", "version": __version__, "extensions": EXTENSIONS})


@router.get("/v2/health/live")
async def live(engine: EngineDependency) -> JSONResponse:
    """As `GET /health/live`."""
    return _state({}, "live", engine.hang())


@router.get("/v2/health/ready")
async def ready(engine: EngineDependency) -> JSONResponse:
    """As `GET /health/ready`."""
    return _state({}, "ready", engine.trouble())


@router.get(MODEL + "/ready")
@router.get(VERSION + "/ready")
async def model_ready(engine: NamedEngine) -> JSONResponse:
    """Whether a model accepts photos."""
    return _state({"name": engine.model.manifest.name}, "ready", engine.trouble())


def _state(document: dict[str, str], name: str, trouble: str | None) -> JSONResponse:
    return JSONResponse(document | {name: trouble is None}, 200 if trouble is None else 503, NOT_STORED)


@router.get(MODEL)
@router.get(VERSION)
async def metadata(request: Request, engine: NamedEngine) -> JSONResponse:
    """Versions, input and outputs of a model."""
    manifest = engine.model.manifest
    every = [one.model.manifest for one in engine_of(request).every()]
    document = {
        "name": manifest.name,
        "versions": sorted({str(one.version) for one in every if one.name == manifest.name}, key=int),
        "platform": engine.runtime,
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [output.described() for output in outputs_of(engine, engine.attributes)],
    }
    return JSONResponse(document)


@router.post(MODEL + "/infer")
@router.post(VERSION + "/infer")
async def infer(request: Request, engine: NamedEngine) -> Response:
    """Answer the photos of the tensor `image`: one as `POST /predict` does, several as `POST /predict/batch` does."""
    identity, headers = request_id(request), request.headers
    body = await request.body()
    due, batch_due = engine.due(), engine.batch_due()
    content = headers.get("content-type", ""), headers.get("content-encoding", "")
    received = await parsed(inference, body, *content, headers.get(HEADER), engine.max_batch_files)
    given = received.parameters
    names = None if given.attributes is None else [name.strip() for name in given.attributes.split(",") if name.strip()]
    options = engine.options(
        names,
        given.max_faces,
        given.min_confidence,
        client=client_of(request.scope),
        at_least=parse_ages(given.at_least),
        preview=given.preview,
    )
    outputs = _chosen(received, outputs_of(engine, options.attributes))

    async def one(photo: bytes, due: float) -> PredictAnswer:
        if not photo:
            raise EmptyFile("The file is empty.")
        shown = {"landmarks": given.landmarks, "distribution": given.distribution}
        return await answered(engine, photo, options, due, identity, **shown)

    if len(received.photos) == 1:
        items = [BatchItem(index=0, status=200, result=await one(received.photos[0], due))]
    else:
        items = await answered_each(engine, received.photos, one, batch_due, identity)
    manifest = engine.model.manifest
    head = {"model_name": manifest.name, "model_version": str(manifest.version), "id": received.identity or identity}
    document, length = encoded(head, [(output.tensor(items), binary) for output, binary in outputs])
    if length is None:
        return Response(document, media_type="application/json")
    return Response(document, headers={HEADER: str(length)}, media_type="application/octet-stream")


def _chosen(received: Inference, outputs: Sequence[Output]) -> list[tuple[Output, bool]]:
    """The outputs that a request wants, and whether as binary data. Raises `MalformedTensor` for one that there is not."""
    if received.outputs is None:
        return [(output, received.parameters.binary_data_output) for output in outputs]
    known = {output.name: output for output in outputs}
    if unknown := next((name for name in received.outputs if name not in known), None):
        raise MalformedTensor(f"outputs: there is no {unknown[:50]}; choose from {', '.join(known)}.")
    return [(known[name], binary) for name, binary in received.outputs.items()]


def failure(problem: Problem) -> Response:
    """Add to a problem what the protocol calls it.

    Args:
        problem: Any problem.

    Returns:
        The problem, with its detail as `error` too.
    """
    return JSONResponse({"error": problem.detail} | problem.model_dump(), problem.status, media_type=MEDIA_TYPE)


SYSTEM: Final = System(
    "kserve",
    "/v2",
    router,
    failure,
    probes=frozenset({"/v2", "/v2/health/live", "/v2/health/ready", MODEL + "/ready", VERSION + "/ready"}),
    batches=frozenset({MODEL + "/infer", VERSION + "/infer"}),
    headers=(HEADER,),
    exposed=(HEADER,),
)
