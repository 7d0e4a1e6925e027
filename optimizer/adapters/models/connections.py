"""The connections to one model's server: kept warm, as many as there are calls at once."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import finalize

import aiohttp

CLOSE_S = 5.0
IDLE_S = 2.0  # many servers close connections after 5 idle seconds, perhaps just as one is used again
MAX_HEADER_BYTES = 64 * 1024
_READING, _contexts = threading.Lock(), list[ssl.SSLContext]()


@dataclass(eq=False, slots=True)
class _LoopSession:
    """One event loop's session, and how many calls use it."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    n_calls: int = 0
    is_closed: bool = False

    async def close(self) -> None:
        """Now, or behind the last of its calls."""
        self.is_closed = True
        if not self.n_calls:
            await self.session.close()


class LoopSessions:
    """Used in one event loop, which they belong to; ``close`` in any thread."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self._current: _LoopSession | None = None
        self._ending: finalize[[_LoopSession], LoopSessions]

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session, for the time of one call."""
        loop = asyncio.get_running_loop()
        if self._current is None or self._current.loop is not loop:
            context = await asyncio.to_thread(_ssl_context)
            if self._current is None or self._current.loop is not loop:  # no other call made it meanwhile
                if self._current is not None:
                    self._ending()
                self._current = _LoopSession(
                    loop,
                    aiohttp.ClientSession(
                        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, ssl=context),
                        headers=self._headers,
                        cookie_jar=aiohttp.DummyCookieJar(),
                        max_line_size=MAX_HEADER_BYTES,
                        max_field_size=MAX_HEADER_BYTES,
                    ),
                )
                # It holds the session: none is collected before its loop has closed it, which aiohttp would log.
                self._ending = finalize(self, _end, self._current)
        current = self._current
        current.n_calls += 1
        try:
            yield current.session
        finally:
            current.n_calls -= 1
            if current.is_closed:
                await current.close()

    def close(self) -> None:
        """Closes the sessions; calls under way end by themselves."""
        current, self._current = self._current, None
        if current is not None and (closing := self._ending()) is not None:
            closing.result(timeout=CLOSE_S)


@lru_cache(maxsize=64)
def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for this address (``HTTPS_PROXY``, ``NO_PROXY`` and so on)."""
    to = urlsplit(url)
    proxies = {} if to.hostname is None or proxy_bypass(to.hostname) else getproxies()
    proxy = proxies.get(to.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def _end(session: _LoopSession) -> Future[None] | None:
    """Closes the session on its loop; None where that has ended, and there is nothing to wait for."""
    if session.loop.is_running():
        return asyncio.run_coroutine_threadsafe(session.close(), session.loop)
    session.n_calls = 0  # none goes on
    closing = session.close()
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
    return None


def _ssl_context() -> ssl.SSLContext:
    """One for the process: to read every known authority takes 20 ms and most of a mebibyte, so beside the loop."""
    with _READING:
        if not _contexts:
            import httpx  # its choice of authorities: the environment's, else certifi's

            _contexts.append(httpx.create_ssl_context())
        return _contexts[0]
