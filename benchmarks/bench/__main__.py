"""Measure this checkout beside an earlier commit and the published stack, and write a report.

    make bench [OUT=runs/bench] [ARGS="--only latency,closed --base v1 --quick"]
    make bench ARGS="--only faces,pixels,clients,processes --page docs/capacity.md"
    make bench ARGS="--only peers"

All are services of their own, on this machine, in one run, and take turns. Quote ratios: a machine's speed drifts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from benchmarks.bench import capacity_page, measures, report, sizing
from benchmarks.bench.limit import networks_alone
from benchmarks.bench.peers import PEERS, PeerError
from benchmarks.bench.peers import running as running_peer
from benchmarks.bench.photos import of_sizes, photos, written
from benchmarks.bench.variants import BASE, Variant, checkout, facet, published
from benchmarks.serving import ROOT, end_as_by_ctrl_c
from service.models.store import ModelStore
from tests.soak.pictures import EXAMPLES, FORMATS, encode, small

COMPARED = ("start", "latency", "sizes", "limit", "closed", "open", "models", "memory")
BESIDE = frozenset({"start", "latency", "sizes", "closed", "open", "memory"})
"""Those for which the earlier commit runs; no other section needs it to be there."""
SIZED = ("faces", "pixels", "clients", "processes")
"""What docs/capacity.md is made of."""
SECTIONS = (*COMPARED, *SIZED, "peers")
ONE_FACE = "1 face, 512×512"
GROUP = "7 faces, 1280×960"


def revision(name: str) -> str:
    """The short hash of a commit, with a plus where it is HEAD and files differ from it."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--short", name], check=True, capture_output=True, text=True).stdout.strip()
    changed = name == "HEAD" and subprocess.run([*git, "diff", "--quiet", "HEAD"], check=False).returncode != 0
    return found + "+" * changed


def processor() -> str:
    """What the machine calls its processor, where it does."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def models(rounds: int) -> list[measures.Row]:
    """Every attribute model in f32, bf16 and the arithmetic of its variants, one service after the other."""
    rows = []
    made, store = photos(), ModelStore(ROOT / "model_store")
    newest = {one.name: one for one in store.manifests() if one.input is not None}
    for name, manifest in newest.items():
        for precision in ("f32", "bf16", *store.variants(manifest)):
            settings = {"FACET_MODEL": name, "FACET_MODEL_VERSION": str(manifest.version), "FACET_PRECISION": precision}
            with facet(f"{name}/{manifest.version}, {precision}", settings=settings) as one:
                rows += [
                    row | {"times": None}
                    for row in measures.latency([one], {key: made[key] for key in (ONE_FACE, GROUP)}, rounds)
                ]
    return rows


def sized(found: dict[str, Any], only: set[str], photo: Path, rounds: int, seconds: float) -> None:
    """Add rows of the sections that say what a photo costs, and what a machine does."""
    say = Console(stderr=True, highlight=False).print
    if only & {"faces", "pixels", "clients"}:
        with facet("here") as one, tempfile.TemporaryDirectory() as environment:
            if "faces" in only:
                say("faces")
                found["faces"] = sizing.by_faces(one, rounds)
            if "pixels" in only:
                say("pixels")
                try:
                    heic = sizing.heics(EXAMPLES / "group.jpg", Path(environment), sizing.WIDTHS)
                except PeerError as error:
                    say(f"HEIC is left out: {error}")
                    heic = {}
                found["pixels"] = sizing.by_pixels(one, rounds, heic)
            if "clients" in only:
                say("clients")
                found["clients"] = measures.closed_loop([one], photo, sizing.CLIENTS, seconds)
    if "processes" in only:
        say("processes")
        found["processes"] = sizing.by_processes(photo, len(os.sched_getaffinity(0)), seconds)


def peers(folder: Path, rounds: int) -> list[measures.Row]:
    """Facet and the other systems' own paths in turn; one that cannot be installed is a row with the reason."""
    made = photos()
    files = {title: folder / f"peers-{number}.jpg" for number, title in enumerate((ONE_FACE, GROUP))}
    for title, path in files.items():
        path.write_bytes(made[title])
    missing: list[measures.Row] = []
    with ExitStack() as stack:
        running = []
        for peer in PEERS:
            try:
                running.append(stack.enter_context(running_peer(peer)))
            except PeerError as error:
                missing.append({"service": peer.name, "note": str(error)})
        one = stack.enter_context(facet("here"))
        return measures.beside_peers(one, running, files, rounds) + missing


def compared(found: dict[str, Any], given: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    """Add rows of the sections that compare this checkout with others."""
    say = Console(stderr=True, highlight=False).print
    only: set[str] = set(given.only)
    rounds, seconds = (5, 5.0) if given.quick else (15, 20.0)
    (photo,) = written(folder, (ONE_FACE,))
    earlier = stack.enter_context(checkout(given.base)) if only & BESIDE else ROOT
    services = {
        "published": partial(published, "published"),
        "base": partial(facet, "base", earlier),
        "here": partial(facet, "here"),
    }
    if given.without_published:
        del services["published"]
    if "start" in only:
        say("start")
        found["start"] = measures.starts(services, 2 if given.quick else 5)
    if "limit" in only:
        say("limit")
        found["limit"] = networks_alone(ROOT / "model_store", rounds)
    if "models" in only:
        say("models")
        found["models"] = models(rounds)
    if only & {"latency", "sizes", "closed", "open"}:
        with ExitStack() as running:
            variants: list[Variant] = [running.enter_context(start()) for start in services.values()]
            if "latency" in only:
                say("latency")
                found["latency"] = measures.latency(variants, photos(), rounds)
            if "sizes" in only:
                say("sizes")
                found["sizes"] = measures.sizes(variants, of_sizes(30 if given.quick else 120), 3)
            if only & {"closed", "open"}:
                say("closed")
                clients = (1, 4, 16) if given.quick else (1, 2, 4, 8, 16, 32, 64)
                found["closed"] = measures.closed_loop(variants, photo, clients, seconds)
            if "open" in only:
                say("open")
                best = {
                    one.name: max(row["photos_per_second"] for row in found["closed"] if row["service"] == one.name)
                    for one in variants
                }
                shares = (0.75, 2) if given.quick else (0.5, 0.75, 1, 1.5, 2, 4)
                pair = [one for one in variants if one.name != "published"]  # it refuses nothing, and its line has no end
                found["open"] = measures.open_loop(pair, photo, best, shares, seconds)
    if "memory" in only:
        say("memory")
        mixed = mixture(folder)
        counts = (50, 200) if given.quick else (200, 2000, 10000)
        for start in (services["base"], services["here"]):
            with start() as one:
                found.setdefault("memory", []).extend(measures.memory([one], mixed, counts))


def measure(found: dict[str, Any], given: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    """Add rows by section, of all that are asked for, each as soon as it is there."""
    only: set[str] = set(given.only)
    rounds, seconds = (5, 5.0) if given.quick else (15, 20.0)
    sized(found, only & set(SIZED), written(folder, (ONE_FACE,))[0], rounds, seconds)
    if "peers" in only:
        found["peers"] = peers(folder, rounds)
    if only & set(COMPARED):
        compared(found, given, folder, stack)


def report_to(out: Path, document: dict[str, Any]) -> str:
    """Write the report's files, and give its text."""
    (out / "report.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = report.markdown(document)
    (out / "report.md").write_text(text, encoding="utf-8")
    report.plot(document, out)
    return text


def mixture(folder: Path) -> list[Path]:
    """Photos of every format, sizes and numbers of faces, in one order for all."""
    group = Image.open(EXAMPLES / "group.jpg").convert("RGB")
    files = []
    for number, form in enumerate(FORMATS):
        for side in (320, 640, 1280, 2400):
            size = (side, round(side * group.height / group.width) + number)
            files.append(small(form) if form == "heic" else encode(group.resize(size), form))
    paths = [folder / f"mixed-{number}.bin" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths + written(folder, tuple(photos()))


def sections(text: str) -> list[str]:
    """The sections that are named, separated by commas."""
    names = text.split(",")
    if wrong := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"no section {', '.join(sorted(wrong))}; there are {', '.join(SECTIONS)}")
    return names


def page(text: str) -> Path:
    """The page that is filled in at the end; whether it is there is known at once."""
    if not (path := Path(text)).is_file():
        raise argparse.ArgumentTypeError(f"there is no page {path}")
    return path


def main() -> None:
    """Read the options, measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "runs/bench", help="folder of the report")
    parser.add_argument("--base", default=BASE, help="the commit to compare with")
    parser.add_argument("--only", type=sections, default=list(COMPARED), help=f"sections, of {','.join(SECTIONS)}")
    parser.add_argument("--peers", action="store_true", help="the other systems too, installed in environments of their own")
    parser.add_argument("--page", type=page, help=f"fill in this page, such as docs/capacity.md, from {','.join(SIZED)}")
    parser.add_argument("--quick", action="store_true", help="a few minutes, for a first look")
    parser.add_argument("--without-published", action="store_true", help="leave the published stack out")
    given = parser.parse_args()
    given.only += ["peers"] * given.peers + [name for name in SIZED if given.page and name not in given.only]
    end_as_by_ctrl_c()
    given.out.mkdir(parents=True, exist_ok=True)
    facts = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": processor(),
        "here": revision("HEAD"),
        **({"base": revision(given.base)} if BESIDE & set(given.only) else {}),
        "CPUs": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "AMX": "amx_tile" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False,
        "load average before": round(os.getloadavg()[0], 1),
    }
    document: dict[str, Any] = {"run": facts}
    try:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            measure(document, given, Path(folder), stack)
    finally:  # what was measured until something failed is not lost
        text = report_to(given.out, document) if len(document) > 1 else ""
    if given.page:
        capacity_page.publish(document, given.page)
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
