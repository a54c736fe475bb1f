"""How the packages of an optional extra are installed, in the words of the environment that runs."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
"""The checkout, or the folder that the package was installed into."""


DISTRIBUTION: Final = "facet-service"


def install_command(extra: str, root: Path = ROOT) -> str:
    """The command that adds an extra.

    In a checkout it is a target of its Makefile, which installs hashed packages from a lock. Elsewhere it is pip's, with the
    wheel or folder that Facet was installed from.

    Args:
        extra: Name of the extra in `pyproject.toml`, such as `video`.
        root: Folder that holds the package `service`.

    Returns:
        One line for a shell.
    """
    if (root / "Makefile").is_file():
        return f"make extra EXTRA={extra}"
    source = _source(root)
    return f'pip install "{DISTRIBUTION}[{extra}]{source and f" @ {source}"}"'


def _source(root: Path) -> str:
    """URL that the distribution in a folder was installed from (PEP 610); empty where it came from a package index."""
    for found in metadata.distributions(name=DISTRIBUTION, path=[str(root)]):
        recorded = found.read_text("direct_url.json")
        return "" if recorded is None else str(json.loads(recorded)["url"])
    return ""
