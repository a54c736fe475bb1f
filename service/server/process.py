"""What the process does before it serves: end on a signal, and log no more than it may."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Literal


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """End with 0 on SIGTERM until the server handles it.

    Models load for a while, and the kernel has no default for the first process of a container. The exit is immediate: a
    library may swallow SystemExit, and the interpreter would wait for the threads that warm the networks up.

    Yields:
        Nothing, while the signal is handled here.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class HangUps:
    """Handler of SIGHUP until the server has one: the signal would end a process whose models load, or be missed by it."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, *_: object) -> None:
        """Remember that the signal came."""
        self.came = True


@contextlib.contextmanager
def hang_ups_remembered() -> Iterator[None]:
    """Remember SIGHUP, where the system has it, for the server, which does what it asks for once it listens.

    Yields:
        Nothing, while the signal is handled here.
    """
    if not hasattr(signal, "SIGHUP"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGHUP, HangUps())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def configure_logging(level: str, form: Literal["text", "json"] = "text") -> None:
    """Log from a level up, and keep libraries from logging what they are given.

    With `debug` they would say all of it: uvicorn the keys and frames of a WebSocket, botocore the token of its credentials.
    Below `info` there are Facet's own lines alone. At that, too, uvicorn would log each WebSocket's address and query.

    Args:
        level: A name such as `info`.
        form: Lines for people, or JSON documents; Python's own warnings become lines of the log with these.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(level=max(logging.INFO, least), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("facet").setLevel(least)
    if form == "json":
        from service.server.log_format import JsonLogFormatter

        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLogFormatter())
        logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").addFilter(_is_the_servers)


def _is_the_servers(record: logging.LogRecord) -> bool:
    """Whether a record is no address of a WebSocket, nor a second line of what has one: a stream, of whose handshake websockets
    writes, or a request that is no HTTP.
    """
    handshake = record.levelno <= logging.INFO and Path(record.pathname).parent.name == "websockets"
    message = str(record.msg)
    return not handshake and '"WebSocket' not in message and not message.startswith("Invalid HTTP request")
