"""An app round fakes on a port of its own, for clients that speak HTTP and nothing else."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from service.app import create_app
from service.settings import Settings
from tests.fakes import engine_factory


@contextmanager
def listening(**settings: Any) -> Iterator[str]:
    """Serve on a free port of this machine, in a thread; give the address, and stop."""
    app = create_app(Settings(**settings), engine_factory())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            assert server.started
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
