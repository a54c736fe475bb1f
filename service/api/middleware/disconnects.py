"""Work whose client has left ends."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.inference.workers import retrieve


class Disconnects:
    """Watches, once a request's body is there, whether its client still is; who has left frees its places in every line.

    Raises `ClientDisconnect` then. A route would otherwise not notice before it sends its answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        complete, answering = asyncio.Event(), False

        async def watched() -> Message:
            if complete.is_set():  # the watch below has the next message
                await asyncio.shield(watch)
                return {"type": "http.disconnect"}
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                complete.set()
            return message

        async def sent(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        async def disconnect() -> None:
            await complete.wait()
            while (await receive())["type"] != "http.disconnect":
                pass

        async def answer() -> None:
            await self.app(scope, watched, sent)

        watch = asyncio.create_task(disconnect())
        work = asyncio.create_task(answer())
        for task in (watch, work):
            task.add_done_callback(retrieve)
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not answering:
                work.cancel()
                await asyncio.wait((work,))
                raise ClientDisconnect
            await work
        finally:
            watch.cancel()
            work.cancel()
            await asyncio.wait((work, watch))
