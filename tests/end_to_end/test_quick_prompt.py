"""The prompt is answered in front of FastAPI as the ordinary route answers it, over real connections."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api import app as application
from api.app import create_app
from api.snapshot import Snapshot
from optimizer.core.serving.access import EVERYTHING
from tests.api_world import World, make_home, serving
from tests.gateway_world import serving as on_a_socket

PATH = "/v1/families/triage/prompt"
OWN = ("x-request-id", "x-detent-assignment", "date", "server")  # of each answer alone


@contextmanager
def ordinary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is answered in front of FastAPI."""
    with monkeypatch.context() as patch:
        patch.setattr(application, "quick_prompt", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """A rollout under way, and its server behind a socket."""
    settings = make_home(tmp_path_factory.mktemp("quick"))
    with serving(settings) as world:
        world.deploying()
        with on_a_socket(create_app(settings), settings) as url:
            yield url, world


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    body = answer.json() if answer.content else None
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ("assignment", "request_id")}
    own = {name: value for name, value in answer.headers.items() if name not in OWN}
    return answer.status_code, {**own, "content-length": str(len(answer.content))}, body


ASKED: dict[str, tuple[str, dict[str, str]]] = {
    "by query": ("?unit=u1", {}),
    "escaped": ("?unit=J%C3%BCrgen+M", {}),
    "by header": ("", {"X-Detent-Unit": "u2"}),
    "by both": ("?unit=u3", {"X-Detent-Unit": "u3"}),
    "two units": ("?unit=u3", {"X-Detent-Unit": "u4"}),
    "without a unit": ("", {}),
    "an empty unit": ("?unit=", {}),
    "a unit too long": (f"?unit={'u' * 513}", {}),
    "an unknown parameter": ("?unit=u1&colour=red", {}),
    "its own request id": ("?unit=u1", {"X-Request-ID": "mine-1"}),
    "a page's": ("?unit=u1", {"Origin": "http://example.com"}),
    "forwarded": ("?unit=u1", {"X-Forwarded-For": "10.0.0.1"}),
    "another host": ("?unit=u1", {"Host": "example.com"}),
    "any tag": ("?unit=u1", {"If-None-Match": "*"}),
    "another tag": ("?unit=u1", {"If-None-Match": '"0"'}),
    "a strange key": ("?unit=u1", {"Authorization": "Bearer nothing"}),
}


@pytest.mark.parametrize(("query", "headers"), ASKED.values(), ids=ASKED)
def test_what_is_answered_in_front_is_what_the_ordinary_route_answers(
    home: tuple[str, World], monkeypatch: pytest.MonkeyPatch, query: str, headers: dict[str, str]
) -> None:
    quick = httpx.get(home[0] + PATH + query, headers=headers)
    with ordinary(monkeypatch):
        usual = httpx.get(home[0] + PATH + query, headers=headers)
    assert shown(quick) == shown(usual)
    if "X-Request-ID" in headers:
        assert quick.headers["x-request-id"] == usual.headers["x-request-id"] == "mine-1"


def test_a_plain_fetch_does_not_come_to_fastapi(home: tuple[str, World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application.FastAPI, "__call__", None)
    assert httpx.get(f"{home[0]}{PATH}?unit=u1").status_code == 200


def test_both_give_a_unit_the_same_arm_and_a_token_that_names_it(
    home: tuple[str, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> list[tuple[str, str]]:
        fetched = [httpx.get(f"{url}{PATH}?unit=u{i}").json() for i in range(20)]
        return [(one["variant"], one["role"]) for one in fetched]

    url, world = home
    quick = asked()
    with ordinary(monkeypatch):
        assert asked() == quick
    assert {role for _, role in quick} == {"champion", "candidate"}
    token = httpx.get(f"{url}{PATH}?unit=u1").headers["x-detent-assignment"]
    kept = world.post("/v1/feedback", {"assignment": token, "unit": "u1", "success": True})
    assert kept.json()["accepted"] == 1, kept.text


def test_requests_sent_one_behind_the_other_are_answered_in_their_order(home: tuple[str, World]) -> None:
    where = urlsplit(home[0])
    one = f"GET {PATH}?unit=u%d HTTP/1.1\r\nHost: {where.netloc}\r\nX-Request-ID: r%d\r\n%s\r\n"
    last = one % (9, 9, "Connection: close\r\n")
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall("".join([*(one % (i, i, "") for i in range(9)), last]).encode())
        told = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [f"x-request-id: r{i}".encode() in part for i, part in enumerate(told.split(b"HTTP/1.1 200 OK")[1:])] == [
        True
    ] * 10


def test_a_key_is_held_to_its_role_its_families_and_its_limit_in_front_too(tmp_path: Path) -> None:
    settings = make_home(tmp_path)
    with serving(settings) as world:
        world.add_key("reads", "read", secret="reads")
        world.add_key("elsewhere", "serve", secret="elsewhere", families=["other"])
        world.add_key("thrice", "serve", secret="thrice", limits={"requests_per_minute": 3})
        keys = ("reads", "elsewhere", "no")
        asked = {key: world.get(PATH, headers={"X-API-Key": key}).status_code for key in keys}
        at_second = world.shared.clock.now().second
        told = [world.get(PATH, headers={"Authorization": "Bearer thrice"}).status_code for _ in range(5)]
    assert asked == {"reads": 403, "elsewhere": 403, "no": 401}
    assert told == [200, 200, 200, 429, 429] or at_second >= 58, "a minute may have begun anew"


def test_a_snapshot_is_prepared_once_until_something_changes_or_a_lease_in_it_ends(home: tuple[str, World]) -> None:
    _, world = home
    shared, now = world.shared, world.shared.clock.now()

    def prepared(at: datetime) -> Snapshot:
        return shared.snapshots.of(shared.serving.now_served.families, EVERYTHING, at)

    first = prepared(now)
    shared.serving.refresh()
    assert prepared(now) is first, "nothing has changed"
    assert json.loads(first.body)["families"]["triage"]["rollout"] is not None
    assert first.until is not None
    assert json.loads(prepared(first.until).body)["families"]["triage"]["rollout"] is None, "the lease is over"
    world.tick()
    renewed = prepared(now)
    assert json.loads(renewed.body)["families"]["triage"]["rollout"] is not None
