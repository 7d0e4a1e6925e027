"""Model calls: answered by the gateway process, passed on untouched so that clients see one address."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.responses import PlainTextResponse

from api.answers import ChatCompletion, ModelNames
from api.hot.chat import CHAT
from api.routing import answered_in_front, guarded, router
from api.schemas import ChatBody
from api.services import Shared

routes: APIRouter = router("Models")


_chat = guarded("serve", narrows=True, passed_on=True)
_chat["responses"] |= {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


@routes.post(CHAT, response_model=ChatCompletion, **_chat)
async def chat_completions(body: ChatBody) -> Response:
    """OpenAI's request and answer; `model` is a family, or a model of config/models.yaml. The gateway answers; its
    stream is passed on as it comes.
    """
    return answered_in_front()


@routes.get("/v1/models", response_model=ModelNames, **guarded("serve", narrows=True, passed_on=True))
async def models(request: Request, shared: Shared) -> Response:
    """The families, as OpenAI lists models."""
    return await shared.gateway.forward(request)


@routes.get("/metrics", response_class=PlainTextResponse, **guarded("read", passed_on=True))
async def metrics(request: Request, shared: Shared) -> Response:
    """Figures in Prometheus' text format: of the gateway's model calls, and of what the store sums up."""
    return await shared.gateway.forward(request)
