"""A process that decodes one photo after another and can be ended in the middle of one, and what its parent sees of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

import service
from service import errors
from service.errors import CorruptImage, DeadlineExceeded, FacetError, ImageTooLarge
from service.vision.image import DecodedImage, Header, decode, limit_threads, probe

CPU_SECONDS: Final = 2.0
CPU_SECONDS_PER_MEGAPIXEL: Final = 0.25
"""What decoding may take of a processor's time: several times what the slowest format takes."""
FORGET_S: Final = 1.0
"""Seconds in which a process lets go of a photo, or is ended."""
SLACK_BYTES: Final = 64 * 2**20
"""Addresses beyond a photo's cost that the process may map: its threads' stacks, which are hardly touched."""
PARENTS: Final = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name))
"""Signals that are for the parent, whoever else is sent them: it drains, or says how far it has come, before it ends us."""
_THREADS: Final = 2
_MALLOC: Final = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "4194304"}
"""What a large photo took goes back to the system as soon as it is decoded."""
_FAILED: Final = "The image's decoder failed on it."


class DecoderFailure(Exception):
    """A bug of the decoder's own, not of the photo; the message is the process's traceback."""


class DecoderEnded(Exception):
    """Somebody else ended the process, such as a system that is short of memory; the photo is not to blame."""


class DecoderProcess:
    """The parent's end. One thread at a time may use it; `kill` may be called from any.

    `cpu_seconds` are those of a processor's time that any photo may take, and `per_megapixel` those that it may take beside
    them for each million of its pixels.
    """

    def __init__(self, cpu_seconds: float = CPU_SECONDS, per_megapixel: float = CPU_SECONDS_PER_MEGAPIXEL) -> None:
        self._socket, theirs = socket.socketpair()
        root = str(Path(service.__file__).resolve().parent.parent)
        paths = [root, *(path for path in sys.path if path and path != root)]
        with theirs, _held_back():
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this module
                [
                    sys.executable,
                    "-P",  # what lies in the folder that the service was started in is no module of its own
                    "-m",
                    "service.vision.decoder_process",
                    str(theirs.fileno()),
                    str(cpu_seconds),
                    str(per_megapixel),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **_MALLOC, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
            )
        self.killed = False
        self._in_step = True
        self._used = self._counted = 0.0

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another photo: what is left of an answer would be taken for that of the next one."""
        return not self.killed and self._in_step and self._process.poll() is None

    def spent(self) -> float:
        """CPU time that it has taken since it was last asked for it.

        Returns:
            Seconds; 0 where the system does not report them.
        """
        self._look()
        found, self._counted = self._used - self._counted, self._used
        return found

    def _look(self) -> None:
        """Note its CPU time, which nothing tells any more once it has ended and was waited for."""
        self._used = max(self._used, _cpu_seconds(self.pid))

    def probe(self, photo: bytes, *, max_pixels: int, side: int, deadline: float) -> Header:
        """As `image.probe`; the photo stays in the process for `decode`.

        Args:
            photo: Bytes of a file.
            max_pixels: Most pixels that are read.
            side: Longest side in pixels that will be looked at.
            deadline: A time of `time.monotonic`, in seconds.

        Returns:
            What the photo declares.

        Raises:
            FacetError: What `image.probe` raises.
            DecoderFailure: It raised what no photo is to blame for.
            DeadlineExceeded: The deadline passed, and the process was ended.
            CorruptImage: The photo ended the process.
            DecoderEnded: Something else did.
        """
        head = json.dumps({"size": len(photo), "max_pixels": max_pixels, "side": side}).encode() + b"\n"
        answer = self._call(head, photo, deadline)
        return Header(str(answer["format"]), int(answer["width"]), int(answer["height"]), int(answer["cost"]))

    def forget(self) -> None:
        """Let go of the photo that was probed, which is not to be decoded; an empty one takes its place."""
        with contextlib.suppress(FacetError, DecoderFailure, DecoderEnded):
            self.probe(b"", max_pixels=0, side=1, deadline=time.monotonic() + FORGET_S)

    def decode(self, header: Header, deadline: float) -> DecodedImage:
        """Decode the photo that was probed.

        Args:
            header: What `probe` returned.
            deadline: A time of `time.monotonic`, in seconds.

        Returns:
            The upright photo.

        Raises:
            ImageError: The photo cannot be decoded, or not within what it declared.
            CorruptImage: The process sent other pixels than those, or the photo ended it.
            DecoderFailure: The decoder raised what no photo is to blame for.
            DeadlineExceeded: The deadline passed, and the process was ended.
            DecoderEnded: Something else ended it.
        """
        answer = self._call(b'{"decode": true}\n', b"", deadline)
        height, width = int(answer["rows"]), int(answer["columns"])
        if not (0 < height * width * 3 <= header.cost):  # whatever a damaged process sends, no more is taken
            self.kill()
            raise CorruptImage(_FAILED)
        pixels = np.empty((height, width, 3), np.uint8)
        self._receive(pixels.reshape(-1).data, deadline)
        self._in_step = True
        return DecodedImage(pixels, int(answer["width"]), int(answer["height"]))

    def _call(self, head: bytes, body: bytes, deadline: float) -> dict[str, Any]:
        self._in_step = False
        try:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(head)
            self._socket.sendall(body)
        except TimeoutError as error:
            raise self._late() from error
        except OSError as error:
            raise self._ended() from error
        length = bytearray(4)
        self._receive(memoryview(length), deadline)
        text = bytearray(int.from_bytes(length, "big"))
        self._receive(memoryview(text), deadline)
        answer: dict[str, Any] = json.loads(text)
        self._in_step = "rows" not in answer  # else its pixels follow
        if "bug" in answer:
            raise DecoderFailure(str(answer["bug"]))
        if "error" in answer:
            kind = getattr(errors, str(answer["error"]), CorruptImage)
            raise kind(str(answer["message"]))
        return answer

    def _receive(self, into: memoryview, deadline: float) -> None:
        done = 0
        while done < len(into):
            try:
                self._socket.settimeout(_left(deadline))
                count = self._socket.recv_into(into[done:])
            except TimeoutError as error:
                raise self._late() from error
            except OSError as error:
                raise self._ended() from error
            if not count:
                raise self._ended()
            done += count

    def _late(self) -> DeadlineExceeded:
        self.kill()
        return DeadlineExceeded("The request's deadline passed while its photo was being decoded.")

    def _ended(self) -> Exception:
        """Whose fault it is that the process is gone, by how it ended: the photo's, somebody else's, or its own."""
        self._look()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may have closed its socket a moment before
            self._process.wait(FORGET_S)
        ended_by = -(self._process.returncode or 0)
        self.kill()
        if ended_by == signal.SIGPROF:
            return CorruptImage("The image takes far longer to decode than others of its size.")
        if ended_by in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS):
            return CorruptImage(_FAILED)
        if ended_by > 0:
            return DecoderEnded(f"a process that decodes photos was ended by signal {ended_by}")
        return DecoderFailure("The decoder's process ended by itself.")

    def kill(self) -> None:
        """End it now, whatever it does."""
        self.killed = True
        self._look()
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and let go of the connection."""
        self.kill()
        self._socket.close()


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """What starts inside is born with the parent's signals held back: it takes half a second to import what ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _left(deadline: float) -> float:
    """Seconds until the deadline, more than none, and no more than a socket's clock can count."""
    return min(1e6, max(1e-3, deadline - time.monotonic()))


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, user and system; 0 where the system does not report them, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The process itself ---------------------------------------------------------------------------------------------------


def main(descriptor: int, cpu_seconds: float, per_megapixel: float) -> None:
    """Serve the parent at the other end of a socket until it leaves.

    Args:
        descriptor: The socket's number.
        cpu_seconds: Seconds of a processor's time that any photo may take.
        per_megapixel: Seconds that it may take beside them for each million of its pixels.
    """
    for number in PARENTS:
        signal.signal(number, signal.SIG_IGN)
    limit_threads(_THREADS)
    with socket.socket(fileno=descriptor) as parent, parent.makefile("rb") as requests:
        photo, max_pixels, side, header = b"", 0, 0, Header("", 0, 0, 0)
        while line := requests.readline():
            request = json.loads(line)
            image: DecodedImage | None = None
            try:
                if "decode" in request:
                    with _bounded(header.cost, cpu_seconds + per_megapixel * header.width * header.height / 1e6):
                        image = decode(photo, max_pixels=max_pixels, side=side)
                    rows, columns = image.pixels.shape[:2]
                    answer = {"rows": rows, "columns": columns, "width": image.width, "height": image.height}
                    photo = b""
                else:
                    photo, max_pixels, side = requests.read(request["size"]), request["max_pixels"], request["side"]
                    with _bounded(4 * len(photo), cpu_seconds):
                        header = probe(photo, max_pixels=max_pixels, side=side)
                    answer = {"format": header.format, "width": header.width, "height": header.height, "cost": header.cost}
            except FacetError as error:
                photo, answer = b"", {"error": type(error).__name__, "message": str(error)}
            except MemoryError:
                photo, message = b"", "The image takes far more memory to decode than others of its size."
                answer = {"error": ImageTooLarge.__name__, "message": message}
            except Exception:  # noqa: BLE001 - a bug is the parent's to log and to answer, and the next photo is decoded
                photo, answer = b"", {"bug": traceback.format_exc()}
            text = json.dumps(answer).encode()
            parent.sendall(len(text).to_bytes(4, "big") + text)
            if image is not None:
                parent.sendall(image.pixels.reshape(-1).data)
                image = None  # else its pixels would stay until the next photo comes


@contextlib.contextmanager
def _bounded(count: int, cpu_seconds: float) -> Iterator[None]:
    """Let what runs inside map no more than `count` bytes on top, and compute no longer; the kernel ends the process then."""
    import resource

    soft, hard = before = resource.getrlimit(resource.RLIMIT_DATA)
    mapped = _mapped()
    if mapped:
        most = mapped + count + SLACK_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _mapped() -> int:
    """Bytes of data that this process has mapped, 0 where the system does not report it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmData")), 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
