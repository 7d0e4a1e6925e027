"""Servers that do the least: ``python -m bench.speed.rivals hash|fill|model|durable|page FILE FILENO``.

``model`` answers chat completions at once, whole or in pieces. ``fill`` is a bare Starlette route that reads a JSON
body, hashes the unit, puts the variables into the messages of FILE and returns them as JSON. ``hash`` is one that
hashes the unit and returns the bytes of FILE. ``durable`` is one that reads the event, and answers once its rows are on
disk: one thread writes those of up to sixteen requests in one transaction. ``page`` returns as many bytes as are asked
for, and reads no FILE.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from ulid import ULID

from bench.speed.servers import wait_until_up

ROOT = Path(__file__).resolve().parents[2]
GROUP = 16
Row = tuple[str, tuple[Any, ...]]  # table, values in the order of its columns


def hashing(file: Path) -> Starlette:
    body = file.read_bytes()

    async def prompt(request: Request) -> Response:
        unit = request.query_params["unit"]
        int.from_bytes(hashlib.sha256(b"salt\x00" + unit.encode()).digest()[:4], "big")
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/v1/families/{family}/prompt", prompt)])


def sized(file: Path) -> Starlette:
    """Pages of so many bytes as are asked for."""

    async def page(request: Request) -> Response:
        return Response(b"x" * int(request.query_params["bytes"]), media_type="text/html")

    return Starlette(routes=[Route("/page", page)])


def durable(file: Path) -> Starlette:
    """FILE: {"database", "rows": [[table, {column: value}], ...]}; each event becomes these rows, with its own id."""
    order = json.loads(file.read_text(encoding="utf-8"))
    writing = Writing(order["database"], order["rows"])

    async def feedback(request: Request) -> Response:
        event = json.loads(await request.body())
        await asyncio.wrap_future(writing.submit(event))
        return Response(b'{"accepted":1,"duplicates":0,"rejected":[]}', media_type="application/json")

    return Starlette(routes=[Route("/v1/feedback", feedback, methods=["POST"])])


def filling(file: Path) -> Starlette:
    """FILE: an answer of ``render``, whose messages have their variables open."""
    answer = json.loads(file.read_text(encoding="utf-8"))

    async def render(request: Request) -> Response:
        body = await request.json()
        int.from_bytes(hashlib.sha256(b"salt\x00" + body["unit"].encode()).digest()[:4], "big")
        messages = []
        for message in answer["messages"]:
            text = message["content"]
            for name, value in body["variables"].items():
                text = text.replace("{{" + name + "}}", value)
            messages.append({**message, "content": text})
        return Response(json.dumps({**answer, "messages": messages}).encode(), media_type="application/json")

    return Starlette(routes=[Route("/v1/families/{family}/render", render, methods=["POST"])])


def answering(file: Path) -> Any:
    """A model that needs no time, or the seconds that FILE says.

    FILE: {"whole": an answer, "pieces": [chunks of a stream, ...], "first_s"?: before the first, "between_s"?}.
    """
    order = json.loads(file.read_text(encoding="utf-8"))
    whole = json.dumps(order["whole"]).encode()
    pieces = [b"data: %b\n\n" % json.dumps(piece).encode() for piece in order["pieces"]] + [b"data: [DONE]\n\n"]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        if message["type"] != "http.request":
            return
        body = message["body"]
        streams = b'"stream":true' in body or b'"stream": true' in body
        kind = b"text/event-stream" if streams else b"application/json"
        sent = pieces if streams else [whole]
        headers = [(b"content-type", kind)]
        if not streams:
            headers.append((b"content-length", b"%d" % len(whole)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for n, piece in enumerate(sent, start=1):
            wait_s = order.get("first_s" if n == 1 else "between_s", 0.0)
            if wait_s:
                await asyncio.sleep(wait_s)
            await send({"type": "http.response.body", "body": piece, "more_body": n < len(sent)})

    return app


class Writing:
    """One thread, one connection: what waits is written together."""

    def __init__(self, database: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        from concurrent.futures import Future

        self._future: Callable[[], Any] = Future
        self._database, self._rows = database, [(table, dict(values)) for table, values in rows]
        self._waiting: queue.SimpleQueue[tuple[dict[str, Any], Any]] = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self, event: dict[str, Any]) -> Any:
        future = self._future()
        self._waiting.put((event, future))
        return future

    def _run(self) -> None:
        connection = opened(self._database)
        statements = [insert_of(table, values) for table, values in self._rows]
        while True:
            group = [self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            connection.execute("BEGIN IMMEDIATE")
            ids = [str(ULID()) for _ in group]
            for statement, (_, values) in zip(statements, self._rows, strict=True):
                rows = [
                    {**values, **{name: value for name, value in event.items() if name in values}} for event, _ in group
                ]
                named = [{**row, "id": id} for row, id in zip(rows, ids, strict=True)]
                connection.executemany(statement, [tuple(row.values()) for row in named])
            connection.execute("COMMIT")
            for _, future in group:
                future.set_result(None)


def opened(database: str) -> sqlite3.Connection:
    """As the product opens it: an answer means on disk."""
    connection = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def insert_of(table: str, values: dict[str, Any]) -> str:
    return f"INSERT INTO {table} ({', '.join(map(_quoted, values))}) VALUES ({', '.join('?' * len(values))})"


def _quoted(name: str) -> str:
    return f'"{name}"'


RIVALS: dict[str, Callable[[Path], Any]] = {
    "hash": hashing,
    "fill": filling,
    "model": answering,
    "durable": durable,
    "page": sized,
}


@contextmanager
def running(name: str, file: Path) -> Iterator[str]:
    """Gives the address of a rival in a process of its own."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        listening.set_inheritable(True)
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "bench.speed.rivals", name, str(file.resolve()), str(listening.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=(listening.fileno(),), stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(url, process, f"The rival {name}", within_s=30)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    name, file, fileno = sys.argv[1:]
    app = RIVALS[name](Path(file))
    bound = socket.socket(fileno=int(fileno))
    config = uvicorn.Config(app, http="httptools", loop="uvloop", access_log=False, log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=[bound])
    os._exit(0)


if __name__ == "__main__":
    main()
