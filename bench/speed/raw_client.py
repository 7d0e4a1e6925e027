"""Asks as wrk does, with raw sockets: ``python raw_client.py URL FILE CONNECTIONS SECONDS HEADERS [RATE]``.

Answers must say their Content-Length, or be 304.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

try:
    from uvloop import run
except ImportError:
    run = asyncio.run


class Connection(asyncio.Protocol):
    """One request at a time, the next one as soon as the answer is there."""

    def __init__(self, client: Client, after_s: float) -> None:
        self.client, self.held, self.since, self.due = client, b"", 0.0, perf_counter() + after_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._send_when_due()

    def connection_lost(self, error: Exception | None) -> None:
        if perf_counter() < self.client.until:
            self.client.failed += 1

    def _send(self) -> None:
        client = self.client
        self.since = perf_counter()
        if self.since >= client.until:
            self.transport.close()
            return
        if self.transport.is_closing():
            return
        client.at = (client.at + 1) % len(client.requests)
        self.transport.write(client.requests[client.at])

    def data_received(self, data: bytes) -> None:
        self.held += data
        head = self.held.find(b"\r\n\r\n")
        if head < 0:
            return
        place = self.held.lower().find(b"content-length:", 0, head)
        length = 0 if place < 0 else int(self.held[place + 15 : self.held.index(b"\r\n", place)])
        if len(self.held) < head + 4 + length:
            return
        self.client.waits.append(perf_counter() - self.since)
        self.client.failed += not self.held.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3"))
        self.held = b""
        if not self.client.every_s:
            self._send()
            return
        self.due = max(self.due + self.client.every_s, perf_counter() - self.client.every_s)
        self._send_when_due()

    def _send_when_due(self) -> None:
        asyncio.get_running_loop().call_later(max(0.0, self.due - perf_counter()), self._send)


class Client:
    def __init__(self, host: str, lines: list[str], headers: list[str], seconds: float, every_s: float) -> None:
        """``every_s``: between two requests of one connection; 0: the next one as soon as the answer is there."""
        self.every_s = every_s
        self.requests = [_request(host, line, headers) for line in lines]
        self.at, self.failed, self.waits = -1, 0, list[float]()
        self.since = perf_counter()
        self.until = self.since + seconds


def _request(host: str, line: str, headers: list[str]) -> bytes:
    method, path, *body = line.split(" ", 2)
    sent = body[0].encode() if body else b""
    length = [f"Content-Length: {len(sent)}"] if sent else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, *length, "", ""]).encode() + sent


async def main() -> None:
    url, file, connections, seconds, headers, *rate = sys.argv[1:]  # rate: requests a second of all connections
    where = urlsplit(url)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    every_s = int(connections) / float(rate[0]) if rate else 0.0
    client = Client(where.netloc, lines, json.loads(headers), float(seconds), every_s)
    loop = asyncio.get_running_loop()
    for number in range(
        int(connections)
    ):  # in turns where they keep a rate: else all would send at once, and then none
        after_s = number * every_s / int(connections)
        await loop.create_connection(partial(Connection, client, after_s), where.hostname, where.port)
    await asyncio.sleep(max(0.0, client.until - perf_counter()) + 0.5)
    waits = sorted(client.waits) or [0.0]
    p50, p99 = (1000 * waits[int(share * (len(waits) - 1))] for share in (0.5, 0.99))
    took = {"n": len(client.waits), "seconds": float(seconds), "p50_ms": p50, "p99_ms": p99, "failed": client.failed}
    print(json.dumps(took))


if __name__ == "__main__":
    run(main())
