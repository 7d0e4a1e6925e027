"""The ASGI application in front of FastAPI. Most answers here cost less than FastAPI's own work on a request.

The functions that check key, limits and body, and that answer errors, are those of FastAPI's routes
(``api/routing.py``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.bodies import StrictRequest
from api.http.body_limits import BodyLimit, limit_of
from api.http.edge import Edge
from api.http.in_flight import InFlight
from api.http.problems import install, on_bug, on_detent_error, on_gone
from api.prompt import to_json
from api.routing import admit, admit_again, check
from api.services import Services
from optimizer.core.base.errors import DetentError
from optimizer.core.serving.access import Role

Header = tuple[bytes, bytes]
JSON: Header = (b"content-type", b"application/json")
# Otherwise FastAPI would look for OpenTelemetry at each request.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class HotResponse(Response):
    """A response whose headers are stored as they are sent, so that none is converted."""

    def __init__(self, body: bytes, headers: list[Header], status: int = 200) -> None:
        self.status_code, self.body, self.raw_headers, self.background = status, body, headers, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})

    @classmethod
    def of_json(cls, body: bytes, *headers: Header) -> HotResponse:
        return cls(body, [(b"content-length", b"%d" % len(body)), JSON, *headers])


@dataclass(frozen=True, slots=True, kw_only=True)
class HotRoute:
    """A route of this application. A ``DetentRoute`` of the same path documents it.

    Args:
        path: as FastAPI writes it. Where it names no family, ``handler`` itself holds a key for named families to them.
        handler: gives the answer, or a mapping that is sent as JSON.
        query: the parameters that it takes.
        counts: whether the request counts towards its key's requests a minute; False where another process counts it,
            to which it is passed on.
        elsewhere: asks another process, which checks and counts the request. If it gives None, ``handler`` is asked.
        refusal: gives the answer to a DetentError.
    """

    path: str
    role: Role
    handler: Callable[[StrictRequest, Services], Awaitable[Response | Mapping[str, Any]]]
    methods: Sequence[str] = ("POST",)
    query: frozenset[str] = frozenset()
    counts: bool = True
    elsewhere: Callable[[StrictRequest, Services], Awaitable[Response | None]] | None = None
    refusal: Callable[[StrictRequest, Exception], Awaitable[Response]] = on_detent_error


class HotRoutes:
    """Answers these routes, and passes all other requests on to ``app``."""

    def __init__(self, app: ASGIApp, routes: Sequence[HotRoute]) -> None:
        self._app = app
        ways = [(method, route) for route in routes for method in route.methods]
        self._by_path = {(method, route.path): route for method, route in ways if "{" not in route.path}
        self._by_pattern = [(method, compile_path(route.path)[0], route) for method, route in ways if "{" in route.path]
        self._limits: dict[str, BodyLimit] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route_of(scope) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        shared: Services = scope["app"].state["services"]
        narrows = "{family}" not in route.path
        limit = self._limits.get(route.path)
        if limit is None:
            limit = self._limits[route.path] = limit_of(route.path, shared.settings.limits)
        request = StrictRequest(scope, receive, limit, partial(admit_again, role=route.role, narrows=narrows))
        try:
            caller = admit(request, shared, route.role, narrows=narrows)
            answer = await route.elsewhere(request, shared) if route.elsewhere is not None else None
            if answer is None:
                if route.counts and caller.is_counted:
                    await shared.request_limits.count(caller)
                check(request, route.query)
                result = await route.handler(request, shared)
                answer = result if isinstance(result, Response) else HotResponse.of_json(to_json(result))
        except DetentError as error:
            answer = await route.refusal(request, error)
        except ClientDisconnect as error:
            answer = await on_gone(request, error)
        except Exception as error:
            answer = await on_bug(request, error)
        await answer(scope, receive, send)

    def _route_of(self, scope: Scope) -> HotRoute | None:
        """The route of a request; its parameters go into ``scope``."""
        method, path = scope["method"], scope["path"]
        route = self._by_path.get((method, path))
        if route is not None:
            scope["path_params"] = {}
            return route
        for of, pattern, route in self._by_pattern:
            if method == of and (match := pattern.match(path)) is not None:
                scope["path_params"] = match.groupdict()
                return route
        return None


class Application(FastAPI):
    """FastAPI behind the hot routes, and these behind ``Edge``, which sees each request and answer.

    Middleware that is added stands in front of all of them.
    """

    def __init__(self, hot: Sequence[HotRoute], in_flight: InFlight, **described: Any) -> None:
        super().__init__(telemetry=NO_TELEMETRY, docs_url=None, redoc_url=None, **described)
        self._hot, self.state.in_flight = hot, in_flight
        install(self)

    def build_middleware_stack(self) -> ASGIApp:
        added, self.user_middleware = self.user_middleware, []
        app: ASGIApp = Edge(HotRoutes(super().build_middleware_stack(), self._hot), self.state.in_flight)
        for middleware, args, kwargs in reversed(added):
            app = middleware(app, *args, **kwargs)
        return app
