#!/usr/bin/env python3
"""What a release is made of: `.ci/release.py v1.2.3` checks that the tag is the project's version, and that the changelog has a
dated section for it, and prints that section.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def notes(tag: str, version: str, changelog: str) -> str:
    """The changelog's section of a version. Raises `ValueError` where tag, version and changelog are not of one mind."""
    if tag != f"v{version}":
        raise ValueError(f"the tag {tag} is not that of the version in pyproject.toml, {version}")
    heading = re.search(rf"^## \[{re.escape(version)}\] - (.+)\n", changelog, re.MULTILINE)
    if heading is None:
        raise ValueError(f"CHANGELOG.md has no section for {version}")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading[1].strip()):
        raise ValueError(f"CHANGELOG.md gives {version} no date: {heading[1].strip()}")
    return re.split(r"^## ", changelog[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip() + "\n"


def main(arguments: list[str]) -> int:
    """Print the notes; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: {sys.argv[0]} TAG\n")
        return 2
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    try:
        sys.stdout.write(notes(arguments[0], version, (ROOT / "CHANGELOG.md").read_text()))
    except ValueError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
