#!/usr/bin/env bash
# Question: what does an ASGI application see of a POST that offers to go on in HTTP/2 ("Upgrade: h2c")? The HTTP client of
#   Java's standard library makes that offer with every request to an http:// address unless it is told to speak HTTP/1.1.
# Guess before the run: the request as usual, with its body; a server may ignore the offer (RFC 9110, 7.8), and uvicorn speaks no HTTP/2.
# Found: it depends on which of its two parsers uvicorn uses. With h11 the body arrives. With httptools, which "auto" prefers where
#   it is installed, the application gets the right Content-Length and an empty body, and answers as if nothing had been
#   uploaded. Nothing but a warning, "Unsupported upgrade request.", says why.
#   A service that takes uploads has to undo the offer in front of the parser, or its users have to set HTTP_1_1 in Java.
# Versions: uvicorn 0.54.0, httptools 0.9.0, h11 0.16.0; any Python from 3.11.
# Output seen:
#   h11: 5 of 5 bytes
#   httptools: 0 of 5 bytes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio

import uvicorn


async def app(scope, receive, send):
    size = dict(scope["headers"]).get(b"content-length", b"0").decode()
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    text = f"{len(body)} of {size} bytes".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


async def answer(parser):
    config = uvicorn.Config(app, port=0, http=parser, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Length: 5\r\n\r\nphoto"
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200"), head
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    text = (await asyncio.wait_for(reader.readexactly(size), 10)).decode()
    writer.close()
    server.should_exit = True
    await running
    return text


found = {parser: asyncio.run(answer(parser)) for parser in ("h11", "httptools")}
for parser, text in found.items():
    print(f"{parser}: {text}")
assert found == {"h11": "5 of 5 bytes", "httptools": "0 of 5 bytes"}, found
PYTHON
