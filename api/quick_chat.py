"""A short chat passed on to the gateway in front of FastAPI and of every layer, as ``quick.py`` does with prompts.

Only a request that may be passed on at once is taken here; all else is left to the route of the same path
(``routes/models.py``), before anything was counted or sent. That route also says why a request that was counted brought
no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.types import Message, Receive, Scope, Send

from api.access.limits import Quota
from api.http.forwarding import Passed
from api.http.in_flight import InFlight, Passage
from api.http.problems import GatewayUnavailable
from api.http.safe_headers import NAME_OF_CSP, RAW, RAW_CSP
from api.quick import admitted, caller_now, id_header, read_headers, received_again, short_body
from api.routing import Taken
from api.services import Services
from optimizer.core.base.errors import DetentError

PATH = "/v1/chat/completions"

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class PassedChat:
    """The gateway's answer, or None where the client went before it."""

    passed: Passed | None
    passage: Passage

    async def send(self, scope: Scope, send: Send) -> None:
        try:
            if self.passed is not None:
                await self.passed.send(scope, send, is_complete=True)
        finally:
            self.passage.end()


def is_chat(scope: Scope) -> bool:
    return scope["type"] == "http" and bool(scope["path"] == PATH) and scope["method"] == "POST"


async def quick_chat(
    scope: Scope, receive: Receive, shared: Services, in_flight: InFlight
) -> tuple[PassedChat | None, Receive]:
    """The answer from its head on; or None for the ordinary route, and what that has to receive from."""
    sent = read_headers(scope["headers"], with_a_body=True) if not scope["query_string"] else None
    caller = caller_now(scope, sent, shared) if sent is not None else None
    passage = admitted(caller, None, in_flight) if caller is not None else None
    if sent is None or caller is None or passage is None:
        return None, receive
    started = perf_counter()
    message: Message | None = None
    answer: PassedChat | None = None
    quota: Quota | None = None
    try:
        message = await receive()  # may take a minute: the key is asked for again
        body = short_body(scope, message, sent, caller, shared, passage)
        if body is not None and shared.chat_windows is not None and caller.agent is not None:
            quota, refusal = shared.chat_windows.take(caller.quota)
            body = body if refusal is None else None
        if body is not None:
            request_id = id_header(sent)
            passed = await shared.gateway.passed(scope, receive, body, request_id[1])
            if passed is not None:
                _add_headers(passed, request_id, quota)
                _tell_of_failure(passed, request_id, started)
            answer = PassedChat(passed, passage)
    except GatewayUnavailable as error:
        scope.setdefault("state", {})["taken"] = Taken(error, quota)
    except DetentError:
        pass
    finally:
        if answer is None:
            passage.end()
    return answer, receive if answer is not None else received_again(message, receive)


def _add_headers(passed: Passed, request_id: tuple[bytes, bytes], quota: Quota | None) -> None:
    counted = quota.headers().items() if quota is not None else ()
    has_policy = any(name == NAME_OF_CSP for name, _ in passed.headers)
    passed.headers += [
        request_id,
        *((name.lower().encode(), value.encode()) for name, value in counted),
        *(RAW if has_policy else (*RAW, RAW_CSP)),
    ]


def _tell_of_failure(passed: Passed, request_id: tuple[bytes, bytes], started: float) -> None:
    """As ``Edge`` logs it; what went well the gateway alone logs."""
    if passed.status >= 400:
        ms = round((perf_counter() - started) * 1000, 1)
        log.info("answered", request_id=request_id[1].decode(), method="POST", path=PATH, status=passed.status, ms=ms)
