"""A typed client of Facet, sync and async."""

from facet_client.card import Attribute, Evaluation, Figures, LabelScores, ModelCard, Part, ServedName, Serving
from facet_client.client import AsyncClient, Client
from facet_client.errors import ConnectionFailed, FacetClientError, ProblemError, StreamClosed, UnavailableError
from facet_client.many import PhotoResult
from facet_client.models import (
    Age,
    Batch,
    BatchItem,
    Box,
    Expectation,
    Face,
    Health,
    ImageSize,
    Label,
    Landmarks,
    ModelName,
    Prediction,
    Problem,
    Quality,
    Reload,
    StreamFrame,
    StreamProblem,
    StreamReady,
    TrackedFace,
)
from facet_client.photo import Photo
from facet_client.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "Age",
    "AsyncClient",
    "Attribute",
    "Batch",
    "BatchItem",
    "Box",
    "Client",
    "ConnectionFailed",
    "Evaluation",
    "Expectation",
    "Face",
    "FacetClientError",
    "Figures",
    "Health",
    "ImageSize",
    "Label",
    "LabelScores",
    "Landmarks",
    "ModelCard",
    "ModelName",
    "Part",
    "Photo",
    "PhotoResult",
    "Prediction",
    "Problem",
    "ProblemError",
    "Quality",
    "Reload",
    "ServedName",
    "Serving",
    "Stream",
    "StreamClosed",
    "StreamFrame",
    "StreamProblem",
    "StreamReady",
    "TrackedFace",
    "UnavailableError",
]
