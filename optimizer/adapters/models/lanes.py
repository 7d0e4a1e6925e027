"""Connections, each a client of its own: what one call costs does not grow with how many are in flight.

httpx keeps all connections of a client in one list and walks it several times for each call; with 64 in flight that
alone takes 6 ms of processor time a call (bench/concurrency.py).
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache

import httpx

CLOSE_S = 5.0
_MAKING = threading.Lock()


class Lanes:
    """As many as are used at once, made when needed and kept warm.

    All are used in one event loop, which their connections belong to.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self._ssl: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """The one used last that is free: its connection is the least likely to have been closed meanwhile."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._free = loop, []
        if self._ssl is None:
            self._ssl = await asyncio.to_thread(_ssl_context)
        client = self._free.pop() if self._free else httpx.AsyncClient(headers=self._headers, verify=self._ssl)
        try:
            yield client
        finally:
            if self._loop is loop:
                self._free.append(client)
            else:
                await client.aclose()  # the model was closed meanwhile

    def close(self) -> None:
        """From any thread. What is in flight ends by itself and closes behind it."""
        loop, free = self._loop, self._free
        self._loop, self._free = None, []
        if loop is not None and loop.is_running():
            asyncio.run_coroutine_threadsafe(_close(free), loop).result(timeout=CLOSE_S)


def _ssl_context() -> ssl.SSLContext:
    """One for the process: to read every known authority takes 20 ms and most of a mebibyte."""
    with _MAKING:
        return _made()


@cache
def _made() -> ssl.SSLContext:
    return httpx.create_ssl_context()


async def _close(clients: list[httpx.AsyncClient]) -> None:
    for client in clients:
        await client.aclose()
