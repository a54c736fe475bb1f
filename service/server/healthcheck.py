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
    """Where the service of an environment listens.

    Args:
        environment: Variables such as `FACET_HOST` and `FACET_PORT`.

    Returns:
        A host that can be connected to, and the port.

    Raises:
        ValueError: `FACET_PORT` is not a port.
    """
    host = environment.get("FACET_HOST", "0.0.0.0")  # noqa: S104 - the setting's default
    port = environment.get("FACET_PORT", "8000")
    try:
        number = int(port)  # with blanks and a sign, as the setting is read
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f"FACET_PORT says no port that could be asked: {port!r}")
    return _EVERY_ADDRESS.get(host, host), number


def ask(host: str, port: int, path: str, timeout: float) -> tuple[int, str]:
    """Request a path.

    Args:
        host: Name or address.
        port: 1 to 65535.
        path: Such as `/health`.
        timeout: Seconds for connecting, and for each read.

    Returns:
        The status, and the first 4,096 bytes of the body.

    Raises:
        OSError: Nobody answers.
        http.client.HTTPException: The answer is not HTTP.
    """
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
    """Whether the service of an environment speaks HTTPS.

    Args:
        environment: Variables such as `FACET_TLS`.

    Returns:
        Whether it does.
    """
    return bool(environment.get("FACET_TLS_CERTIFICATE")) or environment.get("FACET_TLS", "").lower() in _YES


def main(arguments: Sequence[str]) -> int:
    """Request one of `PATHS` and print the answer.

    Args:
        arguments: One path, or none for the first of `PATHS`.

    Returns:
        Exit status: 0 for an answer of 200, 1 for another or none, 2 for wrong arguments.
    """
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
