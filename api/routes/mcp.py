"""``/mcp``: the tools of ``detent mcp`` over streamable HTTP, for the key that the request brings.

Each tool asks this server's own routes with that key, so its role, families, limits and record hold as over REST. No
session is kept: any worker answers any request.
"""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import httpx
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.http.bodies import StrictRequest
from api.http.body_limits import limit_of
from api.http.problems import PackageMissing
from api.routing import admit, check
from api.services import Services
from optimizer.runtime.api_client import ApiClient
from optimizer.runtime.client import OverHttp
from optimizer.runtime.tools import NEEDS_PACKAGE, server_of, tools_of

PATH = "/mcp"
URL = "http://localhost"  # whatever Host the sender wrote
PASSED_ON = (b"authorization", b"x-api-key", b"user-agent")
WAIT_S = 120.0
MOST_AT_ONCE = 8  # tools of one process: each holds a thread until a route has answered it


class OwnRoutes(httpx.BaseTransport):
    """Asks the application of a request, as who sent that one. Used in a thread, while the event loop answers."""

    def __init__(self, scope: Scope, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._app = (
            loop,
            httpx.ASGITransport(scope["app"], raise_app_exceptions=False, client=scope["client"]),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        content = request.read()

        async def ask() -> httpx.Response:
            sent = httpx.Request(request.method, request.url, headers=request.headers, content=content)
            answer = await self._app.handle_async_request(sent)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        try:
            return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(WAIT_S)
        except TimeoutError:
            raise httpx.ReadTimeout(f"no answer within {WAIT_S:.0f} s") from None


class McpEndpoint:
    """``_limiter``: threads of the tools' own. In those of the routes they would wait for routes that find none."""

    _limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shared: Services = scope["app"].state.services
        request = StrictRequest(scope, receive, limit_of(PATH, shared.settings.limits))
        caller = admit(request, shared, None, narrows=True)
        if caller.is_counted:
            await shared.request_limits.count(caller)
        check(request, frozenset())
        limiter = self._limiter = self._limiter or anyio.CapacityLimiter(MOST_AT_ONCE)
        try:
            manager = await asyncio.to_thread(_manager, shared, scope, asyncio.get_running_loop(), limiter)
        except ImportError:
            raise PackageMissing(f"{PATH} {NEEDS_PACKAGE}") from None
        async with manager.run():
            await manager.handle_request(scope, receive, send)


def _manager(shared: Services, scope: Scope, loop: asyncio.AbstractEventLoop, limiter: anyio.CapacityLimiter) -> Any:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # loads for a second, once

    # The first of each, by which the request was admitted.
    headers = {name: value for name, value in reversed(scope["headers"]) if name in PASSED_ON}
    http = httpx.Client(base_url=URL, headers=list(headers.items()), transport=OwnRoutes(scope, loop), timeout=WAIT_S)
    client = ApiClient(URL, http=http)
    tools = tools_of(lambda: OverHttp(client), lambda: client, allowed=shared.settings.api.mcp_allow)
    return StreamableHTTPSessionManager(
        server_of(tools, limiter),
        json_response=True,
        stateless=True,
        max_request_body_size=shared.settings.limits.other_bytes,
    )


routes = [Route(PATH, McpEndpoint(), methods=["POST"], include_in_schema=False)]
