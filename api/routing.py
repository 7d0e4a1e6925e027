"""Checks every request before its route's code runs: key and role, known query parameters, limits, a strict body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Request, Response
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute
from fastapi.utils import create_model_field, is_body_allowed_for_status_code as has_body
from starlette.exceptions import HTTPException

from api import services
from api.access.auth import Caller, WrongKey, identify, require, require_family, without_key
from api.access.local_door import refuse_forms, require_program_of_this_machine
from api.answers import Health
from api.http.bodies import QUICK_BYTES, StrictRequest
from api.http.body_limits import limit_of
from api.http.forwarding import NotSent
from api.http.problems import UnknownParameter
from api.idempotency import KEY_HEADER, RepeatedRequest, again, keyed_request
from api.services import Services
from optimizer.core.base.errors import Busy, Fault, InvalidFamily, NotAuthenticated
from optimizer.core.serving.access import Role
from optimizer.core.serving.local_door import SAFE_METHODS
from optimizer.runtime.use_cases import Change

GUARD = "x-detent-guard"  # where FastAPI keeps a route's RouteGuard; the API's description goes without it
UNREADABLE = "The family's file cannot be used. A key of role read-texts is told what is wrong with it."
ERROR = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGuard:
    """Who may call a route, and how its requests are counted and its answers kept; see ``guarded``."""

    role: Role | None = None
    change: Change | None = None
    narrows: bool = False
    passed_on: bool = False
    keyed: bool = False
    long_bodies: bool = False


def guard_of(route: APIRoute) -> RouteGuard:
    guard: RouteGuard = (route.openapi_extra or {}).get(GUARD, RouteGuard())
    return guard


def guarded(
    role: Role | None,
    change: Change | None = None,
    *,
    narrows: bool = False,
    passed_on: bool = False,
    also: Mapping[int, str] | None = None,
    keyed: bool | None = None,
    long_bodies: bool = False,
) -> dict[str, Any]:
    """Keyword arguments of a route: who may call it (None: any caller) and whether it counts as an operator's change.

    Args:
        change: ``never-refused`` counts, but passes beyond the limit: rolling back and holding must always be possible.
        narrows: the route itself holds a key for named families to them. Without it, a key is held to the ``{family}``
            of the path, and refused where the path has none.
        keyed: its answer is stored under an Idempotency-Key, by ``idempotency.call_once``; None: as for a change.
        passed_on: to the gateway, which counts the request for its key, since a caller of the gateway itself must not
            get more.
        long_bodies: the process for feedback takes them, as it does those of events.
        also: good answers of another status than the route's own, and what they mean.
    """
    is_keyed = change is not None if keyed is None else keyed
    extra: dict[str, Any] = {
        GUARD: RouteGuard(
            role=role, change=change, narrows=narrows, passed_on=passed_on, keyed=is_keyed, long_bodies=long_bodies
        )
    }
    if role is not None:
        extra["security"] = [{"bearer": []}, {"apiKey": []}]
    if is_keyed:
        extra["parameters"] = [KEY_HEADER]
    others = {
        status: {"description": meaning, **({"content": {"application/json": {}}} if has_body(status) else {})}
        for status, meaning in (also or {}).items()
    }
    return {"openapi_extra": extra, "responses": {**others, "4XX": ERROR, "5XX": ERROR}}


def admit(request: StrictRequest, shared: Services, role: Role | None, *, narrows: bool = False) -> Caller:
    """Puts the caller into ``request.state.caller``, or raises NotAuthenticated, NotAuthorised or TooMany.

    ``role``: None where any key may come in, since what it asks for is looked at again.
    """
    caller = _admitted_caller(request, shared, role, narrows=narrows)
    state = request.scope["state"]
    state["caller"] = caller
    state["passage"].admit(caller.quota)
    return caller


def admit_again(request: StrictRequest, role: Role, *, narrows: bool = False) -> None:
    """As ``admit``, for a request that was admitted: its body may have taken a minute, and its key ended meanwhile."""
    caller = _admitted_caller(request, services.of(request), role, narrows=narrows)
    request.scope["state"]["caller"] = caller


def _admitted_caller(request: StrictRequest, shared: Services, role: Role | None, *, narrows: bool) -> Caller:
    keys = shared.serving.now_served.keys
    if keys is None:
        raise Busy(
            "The store has not been read since the server started, so keys cannot be checked yet. /ready says what is"
            " missing."
        )
    now, client = shared.clock.now(), request.scope["client"]
    host = client[0] if client else None
    if keys.is_open_to(request.first, now):
        require_program_of_this_machine(request)
        caller = without_key(shared.actor_without_key, host, request.first.get("user-agent", ""))
    else:
        try:
            caller = identify(request.first, keys, now)
        except NotAuthenticated as error:
            is_wrong = isinstance(error, WrongKey)
            where = f" from {host}, {'a wrong key' if is_wrong else 'no key'}"
            shared.callers.count("refused", request.first.get("user-agent", ""), where)
            raise (shared.wrong_keys.came_from(host or "") if is_wrong else None) or error from None
    if role is not None:
        require(caller, role)
    if not narrows:
        require_family(caller, request.scope["path_params"].get("family"))
    return caller


def caller_of(request: Request) -> Caller:
    caller: Caller = request.scope["state"]["caller"]
    return caller


async def _asking(request: Request) -> Caller:
    """The caller. Runs on the event loop, as ``services.Shared``."""
    return caller_of(request)


Asking = Annotated[Caller, Depends(_asking)]


def check(request: StrictRequest, query: frozenset[str]) -> None:
    """What is looked at of an admitted and counted request before its body is read.

    Raises UnsupportedMediaType or UnknownParameter.
    """
    if request.scope["method"] not in SAFE_METHODS:
        refuse_forms(request)
    check_query(request, query)


def check_query(request: StrictRequest, known: frozenset[str]) -> None:
    """Raises UnknownParameter naming every query parameter that the route does not have."""
    if not known.issuperset(request.query):
        unknown = [name for name in request.query if name not in known]
        listed = ", ".join(sorted(known)) or "none"
        raise UnknownParameter(
            f"Unknown query parameter{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}; this route"
            f" takes: {listed}.",
            [Fault(pointer=f"/{name}", detail="unknown query parameter") for name in unknown],
        )


def count_change(request: StrictRequest, shared: Services, change: Change) -> None:
    """Counts one operator change for the caller; raises TooMany beyond the limit.

    The answer carries X-RateLimit-* either way.
    """
    quota, refusal = shared.operator_windows.take(request.state.caller.quota, refuse=change == "limited")
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


def as_told_to(caller: Caller, error: InvalidFamily) -> InvalidFamily:
    """What is wrong with a family's file quotes the file, which an application's key, or one for figures, may not
    read.
    """
    return error if caller.access.reaches("read-texts") else InvalidFamily(UNREADABLE)


async def by_feedback_process(request: StrictRequest, shared: Services) -> Response | None:
    """The answer of the process for feedback; None where this process has to answer itself.

    Raises Busy where it is unknown whether that process took the body.
    """
    if shared.feedback is None:
        return None
    try:
        answer = await shared.feedback.forward(request)
    except NotSent:
        return None
    request.state.quiet = True  # the other process has its own log
    return answer


async def long_by_feedback_process(request: StrictRequest, shared: Services) -> Response | None:
    """As ``by_feedback_process``, for long bodies only: they are read and counted there."""
    if shared.feedback is None:
        return None
    declared = request.declared
    if (declared if declared is not None else len(await request.body())) <= QUICK_BYTES:
        return None
    return await by_feedback_process(request, shared)


class DetentRoute(APIRoute):
    """A route that checks all this before the body is read, and the key again once all of that has come.

    Where it is given a ``response_model``, it writes its answer itself.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, response_model: Any, **further: Any) -> None:
        writes = not isinstance(response_model, DefaultPlaceholder)
        super().__init__(path, endpoint, response_model=None if writes else response_model, **further)
        if writes:
            self.response_model = response_model

    def build_schemas(self) -> None:
        """Builds those of its answers. Only the API's description needs them, and the start takes a quarter less."""
        if self.response_field is None and self.response_model is not None:
            build = partial(create_model_field, type_=self.response_model, mode="serialization")
            self.response_field = build(f"Response_{self.unique_id}")
            self.response_fields = {
                status: build(f"Response_{status}_{self.unique_id}")
                for status in self.responses
                if isinstance(status, int) and has_body(status)
            }

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        guard = guard_of(self)
        role = guard.role
        known = frozenset(field.alias for field in self.dependant.query_params)
        takes_json, path = self.body_field is not None, self.path_format
        on_whole = None if role is None else partial(admit_again, role=role, narrows=guard.narrows)

        async def handler(request: Request) -> Response:
            shared = services.of(request)
            strict = StrictRequest(request.scope, request.receive, limit_of(path, shared.settings.limits), on_whole)
            caller = admit(strict, shared, role, narrows=guard.narrows) if role is not None else None
            if guard.long_bodies and (answer := await long_by_feedback_process(strict, shared)) is not None:
                return answer
            if caller is not None and caller.is_counted and not guard.passed_on:
                await shared.request_limits.count(caller)
            check(strict, known)
            if guard.change is not None:
                count_change(strict, shared, guard.change)
            if takes_json:
                await strict.declared_json()
            try:
                return await (self._once(strict, inner) if guard.keyed else inner(strict))
            except InvalidFamily as error:
                raise (error if caller is None else as_told_to(caller, error)) from None

        return handler

    async def _once(self, request: Request, inner: Callable[[Request], Awaitable[Response]]) -> Response:
        """The first answer where this request was answered before, under an Idempotency-Key; else the route's own."""
        shared, usual = services.of(request), self.status_code or 200
        keyed = request.state.keyed = keyed_request(request, await request.body(), shared)
        if keyed is None:
            return await inner(request)
        first = await asyncio.to_thread(lambda: shared.read(lambda tx: shared.store.events.stored_answer(tx, *keyed)))
        if first is not None:
            return again(first, request, usual)
        try:
            return await inner(request)
        except RepeatedRequest as before:
            return again(before.answer, request, usual)


def answered_in_front() -> NoReturn:
    """The handler of a route that is here for OpenAPI alone: ``api/hot/`` answers its requests, and what still comes
    here has a line feed behind the path, which Starlette's patterns pass over.
    """
    raise HTTPException(404)


def router(tag: str) -> APIRouter:
    return APIRouter(route_class=DetentRoute, tags=[tag])


async def health() -> Health:
    """Alive: answers whatever else is down."""
    return {"status": "ok"}


def say_not_ready(response: Response) -> None:
    response.status_code = 503
    response.headers["Retry-After"] = "1"
