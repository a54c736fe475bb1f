"""Send a service every kind of traffic for an hour and judge what it holds: `python -m tests.soak --minutes 60`.

The service is a process of its own, as `make serve` starts it, with the memory of the documented container. Every good photo
is answered alone at the start, and every later answer is held to that one. Once a minute all clients rest, so that what is
held without work shows too. The report goes to OUT/soak.json and, where matplotlib is there, OUT/soak.png. Exits with 0 where
memory, threads and descriptors stayed flat, every answer was equal, and no status was unexpected. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.service.server.test_serve import Service, started
from tests.soak.output import faults_of, say
from tests.soak.pictures import good, hostile
from tests.soak.sampling import Sample, look
from tests.soak.traffic import Traffic
from tests.soak.verdict import Level, levels, plot, windows

SAMPLE_S = 2.0
REST_EVERY_S = 60.0
LEAST_MINUTES = 5
"""Below this a part that is judged may hold no sample."""
REST_S = 3.0
"""How long nothing is asked before what is held at rest is sampled."""


async def soak(traffic: Traffic, process: int, minutes: float) -> tuple[list[Sample], list[Sample]]:
    """Run every client for some minutes and look at the service meanwhile.

    Args:
        traffic: The clients, which know the golden answers.
        process: Number of the service's main process.
        minutes: How long.

    Returns:
        Samples under traffic, and those at rest.
    """
    samples: list[Sample] = []
    at_rest: list[Sample] = []
    began = time.monotonic()
    rested, end = began, began + 60 * minutes
    rest_every = min(REST_EVERY_S, 60 * minutes / 20)
    tasks = traffic.clients()
    try:
        while time.monotonic() < end:
            await asyncio.sleep(SAMPLE_S)
            if time.monotonic() - rested >= rest_every:
                async with traffic.resting():
                    await asyncio.sleep(REST_S)
                    sample = look(process, time.monotonic() - began, traffic.record.answered)
                rested, into = time.monotonic(), at_rest
                if sample is not None:
                    say(
                        f"{sample.at / 60:.0f} min, {sample.answered} requests, {traffic.record.flaw_count} flaws; at rest "
                        f"{sample.anonymous_mib:.0f} MiB, {sample.threads} threads, {sample.descriptors} descriptors"
                    )
            else:
                sample, into = look(process, time.monotonic() - began, traffic.record.answered), samples
            if sample is None:
                traffic.record.flaw("the service's process has ended")
                break
            into.append(sample)
            ended = [task for task in tasks if task.done()]
            for task in ended:
                traffic.record.flaw(f"a client of the soak's own failed: {task.exception()!r}")
            if ended:
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return samples, at_rest


def report(
    traffic: Traffic, samples: list[Sample], at_rest: list[Sample], judged: list[Level], faults: list[str], options: object
) -> dict[str, object]:
    """Everything that was measured.

    Args:
        traffic: The clients and their record.
        samples: Looks under traffic.
        at_rest: Looks while nothing was asked.
        judged: The levels.
        faults: Lines of the service's log.
        options: What the run was asked for.

    Returns:
        A JSON document.
    """
    record = traffic.record
    return {
        "options": options,
        "levels": [asdict(level) | {"change": level.change} for level in judged],
        "requests": record.answered,
        "outcomes": dict(sorted(record.outcomes.items())),
        "answers": {
            "compared": record.compared,
            "identical": record.identical,
            "largest_difference": record.largest_difference,
        },
        "flaws": {"count": record.flaw_count, "first": record.flaws},
        "log": {"count": len(faults), "first": faults[:20]},
        "files": {"good": sorted(traffic.good), "hostile": {name: list(got) for name, got in traffic.golden.hostile.items()}},
        "samples": [asdict(sample) for sample in samples],
        "at_rest": [asdict(sample) for sample in at_rest],
    }


async def run(service: Service, options: argparse.Namespace) -> bool:
    """Soak a service that has started; write the report and say the verdict.

    Args:
        service: The process.
        options: Those of the command line.

    Returns:
        Whether all holds.
    """
    say(f"seed {options.seed}; the service is process {service.process.pid} at {service.url}")
    traffic = Traffic(service.port, good(options.photos), hostile(options.seed), random.Random(options.seed))
    try:
        await traffic.learn()
        say(f"golden answers of {len(traffic.good)} good and {len(traffic.hostile)} hostile files are taken")
        samples, at_rest = await soak(traffic, service.process.pid, options.minutes)
    finally:
        await traffic.close()
    faults = faults_of(service.log)
    for fault in faults[:3]:
        traffic.record.flaw(f"the service's log: {fault[:200]}")
    whole = max((one.at for one in (*samples, *at_rest)), default=0) >= windows(options.minutes)[1][1] - 4 * SAMPLE_S
    judged = levels(samples, at_rest, options.minutes) if whole else []
    options.out.mkdir(parents=True, exist_ok=True)
    asked = {name: str(value) for name, value in vars(options).items()}
    document = report(traffic, samples, at_rest, judged, faults, asked)
    (options.out / "soak.json").write_text(json.dumps(document, indent=1))
    try:
        plot(samples, at_rest, options.minutes, options.out / "soak.png")
    except ImportError:
        say("no plot: matplotlib is not installed")
    return verdict(traffic, judged)


def verdict(traffic: Traffic, judged: list[Level]) -> bool:
    """Say what was found.

    Args:
        traffic: The clients and their record.
        judged: The levels; none where the run was cut short.

    Returns:
        Whether all holds.
    """
    record = traffic.record
    for level in judged:
        say(
            f"{level.name}: {level.before:.0f}, at the end {level.after:.0f} ({level.change:+.1%}), "
            f"at most {level.most:.0f}: {'flat' if level.flat else 'NOT FLAT'}"
        )
    say(f"{record.compared} answers compared, {record.identical} identical, largest difference {record.largest_difference:g}")
    say(f"{record.answered} requests: {', '.join(f'{what} {count}' for what, count in sorted(record.outcomes.items()))}")
    for flaw in record.flaws:
        say(f"flaw: {flaw}")
    passed = bool(judged) and all(level.flat for level in judged) and not record.flaw_count
    say(f"VERDICT: {'passed' if passed else 'FAILED'}")
    return passed


def main() -> int:
    """Read the options, start the service, soak it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="5 or more; of less than 30, warming up is a large part")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of all that is chosen")
    parser.add_argument("--photos", type=Path, help="a folder of more good photos, of 48 MP in HEIC, say")
    parser.add_argument("--memory-mib", type=int, default=1024, help="FACET_MEMORY_MIB of the service")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    if options.minutes < LEAST_MINUTES:
        parser.error(f"--minutes must be {LEAST_MINUTES} or more")
    options.out.mkdir(parents=True, exist_ok=True)
    environment = {"FACET_MEMORY_MIB": str(options.memory_mib)}
    with started(options.out / "service.log", sys.executable, "-m", "service.cli", **environment) as service:
        return 0 if asyncio.run(run(service, options)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
