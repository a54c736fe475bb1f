"""What a service holds while it runs: memory, threads and descriptors of its process and of all that it has started."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import family, parents


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a service, `at` seconds after the traffic began.

    `anonymous_mib` is memory that no file holds, private or shared: what the kernel cannot drop. `pss_mib` adds the pages of
    libraries, each divided by the processes of the whole machine that map it, and `rss_mib` counts those in full for each.
    Threads and descriptors are those of the main process; its decoders come and go.
    """

    at: float
    anonymous_mib: float
    pss_mib: float
    rss_mib: float
    main_anonymous_mib: float
    threads: int
    descriptors: int
    processes: int
    answered: int


def _rollup(process: int) -> Mapping[str, float]:
    """MiB by the names of `smaps_rollup`; nothing where the process has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return {}
    return {name: int(size) / 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def _anonymous(rollup: Mapping[str, float]) -> float:
    return rollup.get("Pss_Anon", 0.0) + rollup.get("Pss_Shmem", 0.0)


def look(process: int, at: float, answered: int) -> Sample | None:
    """Look at a service.

    Args:
        process: Number of its main process.
        at: Seconds since the traffic began.
        answered: Requests that were answered by now.

    Returns:
        The sample, or None where the process has ended.
    """
    everyone = family(process, parents())
    rollups = {one: _rollup(one) for one in everyone}
    try:
        threads = len(list(Path(f"/proc/{process}/task").iterdir()))
        descriptors = len(list(Path(f"/proc/{process}/fd").iterdir()))
    except OSError:
        return None
    return Sample(
        at=round(at, 1),
        anonymous_mib=round(sum(map(_anonymous, rollups.values())), 1),
        pss_mib=round(sum(one.get("Pss", 0.0) for one in rollups.values()), 1),
        rss_mib=round(sum(one.get("Rss", 0.0) for one in rollups.values()), 1),
        main_anonymous_mib=round(_anonymous(rollups[process]), 1),
        threads=threads,
        descriptors=descriptors,
        processes=len(everyone),
        answered=answered,
    )
