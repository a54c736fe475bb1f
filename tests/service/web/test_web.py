"""The page's files as they are sent: types, headers, versions; open without a key, complete, light, and of one origin."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service import web
from service.errors import FacetError
from service.settings import Settings
from service.vision import quality
from tests.client import ROOT, Client, assert_problem, serving
from tests.docs.tables import answered

STATIC = ROOT / "service/web/static"
NAMES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())


def address(name: str) -> str:
    return {"index.html": "/", "sw.js": "/sw.js"}.get(name, f"/page/{name}")


async def test_every_file_is_sent_whole_typed_and_guarded(client: Client) -> None:
    for name in NAMES:
        response = await client.get(address(name))
        assert response.status_code == 200
        assert_guarded(response, name)


def assert_guarded(response: httpx.Response, name: str) -> None:
    assert response.content == (STATIC / name).read_bytes()
    assert response.headers["content-type"] == web.MEDIA_TYPES[Path(name).suffix]
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert "camera=(self)" in response.headers["permissions-policy"]
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


async def test_a_version_that_the_browser_has_is_not_sent_again(client: Client) -> None:
    first = await client.get("/page/app.js")
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["vary"] == "Accept-Encoding"
    tag = first.headers["etag"]
    assert tag.startswith("W/")  # of both its forms
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
        again = await client.get("/page/app.js", headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
    plain = await client.get("/page/app.js", headers={"If-None-Match": '"other"', "Accept-Encoding": "identity"})
    assert (plain.status_code, plain.headers["vary"]) == (200, "Accept-Encoding")
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content == (STATIC / "app.js").read_bytes()


async def test_a_changed_file_is_another_version(tmp_path: Path) -> None:
    tags = []
    for text in ("one", "two"):
        (tmp_path / "a.js").write_text(text)
        tags.append(web.load(tmp_path)["a.js"].etag)
    assert tags[0] != tags[1]


async def test_head_tells_of_a_file_without_sending_it(client: Client) -> None:
    response = await client.head("/page/icon.svg")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/svg+xml"
    assert response.content == b""


@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/../__init__.py", "/page/%2e%2e/__init__.py", "/page/index"])
async def test_nothing_else_is_there(client: Client, path: str) -> None:
    assert_problem(await client.get(path), 404, "not_found")


async def test_the_page_needs_no_key() -> None:
    async with serving(api_keys=("secret",)) as client:
        for path in ("/", "/sw.js", "/page/app.js", "/page/manifest.webmanifest"):
            assert (await client.get(path)).status_code == 200
        assert_problem(await client.get("/model"), 401, "unauthenticated")


async def test_the_page_can_be_switched_off() -> None:
    assert Settings().page
    async with serving(page=False) as client:
        for path in ("/", "/sw.js", "/page/app.js"):
            assert_problem(await client.get(path), 404, "not_found")
        assert (await client.get("/health")).status_code == 200


# What the files say ---------------------------------------------------------------------------------------------------


def test_the_page_is_light() -> None:
    """Under 290 kB as it lies on the disk, without the examples and other languages; less than half of it on the wire."""
    own = [name for name in NAMES if not name.startswith(("examples/", "languages/")) or name == "languages/en.json"]
    assert sum((STATIC / name).stat().st_size for name in own) < 290_000
    assets = web.load()
    assert sum(min(len(assets[name].body), len(gzip.compress(assets[name].body, 4))) for name in own) < 125_000
    assert sum((STATIC / name).stat().st_size for name in NAMES if name.startswith("examples/")) < 400_000


def test_nothing_comes_from_another_host() -> None:
    """Only names of XML and of a local service, in examples, look like addresses."""
    known = {"http://www.w3.org/2000/svg", "http://localhost:8000/"}
    for name in NAMES:
        if Path(name).suffix in (".js", ".css", ".html", ".svg", ".webmanifest"):
            assert (
                set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"'`),;*]*", (STATIC / name).read_text())) - comments(name) <= known
            ), name


def comments(name: str) -> set[str]:
    """What `//` begins in a script are comments."""
    text = (STATIC / name).read_text()
    return {found for found in re.findall(r"//[\w.]+[^\s\"'`),;*]*", text) if not found.startswith("//www.")}


def test_nothing_inline() -> None:
    text = (STATIC / "index.html").read_text()
    assert "<style" not in text
    assert not re.search(r"\sstyle=|\son\w+=", text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) == [""]
    scripts = "".join((STATIC / name).read_text() for name in NAMES if name.endswith(".js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", scripts)


def referenced(text: str) -> Iterator[str]:
    for quoted in re.findall(r"[\"'`(](?:\./)?((?:page/)?[\w/-]+\.(?:json|js|css|svg|png|jpg|woff2|webmanifest))", text):
        yield quoted.removeprefix("page/")


@pytest.mark.parametrize("name", [name for name in NAMES if Path(name).suffix in (".js", ".css", ".html", ".webmanifest")])
def test_every_file_that_is_named_exists(name: str) -> None:
    for named in referenced((STATIC / name).read_text()):
        assert named in {*NAMES, "pasted.png", "facet.json"}, f"{name} names {named}"  # a picture of the clipboard, a download


def test_the_worker_keeps_everything_that_the_page_needs() -> None:
    kept = set(referenced((STATIC / "sw.js").read_text()))
    needed = {name for name in NAMES if Path(name).suffix in (".js", ".json", ".css", ".svg", ".woff2", ".webmanifest")}
    assert needed - {"sw.js"} <= kept


def keys(constant: str) -> set[str]:
    """Keys of an object in words.js."""
    text = (STATIC / "words.js").read_text()
    body = text[text.index(f"export const {constant} = {{") :]
    return set(re.findall(r"^  (\w+):", body[: body.index("\n};")], re.MULTILINE))


def test_every_problem_has_plain_words() -> None:
    codes = {error.code for error in answered(FacetError)} | {"not_found", "method_not_allowed", "http_error"}
    own = set(re.findall(r'code: "(\w+)"|\["(\w+)", "The stream', (STATIC / "facet.js").read_text()))
    assert codes <= keys("PROBLEMS")
    assert {code for pair in own for code in pair if code} <= keys("PROBLEMS")


def test_every_warning_has_plain_words() -> None:
    given = set(re.findall(r'"(\w+)"', Path(quality.__file__).read_text().split("def warnings")[1]))
    assert {"small", "blurred", "cut_off"} <= given
    assert {f"warning.{name}" for name in given} <= ENGLISH.keys()


# Languages ------------------------------------------------------------------------------------------------------------


def sentences(code: str) -> dict[str, str | dict[str, str]]:
    """The words of a language by key; those with plural forms by category."""
    loaded: dict[str, str | dict[str, str]] = json.loads((STATIC / f"languages/{code}.json").read_text())
    return loaded


ENGLISH = sentences("en")
PLURALS = {"ar": {"zero", "one", "two", "few", "many", "other"}, "zh": {"other"}}
"""Categories of whole numbers up to a million (CLDR), where they are not `one` and `other`."""
CODES = sorted(Path(name).stem for name in NAMES if name.startswith("languages/"))


def placeholders(sentence: str | dict[str, str]) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", sentence if isinstance(sentence, str) else sentence["other"]))


@pytest.mark.parametrize("code", CODES)
def test_every_language_has_every_sentence_with_its_values(code: str) -> None:
    own = sentences(code)
    assert list(own) == list(ENGLISH)
    assert {key: placeholders(own[key]) for key in own} == {key: placeholders(ENGLISH[key]) for key in ENGLISH}
    for key, sentence in own.items():
        if isinstance(ENGLISH[key], dict):
            assert isinstance(sentence, dict)
            assert set(sentence) == PLURALS.get(code, {"one", "other"}), key
        else:
            assert isinstance(sentence, str)
            assert sentence.strip(" "), key
            assert sentence.count("*") == str(ENGLISH[key]).count("*"), key


def test_the_switch_offers_the_languages_that_there_are() -> None:
    offered = (STATIC / "language.js").read_text().split("LANGUAGES = {")[1].split("}")[0]
    assert sorted(re.findall(r"^  (\w+):", offered, re.MULTILINE)) == CODES


def test_every_sentence_is_used_and_every_one_that_is_used_exists() -> None:
    """Keys stand whole in the source, or begin with what a template puts before a name."""
    source = "".join((STATIC / name).read_text() for name in NAMES if name.endswith((".js", ".html")))
    whole = set(re.findall(r"[\"'`]([a-z]+(?:\.[a-z_]+)*)[\"'`]", source))
    begun = set(re.findall(r"`([a-z]+\.)\$\{", source))
    unused = {key for key in ENGLISH if key not in whole and not any(key.startswith(start) for start in begun)}
    assert unused == set()
    asked = set(re.findall(r"(?:text|show|stop)\(\"([a-z_.]+)\"|data-(?:text|label)=\"([\w.]+)\"", source))
    assert {key for pair in asked for key in pair if key} <= ENGLISH.keys()


def test_the_words_of_the_page_before_its_script_runs_are_those_of_the_english_file() -> None:
    text = (STATIC / "index.html").read_text()
    shown = re.findall(r'data-text="([\w.]+)"[^>]*>(.*?)</(?:a|p|h1|h2|span|button|legend|label)>', text)
    assert len(shown) > 20
    for key, words in shown:
        assert re.sub(r"</?em>", "*", words) == ENGLISH[key]
    for words, key in re.findall(r'aria-label="([^"]+)" data-label="([\w.]+)"', text):
        assert words == ENGLISH[key]


# The wheel ------------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {f"service/web/static/{name}" for name in NAMES} <= packed
