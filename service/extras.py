"""How the packages of an optional extra are installed, in the words of the environment that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout, or the folder that the package was installed into."""


def install_command(extra: str, root: Path = ROOT) -> str:
    """The command that adds an extra.

    In a checkout it is a target of its Makefile, which installs hashed packages from a lock. Elsewhere it is pip's.

    Args:
        extra: name of the extra in `pyproject.toml`, such as `video`.
        root: folder that holds the package `service`.

    Returns:
        One line for a shell.
    """
    return f"make extra EXTRA={extra}" if (root / "Makefile").is_file() else f'pip install "facet-service[{extra}]"'
