"""Photos of every kind through the decoder's processes: the same pixels, an end in time, within the memory."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from service.errors import CorruptImage, DeadlineExceeded, ImageTooLarge, NotReady, QueueFull
from service.inference import decoding
from service.inference.decoding import PhotoDecoder
from service.inference.memory import MIB, MemoryBudget, held
from service.metrics import DECODER_CPU_SECONDS
from service.vision import structure
from service.vision.decoder_process import DecoderFailure, DecoderProcess
from service.vision.image import decode, is_simple, probe
from tests.conftest import encoded

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are handed sockets")
ROOT = Path(__file__).resolve().parents[3]
MOST = 64_000_000
PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture
def decoder() -> Iterator[PhotoDecoder]:
    made = PhotoDecoder(MemoryBudget(600 * MIB), 2)
    yield made
    made.close()


def look(decoder: PhotoDecoder, data: bytes, seconds: float = 60) -> object:
    return decoder.decode(data, max_pixels=MOST, side=1280, deadline=time.monotonic() + seconds)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def run_length_bitmap(width: int, height: int, rows: int) -> bytes:
    """A BMP of 8 bits whose rows end at once: two bytes each, and Pillow fills them in Python."""
    body = b"\x01\x01\x00\x00" * rows + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(body), 0, 0, 54 + 1024) + head + bytes(1024) + body


@pytest.mark.parametrize(
    ("form", "options", "simple"),
    [
        ("JPEG", {}, True),
        ("JPEG", {"progressive": True}, True),
        ("PNG", {}, True),
        ("WEBP", {}, True),
        ("WEBP", {"lossless": True}, True),
        ("AVIF", {}, False),
        ("GIF", {}, False),
        ("BMP", {}, True),
    ],
)
def test_every_format_gives_the_pixels_that_it_gives_here(
    decoder: PhotoDecoder, form: str, options: dict[str, object], simple: bool
) -> None:
    data = encoded(PICTURE, form, **options)
    assert is_simple(data) is simple
    found = look(decoder, data)
    assert np.array_equal(found.pixels, decode(data, max_pixels=MOST, side=1280).pixels)
    assert (found.width, found.height) == (80, 60)


def test_a_damaged_photo_is_corrupt_and_the_next_one_is_read(decoder: PhotoDecoder) -> None:
    data = encoded(PICTURE, "AVIF")
    assert not is_simple(data)
    with pytest.raises(CorruptImage):
        look(decoder, data[: len(data) // 2])
    assert look(decoder, data).width == 80


LARGE = Image.new("RGB", (2100, 2100))


@pytest.mark.parametrize(
    "data",
    [
        saved(LARGE, "JPEG", progressive=True, subsampling=0),
        saved(LARGE, "WEBP", method=0),
        saved(LARGE, "BMP"),
        saved(Image.new("RGB", (64, 64)), "WEBP", save_all=True, append_images=[Image.new("RGB", (64, 64), "red")]),
        saved(Image.new("RGB", (64, 64)), "WEBP", exif=b"Exif\0\0" + bytes(2**20 + 1)),
        encoded(PICTURE, "BMP")[:30] + b"\x01" + encoded(PICTURE, "BMP")[31:],
        b"BM" + bytes(12) + b"\x0c\x00\x00\x00" + bytes(32),
        encoded(PICTURE, "JPEG", progressive=True)[:-2] + bytes(2**22),
    ],
    ids=["jpeg of scans", "webp", "bmp", "animation", "metadata", "run lengths", "old header", "trailing bytes"],
)
def test_what_is_large_or_repeats_itself_is_not_simple(data: bytes) -> None:
    assert not is_simple(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photo_of_a_large_colour_profile_is_not_simple(form: str) -> None:
    """A chain of thousands of steps takes a processor seconds to compile, and nothing ends that on a thread."""
    size = structure.SIMPLE_PROFILE_BYTES
    assert is_simple(encoded(PICTURE, form, icc_profile=bytes(size // 2)))
    assert not is_simple(encoded(PICTURE, form, icc_profile=bytes(size + 1)))


def test_a_small_jpeg_is_simple_up_to_sixteen_scans() -> None:
    data = encoded(PICTURE, "JPEG", progressive=True)
    scans, last = data.count(b"\xff\xda"), data[data.rindex(b"\xff\xda") : -2]
    assert is_simple(data[:-2] + last * (16 - scans) + data[-2:])
    assert not is_simple(data[:-2] + last * (17 - scans) + data[-2:])


def test_more_scans_than_the_cap_are_corrupt() -> None:
    data = encoded(PICTURE, "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    assert scans > 4
    structure.jpeg(data, scans)
    with pytest.raises(CorruptImage, match="scans"):
        structure.jpeg(data, scans - 1)
    more = data[:-2] + data[data.rindex(b"\xff\xda") : -2] * structure.MAX_SCANS + data[-2:]
    with pytest.raises(CorruptImage, match="more than 100 scans"):
        probe(more, max_pixels=MOST)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_more_parts_than_any_encoder_writes_are_corrupt(form: str) -> None:
    data = encoded(PICTURE, form)
    empty, at = (
        (b"\xff\xfe\x00\x02", 2) if form == "JPEG" else (b"\x00\x00\x00\x00abCd" + struct.pack(">I", zlib.crc32(b"abCd")), 33)
    )
    with pytest.raises(CorruptImage, match="segments"):
        probe(data[:at] + empty * (structure.MAX_PARTS + 1) + data[at:], max_pixels=MOST)
    some = data[:at] + empty * 2000 + data[at:]
    assert not is_simple(some)
    assert probe(some, max_pixels=MOST).cost >= probe(data, max_pixels=MOST).cost + 2000 * 256


@pytest.mark.parametrize(
    "flood", [b"\xff" * 40_000, b"\xff" * 40_000 + b"\x00", b"\xff\xd0" * 500_000], ids=["fill", "broken fill", "restarts"]
)
def test_bytes_before_a_marker_cost_no_more_than_their_number(flood: bytes) -> None:
    began = time.process_time()
    structure.jpeg(b"\xff\xd8" + flood)
    structure.lacks_end_alone(b"\xff\xd8" + flood)
    assert time.process_time() - began < 3


def test_a_marker_behind_fill_bytes_is_found() -> None:
    data = encoded(PICTURE, "JPEG")
    filled = data[:2] + b"\xff" * 100 + data[2:]
    assert structure.jpeg(filled) == structure.jpeg(data)


def test_more_fill_bytes_than_anybody_writes_are_corrupt() -> None:
    data = encoded(PICTURE, "JPEG")
    most = structure.MAX_FILL_BYTES
    assert is_simple(data[:2] + b"\xff" * most + data[2:])
    with pytest.raises(CorruptImage, match="belong to none"):
        is_simple(data[:2] + b"\xff" * (most + 1) + data[2:])
    assert is_simple(data + b"\xff" * (most + 1))


def test_more_starts_of_an_image_than_segments_are_counted_are_corrupt() -> None:
    data = encoded(PICTURE, "JPEG")
    with pytest.raises(CorruptImage, match="segments"):
        is_simple(data[:2] + b"\xff\xd8" * (structure.MAX_PARTS + 1) + data[2:])


def test_a_photo_that_takes_too_long_is_ended_by_its_own_clock() -> None:
    """A picture of runs for which Pillow works in Python, and a clock that is set lower than the service's."""
    data = run_length_bitmap(16, 400_000, 400_000)
    later = time.monotonic() + 60
    process = DecoderProcess(cpu_seconds=0.1, per_megapixel=0)
    try:
        header = process.probe(data, max_pixels=MOST, side=1280, deadline=later)
        with pytest.raises(CorruptImage, match="longer to decode"):
            process.decode(header, later)
        assert not process.alive
    finally:
        process.close()


def there(pid: int) -> bool:
    """Whether a process is there, and more than what its parent has not looked at yet."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_large_bitmap_of_runs_is_too_large(decoder: PhotoDecoder) -> None:
    assert look(decoder, run_length_bitmap(400, 300, 300)).width == 400
    with pytest.raises(ImageTooLarge, match="run-length coded BMP 8 million"):
        look(decoder, run_length_bitmap(4000, 2001, 1))


BUG = """
from PIL import Image, ImageFile
class Failing(ImageFile.ImageFile):
    format = "GIF"
    def _open(self):
        self._size, self._mode = (64, 96), "RGB"
    def load(self):
        raise AttributeError("a bug")
Image.init()
Image.register_open("GIF", Failing)
"""


def test_a_bug_in_the_process_is_told_from_a_damaged_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(BUG)
    monkeypatch.syspath_prepend(str(tmp_path))
    process = DecoderProcess()
    with contextlib.closing(process):
        deadline = time.monotonic() + 60
        header = process.probe(saved(Image.fromarray(PICTURE), "GIF"), max_pixels=MOST, side=1280, deadline=deadline)
        with pytest.raises(DecoderFailure, match="a bug"):
            process.decode(header, deadline)
        assert process.alive
        header = process.probe(saved(Image.fromarray(PICTURE), "PNG"), max_pixels=MOST, side=1280, deadline=deadline)
        assert process.decode(header, deadline).width == 80


def test_nothing_is_imported_from_the_folder_that_it_starts_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are often in that folder, and somebody else's."""
    for name in ("json.py", "service.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(PhotoDecoder(MemoryBudget(600 * MIB), 1)) as decoder:
        assert look(decoder, encoded(PICTURE, "GIF")).width == 80


def test_the_deadline_ends_a_decoder_that_is_stuck(decoder: PhotoDecoder) -> None:
    look(decoder, encoded(PICTURE, "GIF"))
    stuck = decoder.idle[-1]
    os.kill(stuck, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        look(decoder, encoded(PICTURE, "GIF"), 0.2)
    assert time.monotonic() - began < 2
    assert not there(stuck)
    assert look(decoder, encoded(PICTURE, "GIF")).width == 80


def test_closing_ends_what_is_being_decoded(decoder: PhotoDecoder) -> None:
    look(decoder, encoded(PICTURE, "GIF"))
    os.kill(decoder.idle[-1], signal.SIGSTOP)
    failures = list[BaseException]()

    def call() -> None:
        try:
            look(decoder, encoded(PICTURE, "GIF"))
        except NotReady as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.1)
    decoder.close()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert len(failures) == 1


def test_where_the_system_lends_no_process_the_next_photo_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PICTURE, "GIF")
    decoder = PhotoDecoder(MemoryBudget(1024 * MIB), 1)
    try:
        assert look(decoder, data).width == 80

        def refuse() -> DecoderProcess:
            raise BlockingIOError("Resource temporarily unavailable")

        with monkeypatch.context() as patched:
            patched.setattr(decoding, "DecoderProcess", refuse)
            os.kill(decoder.idle[-1], signal.SIGKILL)
            with pytest.raises(QueueFull):
                look(decoder, data)
            began = time.monotonic()
            with pytest.raises(QueueFull):
                look(decoder, data)
            assert time.monotonic() - began < 5, "it does not wait for what is not there"
        assert look(decoder, data).width == 80
    finally:
        decoder.close()


def test_a_photo_is_not_blamed_for_processes_that_were_ended_before_it_came(
    decoder: PhotoDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a system that is short of memory, of which its operator should know."""
    decoder.start(2)
    for _ in range(3):
        for pid in decoder.idle:
            os.kill(pid, signal.SIGKILL)
        caplog.clear()
        assert look(decoder, encoded(PICTURE, "GIF")).width == 80
        assert "a process that decodes photos was ended" in caplog.text


def test_a_photo_whose_processes_are_ended_again_and_again_is_to_come_later(decoder: PhotoDecoder) -> None:
    over = threading.Event()

    def end() -> None:
        while not over.wait(0.01):
            for pid in decoder.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        with pytest.raises(QueueFull):
            look(decoder, encoded(PICTURE, "GIF"))
    finally:
        over.set()
        thread.join()
    assert look(decoder, encoded(PICTURE, "GIF")).width == 80


def test_a_process_that_does_not_come_up_is_the_services_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('no memory for it')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with contextlib.closing(PhotoDecoder(MemoryBudget(600 * MIB), 1)) as broken, pytest.raises(DecoderFailure):
        look(broken, encoded(PICTURE, "GIF"))


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_that_are_for_the_service_end_no_decoder(decoder: PhotoDecoder, sent: signal.Signals) -> None:
    """Terminals, and `systemctl kill`, send them to every process."""
    look(decoder, encoded(PICTURE, "GIF"))
    (pid,) = decoder.processes
    os.kill(pid, sent)
    assert look(decoder, encoded(PICTURE, "GIF")).width == 80
    assert decoder.processes == (pid,)


def test_who_reads_the_metrics_waits_for_no_process_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read on the event loop, and a busy system may take a while to lend a process."""
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> DecoderProcess:
        begun.set()
        go_on.wait(30)
        raise OSError

    def start() -> None:
        with contextlib.suppress(OSError):
            decoder.start()

    monkeypatch.setattr(decoding, "DecoderProcess", slow)
    decoder = PhotoDecoder(MemoryBudget(MIB), 1)
    starting, asking = threading.Thread(target=start), threading.Thread(target=lambda: decoder.processes)
    starting.start()
    try:
        assert begun.wait(30)
        asking.start()
        asking.join(5)
        assert not asking.is_alive()
    finally:
        go_on.set()
        starting.join()
    decoder.close()


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_nor_one_that_is_coming_up(decoder: PhotoDecoder, sent: signal.Signals) -> None:
    """Ctrl-C in the first half second of `facet predict` showed a traceback of each decoder."""
    decoder.start()
    (pid,) = decoder.processes
    os.kill(pid, sent)
    assert look(decoder, encoded(PICTURE, "GIF")).width == 80
    assert decoder.processes == (pid,)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), "held back there, and not here"


def test_a_process_leaves_with_its_parent() -> None:
    code = "import os; from service.vision.decoder_process import DecoderProcess as D; print(D().pid, flush=True); os._exit(0)"
    parent = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    left = time.monotonic() + 20
    while there(int(parent.stdout)) and time.monotonic() < left:
        time.sleep(0.05)
    assert not there(int(parent.stdout))


# Memory ---------------------------------------------------------------------------------------------------------------

SIDE = 3600
SHADE = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 32 % 256).astype(np.uint8)
COLOUR = Image.fromarray(np.stack([SHADE, SHADE.T, 255 - SHADE], axis=2))


def _on_a_larger_screen() -> bytes:
    data = bytearray(saved(COLOUR.quantize(16).crop((0, 0, SIDE - 8, SIDE - 8)), "GIF"))
    data[6:10] = struct.pack("<HH", SIDE, SIDE)
    return bytes(data)


def _with_a_clear_level() -> bytes:
    data = made("png, 16 bits")
    clear = b"tRNS" + bytes(2)
    return data[:33] + struct.pack(">I", 2) + clear + struct.pack(">I", zlib.crc32(clear)) + data[33:]


KINDS = {
    "jpeg": lambda: saved(COLOUR, "JPEG"),
    "jpeg on its side": lambda: saved(COLOUR, "JPEG", exif=_on_its_side()),
    "jpeg without its end": lambda: saved(COLOUR, "JPEG")[:-2],
    "jpeg progressive": lambda: saved(COLOUR, "JPEG", progressive=True, subsampling=0),
    "png": lambda: saved(COLOUR, "PNG", compress_level=1),
    "png, a clear colour": lambda: saved(COLOUR, "PNG", compress_level=1, transparency=(1, 2, 3)),
    "png, 16 bits": lambda: saved(Image.fromarray(SHADE.astype(np.uint16) * 257), "PNG", compress_level=1),
    "png, 16 bits, a clear level": _with_a_clear_level,
    "png, grey, a clear level": lambda: saved(COLOUR.convert("L"), "PNG", compress_level=1, transparency=3),
    "png, palette": lambda: saved(COLOUR.quantize(16), "PNG", compress_level=1, transparency=3),
    "png, alpha": lambda: saved(COLOUR.convert("RGBA"), "PNG", compress_level=1),
    "png, grey and alpha": lambda: saved(COLOUR.convert("LA"), "PNG", compress_level=1),
    "webp": lambda: saved(COLOUR, "WEBP", method=0),
    "webp, lossless": lambda: saved(COLOUR, "WEBP", lossless=True, method=0, quality=0),
    "webp, alpha": lambda: saved(_with_alpha(), "WEBP", method=0),
    "webp, lossless, alpha": lambda: saved(_with_alpha(), "WEBP", lossless=True, method=0, quality=0),
    "webp, moving": lambda: saved(COLOUR, "WEBP", method=0, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]),
    "avif": lambda: saved(COLOUR, "AVIF", speed=10),
    "avif, 4:4:4": lambda: saved(COLOUR, "AVIF", speed=10, subsampling="4:4:4"),
    "avif, alpha": lambda: saved(_with_alpha(), "AVIF", speed=10),
    "avif, grey": lambda: saved(COLOUR.convert("L"), "AVIF", speed=10),
    "gif": lambda: saved(COLOUR.quantize(16), "GIF"),
    "gif, a clear colour": lambda: saved(COLOUR.quantize(16), "GIF", transparency=3),
    "gif, a part of its screen": _on_a_larger_screen,
    "bmp": lambda: saved(COLOUR, "BMP"),
    "bmp, runs": lambda: run_length_bitmap(SIDE, SIDE // 8, SIDE // 8),
}


def _on_its_side() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def _with_alpha() -> Image.Image:
    image = COLOUR.convert("RGBA")
    image.putalpha(Image.fromarray(SHADE))
    return image


def highest(pid: int) -> int:
    """Most bytes that a process has ever had in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


@lru_cache(maxsize=len(KINDS))
def made(kind: str) -> bytes:
    """A photo of this kind, encoded once."""
    return KINDS[kind]()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
@pytest.mark.parametrize("side", [1280, SIDE], ids=["reduced", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_photo_takes_more_memory_than_it_is_counted_for(kind: str, side: int) -> None:
    data = made(kind)
    process = DecoderProcess()
    try:
        later = time.monotonic() + 60
        small = saved(Image.new("RGB", (32, 32)), "WEBP")
        process.decode(process.probe(small, max_pixels=MOST, side=1280, deadline=later), later)
        before = highest(process.pid)
        header = process.probe(data, max_pixels=MOST, side=side, deadline=later)
        process.decode(header, later)
        taken = highest(process.pid) - before
    finally:
        process.close()
    assert taken <= header.cost + 4 * MIB, f"{taken / MIB:.0f} MiB taken, {header.cost / MIB:.0f} counted"


OWN_LIMIT = """
import resource
from service.vision import decoder_process

resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))
with decoder_process._bounded(2**31, 60):
    print(resource.getrlimit(resource.RLIMIT_DATA)[0])
    try:
        bytearray(2**30)
    except MemoryError:
        print("too large")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="its memory is bounded as Linux does")
def test_a_photo_that_passes_the_users_own_limit_of_memory_is_too_large() -> None:
    """`ulimit -d`, which the process may not raise for it."""
    done = subprocess.run([sys.executable, "-c", OWN_LIMIT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split("\n"), done.stderr) == ([str(2**30), "too large", ""], "")


@pytest.mark.skipif(sys.platform != "linux", reason="its memory is bounded as Linux does")
def test_pixels_for_which_there_is_no_memory_here_are_not_taken_for_the_answer_to_the_next_photo(decoder: PhotoDecoder) -> None:
    """They stay in the socket: each photo after it was 500, for ever."""
    photo, large = encoded(PICTURE, "GIF"), saved(Image.new("P", (6000, 4000)), "GIF")
    look(decoder, photo)
    status = Path("/proc/self/status").read_text()
    mapped = next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (mapped + 32 * MIB, hard))
    try:
        with pytest.raises(MemoryError):
            decoder.decode(large, max_pixels=MOST, side=6000, deadline=time.monotonic() + 60)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    assert look(decoder, photo).width == 80


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_a_process_keeps_no_pixels_of_a_photo_that_it_has_handed_over() -> None:
    process, until = DecoderProcess(), time.monotonic() + 60

    def decoded(width: int, height: int) -> None:
        photo = saved(Image.new("RGB", (width, height), "teal"), "JPEG")
        header = process.probe(photo, max_pixels=MOST, side=max(width, height), deadline=until)
        assert process.decode(header, until).pixels.shape == (height, width, 3)

    def held() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))

    try:
        decoded(64, 48)
        before = held()
        decoded(4000, 3000)
        while held() - before > 12 * MIB:  # of 34 MiB of pixels
            assert time.monotonic() < until, f"{(held() - before) / MIB:.0f} MiB are held"
            time.sleep(0.01)
    finally:
        process.close()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_a_process_keeps_no_photo_that_is_refused_after_its_header() -> None:
    photo = saved(Image.new("RGB", (64, 64)), "GIF") + bytes(16 * MIB)
    decoder = PhotoDecoder(MemoryBudget(MIB), 1)

    def held() -> int:
        status = Path(f"/proc/{decoder.idle[0]}/status").read_text()
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))

    try:
        look(decoder, encoded(PICTURE, "GIF"))
        before = held()
        with pytest.raises(ImageTooLarge):
            look(decoder, photo)
        assert held() - before < 4 * MIB
        assert look(decoder, encoded(PICTURE, "GIF")).width == 80
    finally:
        decoder.close()


def test_a_photo_that_cannot_fit_alone_is_too_large_and_four_wait_for_one_another() -> None:
    data = made("webp")
    cost = probe(data, max_pixels=MOST).cost
    small = PhotoDecoder(MemoryBudget(cost - 1), 2)
    with pytest.raises(ImageTooLarge, match="MiB of memory to decode"):
        look(small, data)
    small.close()
    enough = PhotoDecoder(MemoryBudget(cost), 2)
    shapes = list[tuple[int, ...]]()
    threads = [threading.Thread(target=lambda: shapes.append(look(enough, data).pixels.shape)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    enough.close()
    assert shapes == [(1800, 1800, 3)] * 4


SERVICE = """
import sys, threading, time
from service.errors import FacetError
from service.inference.decoding import PhotoDecoder
from service.inference.memory import MIB, MemoryBudget, tune_allocator

tune_allocator()
decoder = PhotoDecoder(MemoryBudget(int(sys.argv[1]) * MIB), 2)
decoder.start(2)
print("ready", flush=True)
for line in sys.stdin:
    path, count = line.split()
    photo, outcomes = open(path, "rb").read(), []

    def one():
        try:
            decoder.decode(photo, max_pixels=64_000_000, side=1280, deadline=time.monotonic() + 120)
            outcomes.append("read")
        except FacetError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=one) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*outcomes, flush=True)
"""
"""What decodes photos in a service, without all else: a path and how many at once in, what became of each out."""


class Decoding:
    """A process that decodes photos within a budget, with its own decoder processes, seen from outside."""

    def __init__(self, budget_mib: int) -> None:
        self.budget = budget_mib * MIB
        command = [sys.executable, "-c", SERVICE, str(budget_mib)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready\n"
        self.idle, before = self._held(), 0
        while self.idle > before + MIB:  # the decoder processes import what they need
            time.sleep(1)
            self.idle, before = self._held(), self.idle

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _held(self) -> int:
        """Bytes that it and its decoder processes hold, and no file does; pages that several share count once."""
        pid, total = self.process.pid, 0
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
                total += sum(1024 * int(line.split()[1]) for line in rollup if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total

    def decode(self, path: Path, count: int) -> tuple[list[str], int]:
        """What became of so many at once, and the most bytes that they took above an idle process."""
        assert self.process.stdin is not None
        answers = list[str]()
        self.process.stdin.write(f"{path} {count}\n")
        self.process.stdin.flush()
        reader = threading.Thread(target=lambda: answers.append(self._line()))
        reader.start()
        most = 0
        while reader.is_alive():
            most = max(most, self._held())
            reader.join(0.01)
        return answers[0].split(), most - self.idle

    def close(self) -> None:
        """End it, and with it its decoder processes."""
        self.process.communicate(timeout=30)


BUDGETS = {"1 GiB": 450, "512 MiB": 100}
"""MiB for photos that a container of so much memory leaves, with two CPUs; see `docs/reference/limits.md`."""
KEPT = 48 * MIB
"""What two decoder processes and the allocator may keep beside photos."""


@pytest.fixture(scope="module", params=BUDGETS)
def container(request: pytest.FixtureRequest) -> Iterator[Decoding]:
    """Photos are decoded within what a container of this size leaves for them."""
    decoding = Decoding(BUDGETS[request.param])
    yield decoding
    decoding.close()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_one_and_four_photos_stay_within_a_containers_memory(container: Decoding, tmp_path: Path, kind: str) -> None:
    path, photo = tmp_path / "photo", made(kind)
    path.write_bytes(photo)
    fits = probe(photo, max_pixels=MOST).cost <= container.budget
    for count in (1, 4):
        outcomes, taken = container.decode(path, count)
        assert outcomes == ["read" if fits else "image_too_large"] * count
        bodies = 2 * len(photo) * min(count, 2)  # which a service counts by themselves, twice
        assert taken <= container.budget + KEPT + bodies, f"{taken / MIB:.0f} MiB taken by {count}"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say what a process has computed")
def test_what_decoders_compute_is_counted_to_their_end(decoder: PhotoDecoder) -> None:
    """The process's own metric of CPU time knows nothing of other processes."""

    ticks = os.sysconf("SC_CLK_TCK")

    def counted() -> int:
        """Whole ticks of the system's clock: a difference of two sums of seconds is not exact."""
        return round(DECODER_CPU_SECONDS.collect()[0].samples[0].value * ticks)

    before = counted()
    look(decoder, saved(Image.new("RGB", (64, 64)), "AVIF"))
    (pid,) = decoder.processes
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    taken = int(fields[11]) + int(fields[12])
    assert 0 < taken - 0.05 * ticks <= counted() - before <= taken
    process = DecoderProcess()
    process.forget()
    process.close()
    assert process.spent() > 0, "what had ended before it was asked"
    assert process.spent() == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process holds")
def test_what_decoders_hold_is_counted_too(decoder: PhotoDecoder) -> None:
    """A container's limit is on all of its processes."""
    assert decoder.processes == ()
    look(decoder, saved(Image.new("RGB", (64, 64)), "AVIF"))
    assert len(decoder.processes) == 1
    own, both = held(), held(decoder.processes)
    assert both > own + 5 * MIB
    assert held([2**30]) <= both, "one that has ended holds nothing"
