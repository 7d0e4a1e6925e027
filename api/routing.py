"""What holds for every route before its own code runs: key and role, known query parameters, limits, a strict body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from api import services
from api.auth import Role, identify, require
from api.bodies import StrictRequest, check_media_type
from api.problems import UnknownParameter
from optimizer.core.errors import Busy, Fault

ROLE, CHANGE = "x-detent-role", "x-detent-change"
Change = Literal["limited", "never-refused"]
ERROR = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def guarded(role: Role | None, change: Change | None = None) -> dict[str, Any]:
    """Keyword arguments of a route: who may call it (None: everybody) and whether it counts as an operator's change.

    ``never-refused`` counts, but passes beyond the limit: rolling back and holding must always be possible.
    """
    extra: dict[str, Any] = {}
    if role is not None:
        extra = {ROLE: role, "security": [{"bearer": []}, {"apiKey": []}]}
    if change is not None:
        extra[CHANGE] = change
    return {"openapi_extra": extra, "responses": {"4XX": ERROR, "5XX": ERROR}}


def admit(request: Request, role: Role) -> None:
    """Puts the caller into ``request.state.caller``, or raises NotAuthenticated or NotAuthorised."""
    shared = services.of(request)
    keys = shared.serving.now_served.keys
    if keys is None:
        raise Busy("The store has not been read since the server started, so keys cannot be checked yet. /ready says what is missing.")
    caller = identify(request.headers, request.client.host if request.client else None, keys, shared.actor_without_key)
    require(caller, role)
    request.state.caller = caller


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raises UnknownParameter naming every query parameter that the route does not have."""
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise UnknownParameter(
            f"Unknown query parameter{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}; this route takes: {listed}.",
            [Fault(pointer=f"/{name}", detail="unknown query parameter") for name in unknown],
        )


def count_change(request: Request, change: Change) -> None:
    """Counts one operator change for the caller; raises TooMany beyond the limit. The answer carries X-RateLimit-* either way."""
    shared = services.of(request)
    quota, refusal = shared.operator_windows.take(request.state.caller.quota, refuse=change == "limited")
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


class DetentRoute(APIRoute):
    """A route that checks all this before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        extra = self.openapi_extra or {}
        role: Role | None = extra.get(ROLE)
        change: Change | None = extra.get(CHANGE)
        known = frozenset(field.alias for field in self.dependant.query_params)
        takes_json = self.body_field is not None

        async def handler(request: Request) -> Response:
            if role is not None:
                admit(request, role)
            check_query(request, known)
            if change is not None:
                count_change(request, change)
            strict = StrictRequest(request.scope, request.receive)
            if takes_json and await strict.body():
                check_media_type(strict)
                await strict.json()
            return await inner(strict)

        return handler


def router(tag: str) -> APIRouter:
    return APIRouter(route_class=DetentRoute, tags=[tag])
