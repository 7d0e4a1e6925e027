"""A chat passed on in front of FastAPI is answered as the ordinary route answers it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from api import app as application
from api.app import create_app
from optimizer.host.config import Settings
from tests.clock import until
from tests.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.gateway_world import family, interactions, make_home, running, serving

PATH = "/v1/chat/completions"
BODY = {"model": "topic", "user": "u1", "messages": [{"role": "user", "content": "Stars?"}]}
JSON = {"Content-Type": "application/json"}
OWN = ("date", "x-request-id", "x-detent-assignment", "content-length")  # of each answer alone
OWN_VALUES = re.compile(r'"(id|interaction|assignment|request_id|created)":\s?("[^"]*"|\d+)')


@contextmanager
def ordinary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is answered in front of FastAPI."""
    with monkeypatch.context() as patch:
        patch.setattr(application, "is_chat", lambda _: False)
        yield


class Place:
    def __init__(self, api: str, app: Any, behind: FaultyProvider, settings: Settings) -> None:
        self.api, self.app, self.behind, self.settings = api, app, behind, settings

    def post(self, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.api + PATH, content=content, headers=sent, timeout=30)

    def name_gateway(self, url: str) -> None:
        file = self.settings.run_dir() / "gateway.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"pid": 1, "url": url}), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with faulty_provider() as behind:
        models = {"remote": {"openai_compatible": behind.url, "model": "m", "retries": 0}}
        settings = make_home(tmp_path_factory.mktemp("home"), {"topic": family("topic", "remote")}, models)
        behind.pieces = PIECES
        with running(settings) as gateway:
            app = create_app(settings)
            with serving(app, settings) as api:
                made = Place(api, app, behind, settings)
                made.name_gateway(gateway)
                yield made


def shown(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """Without what each answer has of its own."""
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in OWN)
    assert {name for name in answer.headers if name in OWN} >= {"date", "x-request-id"}
    return answer.status_code, headers, OWN_VALUES.sub("", answer.text)


BODIES: dict[str, tuple[Any, dict[str, str]]] = {
    "whole": (BODY, {}),
    "a stream": ({**BODY, "stream": True}, {}),
    "a family that is none": ({**BODY, "model": "none"}, {}),
    "no messages": ({**BODY, "messages": []}, {}),
    "a field of another type": ({**BODY, "messages": "Stars?"}, {}),
    "no JSON": (b"{", {}),
    "nothing": (b"", {}),
    "longer than is passed on at once": ({**BODY, "messages": [{"role": "user", "content": "long " * 5000}]}, {}),
    "its own request id": (BODY, {"X-Request-ID": "mine-1"}),
    "its unit": ({**BODY, "user": None}, {"X-Detent-Unit": "Jürgen".encode().decode("latin-1")}),
    "a unit that is no text": ({**BODY, "user": None}, {"X-Detent-Unit": "J\xfcrgen"}),
    "of another type": (BODY, {"Content-Type": "text/plain"}),
    "a page's": (BODY, {"Origin": "http://example.com"}),
    "a library's": (BODY, {"X-Stainless-Lang": "python"}),
}


@pytest.mark.parametrize(("body", "headers"), BODIES.values(), ids=BODIES)
def test_a_chat_passed_on_in_front_is_answered_as_the_ordinary_route_does(
    place: Place, monkeypatch: pytest.MonkeyPatch, body: Any, headers: dict[str, str]
) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    quick = shown(place.post(body, **sent))  # type: ignore[arg-type]
    with ordinary(monkeypatch):
        assert shown(place.post(body, **sent)) == quick  # type: ignore[arg-type]
    until(lambda: not place.app.in_flight.requests_of, "every request to have ended")


def test_a_plain_chat_does_not_come_to_fastapi(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.app, "middleware_stack", None)
    monkeypatch.setattr(place.app, "build_middleware_stack", None)
    for stream in (False, True):
        answer = place.post({**BODY, "stream": stream}, X_Request_ID="mine-1")
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine-1")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_gateway_that_is_away_is_said_as_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    url = json.loads((place.settings.run_dir() / "gateway.json").read_text())["url"]
    try:
        place.name_gateway("http://127.0.0.1:9")
        quick = shown(place.post(BODY))
        with ordinary(monkeypatch):
            assert shown(place.post(BODY)) == quick
    finally:
        place.name_gateway(url)
    assert quick[0] == 503
    assert not place.app.in_flight.requests_of


def test_a_chat_is_on_record_once_by_either_way(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(interactions(place.settings, "topic"))
    place.post(BODY)
    with ordinary(monkeypatch):
        place.post(BODY)
    assert len(interactions(place.settings, "topic")) == before + 2
