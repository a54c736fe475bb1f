"""The control groups of this process, which hold its container's limits, in versions 1 and 2 of the kernel's interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
"""Where the control groups are mounted."""
PROCESS: Final = Path("/proc/self/cgroup")
"""The file that names the process's own groups."""


def groups(controller: str, root: Path = ROOT, process: Path = PROCESS) -> Iterator[Path]:
    """Find whose limits hold for this process: its own groups, and all above them.

    A container sees its own group where they are mounted; a unit of systemd sees all of the machine's there.

    Args:
        controller: Such as `memory`.
        root: Where the control groups are mounted.
        process: The file that names the process's own groups.

    Yields:
        Folders, which need not be there; of version 1 those of the controller.
    """
    yield root
    yield root / controller
    try:
        lines = process.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder == top or top not in folder.parents:
                break
            yield folder
