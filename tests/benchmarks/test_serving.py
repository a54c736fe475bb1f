"""What a benchmark leaves behind where it is ended from outside, and what it says where no service runs."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import signal, sys
from pathlib import Path
from benchmarks.serving import end_as_by_ctrl_c, running

end_as_by_ctrl_c()
port = int(sys.argv[1])
with running([sys.executable, sys.argv[2], str(port)], port, Path.cwd()) as service:
    print(service.pid, flush=True)
    signal.pause()
"""
SERVICE = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="the benchmarks read /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_service_stays_behind_where_a_benchmark_is_ended(number: signal.Signals, root: Path, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(port), str(tmp_path / "service.py")]
    variables = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        service = int(program.stdout.readline())
        program.send_signal(number)
        assert program.wait(30) != 0
    end = time.monotonic() + 10
    while Path(f"/proc/{service}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("program", ["capacity", "streams"])
def test_one_line_says_that_no_service_runs(program: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    with socket.socket() as free:  # bound, and nobody listens
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setattr(sys, "argv", [program, "--url", url])
        with pytest.raises(SystemExit, match=rf"^{url} cannot be measured: [^\n]*$"):
            importlib.import_module(program).main()
