"""Sends an answer while it is being made, as Server-Sent Events, and ends the work when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.gateway.chat_answer import ChatResult, StreamShape
from api.gateway.reader import ClientGone, Reader
from api.http.forwarding import wait_for_disconnect
from optimizer.core.base.errors import DetentError, ModelFailed

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
STOPPED = "gateway_stopped: the gateway ended"  # for the record


class EventStream(Response):
    """Sends pieces as ``reader`` gets them, until ``settled`` says what became of the call, which is
    recorded by then.
    """

    def __init__(
        self,
        shape: StreamShape,
        reader: Reader,
        settled: asyncio.Future[ChatResult],
        problem_of: Callable[[ModelFailed], DetentError],
        headers: dict[str, str],
    ) -> None:
        self.status_code, self.background = 200, None
        self.raw_headers = [*HEADERS, *((name.lower().encode(), value.encode()) for name, value in headers.items())]
        self._shape, self._reader, self._settled, self._problem_of = shape, reader, settled, problem_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(wait_for_disconnect(receive))
        for event in (leaving, self._settled):
            event.add_done_callback(lambda _: self._reader.woken.set())
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send_all(send, leaving)
        except OSError:
            pass  # the client went while something was sent to it
        except asyncio.CancelledError:  # the server waits no longer for its clients
            self._reader.leave(STOPPED)
            raise
        finally:
            if not self._settled.done():
                self._reader.leave()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _send_all(self, send: Send, leaving: asyncio.Future[None]) -> None:
        async def write(body: bytes, *, more: bool = True) -> None:
            if body or not more:
                await send({"type": "http.response.body", "body": body, "more_body": more})

        first = self._shape.first()
        while True:
            pieces = await self._reader.pieces()
            ended = self._settled.done()
            await write(first + self._shape.pieces(pieces))
            first = b""
            if leaving.done():
                return
            if ended:
                break
        await write(self._end(), more=False)

    def _end(self) -> bytes:
        try:
            answered = self._settled.result()
            unsent = b"" if self._reader.begun else self._shape.whole(answered)
            return unsent + b"".join(self._shape.last(answered))
        except ModelFailed as error:
            failure = error
        except (ClientGone, asyncio.CancelledError):
            failure = ModelFailed(
                "The gateway ends, and with it this answer. Send the request again.", kind="gateway_stopped"
            )
        except Exception:  # logged and on record; the status is sent already
            failure = ModelFailed("The gateway met a fault of its own; its log holds it.", kind="internal")
        return self._shape.error(self._problem_of(failure))
