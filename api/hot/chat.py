"""Passes a chat to the gateway process, and its answer, which may be a stream, on untouched."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from api.access.limits import MinuteWindows, count_one, give_back
from api.hot.application import HotRoute
from api.http.bodies import StrictRequest
from api.routing import caller_of
from api.services import Services
from optimizer.core.base.errors import TooMany
from optimizer.host.ports_in_use import network_of

CHAT = "/v1/chat/completions"
LIMIT_HEADERS = "X-RateLimit-"
LEFT = f"{LIMIT_HEADERS}Remaining"
REFUSED = 429  # by the gateway: a limit of the user, or of money


async def chat(request: StrictRequest, shared: Services) -> Response:
    headers = request.state.headers
    counted: list[tuple[MinuteWindows, str]] = []
    try:
        for windows, sender in _limits_of(request, shared):
            count_one(windows, sender, headers)
            counted.append((windows, sender))
    except TooMany:
        for windows, sender in counted:
            give_back(windows, sender, {})
        raise
    answer = await shared.gateway.forward(request)
    if answer.status_code == REFUSED and counted:
        for name in [name for name in headers if name.startswith(LIMIT_HEADERS)]:
            del headers[name]
        for windows, sender in counted:
            give_back(windows, sender, headers)
    if headers and LEFT in headers:
        _tell_nearest(headers, answer.raw_headers)
    request.state.quiet = answer.status_code < 400  # the gateway logs the good answers
    return answer


def _limits_of(request: StrictRequest, shared: Services) -> Iterator[tuple[MinuteWindows, str]]:
    caller, client = caller_of(request), request.scope["client"]
    if shared.chat_windows is not None and caller.agent is not None:
        yield shared.chat_windows, caller.quota
    if shared.address_windows is not None:
        yield shared.address_windows, network_of(client[0]) if client else "local"


def _tell_nearest(own: dict[str, str], passed_on: list[tuple[bytes, bytes]]) -> None:
    """Sends the smaller of the two limits left: the user's, from the gateway, and the address's, from this process."""
    left = next((int(value) for name, value in passed_on if name == LEFT.lower().encode()), None)
    if left is None:
        return
    if left < int(own[LEFT]):
        for name in [name for name in own if name.startswith(LIMIT_HEADERS)]:
            del own[name]
    else:
        passed_on[:] = [pair for pair in passed_on if not pair[0].startswith(LIMIT_HEADERS.lower().encode())]


HOT = [HotRoute(path=CHAT, role="serve", handler=chat, counts=False)]
