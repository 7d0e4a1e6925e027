"""A provider on a port of this machine, which speaks OpenAI's protocol; and which adapters must not be skipped."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
WAITING = """
import asyncio
while getattr(globals().get("prompts"), "_open", ()):
    await asyncio.sleep(0.01)
"""
REQUIRED = os.environ.get("DETENT_ADAPTERS", "").replace("-", "_").split(",")  # `make test-adapters` names them
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
RESPONSE_USAGE = {
    "input_tokens": 7,
    "output_tokens": 3,
    "total_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped and Path(report.nodeid).stem.removeprefix("test_") in REQUIRED:
        pytest.exit(f"{report.nodeid} was skipped, though its package belongs to this environment", returncode=1)


class Provider:
    """``text`` is answered, in three pieces where it is streamed. A fault is taken for as long as it is set.

    Attributes:
        status: another than 200 is an error.
        cut_after: so many pieces of a stream come, then the connection breaks.
        ends_after: so many pieces come, then the answer ends as if it were whole.
        tool: name of a tool that is called instead of answering, once.
    """

    def __init__(self) -> None:
        self.text = "billing"
        self.status = 200
        self.cut_after: int | None = None
        self.ends_after: int | None = None
        self.tool: str | None = None
        self.requests: list[dict[str, Any]] = []
        self.prompts: dict[str, Any] = {}  # of LiteLLM's protocol for prompt managers, by id
        self.url = ""

    def answer(self, path: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.status != 200:
            return self.status, {"error": {"message": "no", "type": "server_error", "code": "broken"}}
        return 200, self.chat(said) if path.endswith("/chat/completions") else self.response(said)

    def chat(self, said: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.tool is not None:
            function = {"name": self.tool, "arguments": '{"order": 7}'}
            message = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
            }
        finish_reason = "stop" if self.tool is None else "tool_calls"
        self.tool = None
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": said["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": USAGE,
        }

    def response(self, said: dict[str, Any]) -> dict[str, Any]:
        content = [{"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}]
        output: list[dict[str, Any]] = [
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
        ]
        if self.tool is not None:
            call = {"type": "function_call", "name": self.tool, "arguments": '{"order": 7}'}
            output = [{"id": "fc_1", "call_id": "call_1", "status": "completed", **call}]
        self.tool = None
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": said["model"],
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": RESPONSE_USAGE,
        }

    def pieces(self, path: str, said: dict[str, Any]) -> list[dict[str, Any]]:
        texts = [self.text[:3], self.text[3:5], self.text[5:]]
        if not path.endswith("/chat/completions"):
            return self._events(self.response(said), texts)
        whole = self.chat(said)
        chunk = {**whole, "object": "chat.completion.chunk"}
        del chunk["usage"]
        message = whole["choices"][0]["message"]
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if calls := message.get("tool_calls"):
            deltas.append({"tool_calls": [{"index": 0, **call} for call in calls]})
        else:
            deltas += [{"content": text} for text in texts]
        chunks = [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        reason = whole["choices"][0]["finish_reason"]
        chunks.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if (said.get("stream_options") or {}).get("include_usage"):
            chunks.append({**chunk, "choices": [], "usage": USAGE})
        return chunks

    def _events(self, whole: dict[str, Any], texts: list[str]) -> list[dict[str, Any]]:
        """Those that count here, of the many that there are."""
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
        deltas = [{"type": "response.output_text.delta", "delta": text, **place} for text in texts]
        events = [
            {"type": "response.created", "response": begun},
            *(deltas if whole["output"][0]["type"] == "message" else []),
            {"type": "response.completed", "response": whole},
        ]
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def do_GET(self) -> None:
        prompt_id = self.path.partition("prompt_id=")[2].partition("&")[0]
        self._answer(200, {"prompt_id": prompt_id, "prompt_template": self.provider.prompts[prompt_id]})

    def do_POST(self) -> None:
        provider = self.provider
        said = json.loads(self.rfile.read(int(self.headers["content-length"])))
        provider.requests.append(said)
        if said.get("stream") and provider.status == 200:
            self._stream(provider.pieces(self.path, said), provider)
            return
        self._answer(*provider.answer(self.path, said))

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, pieces: list[dict[str, Any]], provider: Provider) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number, piece in enumerate(pieces):
            if number == provider.cut_after:
                return  # without the last chunk of HTTP: the connection breaks
            if number == provider.ends_after:
                break
            named = f"event: {piece['type']}\n" if "type" in piece else ""
            self._chunk(f"{named}data: {json.dumps(piece)}\n\n")
        if "type" not in pieces[0] and provider.ends_after is None:
            self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("ProviderHandler", (Handler,), {"provider": one}))
    http.daemon_threads = True
    one.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def detent_url(server: Any) -> Iterator[str]:
    """The stub of a Detent server, on a port."""

    class DetentHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = server(
                httpx.Request(self.command, f"http://detent{self.path}", headers=dict(self.headers), content=body)
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), DetentHandler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def run_page(
    detent_url: str, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs the Python of a how-to page, with the names that it takes for given, beside the two servers; gives all."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "x")

    clients: list[Any] = []  # no other test finds their threads

    def run(page: str, **names: Any) -> dict[str, Any]:
        text = (HOW_TO / page).read_text(encoding="utf-8")
        code = text.split("```python\n")[1].split("```")[0].replace("http://127.0.0.1:8321", detent_url)
        code += WAITING  # LiteLLM's callbacks are run by the loop, some time after the answer
        code += "\nimport inspect\nsent = detent.flush()\nif inspect.isawaitable(sent):\n    await sent\n"
        compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(compiled, names)
        if inspect.isawaitable(running):
            asyncio.run(running)  # type: ignore[arg-type]
        clients.append(names["detent"])
        return names

    yield run
    for client in clients:
        asyncio.run(client.aclose()) if hasattr(client, "aclose") else client.close()
