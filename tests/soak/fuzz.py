"""Send a service damaged requests for minutes: `python -m tests.soak.fuzz --minutes 5 --seed 7`.

The service is a process of its own with the real networks, as `make serve` starts it, and the memory of the documented
container. Pictures of every format, multipart bodies, JSON, whole HTTP requests and messages of streams are damaged at random;
what a number stands for depends on the seed and the number alone. Exits with 0 where every answer was a documented one and came
in time, a whole photo is answered as before, and the process lives, logs no error and stays within its memory. What was not
answered so is kept in OUT. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.service.server.test_serve import Service, started
from tests.soak.answers import distance, essence, flaw_of
from tests.soak.output import faults_of, say
from tests.soak.pictures import EXAMPLES, FORMATS, mutate, small, unusual
from tests.soak.sampling import look

AT_ONCE: Final = 4
CHECK_EVERY: Final = 200
"""Requests from one look at the whole photo to the next."""
TIMEOUT_S: Final = 60.0
"""A request whose answer takes longer hangs: its deadline is 10 s."""
SILENCE_S: Final = 2.0
"""How long to wait for the answer to a damaged HTTP request, for which the service may rightly wait longer."""
SIDES: Final = (16, 64, 200, 640)

Step = Callable[[random.Random], Awaitable[tuple[str, bytes, str | None]]]
"""Sends one request; returns what became of it, what was sent, and what is wrong with the answer."""


class Fuzzer:
    """Requests by number, and what came back."""

    def __init__(self, service: Service, seed: int, out: Path) -> None:
        self.outcomes: Counter[str] = Counter()
        self.flaws: list[str] = []
        self.most_mib = 0.0
        self._service, self._seed, self._out = service, seed, out
        self._client = httpx.AsyncClient(base_url=service.url, timeout=TIMEOUT_S)
        self._files = [*(small(form, side) for form in FORMATS for side in SIDES), *unusual().values()]
        self._photo = (EXAMPLES / "astronaut.jpg").read_bytes()
        self._golden: Any = None
        self._steps: tuple[Step, ...] = (
            self.picture,
            self.picture,
            self.picture,
            self.form,
            self.document,
            self.http,
            self.messages,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def run(self, numbers: Iterator[int], end: float) -> None:
        """Send requests of these numbers until the time is over or the process has ended.

        Args:
            numbers: Shared by all that run.
            end: A time of `time.monotonic`.
        """
        while time.monotonic() < end and self._service.process.poll() is None:
            number = next(numbers)
            rng = random.Random(f"{self._seed}/{number}")
            step = rng.choice(self._steps)
            name = step.__name__
            try:
                outcome, sent, flaw = await step(rng)
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                outcome, sent, flaw = type(error).__name__, b"", f"no answer ({type(error).__name__})"
            self.outcomes[f"{name}: {outcome}"] += 1
            if flaw is not None:
                self._keep(number, name, sent, flaw)
            if number % CHECK_EVERY == 0:
                await self.check()

    def _keep(self, number: int, name: str, sent: bytes, flaw: str) -> None:
        """Write down what was sent and what was wrong."""
        file = self._out / f"{self._seed}-{number}-{name}.bin"
        file.write_bytes(sent)
        self.flaws.append(f"{file.name}: {flaw}")
        say(self.flaws[-1])

    async def check(self) -> None:
        """Ask for the whole photo, whose answer never changes, and look at the process."""
        with contextlib.suppress(httpx.HTTPError):
            response = await self._client.post("/predict", content=self._photo)
            if response.status_code == 200:
                answer = essence(response.json())
                self._golden = self._golden or answer
                if distance(self._golden, answer):
                    self.flaws.append(f"the whole photo is answered by {json.dumps(answer)[:300]}")
            elif response.status_code not in (503, 504):
                self.flaws.append(f"the whole photo is answered with {response.status_code}")
        sample = look(self._service.process.pid, 0, 0)
        if sample is not None:
            self.most_mib = max(self.most_mib, sample.anonymous_mib)

    # Requests -------------------------------------------------------------------------------------------------------

    async def _post(self, path: str, body: bytes, kind: str) -> tuple[str, bytes, str | None]:
        response = await self._client.post(path, content=body, headers={"content-type": kind})
        try:
            document = response.json()
        except ValueError:
            document = None
        flaw = flaw_of(response.status_code, response.headers.get("content-type", ""), document)
        return str(response.status_code), body, flaw

    async def picture(self, rng: random.Random) -> tuple[str, bytes, str | None]:
        """Send a damaged picture.

        Args:
            rng: Chooses and damages it.

        Returns:
            Status, body and flaw.
        """
        return await self._post("/predict", mutate(rng.choice(self._files), rng), "application/octet-stream")

    def _form(self, rng: random.Random) -> bytes:
        parts = [rng.choice(self._files) for _ in range(rng.randint(1, 4))]
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        return b"".join(head + part + b"\r\n" for part in parts) + b"--b--\r\n"

    async def form(self, rng: random.Random) -> tuple[str, bytes, str | None]:
        """Send a multipart body that is damaged wherever: its grammar, its heads or its pictures.

        Args:
            rng: Chooses and damages it.

        Returns:
            Status, body and flaw.
        """
        kind = mutate(b"multipart/form-data; boundary=b", rng) if rng.random() < 0.2 else b"multipart/form-data; boundary=b"
        printable = bytes(byte for byte in kind if 32 <= byte < 127).decode().strip()
        return await self._post(rng.choice(("/predict", "/predict/batch")), mutate(self._form(rng), rng), printable)

    async def document(self, rng: random.Random) -> tuple[str, bytes, str | None]:
        """Send a damaged JSON document.

        Args:
            rng: Chooses and damages it.

        Returns:
            Status, body and flaw.
        """
        prefix = rng.choice(("", "data:image/jpeg;base64,"))
        body = json.dumps({"image": prefix + base64.b64encode(rng.choice(self._files)).decode(), "note": [1, {"a": None}]})
        return await self._post("/predict", mutate(body.encode(), rng), "application/json")

    async def http(self, rng: random.Random) -> tuple[str, bytes, str | None]:
        """Send an HTTP request that is damaged in its head.

        Args:
            rng: Chooses and damages it.

        Returns:
            Status, or that none came; the request; and the flaw.
        """
        body = small("jpeg")
        path = rng.choice(
            ("/predict", "/predict?attributes=age,gender&max_faces=3", "/predict/batch", "/stream", "/health", "/")
        )
        lines = [
            f"{rng.choice(('POST', 'GET', 'HEAD', 'OPTIONS'))} {path} HTTP/1.1",
            "Host: facet",
            "Content-Type: image/jpeg",
            rng.choice(
                (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked", "Connection: Upgrade\r\nUpgrade: websocket")
            ),
            rng.choice(("Accept: */*", "Expect: 100-continue", "Range: bytes=0-5", "Origin: null", "X-Request-ID: a")),
        ]
        request = mutate("\r\n".join(lines).encode() + b"\r\n\r\n", rng) + body
        reader, writer = await asyncio.open_connection("127.0.0.1", self._service.port)
        try:
            writer.write(request)
            await writer.drain()
            line = await asyncio.wait_for(reader.readline(), SILENCE_S)
        except (ConnectionError, TimeoutError):
            line = b""
        finally:
            writer.close()
        status = line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "none"
        return status, request, f"answered with {line!r}" if status[0] == "5" and status not in ("503", "504") else None

    async def messages(self, rng: random.Random) -> tuple[str, bytes, str | None]:
        """Open a stream and send damaged messages until it ends.

        Args:
            rng: Chooses and damages them.

        Returns:
            The last answer's code, the last message, and the flaw.
        """
        outcome, sent = "open", b""
        start = b'{"type": "start", "attributes": ["age"], "max_faces": 3, "landmarks": true}'
        start = mutate(start, rng) if rng.random() < 0.3 else start
        try:
            async with connect(f"ws://127.0.0.1:{self._service.port}/stream", open_timeout=TIMEOUT_S) as socket:
                await socket.send(start.decode("utf-8", "replace"))
                await asyncio.wait_for(socket.recv(), TIMEOUT_S)
                for number in range(rng.randint(1, 4)):
                    sent = mutate(number.to_bytes(8, "big") + rng.choice(self._files), rng)
                    await socket.send(sent)
                    answer = json.loads(await asyncio.wait_for(socket.recv(), TIMEOUT_S))
                    outcome = str(answer.get("code", answer["type"]))
                    if answer.get("status") == 500:
                        return outcome, sent, f"answered with {outcome}"
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            return f"closed with {code}", sent or start, f"closed with {code}" if code in (1006, 1011) else None
        return outcome, sent, None


async def fuzz(service: Service, options: argparse.Namespace) -> bool:
    """Fuzz a service that has started, and say the verdict.

    Args:
        service: The process.
        options: Those of the command line.

    Returns:
        Whether all holds.
    """
    fuzzer = Fuzzer(service, options.seed, options.out)
    numbers = itertools.count(options.first)
    end = time.monotonic() + 60 * options.minutes
    try:
        await fuzzer.check()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(fuzzer.run(numbers, end))
        await fuzzer.check()
    finally:
        await fuzzer.close()
    if service.process.poll() is not None:
        fuzzer.flaws.append(f"the process has ended with {service.process.returncode}")
    fuzzer.flaws += [f"the log: {line[:200]}" for line in faults_of(service.log)[:20]]
    if fuzzer.most_mib > options.memory_mib:
        fuzzer.flaws.append(f"the service held {fuzzer.most_mib:.0f} MiB of {options.memory_mib}")
    say(", ".join(f"{what} {count}" for what, count in sorted(fuzzer.outcomes.items())))
    for flaw in fuzzer.flaws[:50]:
        say(f"flaw: {flaw}")
    say(
        f"VERDICT: {'FAILED' if fuzzer.flaws else 'passed'}: {fuzzer.outcomes.total()} requests, {len(fuzzer.flaws)} flaws, "
        f"at most {fuzzer.most_mib:.0f} MiB, seed {options.seed}"
    )
    return not fuzzer.flaws


def main() -> int:
    """Read the options, start the service, fuzz it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of all that is chosen")
    parser.add_argument("--first", type=int, default=1, help="number of the first request, to come to a later one sooner")
    parser.add_argument("--memory-mib", type=int, default=1024, help="FACET_MEMORY_MIB of the service")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    say(f"seed {options.seed}")
    environment = {"FACET_MEMORY_MIB": str(options.memory_mib)}
    with started(options.out / "service.log", sys.executable, "-m", "service.cli", **environment) as service:
        return 0 if asyncio.run(fuzz(service, options)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
