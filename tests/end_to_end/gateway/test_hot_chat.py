"""A chat is passed on to the gateway as it came, and the gateway's answer as that came."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from optimizer.host.config import Settings
from tests.clock import until
from tests.stand_ins.faulty_provider import PIECES, FaultyProvider, faulty_provider
from tests.worlds.gateway_world import family, interactions, make_home, recorded, remote, running, serving

PATH = "/v1/chat/completions"
BODY = {"model": "topic", "user": "u1", "messages": [{"role": "user", "content": "Stars?"}]}
JSON = {"Content-Type": "application/json"}
OWN = ("date", "x-request-id", "x-detent-assignment", "content-length")  # of each answer alone
OWN_VALUES = re.compile(r'"(id|interaction|assignment|request_id|created)":\s?("[^"]*"|\d+)')


class Place:
    def __init__(self, api: str, app: Any, behind: FaultyProvider, settings: Settings) -> None:
        self.api, self.app, self.behind, self.settings = api, app, behind, settings

    def post(self, body: Any, to: str = "", **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post((to or self.api) + PATH, content=content, headers=sent, timeout=30)

    def name_gateway(self, url: str) -> None:
        file = self.settings.run_dir() / "gateway.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"pid": 1, "url": url}), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with faulty_provider() as behind:
        families, models = {"topic": family("topic", "remote")}, {"remote": remote(behind.url)}
        settings = make_home(tmp_path_factory.mktemp("home"), families, models)
        behind.pieces = PIECES
        with running(settings) as gateway:
            app = create_app(settings)
            with serving(app, settings) as api:
                made = Place(api, app, behind, settings)
                made.name_gateway(gateway)
                yield made


@pytest.fixture
def gateway(place: Place) -> str:
    return str(json.loads((place.settings.run_dir() / "gateway.json").read_text())["url"])


def shown(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], str]:
    """Without what each answer has of its own."""
    headers = sorted((name, value) for name, value in answer.headers.items() if name not in OWN)
    assert {name for name in answer.headers if name in OWN} >= {"date", "x-request-id"}
    return answer.status_code, headers, OWN_VALUES.sub("", answer.text)


BODIES: dict[str, tuple[int, Any, dict[str, str]]] = {
    "whole": (200, BODY, {}),
    "a stream": (200, {**BODY, "stream": True}, {}),
    "a family that is none": (404, {**BODY, "model": "none"}, {}),
    "no messages": (422, {**BODY, "messages": []}, {}),
    "a field of another type": (422, {**BODY, "messages": "Stars?"}, {}),
    "no JSON": (400, b"{", {}),
    "nothing": (422, b"", {}),
    "longer than is passed on at once": (200, {**BODY, "messages": [{"role": "user", "content": "long " * 5000}]}, {}),
    "its own request id": (200, BODY, {"X-Request-ID": "mine-1"}),
    "its unit": (200, {**BODY, "user": None}, {"X-Detent-Unit": "Jürgen".encode().decode("latin-1")}),
    "a unit that is no text": (422, {**BODY, "user": None}, {"X-Detent-Unit": "J\xfcrgen"}),
    "of another type": (415, BODY, {"Content-Type": "text/plain"}),
    "a page's": (403, BODY, {"Origin": "http://example.com"}),
    "a library's": (200, BODY, {"X-Stainless-Lang": "python"}),
}


@pytest.mark.parametrize(("status", "body", "headers"), BODIES.values(), ids=BODIES)
def test_a_chat_is_answered_or_refused_by_what_is_sent(
    place: Place, gateway: str, status: int, body: Any, headers: dict[str, str]
) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = place.post(body, **sent)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    if status not in (403, 415):  # which the api says itself
        assert shown(answer) == shown(place.post(body, gateway, **sent))  # type: ignore[arg-type]
    if "X-Request-ID" in headers:
        assert answer.headers["x-request-id"] == "mine-1"
    until(lambda: not place.app.state.in_flight.requests_of, "every request to have ended")


def test_a_gateway_that_is_away_is_said(place: Place, gateway: str) -> None:
    try:
        place.name_gateway("http://127.0.0.1:9")
        answer = place.post(BODY)
    finally:
        place.name_gateway(gateway)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["type"] == "/problems/gateway-unavailable"
    until(lambda: not place.app.state.in_flight.requests_of, "every request to have ended")


def test_a_chat_is_on_record_once(place: Place) -> None:
    before = len(interactions(place.settings, "topic"))
    place.post(BODY)
    assert len(recorded(place.settings, "topic", before + 1)) == before + 1
