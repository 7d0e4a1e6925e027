"""Connections that send requests one behind the other without waiting for an answer: in a process of its own, since so
much would hold up the well-behaved clients.

    python bench/siege/pipelining.py HOST:PORT PATH CONNECTIONS SECONDS

Every second one reads its answers, the others none. All close after so many seconds.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

TOTAL_BYTES = 15_700_000  # of all connections together


async def pipeline(address: str, path: str, n_connections: int, seconds: float) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    requests = request * (TOTAL_BYTES // n_connections // len(request))
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for n in range(n_connections):
                group.create_task(_send(address, requests, is_read=n % 2 == 1))


async def _send(address: str, requests: bytes, *, is_read: bool) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16 if is_read else 1)
    writer.write(requests)
    with suppress(OSError):  # the server may close it
        while is_read and await reader.read(2**16):
            pass
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(pipeline(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
