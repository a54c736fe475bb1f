"""The OpenAPI document: what FastAPI makes of the routes, completed by problems, streams and the attributes of the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import HTMLResponse

from service.api.schemas import Problem, StreamFrame, StreamProblem, StreamReady, StreamStart
from service.inference.engine import askable
from service.models.manifest import AGE, CANONICAL, Attribute, Manifest

ADDED: Final = (Problem, StreamStart, StreamReady, StreamFrame, StreamProblem)
"""Documents that no route of FastAPI names: responses point to the problem's schema, and OpenAPI knows no streams."""
FACES: Final = ("FaceAnswer", "TrackedFace")
"""Schemas of a face, of a photo and of a stream."""


SCHEMES: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "BearerKey": {"type": "http", "scheme": "bearer"},
}
"""Ways to send a key, where the operator has set some."""
KEYED: Final = ("/predict", "/predict/batch", "/model")
"""Paths that ask for a key, where the operator has set some."""
OPERATED: Final = ("/model/reload",)
"""Paths that ask for an operator's key, and are not there where none is set."""

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="static-offline-docs/swagger-ui.css">
<link rel="icon" href="static-offline-docs/favicon.png">
<title>Facet - Swagger UI</title>
</head>
<body>
<div id="swagger-ui"></div>
<script src="static-offline-docs/swagger-ui-bundle.js"></script>
<script>
const address = new URL("openapi.json", location);
fetch(address).then((answer) => answer.json()).then((spec) => SwaggerUIBundle({
  spec: { ...spec, servers: [{ url: new URL(".", address).href }] },
  dom_id: "#swagger-ui", layout: "BaseLayout", deepLinking: true, showExtensions: true, showCommonExtensions: true,
}));
</script>
</body>
</html>
"""
"""Swagger UI at `/docs`. It names everything from its own place, and requests go there, so a proxy may serve it anywhere."""


async def page() -> HTMLResponse:
    """The document for people.

    Returns:
        A page that reads the document, with the files of `fastapi_offline`.
    """
    return HTMLResponse(PAGE)


def complete(
    generated: dict[str, Any], manifest: Manifest | None, allowed: Sequence[str] = (), *, keyed: bool = False
) -> dict[str, Any]:
    """The document of the service.

    Args:
        generated: What FastAPI makes of the routes; it is left as it is.
        manifest: That of the model that is served, whose attributes are properties of a face; None before one is loaded.
        allowed: Names of the attributes that the operator allows.
        keyed: Whether a key is asked for; else one may be sent, and is not looked at.

    Returns:
        The document, without FastAPI's own error.
    """
    document = copy.deepcopy(generated)
    document.setdefault("components", {})["securitySchemes"] = SCHEMES
    for path in (*KEYED, *OPERATED):
        for operation in document["paths"].get(path, {}).values():
            operation["security"] = [{name: []} for name in SCHEMES] + ([] if keyed or path in OPERATED else [{}])
    for parameter in _parameters(document):
        _without_null(parameter["schema"])
    schemas = document["components"].setdefault("schemas", {})
    for message in ADDED:
        schema = message.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {message.__name__: schema}
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    if manifest is not None:
        for name in FACES:
            schemas[name]["properties"] |= _properties(manifest.attributes, schemas[name]["properties"])
        choice = ", ".join(name for name in askable(manifest) if name in allowed)
        for parameter in _parameters(document, "attributes"):
            words = f"Comma-separated: {choice}. What is not named is left out."
            parameter["description"] = parameter["schema"]["description"] = words
        answered = [one.name for one in manifest.attributes if one.name in allowed]
        if answered:
            document["paths"]["/predict"]["post"]["summary"] = f"{_row(answered).capitalize()} of every face in a photo"
    return document


def _row(names: Sequence[str]) -> str:
    """Names in a row: `age, gender and race`."""
    *first, last = (name.replace("_", " ") for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _properties(attributes: Sequence[Attribute], known: dict[str, Any]) -> dict[str, Any]:
    """Properties of a face for what a model says beside the contract, or with other labels."""
    found: dict[str, dict[str, Any]] = {}
    for attribute in attributes:
        if attribute.name in known and attribute.labels == CANONICAL.get(attribute.name, ()):
            continue
        answer = "LabelAnswer" if attribute.kind == "labels" else "AgeAnswer" if attribute.name == AGE else "ExpectationAnswer"
        found[attribute.name] = {"anyOf": [{"$ref": f"#/components/schemas/{answer}"}, {"type": "null"}]}
        if attribute.labels:
            found[attribute.name]["description"] = f"Labels: {', '.join(attribute.labels)}."
        elif attribute.range is not None:
            low, high = attribute.range
            found[attribute.name]["description"] = f"From {low:.15g} to {high:.15g} {attribute.unit}".rstrip() + "."
    return found


def _without_null(schema: dict[str, Any]) -> None:
    """Leave null out of a query parameter's schema: an address has none, and some generated clients would send the word."""
    for kind in schema.pop("anyOf", ()):
        if kind != {"type": "null"}:
            schema |= kind


def _parameters(document: dict[str, Any], name: str | None = None) -> list[dict[str, Any]]:
    """The query parameters of a name, or all, of every route."""
    routes = [route for path in document["paths"].values() for route in path.values()]
    return [one for route in routes for one in route.get("parameters", []) if name in (None, one["name"])]
