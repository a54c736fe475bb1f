"""The site of docs/: it builds without a warning, shows every module, and fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.client import ROOT

PROGRAM = Path(os.environ.get("DOCS", ROOT / ".venv-docs/bin")) / "mkdocs"


def test_every_folder_of_the_code_has_its_reference() -> None:
    shown = "".join(page.read_text() for page in (ROOT / "docs/reference/python").glob("*.md"))
    for package in ("service", "training"):
        for path in (ROOT / package).iterdir():
            if (path.suffix == ".py" and path.stem not in ("__init__", "__main__")) or (path / "__init__.py").is_file():
                assert re.search(rf"^::: {package}\.{path.stem}$", shown, re.MULTILINE), path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode. Skips where its generator is not installed, unless DOCS says that it has to be."""
    if not PROGRAM.is_file() and "DOCS" not in os.environ:
        pytest.skip("`make docs` installs the site's generator")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [PROGRAM, "build", "--strict", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_is_whole(site: Path) -> None:
    for page in ("index.html", "architecture/index.html", "reference/settings/index.html", "extending/attribute/index.html"):
        assert (site / page).is_file()
    assert (
        'id="service.inference.pipeline.Pipeline.analyse"'
        in (site / "reference/python/service-inference/index.html").read_text()
    )


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=\"?(?:https?:)?//[^\s>]+|<link[^>]*href=\"?(?:https?:)?//[^\s>]+",
            page.read_text(),
        )
        assert [one for one in loaded if "rel=canonical" not in one] == [], page
