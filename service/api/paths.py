"""Paths to the templates of routes, for what looks at a request before its route is known."""

from __future__ import annotations

from collections.abc import Collection

from starlette.routing import compile_path


class Templates:
    """Finds the template of a path among those of routes, such as `/v2/models/{model}/infer`."""

    def __init__(self, templates: Collection[str]) -> None:
        self._exact = frozenset(one for one in templates if "{" not in one)
        self._patterns = [(compile_path(one)[0], one) for one in templates if "{" in one]

    def find(self, path: str) -> str | None:
        """Find a path's template.

        Args:
            path: Of a request.

        Returns:
            The template, or None where it is none of these.
        """
        if path in self._exact:
            return path
        return next((template for pattern, template in self._patterns if pattern.fullmatch(path)), None)
