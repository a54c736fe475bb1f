"""The tables of docs/reference, made of the code; `make reference` writes them into the pages between their marks."""

from __future__ import annotations

import inspect
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from typer.main import get_command

from service import cli, errors
from service.api.statuses import status_of
from service.errors import FacetError
from service.settings import Settings
from tests.collectors import described
from tests.deploy import chart
from training import __main__ as training
from training.recipe import Recipe

DOCS: Final = Path(__file__).resolve().parent.parent.parent / "docs"
_MARKED: Final = r"(<!-- made of the code: {name} -->\n).*?(\n<!-- /made of the code -->)"


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def sentence(text: str | None) -> str:
    """A docstring's first paragraph on one line."""
    return " ".join(inspect.cleandoc(text or "").split("\n\n")[0].split())


# Settings, metrics, problems --------------------------------------------------------------------------------------------


def shown(default: object) -> str:
    """A setting's default as the environment would give it."""
    if isinstance(default, Path):
        return f"`{default.name}/` of the checkout, or of the installed package"
    if isinstance(default, tuple):
        default = ",".join(one.get_secret_value() if isinstance(one, SecretStr) else str(one) for one in default)
    if isinstance(default, Enum):
        default = default.value
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return "not set" if default in (None, "") else f"`{default}`"


def settings() -> str:
    """Every setting with its default and its meaning."""
    rows = [
        [f"`FACET_{name.upper()}`", shown(field.default), sentence(field.description)]
        for name, field in Settings.model_fields.items()
    ]
    return table(["setting", "default", "meaning"], rows)


def every_metric() -> str:
    """Every collector of Prometheus with its labels and its meaning."""
    rows = []
    for one in described():
        labels = f"{{{', '.join(one.labels)}}}" if one.labels else ""
        rows.append([f"`{one.name}{labels}`", one.kind, one.meaning])
    return table(["metric", "kind", "meaning"], rows)


def answered(kind: type[FacetError] = FacetError) -> Iterator[type[FacetError]]:
    """An error and all below it; what a model is refused for never reaches a client."""
    if not issubclass(kind, errors.ModelError):
        yield kind
    for below in kind.__subclasses__():
        yield from answered(below)


OF_HTTP: Final = {
    "not_found": ("404", "There is nothing at this path."),
    "method_not_allowed": ("405", "The path needs another method; see `Allow`."),
    "http_error": ("4xx", "Another HTTP error."),
}


def every_problem() -> str:
    """Every code of a problem with its status and its meaning, by status."""
    rows = {code: list(rest) for code, rest in OF_HTTP.items()}
    for kind in answered():
        meaning = "An unexpected error." if kind is FacetError else sentence(kind.__doc__)
        rows.setdefault(kind.code, [str(status_of(kind)), meaning])
    ordered = sorted(rows.items(), key=lambda row: (row[1][0], row[0]))
    return table(["code", "status", "meaning"], [[f"`{code}`", *rest] for code, rest in ordered])


# Recipes --------------------------------------------------------------------------------------------------------------


def values(annotation: Any, constraints: list[Any]) -> str:
    """What a field takes: the words of a choice, or a kind and its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(arguments[0], list(arguments[1:]))
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(values(one, []) for one in arguments if one is not type(None))
    if origin is tuple:
        if arguments[-1] is not Ellipsis:
            return f"[{', '.join(values(one, []) for one in arguments)}]"
        inner = values(arguments[0], [])
        return "list of " + re.sub("^(whole number|number|text|table)", r"\1s", inner)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    kind = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}.get(annotation, str(annotation))
    return f"{kind}{bounds(constraints)}"


def bounds(constraints: list[Any]) -> str:
    """A range as words."""
    found: dict[str, Any] = {}
    for one in [part for outer in constraints for part in getattr(outer, "metadata", [outer])]:
        found |= {name: getattr(one, name) for name in ("ge", "gt", "le", "lt") if getattr(one, name, None) is not None}
    words = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}
    return "".join(" " + words[name].format(found[name]) for name in ("ge", "gt", "le", "lt") if name in found)


def default_of(field: FieldInfo) -> str:
    """A field's default as TOML would give it."""
    value = field.default
    if field.is_required():
        return "required"
    if value is None or isinstance(value, BaseModel):
        return "none" if value is None else ""
    if isinstance(value, tuple):
        return f"`[{', '.join(quoted(one) for one in value)}]`"
    return f"`{quoted(value)}`"


def quoted(value: object) -> str:
    """A value as TOML."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def recipe() -> str:
    """Every section of a recipe with its fields."""
    return "\n\n".join(sections(Recipe, ""))


def sections(section: type[BaseModel], place: str) -> Iterator[str]:
    """A section's table, and those of the sections in it."""
    rows, inner = [], []
    for name, field in section.model_fields.items():
        nested = nested_in(field.annotation)
        if nested is not None:
            inner.append((nested, f"{place}.{name}".lstrip("."), get_origin(field.annotation) is tuple))
        if nested is None or place:
            rows.append([f"`{name}`", values(field.annotation, field.metadata), default_of(field), sentence(field.description)])
    yield table(["field", "takes", "default", "meaning"], rows)
    for one, where, several in inner:
        heading = f"### `[[{where}]]`" if several else f"### `[{where}]`"
        first, *rest = sections(one, where)
        yield f"{heading}\n\n{sentence(one.__doc__)}\n\n{first}"
        yield from rest


def nested_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone, in a list, or where it is given."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    if get_origin(annotation) in (tuple, Union, types.UnionType):
        return next(filter(None, map(nested_in, get_args(annotation))), None)
    return None


# Command lines ----------------------------------------------------------------------------------------------------------


def commands(app: typer.Typer, program: str) -> str:
    """Every command that `--help` lists, with its arguments and options."""
    group: Any = get_command(app)
    parts = []
    for name, command in group.commands.items():
        if command.hidden:  # a former name
            continue
        rows = [
            [usage(parameter), getattr(parameter, "help", None) or "", given(parameter)]
            for parameter in command.params
            if parameter.name != "help"
        ]
        help_text = sentence(command.help)
        parts.append(f"### `{program} {name}`\n\n{help_text}")
        if rows:
            parts.append(table(["option", "meaning", "default"], rows))
    return "\n\n".join(parts)


def usage(parameter: Any) -> str:
    """A parameter as it is written."""
    if not any(name.startswith("-") for name in parameter.opts):
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join(parameter.opts)
    return (
        f"`{names}`" if parameter.is_flag else f"`{names} {parameter.metavar or takes(parameter.type_descriptor.annotation)}`"
    )


def takes(annotation: Any) -> str:
    """What an option takes, in capitals, or the words of a choice."""
    arguments = [one for one in get_args(annotation) if one is not type(None)]
    if arguments:
        return takes(arguments[0])
    if issubclass(annotation, Enum):
        return "|".join(str(one.value) for one in annotation)
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(annotation, "TEXT")


def given(parameter: Any) -> str:
    """A parameter's default."""
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or value == [] or callable(value) or repr(value).startswith("Sentinel"):
        return ""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path) and value.is_absolute():
        value = os.path.relpath(value, DOCS.parent)
    return f"`{value}`"


# Pages ----------------------------------------------------------------------------------------------------------------

PARTS: Final[Mapping[str, tuple[str, Callable[[], str]]]] = {
    "settings": ("reference/settings.md", settings),
    "metrics": ("reference/metrics.md", every_metric),
    "problems": ("reference/problems.md", every_problem),
    "recipe": ("reference/recipe.md", recipe),
    "facet": ("reference/cli.md", lambda: commands(cli.app, "facet")),
    "training": ("reference/cli.md", lambda: commands(training.app, "python -m training")),
}


def filled(page: str, name: str, content: str) -> str:
    """The page with what stands between a part's marks replaced. Raises `ValueError` where it has no such marks."""
    done, count = re.subn(
        _MARKED.format(name=name), lambda found: f"{found[1]}\n{content}\n{found[2]}", page, count=1, flags=re.DOTALL
    )
    if not count:
        raise ValueError(f"the page has no marks for {name}")
    return done


def main() -> None:
    """Write every part into its page, and the settings into the schema of the Helm chart."""
    for name, (place, make) in PARTS.items():
        path = DOCS / place
        path.write_text(filled(path.read_text(), name, make()))
    chart.write_schema()


if __name__ == "__main__":
    main()
