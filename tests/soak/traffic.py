"""Clients of every kind, each sending one request after another until it is stopped, and the record of what came back."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.soak.answers import BUSY, TOLERANCE, distance, essence, flaw_of

TIMEOUT_S: Final = 90.0
"""Longest that an answer may take before it counts as hung: the deadline of a batch, and a busy machine."""
FLAWS_KEPT: Final = 50
LARGE: Final = 0.15
"""Share of the good photos that have 12 or 48 megapixels."""


@dataclass(slots=True)
class Record:
    """What came back: requests by client and outcome, sentences on what was wrong, and how far answers lay from golden ones."""

    outcomes: Counter[str] = field(default_factory=Counter)
    flaws: list[str] = field(default_factory=list)
    flaw_count: int = 0
    compared: int = 0
    identical: int = 0
    largest_difference: float = 0.0
    answered: int = 0

    def outcome(self, client: str, what: str | int) -> None:
        """Count a request.

        Args:
            client: The kind of client.
            what: A status, or what became of the request.
        """
        self.outcomes[f"{client}: {what}"] += 1
        self.answered += 1

    def flaw(self, sentence: str) -> None:
        """Keep what was wrong.

        Args:
            sentence: What, and of which request.
        """
        self.flaw_count += 1
        if len(self.flaws) < FLAWS_KEPT:
            self.flaws.append(sentence)

    def compare(self, name: str, golden: Any, answer: Any) -> None:
        """Hold an answer to its golden one.

        Args:
            name: Of the photo.
            golden: The essence of its first answer.
            answer: The essence of this one.
        """
        self.compared += 1
        apart = distance(golden, answer)
        self.identical += apart == 0
        self.largest_difference = max(self.largest_difference, apart)
        if apart > TOLERANCE:
            self.flaw(f"{name} is answered by {json.dumps(answer)[:400]} instead of {json.dumps(golden)[:400]}")


@dataclass(frozen=True, slots=True)
class Golden:
    """What each file was answered when nothing else was asked: its status and the essence of its document."""

    good: Mapping[str, Any]
    hostile: Mapping[str, tuple[int, str]]
    frames: Mapping[str, Any]


class Traffic:
    """The clients of a soak: they share the files, the golden answers, the record, and a gate that rests them all."""

    def __init__(self, port: int, good: Mapping[str, bytes], hostile: Mapping[str, bytes], rng: random.Random) -> None:
        self.good, self.hostile, self._rng, self._port = good, hostile, rng, port
        self.url = f"http://127.0.0.1:{port}"
        self._large = [name for name in good if "mp." in name]
        self.record = Record()
        self.golden = Golden({}, {}, {})
        self._open = asyncio.Event()
        self._open.set()
        self._busy = 0
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        self._client = httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S, limits=limits)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # Golden answers -------------------------------------------------------------------------------------------------

    async def learn(self) -> None:
        """Ask for every file alone, and keep what is answered.

        Raises:
            RuntimeError: A good photo is not answered, or an answer is not as documented.
        """
        good, hostile, frames = {}, {}, {}
        for name, file in self.good.items():
            status, document = await self._patiently(file)
            if status != 200:
                raise RuntimeError(f"{name} is answered with {status}: {document}")
            good[name] = essence(document)
        for name, file in self.hostile.items():
            status, document = await self._patiently(file)
            hostile[name] = status, str(document.get("code"))
        for name in self._small():
            frames[name] = essence(await self._first_frame(self.good[name]))
        self.golden = Golden(good, hostile, frames)

    async def _patiently(self, file: bytes) -> tuple[int, dict[str, Any]]:
        """The answer to a file; asked for again while the service is too busy for it."""
        for _ in range(5):
            response = await self._client.post("/predict", content=file)
            document = self._document(response, "alone")
            if response.status_code not in BUSY:
                break
        return response.status_code, document

    def _document(self, response: httpx.Response, name: str) -> dict[str, Any]:
        """The JSON of an answer, which is held to what is documented."""
        try:
            document = response.json()
        except ValueError:
            document = None
        flaw = flaw_of(response.status_code, response.headers.get("content-type", ""), document)
        if flaw is not None:
            self.record.flaw(f"{name}: {flaw}")
        return document if isinstance(document, dict) else {}

    # Running --------------------------------------------------------------------------------------------------------

    async def run(self, kind: str, step: Callable[[random.Random], Awaitable[None]], rest: float) -> None:
        """One client: a request after another, for ever.

        Args:
            kind: Its name in the record.
            step: Sends one request and looks at the answer.
            rest: Seconds between two requests.
        """
        rng = random.Random(self._rng.random())
        while True:
            await self._open.wait()
            self._busy += 1
            try:
                await step(rng)
            except (httpx.HTTPError, OSError, WebSocketException, TimeoutError) as error:
                self.record.outcome(kind, type(error).__name__)
                self.record.flaw(f"{kind}: no answer ({type(error).__name__}: {error})")
                await asyncio.sleep(1)
            finally:
                self._busy -= 1
            await asyncio.sleep(rng.uniform(0, 2 * rest))

    @contextlib.asynccontextmanager
    async def resting(self) -> Any:
        """Let no client begin, and wait until none is busy.

        Yields:
            Nothing, while nothing is asked.
        """
        self._open.clear()
        try:
            while self._busy:  # noqa: ASYNC110 - several clients count it down
                await asyncio.sleep(0.05)
            yield
        finally:
            self._open.set()

    def clients(self) -> list[asyncio.Task[None]]:
        """Start every client.

        Returns:
            Their tasks, to be cancelled.
        """
        kinds: list[tuple[str, Callable[[random.Random], Awaitable[None]], float]] = [
            ("good", self.send_good, 0.1),
            ("good", self.send_good, 0.1),
            ("small", self.send_small, 0.05),
            ("hostile", self.send_hostile, 0.2),
            ("abandoned", self.abandon, 0.2),
            ("slow", self.send_slowly, 1),
            ("batch", self.send_batch, 2),
            ("stream", self.stream, 1),
            ("malformed", self.send_malformed, 0.5),
            ("probe", self.probe, 1),
        ]
        return [asyncio.create_task(self.run(kind, step, rest)) for kind, step, rest in kinds]

    def _small(self) -> list[str]:
        """Names of the photos that a stream takes."""
        return [name for name, file in self.good.items() if name.startswith("portrait.") and len(file) < 2**20]

    def _settle(self, kind: str, name: str, status: int, document: dict[str, Any]) -> None:
        """Count an answer to a good photo and hold it to its golden one."""
        self.record.outcome(kind, status)
        if status == 200:
            self.record.compare(name, self.golden.good[name], essence(document))
        elif status not in BUSY:
            self.record.flaw(f"{kind}: the good photo {name} is answered with {status} {document.get('code')}")

    async def send_good(self, rng: random.Random) -> None:
        """Send a good photo, in one of the three ways.

        Args:
            rng: Chooses the photo and the way.
        """
        large = rng.random() < LARGE
        name = rng.choice([one for one in self.good if (one in self._large) == large])
        await self._send("good", name, rng)

    async def send_small(self, rng: random.Random) -> None:
        """Send a photo as large as most are.

        Args:
            rng: Chooses the photo and the way.
        """
        name = rng.choice([one for one, file in self.good.items() if len(file) < 2**20 and one not in self._large])
        await self._send("small", name, rng)

    async def _send(self, kind: str, name: str, rng: random.Random) -> None:
        file, way = self.good[name], rng.randrange(3)
        if way == 2 and len(file) > 12 * 2**20:  # base64 would pass the cap
            way = 0
        body: dict[str, Any] = {"content": file, "headers": {"content-type": "application/octet-stream"}}
        if way == 1:
            body = {"files": {"file": (name, file)}}
        elif way == 2:
            body = {"json": {"image": base64.b64encode(file).decode()}}
        response = await self._client.post("/predict", **body)
        self._settle(kind, name, response.status_code, self._document(response, name))

    async def send_hostile(self, rng: random.Random) -> None:
        """Send what is no whole photo; the answer is the one that it got alone.

        Args:
            rng: Chooses the file.
        """
        name = rng.choice(list(self.hostile))
        response = await self._client.post("/predict", content=self.hostile[name])
        document = self._document(response, name)
        self.record.outcome("hostile", response.status_code)
        got = response.status_code, str(document.get("code"))
        if got != self.golden.hostile[name] and not {got[0], self.golden.hostile[name][0]} & BUSY:
            self.record.flaw(f"{name} is answered with {got} instead of {self.golden.hostile[name]}")

    async def send_batch(self, rng: random.Random) -> None:
        """Send several photos, good ones and a hostile one; each is answered for itself.

        Args:
            rng: Chooses them.
        """
        small = [name for name, file in self.good.items() if len(file) < 4 * 2**20]
        names = rng.choices(small, k=rng.randint(1, 8))
        bad = rng.choice(list(self.hostile))
        files = [("file", (name, self.good[name])) for name in names] + [("file", (bad, self.hostile[bad]))]
        response = await self._client.post("/predict/batch", files=files)
        document = self._document(response, "a batch")
        if response.status_code != 200:
            self.record.outcome("batch", response.status_code)
            if response.status_code not in BUSY:
                self.record.flaw(f"batch: {response.status_code} {document.get('code')}")
            return
        results = document["results"]
        if [result["index"] for result in results] != list(range(len(files))):
            self.record.flaw("batch: results are missing, or not in order")
        for name, result in zip(names, results, strict=False):
            self._settle("of a batch", name, result["status"], result.get("result") or result.get("problem") or {})
        self.record.outcome("batch", 200)

    # Clients that misbehave -----------------------------------------------------------------------------------------

    def _head(self, length: int, path: str = "/predict") -> bytes:
        return f"POST {path} HTTP/1.1\r\nHost: facet\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n".encode()

    async def abandon(self, rng: random.Random) -> None:
        """Leave in the middle: of the head, of the body, or before the answer; closed in order or reset.

        Args:
            rng: Chooses the photo and the moment.
        """
        large = rng.random() < LARGE
        file = self.good[rng.choice([one for one in self.good if (one in self._large) == large])]
        request = self._head(len(file)) + file
        moment = rng.choice(("head", "body", "answer"))
        until = {"head": rng.randint(1, 60), "body": rng.randint(100, len(request) - 1), "answer": len(request)}[moment]
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(ConnectionError):
            writer.write(request[:until])
            await writer.drain()
            await asyncio.sleep(rng.choice((0, 0.02, 0.2, 1)))
        self._leave(writer, reset=rng.random() < 0.5)
        self.record.outcome("abandoned", f"in the {moment}")

    @staticmethod
    def _leave(writer: asyncio.StreamWriter, *, reset: bool) -> None:
        if reset:
            writer.transport.abort()
        else:
            writer.close()

    async def send_slowly(self, rng: random.Random) -> None:
        """Send a body in drips: it is answered, or refused with 408.

        Args:
            rng: Chooses the pace.
        """
        name = rng.choice(self._small())
        file = self.good[name]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        stop = rng.choice((0.0, 0.3, 1.0, 1.0))
        try:
            with contextlib.suppress(ConnectionError):
                writer.write(self._head(len(file)))
                step = max(1, len(file) // rng.choice((5, 20)))
                for at in range(0, int(len(file) * stop), step):
                    writer.write(file[at : min(at + step, int(len(file) * stop))])
                    await writer.drain()
                    await asyncio.sleep(rng.uniform(0, 0.4))
            line = await asyncio.wait_for(reader.readline(), TIMEOUT_S)
        except ConnectionError:
            line = b""
        finally:
            self._leave(writer, reset=False)
        status = line.split()[1].decode() if line.startswith(b"HTTP/1.1 ") else "closed"
        self.record.outcome("slow", status)
        if status not in {"closed", "408", "503", "504"} | ({"200"} if stop == 1 else set()):
            self.record.flaw(f"slow: {status} for a body of which {stop:.0%} came")

    async def send_malformed(self, rng: random.Random) -> None:
        """Send bodies, queries and labels that are wrong; each is a problem of the client's.

        Args:
            rng: Chooses what is wrong.
        """
        photo = self.good["portrait.jpeg"]
        form = {"content-type": "multipart/form-data; boundary=b"}
        part = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + photo
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/predict", {"content": bytes(21 * 2**20)}),
            ("POST", "/predict", {"content": b"a text", "headers": {"content-type": "text/plain"}}),
            ("POST", "/predict", {"content": photo, "headers": {"content-encoding": "gzip"}}),
            ("POST", "/predict", {"content": b'{"image": "' + b"A" * 1000, "headers": {"content-type": "application/json"}}),
            ("POST", "/predict", {"json": {"image": "not base64!"}}),
            ("POST", "/predict", {"content": part, "headers": form}),
            ("POST", "/predict", {"content": rng.randbytes(5000), "headers": form}),
            ("POST", "/predict", {"files": [("file", photo)] * 20}),
            ("POST", "/predict/batch", {"files": [("file", self.good["tiny.png"])] * 33}),
            ("POST", "/predict?max_faces=0", {"content": photo}),
            ("POST", f"/predict?{rng.randbytes(8).hex()}=1", {"content": photo}),
            ("PUT", "/predict", {"content": photo}),
            ("GET", f"/{rng.randbytes(8).hex()}", {}),
            ("POST", "/predict", {}),
        ]
        method, path, arguments = rng.choice(requests)
        try:
            response = await self._client.request(method, path, **arguments)
        except (httpx.WriteError, httpx.ReadError):  # it was refused while it was sent, and the answer lost
            self.record.outcome("malformed", "closed")
            return
        self._document(response, f"{method} {path[:16]}")
        self.record.outcome("malformed", response.status_code)
        if not 400 <= response.status_code < 500 and response.status_code not in BUSY:
            self.record.flaw(f"malformed: {method} {path[:16]} is answered with {response.status_code}")

    # Streams and probes ---------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _streaming(self) -> Any:
        async with connect(f"ws://127.0.0.1:{self._port}/stream", max_size=None, open_timeout=TIMEOUT_S) as socket:
            await socket.send(json.dumps({"type": "start"}))
            await asyncio.wait_for(socket.recv(), TIMEOUT_S)
            yield socket

    @staticmethod
    async def _frame(socket: ClientConnection, number: int, photo: bytes) -> dict[str, Any]:
        await socket.send(struct.pack(">Q", number) + photo)
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), TIMEOUT_S))
        return answer

    async def _first_frame(self, photo: bytes) -> dict[str, Any]:
        """The answer to a frame of a stream of its own."""
        for _ in range(5):
            async with self._streaming() as socket:
                answer = await self._frame(socket, 1, photo)
            if answer["type"] == "frame":
                break
        return answer

    async def stream(self, rng: random.Random) -> None:
        """Open a stream, send frames, damaged ones among them, and leave with or without a word.

        Args:
            rng: Chooses the photo, the number of frames, and the end.
        """
        name = rng.choice(list(self.golden.frames))
        async with self._streaming() as socket:
            for number in range(1, rng.randint(2, 30)):
                if number > 1 and not self._open.is_set():
                    break
                bad = number > 1 and rng.random() < 0.1
                photo = self.hostile[f"cut.{rng.choice(('jpeg', 'png', 'webp'))}"] if bad else self.good[name]
                answer = await self._frame(socket, number, photo)
                self.record.outcome("stream", answer.get("code", answer["type"]))
                if answer.get("status") == 500 or answer.get("frame") != number:
                    self.record.flaw(f"stream: frame {number} is answered by {json.dumps(answer)[:200]}")
                if number == 1 and answer["type"] == "frame":
                    self.record.compare(f"the frame {name}", self.golden.frames[name], essence(answer))
                await asyncio.sleep(min(0.5, answer.get("next_in_ms", 100) / 1000))
            if rng.random() < 0.3:
                socket.transport.abort()

    async def probe(self, rng: random.Random) -> None:
        """Ask for what probes, Prometheus and browsers ask for; each is answered with 200.

        Args:
            rng: Chooses the path.
        """
        path = rng.choice(("/health", "/health/live", "/health/ready", "/metrics", "/model", "/openapi.json", "/", "/docs"))
        response = await self._client.get(path)
        self.record.outcome("probe", response.status_code)
        if response.status_code != 200:
            self.record.flaw(f"probe: {path} is answered with {response.status_code}: {response.text[:200]}")
