"""One event in a post: what is answered and what is kept of it, whatever is sent and whichever application takes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings, strategies as st
from sqlalchemy import select

from api.app import create_app
from api.http import edge
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.core.base.errors import Busy
from tests.examples import n_examples
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.gateway_world import serving as on_a_socket

PATH = "/v1/feedback"
OWN = ("x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "server")  # of each answer alone
OWN_IN_ROWS = ("id", "received_at", "occurred_at", "cohort_start", "content_hash")
TOKEN = "a token that the server gave"  # stands for one
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World, str]]:
    """A rollout under way, its server behind a socket, and a token that it gave."""
    settings = make_home(tmp_path_factory.mktemp("quick"))
    with serving(settings) as world:
        world.deploying()
        with on_a_socket(create_app(settings), settings) as url:
            token = httpx.get(f"{url}/v1/families/triage/prompt?unit=u1").headers["x-detent-assignment"]
            yield url, world, token


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], Any]:
    body = answer.json() if answer.content else None
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "request_id"}
    own = {name: value for name, value in answer.headers.items() if name not in (*OWN, "content-length")}
    return answer.status_code, own, body


def rows(world: World) -> list[dict[str, Any]]:
    """Of both tables, without what each row has of its own."""
    with world.shared.store.read() as tx:
        found = [
            (table.name, row)
            for table in (INTERACTIONS, FEEDBACK_EVENTS)
            for row in tx.execute(select(table).order_by(table.c.id)).mappings()
        ]
    made = {row["id"] for _, row in found} - {"in_reported"}
    return [
        {"table": name}
        | {k: v for k, v in row.items() if k not in OWN_IN_ROWS}
        | ({"interaction": "made here"} if row.get("interaction") in made else {})
        for name, row in found
    ]


def added(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left = list(before)
    return [row for row in after if row not in left or left.remove(row)]


def told_and_kept(world: World, post: Callable[[], httpx.Response]) -> tuple[Any, list[dict[str, Any]]]:
    before = rows(world)
    told = shown(post())
    return told, added(before, rows(world))


OUTCOME = {"assignment": TOKEN, "success": True, "score": 0.5, "source": "user"}
ANSWERED = {"assignment": TOKEN, "output": "billing", "latency_ms": 120.0, "cost_usd": 0.0004, "success": True}
BODIES: dict[str, tuple[int, Any, dict[str, str]]] = {
    "an outcome": (200, OUTCOME, {}),
    "a text longer than is read at once": (200, {**ANSWERED, "output": "a long answer " * 300}, {}),
    "a body longer than is read at once": (200, {**ANSWERED, "output": "a long answer " * 3000}, {}),
    "a list of one": (200, [OUTCOME], {}),
    "an empty list": (422, [], {}),
    "a text": (422, "a thumb", {}),
    "half a text": (400, b'{"assignment":', {}),
    "not a number": (400, b'{"family":"triage","unit":"u","score":NaN}', {}),
    "a sign that no text may hold": (422, {"family": "triage", "unit": "a\0b", "success": True}, {}),
    "nothing": (400, b"", {}),
    "of another type": (415, OUTCOME, {"Content-Type": "text/plain"}),
    "of a type that says more": (200, OUTCOME, {"Content-Type": "application/json; charset=utf-8"}),
    "its own request id": (200, OUTCOME, {"X-Request-ID": "mine-1"}),
    "a page's": (403, OUTCOME, {"Origin": "http://example.com"}),
    "forwarded": (403, OUTCOME, {"X-Forwarded-For": "10.0.0.1"}),
    "another host": (403, OUTCOME, {"Host": "example.com"}),
    "a strange key": (200, OUTCOME, {"Authorization": "Bearer nothing"}),
    "an idempotency key too long": (422, OUTCOME, {"Idempotency-Key": "k" * 256}),
}


def sent(body: Any, token: str) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).replace(TOKEN, token).encode()


@pytest.mark.parametrize(("status", "body", "headers"), BODIES.values(), ids=BODIES)
def test_an_event_is_kept_or_refused_by_what_is_sent(
    home: tuple[str, World, str], status: int, body: Any, headers: dict[str, str]
) -> None:
    url, world, token = home
    (told, _, answer), kept = told_and_kept(
        world, lambda: httpx.post(url + PATH, content=sent(body, token), headers={**JSON, **headers})
    )
    assert told == status, answer
    assert bool(kept) == (status == 200 and answer["accepted"] == 1)
    if status == 200:
        assert answer["accepted"] + answer["duplicates"] + len(answer["rejected"]) == 1


TEXTS = st.sampled_from(["billing", "jane.roe@example.com", "", "ü\u2028", "x" * 2100, "4111 1111 1111 1111"])
ODD = st.sampled_from([None, True, -1, 0.5, "0.5", [], {"topic": "billing"}, 2**60])
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "assignment": st.just(TOKEN) | ODD,
        "family": st.sampled_from(["triage", "none"]),
        "unit": st.sampled_from(["u1", "u2", "Jürgen"]),
        "success": st.booleans() | ODD,
        "score": st.floats(0, 1) | ODD,
        "source": st.sampled_from(["user", "reviewer", "nobody"]),
        "comment": TEXTS | ODD,
        "output": TEXTS | ODD,
        "input": st.fixed_dictionaries({"text": TEXTS}) | ODD,
        "expected": st.fixed_dictionaries({"topic": st.sampled_from(["billing", "weather"])}) | ODD,
        "latency_ms": st.floats(0, 1000) | ODD,
        "interaction": st.sampled_from(["in_reported", "in_nowhere"]),
        "tags": st.dictionaries(st.sampled_from(["a", "b"]), TEXTS),
    },
)


NUMBERS = count()


@settings(max_examples=n_examples(60), deadline=None)
@example({"interaction": "in_nowhere", "assignment": TOKEN, "latency_ms": 0.5})
@example({"interaction": "in_nowhere", "assignment": TOKEN, "success": False})
@given(EVENTS)
def test_of_any_event_a_list_tells_and_keeps_what_the_event_alone_does(
    home: tuple[str, World, str], event: Mapping[str, Any]
) -> None:
    _, world, token = home

    def posted(body: Any) -> Any:
        """An id that is nowhere is another one each time: with an answer beside it, it is that of a new interaction."""
        nowhere = f"in_{next(NUMBERS)}"
        content = sent(body, token).replace(b"in_nowhere", nowhere.encode())
        told_kept = told_and_kept(world, lambda: world.client.post(PATH, content=content, headers=JSON))
        return json.loads(json.dumps(told_kept, default=str).replace(nowhere, "in_nowhere"))

    (status, _, alone), kept = posted(event)
    (_, _, listed), kept_of_list = posted([event])
    assert kept == kept_of_list
    if status == 200:
        assert alone == listed
    else:
        assert (status, listed["accepted"]) == (422, 0)
        assert [one["detail"] for one in listed["rejected"]] == [alone["detail"]]


def test_an_id_sent_again_is_a_duplicate_and_with_other_content_a_conflict_that_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(edge.log, "info", lambda _, **said: logged.append(said), raising=False)
    event = {"id": "mine", "family": "triage", "unit": "u1", "output": "billing"}
    with serving(make_home(tmp_path)) as world:
        assert world.post(PATH, event).json() == {"accepted": 1, "duplicates": 0, "rejected": []}
        assert world.post(PATH, event).json() == {"accepted": 0, "duplicates": 1, "rejected": []}
        assert not logged
        conflict = world.post(PATH, {**event, "output": "technical"})
        assert conflict.status_code == 200
        assert [one["type"] for one in conflict.json()["rejected"]] == ["id_conflict"]
        assert [(one["path"], one["status"]) for one in logged] == [(PATH, 200)]


def test_events_count_to_a_limit_and_beyond_it_nothing_is_kept(tmp_path: Path) -> None:
    event = {"family": "triage", "unit": "u1", "success": True}
    with serving(make_home(tmp_path, limits={"events_per_minute": 3})) as world:
        told = [world.post(PATH, one) for one in (event, {**event, "score": 7}, event, event)]
        assert [answer.status_code for answer in told] == [200, 422, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in told] == ["2", "1", "0", "0"]
        assert len(rows(world)) == 2
        assert not world.app.state.in_flight.requests_of


def test_a_request_is_counted_once_for_its_key_whatever_becomes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"family": "triage", "unit": "u1", "success": True}
    with serving(make_home(tmp_path, limits={"events_per_minute": 1})) as world:
        world.add_key("four", "feedback", secret="four", limits={"requests_per_minute": 4})
        now = world.shared.clock.now()
        monkeypatch.setattr(world.shared.clock, "now", lambda: now)  # or a minute may begin anew meanwhile
        told = [world.post(PATH, event, headers={"X-API-Key": "four"}) for _ in range(6)]
        wordings = ["events" in answer.json().get("detail", "") for answer in told]
    assert [answer.status_code for answer in told] == [200, *[429] * 5]
    assert wordings == [False, True, True, True, False, False]


def test_a_store_that_takes_nothing_more_is_said_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"family": "triage", "unit": "u1", "success": True}

    async def awrite(self: object, fn: object, *, rows: int = 1) -> None:
        raise Busy("Too much waits; nothing was written.", retry_after_s=1)

    with serving(make_home(tmp_path)) as world:
        monkeypatch.setattr(type(world.shared.store), "awrite", awrite)
        busy = world.post(PATH, event)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        assert not world.app.state.in_flight.requests_of
