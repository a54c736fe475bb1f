"""The recipes run as they are: against a service with a fake model, a bucket that is simulated, and a table of our own."""

from __future__ import annotations

import csv
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.offline.sources import SUFFIXES
from tests import s3
from tests.client import ROOT
from tests.service.offline.made import folder, photo, predict
from tests.service.server.test_serve import Service, fake

RECIPES = ROOT / "recipes"
PAGE = (ROOT / "docs/recipes.md").read_text()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the recipes are for Unix")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with fake(tmp_path_factory.mktemp("recipes") / "log") as running:
        yield running


@pytest.fixture
def environment(service: Service, tmp_path: Path) -> dict[str, str]:
    """The service's address, and a `facet` that is this checkout's."""
    program = tmp_path / "bin/facet"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m service.cli "$@"\n')
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    path = f"{program.parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "FACET_URL": service.url}


def ran(*command: str | Path, environment: dict[str, str], status: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True, check=False, timeout=180, **options
    )
    assert done.returncode == status, done.stderr
    return done


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_every_recipe_has_its_place_on_the_page() -> None:
    named = set(re.findall(r"\]\(\.\./recipes/([\w.]+)\)", PAGE))
    assert named == {path.name for path in RECIPES.iterdir() if path.is_file()}


def test_cron_takes_every_photo_that_facet_predict_takes_of_a_folder() -> None:
    assert set(re.findall(r"-iname '\*(\.\w+)'", (RECIPES / "cron.sh").read_text())) == SUFFIXES


def test_cron_takes_in_what_is_new_and_nothing_twice(environment: dict[str, str], tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "photos", 3), tmp_path / "tables/faces.csv"
    (photos / "notes.txt").write_text("no photo")
    for path in photos.iterdir():
        os.utime(path, (time.time() - 600,) * 2)
    (photos / "arriving.png").write_bytes(photo(90)[:100])
    elsewhere = folder(tmp_path / "elsewhere", 1) / "0000.png"
    hidden = photos / f"line\n{elsewhere}"  # of two lines, the second one is that photo
    hidden.parent.mkdir(parents=True)
    shutil.copy(elsewhere, hidden)
    os.utime(hidden, (time.time() - 600,) * 2)
    ran(RECIPES / "cron.sh", photos, out, environment=environment)
    first = table(out.read_text())
    assert [Path(row["file"]).name for row in first] == ["0000.png", "0001.png", "0002.png"]
    (photos / "arriving.png").write_bytes(photo(90))
    os.utime(photos / "arriving.png", (time.time() - 600,) * 2)
    done = ran(RECIPES / "cron.sh", photos, out, environment=environment)
    assert table(out.read_text())[:3] == first
    assert [Path(row["file"]).name for row in table(out.read_text())[3:]] == ["arriving.png"]
    assert "3 photos were there before" in done.stderr


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it is told."""

    told: list[tuple[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append((self.headers["X-Photo"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_webhook_is_told_of_every_photo_that_is_answered(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes(photo(200, 90))
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "none.png").write_bytes(photo())
    (tmp_path / "-n\nX-Photo: other.png").write_bytes(photo())
    hook = type("OneHook", (Hook,), {"told": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names = ("two.png", "text.jpg", "-n\nX-Photo: other.png", "gone.png", "none.png")
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        done = ran(RECIPES / "webhook.sh", url, *names, environment=environment, status=1, cwd=tmp_path)
        server.shutdown()
    assert [(name, len(answer["faces"])) for name, answer in hook.told] == [
        ("two.png", 2),
        ("-n?X-Photo: other.png", 0),
        ("none.png", 0),
    ]
    assert "unsupported_format" in done.stderr
    assert "gone.png" in done.stderr
    assert "empty_file" not in done.stderr


class Busy(http.server.BaseHTTPRequestHandler):
    """A service that refuses each photo once."""

    answers: list[tuple[int, bytes]]
    keys: list[str | None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["X-API-Key"])
        status, body = self.answers.pop(0)
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_webhook_is_told_the_last_answer_alone_and_the_key_is_seen_by_nobody(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "none.png").write_bytes(photo())
    hook = type("OneHook", (Hook,), {"told": []})
    busy = type("OneBusy", (Busy,), {"answers": [(503, b'{"code": "queue_full"}'), (200, b'{"faces": []}')], "keys": []})
    made = tmp_path / "made"
    made.mkdir()
    curl, seen = tmp_path / "bin/curl", tmp_path / "arguments"  # what everybody sees who lists the processes
    curl.write_text(f'#!/bin/sh\necho "$@" >>"{seen}"\nexec "{shutil.which("curl")}" "$@"\n')
    curl.chmod(0o755)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), hook) as told,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), busy) as service,
    ):
        for server in (told, service):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{service.server_address[1]}"
        url = f"http://127.0.0.1:{told.server_address[1]}/hook"
        variables = environment | {"FACET_URL": address, "TMPDIR": str(made), "FACET_CLIENT_KEY": "a-secret-of-ours"}
        ran(RECIPES / "webhook.sh", url, tmp_path / "none.png", environment=variables)
        for server in (told, service):
            server.shutdown()
    assert hook.told == [("none.png", {"faces": []})]
    assert busy.keys == ["a-secret-of-ours"] * 2
    assert "/predict" in seen.read_text()
    assert "a-secret" not in seen.read_text()
    assert not list(made.iterdir())


def event(*keys: str) -> dict[str, Any]:
    """As S3 sends it: keys are written as in a form."""
    return {
        "Records": [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "photos"}, "object": {"key": key}}} for key in keys
        ]
    }


def test_a_folder_made_by_hand_is_no_photo(environment: dict[str, str]) -> None:
    """Its address would be that of every photo below it, whose own events have tables."""
    variables = environment | {"TABLES": "s3://tables/faces"}
    done = ran(sys.executable, RECIPES / "s3_event.py", environment=variables, input=json.dumps(event("day/")))
    assert json.loads(done.stdout) == {"photos": 0}


def test_a_key_of_two_lines_names_no_second_photo(environment: dict[str, str]) -> None:
    """Who may write to the bucket could have any file of the machine, or of another bucket, looked at."""
    variables = environment | {"TABLES": "s3://tables/faces"}
    sent = event("day/a%0A/etc/photo.jpg", "day/a%0Ds3://other/photo.jpg")
    done = ran(sys.executable, RECIPES / "s3_event.py", environment=variables, input=json.dumps(sent))
    assert json.loads(done.stdout) == {"photos": 0}
    assert done.stderr.count("is left out") == 2


@pytest.mark.parametrize(
    "handed_on",
    [
        {"Type": "Notification", "Message": json.dumps(event("day/a.png"))},
        {"detail-type": "Object Created", "detail": {"bucket": {"name": "photos"}, "object": {"key": "day/a.png"}}},
        {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(event("day/a.png"))}}]},
    ],
)
@pytest.mark.parametrize("queued", [False, True])
def test_what_is_no_event_of_s3_is_kept_for_the_queue(
    environment: dict[str, str], handed_on: dict[str, Any], queued: bool
) -> None:
    """Of SNS, of EventBridge, and of SNS without a queue."""
    sent = {"Records": [{"messageId": "1", "body": json.dumps(handed_on)}]} if queued else handed_on
    variables = environment | {"TABLES": "s3://tables/faces"}
    done = ran(sys.executable, RECIPES / "s3_event.py", environment=variables, input=json.dumps(sent), status=1)
    assert "no event of S3" in done.stderr


@pytest.mark.parametrize("queued", [False, True])
def test_an_event_of_s3_becomes_a_table(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queued: bool
) -> None:
    with s3.bucket("photos", monkeypatch) as bucket:
        bucket.mkdir("tables")
        bucket.pipe("photos/day/a photo[1].png", photo(200, 90))
        bucket.pipe("photos/day/b.png", photo())
        sent = event("day/a+photo%5B1%5D.png", "day/b.png", "day/gone.png")
        if queued:
            sent = {"Records": [{"messageId": "1", "body": json.dumps(sent)}, {"body": json.dumps({"Event": "s3:TestEvent"})}]}
        variables = (
            environment | {"TABLES": "s3://tables/faces"} | {name: os.environ[name] for name in (*s3.KEYS, "AWS_ENDPOINT_URL")}
        )
        done = ran(sys.executable, RECIPES / "s3_event.py", environment=variables, input=json.dumps(sent))
        said = json.loads(done.stdout)
        assert said["photos"] == 3
        rows = table(bucket.cat(said["table"]).decode())
    assert [(row["file"], row["face"], row["problem"]) for row in rows] == [
        ("s3://photos/day/a photo[1].png", "0", ""),
        ("s3://photos/day/a photo[1].png", "1", ""),
        ("s3://photos/day/b.png", "", ""),
        ("s3://photos/day/gone.png", "", "unreadable"),
    ]


def test_the_notebook_plots_ages_by_folder(tmp_path: Path) -> None:
    for name in ("pandas", "pyarrow", "matplotlib"):
        pytest.importorskip(name)
    for name in ("holiday", "school", "2024/school"):
        folder(tmp_path / "photos" / name, 9)
    predict(tmp_path / "photos", recursive=True, out=tmp_path / "faces.parquet", at_least=(18,))
    notebook = json.loads((RECIPES / "ages_by_folder.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "what a run printed does not belong into the file"
    variables = os.environ | {"MPLBACKEND": "agg", "PLOT": str(tmp_path / "ages.png"), "TABLE": str(tmp_path / "faces.parquet")}
    # Faces of the fake model are squares, which no face is without a warning.
    cleared = "import pandas; rows = pandas.read_parquet(TABLE); rows['warnings'] = ''; rows.to_parquet(TABLE)"
    program = "\n".join([f"TABLE = {variables['TABLE']!r}", cleared, *cells])
    done = ran(sys.executable, "-W", "ignore", "-c", program, environment=variables)
    assert "27 photos, 27 faces, 0 failed" in done.stdout
    named = [line.split()[:2] for line in done.stdout.splitlines()]
    for name in ("holiday", "school", "2024/school"):
        assert [str(tmp_path / "photos" / name), "9"] in named, "two of one name are two"
    assert "of 27 faces are of adults" in done.stdout
    assert (tmp_path / "ages.png").stat().st_size > 10_000
