"""A provider on loopback that speaks OpenAI's protocol, streamed and whole,
and fails in the ways in which providers fail.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.stand_ins.local_server import local_server

FAULTS = ("timeout", "rate_limit", "broken", "malformed", "drip", "disconnect")
PIECES = ("Stars", " burn", " hydrogen", ".")


class FaultyProvider:
    """``fault(n)`` names what is wrong with the n-th request (from 0), or None. ``pieces`` make up the answer."""

    def __init__(self) -> None:
        self.fault: Callable[[int], str | None] = lambda n: None
        self.pieces: Sequence[str] = PIECES
        self.pause_s = 0.0  # between two pieces of a stream
        self.break_after: int | None = None  # pieces, of a stream with fault disconnect or malformed; None: at once
        self.hold: threading.Event | None = None  # a stream waits for it after its first piece
        self.drip_s = 1.0  # between two pieces of an answer that drips
        self.hang_s = 3.0  # longer than any timeout of the tests
        self.bodies: list[dict[str, Any]] = []
        self.seen: Counter[str] = Counter()
        self.n_hung_up = 0  # streams whose reader went away
        self.hung_up = threading.Event()
        self.url = ""
        self.lock = threading.Lock()


def usage() -> dict[str, int]:
    return {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return (
        b"data: "
        + json.dumps(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
        ).encode()
        + b"\n\n"
    )


def _whole(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage()}
    return json.dumps({**answer, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()


@contextmanager
def faulty_provider() -> Iterator[FaultyProvider]:
    state = FaultyProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with state.lock:
                n = len(state.bodies)
                state.bodies.append(body)
                fault = state.fault(n)
                state.seen[fault or "none"] += 1
            try:
                self._answer(body, fault)
            except OSError:  # the caller gave up
                with state.lock:
                    state.n_hung_up += 1
                state.hung_up.set()
                self.close_connection = True

        def _answer(self, body: dict[str, Any], fault: str | None) -> None:
            if fault == "timeout":
                time.sleep(state.hang_s)
            if fault == "rate_limit":
                return self._send(429, b'{"error": {"message": "slow down"}}')
            if fault == "broken":
                return self._send(500, b'{"error": {"message": "on fire"}}')
            if body.get("stream"):
                return self._stream(body, fault)
            if fault == "malformed":
                return self._send(200, b'{"choices": "none"}')
            if fault == "disconnect":
                return self._cut()
            answer = _whole("".join(state.pieces))
            if fault == "drip":
                self._start(200, len(answer))
                for byte in answer:
                    self._write(bytes([byte]))
                    time.sleep(state.drip_s / 10)
                return None
            return self._send(200, answer)

        def _stream(self, body: dict[str, Any], fault: str | None) -> None:
            cut_at = (state.break_after or 0) if fault in ("disconnect", "malformed") else None
            self._start(200, None, "text/event-stream")
            self._write(chunk({"role": "assistant", "content": None}))
            for i, piece in enumerate(state.pieces):
                if i == cut_at:
                    break
                self._write(chunk({"content": piece}))
                if i == 0 and state.hold is not None:
                    state.hold.wait(30)
                time.sleep(state.drip_s if fault == "drip" else state.pause_s)
            if fault == "malformed":
                self._write(b"data: {nonsense\n\n")
            if cut_at is not None:
                return self._cut()
            self._write(chunk({}, "stop"))
            if (body.get("stream_options") or {}).get("include_usage"):
                self._write(b"data: " + json.dumps({"choices": [], "usage": usage()}).encode() + b"\n\n")
            self._write(b"data: [DONE]\n\n")
            self.close_connection = True
            return None

        def _send(self, status: int, payload: bytes) -> None:
            self._start(status, len(payload))
            self._write(payload)

        def _start(self, status: int, length: int | None, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header(*(("content-length", str(length)) if length is not None else ("connection", "close")))
            self.end_headers()

        def _write(self, payload: bytes) -> None:
            self.wfile.write(payload)
            self.wfile.flush()

        def _cut(self) -> None:
            """Resets the connection, as a provider that falls over does."""
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        def log_message(self, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with local_server(Handler, Server) as url:
        state.url = f"{url}/v1"
        yield state
