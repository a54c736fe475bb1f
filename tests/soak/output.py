"""Lines for people, and the lines of a service's log that must not be there."""

from __future__ import annotations

import re
import sys
import time


def say(line: str) -> None:
    """Print a line with the time, at once.

    Args:
        line: For people.
    """
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stdout.flush()


def faults_of(log: str) -> list[str]:
    """Lines of a service's log that nothing which clients send may bring about.

    Args:
        log: All of it.

    Returns:
        Its errors and the beginnings of tracebacks.
    """
    return [line for line in log.splitlines() if re.search(r"^\S+( \S+)? (ERROR|CRITICAL) |^Traceback ", line)]
