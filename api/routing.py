"""What holds for every route before its own code runs: key and role, known query parameters, limits, a strict body."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api import services
from api.access.auth import Caller, WrongKey, identify, require, require_family
from api.access.limits import Quota
from api.access.local_door import refuse_forms, require_program_of_this_machine
from api.figures import without_quotes, without_texts
from api.http.bodies import QUICK_BYTES, StrictRequest, check_media_type
from api.http.body_limits import BodyLimit, limit_of
from api.http.forwarding import NotSent
from api.http.problems import UnknownParameter, on_detent_error, on_gone
from api.idempotency import KEY_HEADER, Repeated, again, keyed_request
from api.prompt import to_json
from api.services import Services
from optimizer.core.base.errors import Busy, DetentError, Fault, InvalidFamily, NotAuthenticated
from optimizer.core.serving.access import Role

ROLE, CHANGE, NARROWS, PASSED_ON = "x-detent-role", "x-detent-change", "x-detent-narrows", "x-detent-passed-on"
KEYED = "x-detent-keyed"
Change = Literal["limited", "never-refused"]
ERROR = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def guarded(
    role: Role | None,
    change: Change | None = None,
    *,
    narrows: bool = False,
    passed_on: bool = False,
    also: Mapping[int, str] | None = None,
    keyed: bool | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a route: who may call it (None: any caller) and whether it counts as an operator's change.

    ``never-refused`` counts, but passes beyond the limit: rolling back and holding must always be possible. A key for
    named families is held to them where ``{family}`` stands in the path; ``narrows`` says that the route itself does
    so, else such a key is refused. ``keyed`` routes (None: those of a change) keep their answer under an
    Idempotency-Key; they ask ``idempotency.kept`` for their store. ``passed_on`` to the gateway, which counts the
    request for its key: a caller of the gateway itself must not get more. ``also``: good answers of another status than
    the route's own, and what they mean.
    """
    extra: dict[str, Any] = {}
    if role is not None:
        extra = {ROLE: role, NARROWS: narrows, PASSED_ON: passed_on, "security": [{"bearer": []}, {"apiKey": []}]}
    if change is not None:
        extra[CHANGE] = change
    if change is not None if keyed is None else keyed:
        extra |= {KEYED: True, "parameters": [KEY_HEADER]}
    others = {
        status: {"description": meaning, "content": {"application/json": {}}}
        for status, meaning in (also or {}).items()
    }
    return {"openapi_extra": extra, "responses": {**others, "4XX": ERROR, "5XX": ERROR}}


def admit(request: Request, role: Role, *, narrows: bool = False) -> Caller:
    """Puts the caller into ``request.state.caller``, or raises NotAuthenticated, NotAuthorised or TooMany."""
    caller = request.state.caller = _allowed(request, role, narrows=narrows)
    request.state.passage.admit(caller.quota)
    return caller


def admit_again(request: Request, role: Role, *, narrows: bool = False) -> None:
    """As ``admit``, of a request that was admitted: its body may have taken a minute, and its key ended meanwhile."""
    request.state.caller = _allowed(request, role, narrows=narrows)


def _allowed(request: Request, role: Role, *, narrows: bool) -> Caller:
    shared = services.of(request)
    keys = shared.serving.now_served.keys
    if keys is None:
        raise Busy(
            "The store has not been read since the server started, so keys cannot be checked yet. /ready says what is"
            " missing."
        )
    now, host = shared.clock.now(), request.client.host if request.client else None
    if keys.is_open_to(request.headers, now):
        require_program_of_this_machine(request)
    try:
        caller = identify(request.headers, host, keys, shared.actor_without_key, now)
    except NotAuthenticated as error:
        is_wrong = isinstance(error, WrongKey)
        where = f" from {host}, {'a wrong key' if is_wrong else 'no key'}"
        shared.callers.count("refused", request.headers.get("user-agent", ""), where)
        raise (shared.wrong_keys.came_from(host or "") if is_wrong else None) or error from None
    require(caller, role)
    if not narrows:
        require_family(caller, request.path_params.get("family"))
    return caller


def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _asking(request: Request) -> Caller:
    """On the event loop, as ``services.Shared``."""
    return caller_of(request)


Asking = Annotated[Caller, Depends(_asking)]


def check_query(request: Request, known: frozenset[str]) -> None:
    """Raises UnknownParameter naming every query parameter that the route does not have."""
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise UnknownParameter(
            f"Unknown query parameter{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}; this route"
            f" takes: {listed}.",
            [Fault(pointer=f"/{name}", detail="unknown query parameter") for name in unknown],
        )


def count_change(request: Request, change: Change) -> None:
    """Counts one operator change for the caller; raises TooMany beyond the limit.

    The answer carries X-RateLimit-* either way.
    """
    shared = services.of(request)
    quota, refusal = shared.operator_windows.take(request.state.caller.quota, refuse=change == "limited")
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal


class DetentRoute(APIRoute):
    """A route that checks all this before the body is read, and the key again once all of that has come."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner: Callable[[Request], Awaitable[Response]] = super().get_route_handler()
        extra = self.openapi_extra or {}
        role: Role | None = extra.get(ROLE)
        narrows: bool = extra.get(NARROWS, False)
        passed_on: bool = extra.get(PASSED_ON, False)
        change: Change | None = extra.get(CHANGE)
        known = frozenset(field.alias for field in self.dependant.query_params)
        keeps_answers: bool = extra.get(KEYED, False)
        takes_json, path = self.body_field is not None, self.path_format

        async def handler(request: Request) -> Response:
            caller = admit(request, role, narrows=narrows) if role is not None else None
            if caller is not None and not passed_on:
                await services.of(request).request_limits.count(caller)
            refuse_forms(request)
            check_query(request, known)
            if change is not None:
                count_change(request, change)
            on_whole = partial(admit_again, request, role, narrows=narrows) if role is not None else None
            limit = limit_of(path, services.of(request).settings.limits)
            strict = StrictRequest(request.scope, request.receive, limit, on_whole)
            if takes_json and await strict.body():
                check_media_type(strict)
                await strict.json()
            only_figures = role == "read" and caller is not None and not caller.access.reaches("read-texts")
            try:
                answer = await (self._once(strict, inner) if keeps_answers else inner(strict))
            except InvalidFamily as error:
                raise (without_quotes(error) if only_figures else error) from None
            return without_texts(answer) if only_figures else answer

        return handler

    async def _once(self, request: Request, inner: Callable[[Request], Awaitable[Response]]) -> Response:
        """The first answer where this request was answered before, under an Idempotency-Key; else the route's own."""
        shared, usual = services.of(request), self.status_code or 200
        named = request.state.keyed = keyed_request(request, await request.body(), shared)
        if named is None:
            return await inner(request)
        first = await asyncio.to_thread(lambda: shared.read(lambda tx: named.first_answer(tx, shared.store)))
        if first is not None:
            return again(first, request, usual)
        try:
            return await inner(request)
        except Repeated as before:
            return again(before.answer, request, usual)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request that was checked, counted and carried out in front of all layers: they answer it.

    ``outcome``: what the route would have got, or what was raised.
    """

    outcome: Mapping[str, Any] | Exception
    quota: Quota | None  # None: nothing was counted by the minute

    def result(self, request: Request) -> Mapping[str, Any]:
        if self.quota is not None:
            request.state.headers.update(self.quota.headers())
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def taken_before(request: Request) -> Taken | None:
    return getattr(request.state, "taken", None)


class PlainRoute:
    """A POST whose handler looks at its body itself, and at families; ASGI. What holds for every route is checked here.

    FastAPI's own way from a body to an answer costs more than keeping a few events, or half of a chat, so none of it is
    gone: this stands right behind ``Edge``, and a ``DetentRoute`` of the same path documents it. What the handler
    returns is the answer, or what it says as JSON.
    """

    def __init__(self, path: str, role: Role, handler: Callable[[StrictRequest], Awaitable[Any]]) -> None:
        self._path, self._role, self._handler = path, role, handler
        self._limit: BodyLimit | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shared: Services = scope["app"].state.services
        self._limit = self._limit or limit_of(self._path, shared.settings.limits)
        scope["path_params"] = {}
        request = StrictRequest(scope, receive, self._limit, lambda: admit_again(request, self._role, narrows=True))
        answer: Response | None = None
        try:
            if taken_before(request) is None:
                caller = admit(request, self._role, narrows=True)
                answer = await _by_feedback_process(request, shared)
                if answer is None:
                    await shared.request_limits.count(caller)
                    refuse_forms(request)
                    if scope["query_string"]:
                        check_query(request, frozenset())
            if answer is None:
                made = await self._handler(request)
                answer = made if isinstance(made, Response) else Response(to_json(made), media_type="application/json")
        except DetentError as error:
            answer = await on_detent_error(request, error)
        except ClientDisconnect as error:
            answer = await on_gone(request, error)
        await answer(scope, receive, send)


async def _by_feedback_process(request: StrictRequest, shared: Services) -> Response | None:
    """The answer to a long body, which is read and counted there; None for this process to answer itself.

    Raises Busy where it is not known what became of the body.
    """
    if shared.feedback is None:
        return None
    declared = request.declared
    if (declared if declared is not None else len(await request.body())) <= QUICK_BYTES:
        return None
    try:
        answer = await shared.feedback.forward(request)
    except NotSent:
        return None
    request.state.quiet = True  # the other process has its own log
    return answer


def router(tag: str) -> APIRouter:
    return APIRouter(route_class=DetentRoute, tags=[tag])
