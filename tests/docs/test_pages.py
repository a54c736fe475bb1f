"""The pages that people read: a short README, links that lead somewhere, a drawing of what there is, and no registry's name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.client import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "clients").glob("*/README.md")])


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:|mailto:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_drawing_shows_what_there_is() -> None:
    drawn = re.findall(r'class="path">([^<]+)</text>', (ROOT / "docs/architecture.svg").read_text())
    paths = "\n".join(drawn).replace("/\n", "/").splitlines()
    assert len(paths) >= 14
    for path in paths:
        assert (ROOT / path.replace("NAME/VERSION", "mobilenet/5")).exists(), path


def test_the_page_of_the_architecture_names_every_layer() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    table = page[page.index("| layers of `service`") :].split("\n\n")[0]
    for package, column in (("service", 1), ("training", 2)):
        named = {name for line in table.splitlines()[2:] for name in re.findall("`(.+?)`", line.split("|")[column])}
        there = {
            path.stem
            for path in (ROOT / package).iterdir()
            if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
        }
        assert named == there, package


# The registry in use is a matter of each machine: a host in a lock file would bind everybody to one.
HOSTS = re.compile(
    "|".join(["pypi" + r"\.org", "pythonhosted" + r"\.org", "--" + "index-url", "--" + "extra-index-url", "npmjs" + r"\.org"])
)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    files = [ROOT / name for name in listed.split("\0") if name]
    assert ROOT / "pyproject.toml" in files
    naming = []
    for path in files:
        if path.is_file() and path.stat().st_size < 5_000_000:
            text = path.read_bytes()
            if b"\0" not in text[:8000] and HOSTS.search(text.decode("utf-8", "replace")):
                naming.append(str(path.relative_to(ROOT)))
    assert naming == []
