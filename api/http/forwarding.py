"""Requests that the gateway answers, passed on over loopback with their bytes untouched, streams included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.http.problems import GatewayUnavailable, MalformedBody
from api.http.safe_headers import SAFE_NAMES

if TYPE_CHECKING:
    import httpx

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade host"
    b" content-length expect".split()
)
SET_HERE = frozenset({b"x-request-id"})  # the checked one, never the sender's own
CHECKED_HERE = frozenset(
    b"origin referer sec-fetch-site sec-fetch-mode sec-fetch-dest sec-fetch-user".split()
)  # by the door, against its own address
NOT_FROM_ANSWER = (
    HOP_BY_HOP - {b"content-length"} | SAFE_NAMES | {b"date", b"server", b"x-request-id"}
)  # what this process adds itself
READ_TIMEOUT_S = 600.0  # a model may think for minutes; the gateway has limits of its own


class Gateway:
    """The gateway process as its run file names it. The address is read again only when it has changed or failed."""

    def __init__(self, run_file: Path) -> None:
        self._run_file = run_file
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    def address(self) -> str:
        """Base URL of the gateway; raises GatewayUnavailable when it has not said where it listens."""
        try:
            url = json.loads(self._run_file.read_text(encoding="utf-8"))["url"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _away("it has not said where it listens") from error
        if not isinstance(url, str):
            raise _away("its address file names no URL")
        return url.rstrip("/")

    async def forward(self, request: Request) -> Response:
        """The gateway's answer as it comes; the gateway checks the key itself."""
        http = await self._http()
        import httpx  # which has been loaded now

        url = self.address() + request.url.path
        kept = [pair for pair in request.headers.raw if pair[0] not in HOP_BY_HOP | SET_HERE | CHECKED_HERE]
        headers = [(name, value.strip(b" \t")) for name, value in kept]
        if "accept-encoding" not in request.headers:
            headers.append((b"accept-encoding", b"identity"))  # httpx would ask for gzip, which this sender did not
        headers.append((b"x-request-id", request.state.request_id.encode()))
        body = await request.body()
        outgoing = http.build_request(
            request.method, url, headers=headers, content=body, params=request.url.query or None
        )
        try:
            answer = await _while_wanted(http.send(outgoing, stream=True), request)
        except httpx.TimeoutException as error:
            raise _away("it did not answer in time") from error
        except httpx.LocalProtocolError as error:
            raise MalformedBody(
                f"The request cannot be passed on to the gateway: {error}. Correct its headers."
            ) from error
        except httpx.TransportError as error:
            raise _away("nothing answers at its address") from error
        if answer is None:
            return Response(status_code=499)  # the client has gone
        response = StreamingResponse(_bytes_of(answer), status_code=answer.status_code)
        response.raw_headers = [
            (name.lower(), value) for name, value in answer.headers.raw if name.lower() not in NOT_FROM_ANSWER
        ]
        return response

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _http(self) -> httpx.AsyncClient:
        """Made beside the event loop, at the first request: prompts wait for it neither at the start nor then."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(_made_client)
        return self._client


def _made_client() -> httpx.AsyncClient:
    import httpx  # a tenth of a second

    timeout = httpx.Timeout(connect=2.0, read=READ_TIMEOUT_S, write=60.0, pool=30.0)
    return httpx.AsyncClient(timeout=timeout, trust_env=False, limits=httpx.Limits(max_connections=None))


async def _while_wanted(sending: Coroutine[Any, Any, httpx.Response], request: Request) -> httpx.Response | None:
    """The answer, or None when the sender went away first: then the gateway is told too,
    and can spare itself the model call.
    """
    answering, leaving = asyncio.ensure_future(sending), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        return await answering if answering.done() else None
    finally:
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _bytes_of(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()


def _away(why: str) -> GatewayUnavailable:
    return GatewayUnavailable(
        f"The gateway cannot be reached: {why}. It starts with `detent serve`, which also restarts it; try again in a"
        " few seconds.",
        retry_after_s=2,
    )
