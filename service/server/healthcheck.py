"""`python -m service.server.healthcheck`: ask the service on this machine whether it is well; exit status 0 where it is, 1
where not.

A container's health check, and nothing else of Facet is imported for it: it starts anew every few seconds beside the
service, and to read `Settings` alone would take longer than to ask. It opens one connection, to the machine it runs on.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

PATHS: Final = ("/health", "/health/live", "/health/ready")
TIMEOUT_S: Final = 3.0

_YES: Final = ("1", "on", "t", "true", "y", "yes")
_EVERY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, not where to
"""Where a service is reached that listens on every address of a family."""


def address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of the service that runs under this environment. Raises `ValueError` where they cannot be known."""
    host = environment.get("FACET_HOST", "0.0.0.0")  # noqa: S104 - the setting's default
    port = environment.get("FACET_PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"FACET_PORT says no port that could be asked: {port!r}")
    return _EVERY_ADDRESS.get(host, host), int(port)


def ask(host: str, port: int, path: str, timeout: float) -> tuple[int, str]:
    """Status and body of `GET path`; `timeout` is in seconds. Raises `OSError` or `HTTPException` where nobody answers."""
    connection = _connection(host, port, timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(4096).decode("utf-8", "replace")
    finally:
        connection.close()


def _connection(host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    if not speaks_tls(os.environ):
        return http.client.HTTPConnection(host, port, timeout=timeout)
    import ssl

    # The certificate is for the names that others call the service by, and to itself it has nothing to prove.
    unverified = ssl._create_unverified_context()  # noqa: S323, SLF001
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=unverified)


def speaks_tls(environment: Mapping[str, str]) -> bool:
    """Whether the service that runs under this environment speaks HTTPS."""
    return bool(environment.get("FACET_TLS_CERTIFICATE")) or environment.get("FACET_TLS", "").lower() in _YES


def main(arguments: Sequence[str]) -> int:
    """Ask one of `PATHS`, `/health` where none is named; print the answer and return the exit status."""
    path, *more = arguments or PATHS[:1]
    if path not in PATHS or more:
        sys.stderr.write(f"usage: python -m service.server.healthcheck [{' | '.join(PATHS)}]\n")
        return 2
    try:
        status, body = ask(*address(os.environ), path, TIMEOUT_S)
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.stderr.write(f"facet: {path}: {str(error) or type(error).__name__}\n")
        return 1
    sys.stdout.write(f"{status} {body}\n")
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
