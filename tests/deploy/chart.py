"""The Helm chart: its schema of settings, made of the code, and its rendering by Helm's own library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from service.settings import Settings
from tests.client import ROOT
from tests.deploy.files import Document, checker, ran

CHART: Final = ROOT / "deploy/helm/facet"
SCHEMA: Final = CHART / "values.schema.json"
FROM_SECRETS: Final = ("api_keys", "operator_keys")
"""Settings that no values file may hold."""
NAMESPACE: Final = "facet"


def settings_schema() -> Document:
    """JSON schema of the chart's `settings`: every setting by its variable's name, with its type, range and meaning."""
    generated = Settings.model_json_schema()
    known = {
        f"FACET_{name.upper()}": _value(one, generated["$defs"]) | {"description": " ".join(one["description"].split())}
        for name, one in generated["properties"].items()
        if name not in FROM_SECRETS
    }
    return {"type": "object", "additionalProperties": False, "properties": known}


def _value(one: Document, definitions: Document) -> Document:
    """What a value in YAML may be: what pydantic takes, but no null; lists and pairs are texts as the environment has them."""
    if "anyOf" in one:
        return _value(next(kind for kind in one["anyOf"] if kind != {"type": "null"}), definitions)
    if "$ref" in one:
        return _value(definitions[one["$ref"].rpartition("/")[2]], definitions)
    if one["type"] == "array":
        listed = {"type": "array", "items": {"type": "string"}}
        return {"type": "string"} if "prefixItems" in one else {"anyOf": [{"type": "string"}, listed]}
    kept = ("type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum")
    return {name: one[name] for name in kept if name in one}


def write_schema() -> None:
    """Write the schema of the settings into the chart's."""
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["settings"] = settings_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n")


PROGRAM: Final = """
import json, sys
import helm_python as helm
answers = []
with helm.Chart.load(sys.argv[1]) as chart:
    for values in json.loads(sys.argv[2]):
        try:
            chart.validate_schema(values)
            answers.append(chart.render(values, name="facet", namespace="facet"))
        except helm.HelmError as error:
            answers.append(str(error))
print(json.dumps([helm.helm_sdk_version(), helm.lint(sys.argv[1], strict=True), answers]))
"""


@cache
def _helm(values: str) -> Any:
    return json.loads(ran(checker("python"), "-c", PROGRAM, str(CHART), values))


def helm(*values: Document) -> tuple[Document, list[Document | str]]:
    """Lint the chart, and render it with each of these values: files by name, or an error's words."""
    _, lint, answers = _helm(json.dumps(values))
    return lint, answers


def objects(rendered: Document | str) -> list[Document]:
    """The objects of a rendering, whose settings' checksum, which kustomize has none of, is left out."""
    assert not isinstance(rendered, str), rendered
    texts: Sequence[str] = [text for name, text in rendered.items() if Path(name).suffix == ".yaml"]
    found = [one for text in texts for one in yaml.safe_load_all(text) if one]
    for one in found:
        if one["kind"] == "Deployment":
            del one["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
    return found
