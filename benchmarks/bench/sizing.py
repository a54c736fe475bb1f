"""What a photo costs by its faces and pixels, and what a machine does by processes: the figures of docs/capacity.md."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from benchmarks.bench import measures
from benchmarks.bench.peers import PATHS, python_environment, run
from benchmarks.bench.photos import EXAMPLES, crowd, jpeg
from benchmarks.bench.variants import Variant, facet

FACES = (0, 1, 2, 5, 7, 10, 20, 50, 100)
WIDTHS = (577, 1155, 1633, 2309, 3266, 4000, 5657, 8000)
"""Pixels from left to right of pictures of 4:3, of 0.25 to 48 megapixels."""
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
CELL = 128
COLUMNS = 10


def photos_by_faces() -> dict[int, bytes]:
    """JPEGs of 1280×1280 pixels: portraits of 128 pixels, spread over a background without any face.

    Returns:
        Files by the number of portraits.
    """
    sheet = crowd(COLUMNS, COLUMNS, CELL)
    background = Image.effect_noise(sheet.size, 24).convert("RGB")
    found = {}
    for count in FACES:
        picture = background.copy()
        for number in range(count):
            row, column = divmod(number * COLUMNS**2 // count, COLUMNS)
            corner = (column * CELL, row * CELL)
            picture.paste(sheet.crop((*corner, corner[0] + CELL, corner[1] + CELL)), corner)
        found[count] = jpeg(picture)
    return found


def heics(picture: Path, folder: Path, widths: tuple[int, ...]) -> dict[int, bytes]:
    """Write a picture as HEIC, with a package in an environment of its own: what Facet installs reads that format only.

    Args:
        picture: Any picture.
        folder: Where the environment is made.
        widths: Pixels from left to right.

    Returns:
        Files by width.

    Raises:
        PeerError: The package could not be installed, or lacks the encoder.
    """
    python = python_environment(folder, PATHS / "heic.txt")
    run([python, str(PATHS / "write_heic.py"), str(picture), str(folder), *map(str, widths)])
    return {width: (folder / f"{width}.heic").read_bytes() for width in widths}


def by_faces(one: Variant, rounds: int) -> list[measures.Row]:
    """Latency and CPU by the number of portraits in a picture of one size.

    Args:
        one: The service.
        rounds: How often.

    Returns:
        A row a number: faces that were found, median wall and mean CPU milliseconds.
    """
    rows = measures.latency([one], {str(count): data for count, data in photos_by_faces().items()}, rounds)
    return [{"portraits": int(row["photo"]), **_cost(row)} for row in rows]


def by_pixels(one: Variant, rounds: int, heic: dict[int, bytes], widths: tuple[int, ...] = WIDTHS) -> list[measures.Row]:
    """Latency and CPU by megapixels and format, of a picture of seven faces.

    Args:
        one: The service.
        rounds: How often.
        heic: HEIC files by width; a width without one has no row.
        widths: Pixels from left to right.

    Returns:
        A row a format and size: its megapixels, the file's MB, faces, and its cost; null where the service refused it.
    """
    group = Image.open(EXAMPLES / "group.jpg").convert("RGB")
    rows = []
    for width in widths:
        picture = group.resize((width, round(width * group.height / group.width)), Image.Resampling.BICUBIC)
        png = io.BytesIO()
        picture.save(png, "PNG", compress_level=1)
        files = {"JPEG": jpeg(picture), "PNG": png.getvalue()} | ({"HEIC": heic[width]} if width in heic else {})
        size = round(picture.width * picture.height / 1e6, 2)
        for row in measures.latency([one], files, rounds):
            about = {"format": row["photo"], "megapixels": size, "file_mb": round(len(files[row["photo"]]) / 1e6, 2)}
            rows.append(about | _cost(row))
    return rows


def by_processes(photo: Path, cpus: int, seconds: float) -> list[measures.Row]:
    """Photos a second of one machine by how many processes share its CPUs, each with as many threads as it has CPUs.

    Args:
        photo: The file that all send.
        cpus: CPUs of the machine.
        seconds: How long each measurement takes.

    Returns:
        A row a number of processes: CPUs of each, the sum of their rates, the worst median and tail, CPU milliseconds a photo,
        and MiB of all.
    """
    rows = []
    for count in [number for number in (1, 2, 4, 8, 16) if cpus % number == 0]:
        threads = str(cpus // count)
        with ExitStack() as stack:
            settings = {"FACET_THREADS": threads, "FACET_WORKERS": threads}
            running = [stack.enter_context(facet(f"{number}", settings=settings)) for number in range(count)]
            for one in running:
                measures.warm(one, photo)
            with ThreadPoolExecutor(count) as pool:
                clients = max(1, 8 * cpus // count)
                found = list(pool.map(lambda one, number=clients: measures.generate(one, [photo], number, seconds), running))
            answered = sum(row["answered"] for row in found)
            rows.append(
                {
                    "processes": count,
                    "CPUs of each": cpus // count,
                    "photos_per_second": round(sum(row["photos_per_second"] for row in found), 2),
                    "p50_ms": max(row["latency_ms"].get("p50", 0.0) for row in found),
                    "p95_ms": max(row["latency_ms"].get("p95", 0.0) for row in found),
                    "cpu_ms": round(sum(row["cpu_ms"] * row["answered"] for row in found) / max(answered, 1), 1),
                    "mib": round(sum(one.memory_mib() for one in running)),
                }
            )
    return rows


def _cost(row: measures.Row) -> measures.Row:
    return {name: row[name] for name in ("faces", "ms", "cpu_ms")}
