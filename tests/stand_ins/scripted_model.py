"""A LanguageModel whose answers, prices and failures a test writes down,
and a provider on loopback that speaks OpenAI's protocol.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from optimizer.core.base.errors import ModelFailed
from optimizer.core.models.budget import reservation_usd
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from tests.stand_ins.local_server import local_server

RESET = -1  # in the place of a status: the connection is torn down, not closed
FREE = ModelPrice(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0)


class ScriptedModel:
    """``script(request, n)`` gives the text of the n-th attempt on the wire (from 1), or raises.

    ``together``: nothing is answered before so many have been in flight at once (twenty seconds at most).
    """

    revision = "r1"

    def __init__(
        self,
        script: Callable[[ModelRequest, int], str] = lambda request, n: f"answer {n}",
        *,
        name: str = "scripted",
        price: ModelPrice | None = FREE,
        concurrency: int = 4,
        retries: int = 2,
        max_output_tokens: int | None = 20,
        cost_share: float = 1.0,
        delay_s: float = 0.0,
        together: int = 0,
    ) -> None:
        self.name, self.price, self.concurrency, self.retries = name, price, concurrency, retries
        self.max_output_tokens = max_output_tokens
        self._script, self._cost_share, self._delay_s, self._together = script, cost_share, delay_s, together
        self._lock = threading.Lock()
        self.requests: list[ModelRequest] = []
        self.in_flight = self.most_in_flight = 0

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        with self._on_the_wire(request) as n:
            await asyncio.sleep(self._delay_s)
            async with asyncio.timeout(20):
                while self.most_in_flight < self._together:
                    await asyncio.sleep(0.001)
            return await self._answered(request, n)

    async def _answered(self, request: ModelRequest, n: int) -> ModelAnswer:
        """In a thread, as what computes on this machine."""
        return await asyncio.to_thread(self._answer, request, n)

    @contextmanager
    def _on_the_wire(self, request: ModelRequest) -> Iterator[int]:
        """The number of the attempt."""
        with self._lock:
            self.requests.append(request)
            n = len(self.requests)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield n
        finally:
            with self._lock:
                self.in_flight -= 1

    def _answer(self, request: ModelRequest, n: int) -> ModelAnswer:
        text = self._script(request, n)
        limit = request.params.get("max_tokens") or self.max_output_tokens
        cost = reservation_usd(request, self.price, limit) * self._cost_share
        return ModelAnswer(text=text, input_tokens=10, output_tokens=5, cost_usd=cost, latency_ms=12.0)


class AwaitedModel(ScriptedModel):
    """The same without a thread: its script runs in the event loop."""

    async def _answered(self, request: ModelRequest, n: int) -> ModelAnswer:
        return self._answer(request, n)


def failed(kind: str, *, status: int | None = None, sent: bool = True, **members: Any) -> ModelFailed:
    return ModelFailed(f"scripted {kind}", kind=kind, status_of_model=status, sent=sent, **members)


def always(kind: str, **members: Any) -> Callable[[ModelRequest, int], str]:
    """A script that fails every attempt so."""

    def script(request: ModelRequest, n: int) -> str:
        raise failed(kind, **members)

    return script


def request(
    text: str = "hello", *, temperature: float | None = 0.0, sample: str = "0", max_tokens: int | None = 20, **more: Any
) -> ModelRequest:
    params = {"temperature": temperature, **({"max_tokens": max_tokens} if max_tokens else {}), **more}
    return ModelRequest(
        model="scripted", revision="r1", messages=[{"role": "user", "content": text}], params=params, sample=sample
    )


def chat_answer(text: str, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "provider-model",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }


class Provider:
    """What a provider on loopback answers next, and what it was sent."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]] = lambda body: (
            200,
            {},
            json.dumps(chat_answer("hi")).encode(),
        )
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""


@contextmanager
def provider() -> Iterator[Provider]:
    state = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.bodies.append(body)
            state.headers.append(dict(self.headers))
            status, headers, payload = state.answer(body)
            if status == 0:  # break off
                self.connection.close()
                return
            if status == RESET:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.connection.close()
                return
            try:
                self.send_response(status)
                for name, value in {
                    "content-type": "application/json",
                    "content-length": str(len(payload)),
                    **headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)
            except OSError:
                pass  # the client gave up

        def log_message(self, *args: Any) -> None: ...

    with local_server(Handler) as url:
        state.url = f"{url}/v1"
        yield state
