"""Model calls: answered by the gateway process, passed on untouched so that clients see one address."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.access.auth import Caller
from api.access.limits import MinuteWindows
from api.routing import guarded, router, taken_before
from api.services import Shared

routes: APIRouter = router("Models")


@routes.post("/v1/chat/completions", **guarded("serve", narrows=True, passed_on=True))
async def chat_completions(request: Request, shared: Shared) -> Response:
    """OpenAI's request and answer; `model` is a family. The gateway answers; its stream is passed on as it comes."""
    if (taken := taken_before(request)) is not None:
        taken.result(request)  # raises: it was passed on in front of all layers, and brought no answer
    if shared.chat_windows is not None and request.state.caller.agent is not None:
        _count_keyless(request.state.caller, request, shared.chat_windows)
    return await shared.gateway.forward(request)


@routes.get("/v1/models", **guarded("serve", narrows=True, passed_on=True))
async def models(request: Request, shared: Shared) -> Response:
    """The families, as OpenAI lists models."""
    return await shared.gateway.forward(request)


@routes.get("/metrics", **guarded("read", passed_on=True))
async def metrics(request: Request, shared: Shared) -> Response:
    """Counters of model calls in Prometheus' text format, as the gateway keeps them."""
    return await shared.gateway.forward(request)


def _count_keyless(caller: Caller, request: Request, windows: MinuteWindows) -> None:
    quota, refusal = windows.take(caller.quota)
    request.state.headers.update(quota.headers())
    if refusal is not None:
        raise refusal
