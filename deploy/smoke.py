#!/usr/bin/env python3
"""Asks a running server what an application asks, and says which of it works: after an install, an upgrade, a restore.

    python deploy/smoke.py http://127.0.0.1:8321 [--key KEY] [--family triage] [--chat]

It needs Python alone. It changes nothing but what it is asked to: with --family the prompt is used once, --report keeps
an interaction whose id begins with smoke-, and --chat asks a model, whose answer is kept as any other.
Exit code 1 where something does not work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

TIMEOUT_S = 10.0
CHAT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]
    ms: float

    def member(self, name: str) -> Any:
        """None also where the answer is no JSON, as of a proxy in between."""
        return self.body.get(name) if isinstance(self.body, dict) else None


class Server:
    def __init__(self, url: str, key: str | None) -> None:
        self._url, self._key = url.rstrip("/"), key

    def ask(self, path: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Answer:
        """Raises OSError where nothing answers, HTTPException where something else does, either or ValueError for an
        address or a key that is none.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers)
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                status, raw, got = answer.status, answer.read(), dict(answer.headers.items())
        except urllib.error.HTTPError as error:
            status, raw, got = error.code, error.read(), dict(error.headers.items())
        ms = 1000 * (time.perf_counter() - began)
        try:
            value = json.loads(raw)
        except ValueError:
            value = raw.decode(errors="replace")
        return Answer(status=status, body=value, headers={name.lower(): text for name, text in got.items()}, ms=ms)


def expect(answer: Answer, holds: bool, what: str) -> str:
    """What is said of it. Raises AssertionError with status and answer where it does not hold."""
    if not holds:
        raise AssertionError(f"{what}: status {answer.status}, {json.dumps(answer.body)[:300]}")
    return f"{what} ({answer.ms:.0f} ms)"


def checks(server: Server, options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and check of each thing that is asked."""
    place = f"/v1/families/{quote(options.family or '', safe='')}/prompt?unit=smoke"

    def alive() -> str:
        answer = server.ask("/health")
        return expect(answer, answer.status == 200, "the process answers")

    def ready() -> str:
        answer = server.ask("/ready")
        degraded = answer.member("degraded")
        said = "it is ready" if not degraded else f"it is ready, but degraded: {', '.join(degraded)}"
        return expect(answer, answer.status == 200, said)

    def metrics() -> str:
        answer = server.ask("/metrics")
        return expect(answer, answer.status == 200 and "# TYPE" in str(answer.body), "/metrics can be read")

    def prompt() -> str:
        answer = server.ask(place)
        holds = answer.status == 200 and "variant" in answer.body and "assignment" in answer.body
        return expect(answer, holds, f"{options.family} is served" + (f": {answer.body['variant']}" if holds else ""))

    def report() -> str:
        assignment = server.ask(place).body["assignment"]
        event = {"id": f"smoke-{time.time_ns()}", "assignment": assignment, "latency_ms": 1.0}
        answer = server.ask("/v1/interactions", event)
        return expect(answer, answer.status == 200 and answer.member("accepted") == 1, "an interaction is kept")

    def chat() -> str:
        body = {"model": options.family, "messages": [{"role": "user", "content": options.message}], "user": "smoke"}
        answer = server.ask("/v1/chat/completions", body, timeout_s=CHAT_TIMEOUT_S)
        return expect(answer, answer.status == 200 and bool(answer.member("choices")), "a chat is answered")

    yield from (("health", alive), ("ready", ready), ("metrics", metrics))
    if options.family:
        yield "prompt", prompt
        if options.report:
            yield "report", report
        if options.chat:
            yield "chat", chat


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the server, such as http://127.0.0.1:8321")
    parser.add_argument("--key", default=os.environ.get("DETENT_API_KEY"), help="default: DETENT_API_KEY")
    parser.add_argument("--family", help="whose prompt is fetched")
    parser.add_argument("--report", action="store_true", help="report one interaction, too")
    parser.add_argument("--chat", action="store_true", help="ask its model once, which may cost money")
    parser.add_argument("--message", default="Hello.", help="of that chat")
    options = parser.parse_args(arguments)
    failed = 0
    for name, check in checks(Server(options.url, options.key), options):
        try:
            print(f"ok    {name:<8}{check()}")
        except (AssertionError, OSError, HTTPException, KeyError, TypeError, ValueError) as error:
            failed += 1
            print(f"FAIL  {name:<8}{' '.join(str(error).split()) or type(error).__name__}")
    print(f"{failed} of it does not work." if failed else "All of it works.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
