"""What public functions leave unsaid: arguments, results and errors that their docstrings do not name."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Attributes", "Example", "Examples", "Note")
SHOWN_TO_USERS = re.compile(r"(^|\.)(command|callback|get|post|head|api_route|websocket|exception_handler)$")
"""Decorators under which the docstring is a command's help or a route's description."""
PLAIN = re.compile(r"(^|\.)(property|cached_property|override|overload|fixture|setter)$")
"""Decorators of what is read as a value, or documented where it is declared."""


def unsaid(root: Path) -> Iterator[str]:
    """A line for each public function below a folder whose docstring leaves something out.

    Args:
        root: Folder of Python files, or one file.

    Yields:
        `path:line name: what is missing`.
    """
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        if "static" in path.parts:
            continue
        for name, function in public(ast.parse(path.read_text())):
            missing = list(gaps(function))
            if missing:
                yield f"{path}:{function.lineno} {name}: {', '.join(missing)}"


def public(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions of a module and methods of its classes whose names are public, with their qualified names."""
    for node in tree.body:
        members: list[tuple[str, ast.stmt]] = [("", node)]
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            members = [(f"{node.name}.", member) for member in node.body]
        for prefix, member in members:
            if isinstance(member, Function) and not member.name.startswith("_"):
                decorators = [ast.unparse(one.func if isinstance(one, ast.Call) else one) for one in member.decorator_list]
                if not any(SHOWN_TO_USERS.search(one) or PLAIN.search(one) for one in decorators):
                    yield prefix + member.name, member


def gaps(function: Function) -> Iterator[str]:
    """What the docstring of a function does not name."""
    parts = sections(ast.get_docstring(function) or "")
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    arguments += [one for one in (function.args.vararg, function.args.kwarg) if one is not None]
    for argument in arguments:
        if argument.arg in ("self", "cls") or argument.arg.startswith("_"):
            continue
        if not re.search(rf"^\s*\*{{0,2}}{argument.arg}\b[^:\n]*:", parts.get("Args", ""), re.MULTILINE):
            yield f"Args: {argument.arg}"
    result = "" if function.returns is None else ast.unparse(function.returns)
    if re.match(r"(collections\.abc\.)?(Async)?(Iterator|Generator)\b", result) and yields(function):
        if "Yields" not in parts:
            yield "Yields"
    elif result not in ("", "None", "NoReturn", "Never") and "Returns" not in parts:
        yield "Returns"
    for error in sorted(raised(function)):
        if not re.search(rf"\b{error}\b", parts.get("Raises", "")):
            yield f"Raises: {error}"


def sections(docstring: str) -> dict[str, str]:
    """The text of each section of a docstring in Google's style, by its name."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.splitlines():
        if line.rstrip(":") in SECTIONS and line.endswith(":"):
            name = line[:-1]
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def own(function: Function) -> Iterator[ast.AST]:
    """Nodes of a function, without those of functions and classes inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def yields(function: Function) -> bool:
    """Whether the function is a generator."""
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own(function))


def raised(function: Function) -> set[str]:
    """Names of the error classes that a function raises itself."""
    names = set()
    for node in own(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func).rsplit(".", 1)[-1])
    return {name for name in names if name[:1].isupper() and name != "Exit"}


if __name__ == "__main__":
    lines = [line for place in sys.argv[1:] for line in unsaid(Path(place))]
    sys.stdout.write("".join(f"{line}\n" for line in lines) + f"{len(lines)} public functions leave something unsaid\n")
    sys.exit(bool(lines))
