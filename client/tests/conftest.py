"""A server that exists only in this process: it answers as a Detent server does, or as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from detent_client import Client

GOLDEN = Path(__file__).parent / "golden"
PATIENCE_S = 20.0


def until(met: Callable[[], Any], what: str = "it", patience_s: float = PATIENCE_S) -> Any:
    """The first value of ``met`` that is true."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if value := met():
            return value
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come about within {patience_s} s")


def served(text: str, *, family: str = "triage", id: str = "v_champion", **more: Any) -> dict[str, Any]:
    return {
        "family": family,
        "variant": id,
        "messages": [{"role": "user", "content": text}],
        "inputs": {"message": {"type": "text", "max_chars": None}},
        "model": {"name": "small", "temperature": 0.0},
        "tools": None,
        "response_format": None,
        "policy": {},
        **more,
    }


def rollout(share: float, lease_s: float = 60.0, at: float | None = None, text: str = "Topic? {{message}}") -> Any:
    end = (at if at is not None else time.time()) + lease_s
    return {
        "id": "ro_1",
        "salt": "salt",
        "share": share,
        "lease_expires_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)),
        "candidate": served(text, id="v_candidate"),
    }


class StubServer:
    """``now`` may be set: its clock. ``fault`` comes before every answer, and may raise or give another one."""

    def __init__(self) -> None:
        self.families: dict[str, Any] = {"triage": {"champion": served("Is it {{message}}?")}}
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.rejects: Callable[[dict[str, Any]], str | None] = lambda event: None
        self.clock_ahead_s = 0.0
        self.requests: list[tuple[str, int]] = []
        self.events: list[dict[str, Any]] = []
        self.windows: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.fault(request) or self.answer(request)
        with self._lock:
            self.requests.append((request.url.path, answer.status_code))
        answer.headers.setdefault("date", formatdate(time.time() + self.clock_ahead_s, usegmt=True))
        return answer

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/snapshot":
            return self._snapshot(request)
        said = json.loads(request.content)
        return self._exposures(said) if request.url.path == "/v1/exposures" else self._events(said)

    def _snapshot(self, request: httpx.Request) -> httpx.Response:
        body = json.dumps({"families": self.families})
        etag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304, headers={"etag": etag})
        return httpx.Response(200, headers={"etag": etag}, text=body)

    def _exposures(self, said: dict[str, Any]) -> httpx.Response:
        if any(window["family"] == "gone" for window in said["windows"]):
            return httpx.Response(422)
        with self._lock:
            for window in said["windows"]:
                key = json.dumps([said["client"], {**window, "exposed": 0}])
                self.windows[key] = max(self.windows.get(key, 0), window["exposed"])
        return httpx.Response(200, json={"accepted": len(said["windows"]), "duplicates": 0})

    def _events(self, events: list[dict[str, Any]]) -> httpx.Response:
        if any(event.get("label") == "poison" for event in events):
            return httpx.Response(400)
        rejected = [
            {"index": i, "type": why, "detail": "no"} for i, event in enumerate(events) if (why := self.rejects(event))
        ]
        with self._lock:
            known = {event["id"] for event in self.events}
            self.events += [event for event in events if event["id"] not in known and not self.rejects(event)]
        return httpx.Response(
            200, json={"accepted": len(events) - len(rejected), "duplicates": 0, "rejected": rejected}
        )

    @property
    def n_exposed(self) -> int:
        return sum(self.windows.values())

    def n_asked(self, path: str = "/v1/snapshot", status: int | None = None) -> int:
        return sum(1 for asked, answered in self.requests if asked == path and status in (None, answered))

    def client(self, kind: type[Any] = Client, **more: Any) -> Any:
        return kind("http://detent.test", "key", transport=httpx.MockTransport(self), **{"refresh": 0.02, **more})


def stopped(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody listens", request=request)


@pytest.fixture
def server() -> StubServer:
    return StubServer()


@pytest.fixture
def client(server: StubServer) -> Iterator[Client]:
    with server.client() as one:
        yield one


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture(name="served")
def served_fixture() -> Callable[..., Any]:
    return served


@pytest.fixture(name="rollout")
def rollout_fixture() -> Callable[..., Any]:
    return rollout


@pytest.fixture(name="stopped")
def stopped_fixture() -> Callable[..., Any]:
    return stopped


@pytest.fixture
def golden() -> Callable[[str], list[Any]]:
    def rows(file: str) -> list[Any]:
        return [json.loads(line) for line in (GOLDEN / file).read_text(encoding="utf-8").splitlines()]

    return rows
