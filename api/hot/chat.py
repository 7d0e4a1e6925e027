"""Chat: the gateway process answers, and its answer, a stream too, is passed on untouched."""

from __future__ import annotations

from starlette.responses import Response

from api.hot.application import HotRoute
from api.http.bodies import StrictRequest
from api.routing import caller_of
from api.services import Services

CHAT = "/v1/chat/completions"


async def chat(request: StrictRequest, shared: Services) -> Response:
    caller = caller_of(request)
    if shared.chat_windows is not None and caller.agent is not None:
        quota, refusal = shared.chat_windows.take(caller.quota)
        request.state.headers.update(quota.headers())
        if refusal is not None:
            raise refusal
    answer = await shared.gateway.forward(request)
    request.state.quiet = answer.status_code < 400  # the gateway logs what went well
    return answer


HOT = [HotRoute(path=CHAT, role="serve", handler=chat, counts=False)]
