"""A value of another type than the route declares is refused with its place: what it was to mean cannot be guessed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.gateway.chat_body import read_chat
from optimizer.core.base.errors import InvalidInput
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest
from tests.cases import named
from tests.worlds.api_world import World, make_home, serving

TRIAGE = "/v1/families/triage"
CHAT = {"model": "triage", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(make_home(tmp_path_factory.mktemp("home"))) as running:
        yield running


@named(
    ("method", "path", "body", "pointer"),
    {
        "a word for true": ("POST", f"{TRIAGE}/examples", {"rows": [], "curated": "on"}, "/curated"),
        "text for true": ("POST", f"{TRIAGE}/rollouts", {"variant": "v", "dry_run": "true"}, "/dry_run"),
        "text for a whole number": ("POST", f"{TRIAGE}/studies", {"seed": "5"}, "/seed"),
        "true for a whole number": ("POST", f"{TRIAGE}/studies", {"seed": True}, "/seed"),
        "text for a number": ("POST", f"{TRIAGE}/rollouts", {"variant": "v", "margin": "0.1"}, "/margin"),
        "text in a list": ("POST", f"{TRIAGE}/rollouts", {"variant": "v", "ladder": ["0.5"]}, "/ladder/0"),
        "text in a part": ("POST", f"{TRIAGE}/studies", {"budget": {"calls": "5"}}, "/budget/calls"),
        "seconds for a time": ("PUT", f"{TRIAGE}/overrides/u", {"variant": "v", "until": 1900000000}, "/until"),
        "a blank unit": ("PUT", f"{TRIAGE}/overrides/%20", {"variant": "v"}, "/unit"),
        "text of seconds": ("PUT", f"{TRIAGE}/overrides/u", {"variant": "v", "until": "1900000000"}, "/until"),
        "seconds in a query": ("GET", "/v1/feedback?since=1900000000", None, "/since"),
    },
)
def test_a_route_refuses_a_value_of_another_type(world: World, method: str, path: str, body: Any, pointer: str) -> None:
    answer = world.client.request(method, path, json=body)
    assert (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]]) == (422, [pointer])


def test_a_whole_number_is_a_number_and_a_query_has_texts_alone(world: World) -> None:
    made = world.post("/v1/keys/nobody/rotate", {"grace_s": 60})
    assert made.status_code == 404
    assert world.get("/v1/found-interactions?failed=true&limit=5&score_at_most=1").status_code == 200


def test_a_whole_number_may_be_written_as_5_0_and_1e3() -> None:
    request = StudyRequest.model_validate({"family": "f", "seed": 5.0, "budget": {"calls": 1e3}})
    assert request.budget is not None
    assert (request.seed, request.budget.calls) == (5, 1000)
    assert {request.budget, BudgetBody(calls=1000)} == {request.budget}  # as any request it does not change


@named(
    ("since", "is_time"),
    {
        "the epoch": ("1970-01-01T00:00:00Z", True),
        "the epoch west of Greenwich": ("1969-12-31T19:00:00-05:00", True),
        "before the epoch": ("1970-01-01T00:00:00+05:00", False),
        "after the end": ("9998-12-31T23:59:00-12:00", False),
        "the first year": ("0001-01-01T00:00:00+05:00", False),
    },
)
def test_the_bounds_of_a_time_are_in_utc_and_its_fault_has_a_place(world: World, since: str, is_time: bool) -> None:
    answer = world.client.get("/v1/feedback", params={"since": since})
    faults = [(fault["in"], fault["pointer"]) for fault in answer.json().get("errors", [])]
    assert (answer.status_code, faults) == ((200, []) if is_time else (422, [("query", "/since")]))


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"n": "1"}, "/n"),
        ({"n": True}, "/n"),
        ({"stream": "yes"}, "/stream"),
        ({"stream": 0}, "/stream"),
        ({"stream_options": {"include_usage": 1}}, "/stream_options/include_usage"),
    ],
)
def test_a_chat_does_as_well(more: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_chat({**CHAT, **more})
    assert [fault["pointer"] for fault in refused.value.members["errors"]] == [pointer]
