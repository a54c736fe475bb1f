"""A hook of the site: links from docs/ to other files of the repository become links to the repository."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parent.parent


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 - the hook's signature
    """A page's Markdown with its links out of docs/ made absolute.

    Args:
        markdown: the page as it is written.
        page: the page, whose folder the links start from.
        config: the site's configuration, with the repository's address.
        files: every file of the site.

    Returns:
        The Markdown with such links changed.

    Raises:
        PluginError: a link leads to a file that the repository does not have.
    """
    folder = posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def absolute(found: re.Match[str]) -> str:
        path, _, anchor = found[2].partition("#")
        target = posixpath.normpath(posixpath.join(folder, path))
        if target.startswith("docs/"):
            return found[0]
        if not (ROOT / target).exists():
            raise PluginError(f"{page.file.src_uri} links to {target}, which does not exist")
        return f"{found[1]}{config.extra['repository']}{target}{'#' + anchor if anchor else ''})"

    return re.sub(r"(\]\()(\.\./[^)\s]*)\)", absolute, markdown)
