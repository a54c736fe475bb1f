"""NAME or NAME/VERSION: how settings, commands and other parts call a model of the store."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

TITLE: Final = "([A-Za-z0-9_-]+)(?:/([1-9][0-9]{0,8}))?"
"""NAME or NAME/VERSION, as a regular expression that Python, JSON Schema and pydantic read alike."""


class ModelTitle(NamedTuple):
    """A model of the store; its newest version where none is named."""

    name: str
    version: int | None

    @classmethod
    def of(cls, text: str) -> ModelTitle:
        """Read a title.

        Args:
            text: NAME or NAME/VERSION.

        Returns:
            The name, and the version where there is one.

        Raises:
            ValueError: It is neither.
        """
        found = re.fullmatch(TITLE, text)
        if found is None:
            raise ValueError(f"{text!r} is no model, NAME or NAME/VERSION such as mobilenet/5")
        return cls(found[1], None if found[2] is None else int(found[2]))
