"""Whatever the OpenAPI document allows, and much that it does not, gets an answer that the document describes;
never a fault of the server.

The installation is seeded, and what a call makes can be met by the next: ids in paths and bodies are real ones most of
the time.
"""

from __future__ import annotations

import itertools
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clock import until
from tests.rows.answer_schemas import openapi_document
from tests.worlds.api_world import World, make_home, serving
from tests.worlds.seeded_world import seeded

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SAID_PLAINLY = ("/problems/gateway-unavailable",)  # answers above 499 that are no faults
# Share of the operations; the others want a process that is not here, or a state that calls at random do not make.
MOST_REACHED = 0.8
HEADERS = {"Authorization": "Bearer secret-admin"}
REAL = 80  # of 100 calls name what is there
KINDS = {"/v1/studies": "study", "/v1/rollouts": "rollout", "/v1/interactions": "interaction"}


PARTS: dict[str, dict[str, Any]] = {  # members that make a body right for this installation
    "POST /v1/families/{family}/render": {"variables": {"text": "x"}},
    "POST /v1/families/{family}/variants": {
        "messages": [{"role": "user", "content": "Billing or technical? {{text}}"}]
    },
    "PUT /v1/families/{family}/schedule": {"cron": None},
    "POST /v1/families/{family}/studies": {"dry_run": True, "budget": {"calls": 10_000}},
    "POST /v1/studies/{id}/nominate": {"dry_run": True},
    "POST /v1/keys": {"roles": ["serve"], "sources": [], "families": None, "expires_at": None, "limits": {}},
    "POST /v1/keys/{name}/rotate": {"undo": False},
}


@dataclass
class Installation:
    """A running server, its document, and what it holds by kind."""

    world: World
    url: str
    document: Any
    ids: dict[str, list[str]]
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)  # by operation and hundreds of the status

    def name_what_is_there(self, case: Any, choice: int) -> None:
        """Puts real ids into path and body."""
        for name in case.path_parameters or {}:
            kind = KINDS.get("/".join(case.path.split("/")[:3]), "interaction") if name == "id" else name
            known = self.ids.get(kind)
            if known:
                case.path_parameters[name] = known[choice % len(known)]
        case.headers = {**(case.headers or {}), "If-Match": "*"}
        if isinstance(case.body, dict):
            case.body.update(PARTS.get(case.operation.label, {}))
            for name in ("variant", "family", "confirm"):
                if name in case.body:
                    known = self.ids["family" if name == "confirm" else name]
                    case.body[name] = known[choice % len(known)]

    def revive(self, draw: random.Random) -> None:
        """A rollout that acts can be tried on, in one of its states; what was frozen or ended before is no obstacle."""
        self.world.post("/v1/unfreeze", {})
        candidate = self.world.candidate(f"Which of the two, {draw.random()}?")
        started = self.world.post(
            "/v1/families/triage/rollouts", {"variant": candidate, "confirm": "triage", "reason": "a try"}
        )
        if started.status_code == 201:  # else one is under way
            self.ids["rollout"] = [started.json()["id"]]
            if draw.random() < 0.7:
                self.world.post(f"/v1/rollouts/{started.json()['id']}/approve", {"reason": "go"})
        self.world.tick()

    def remember(self, case: Any, response: Any) -> None:
        """What a call has made can be met by the next."""
        if response.status_code not in (201, 202):
            return
        answer = response.json()
        made = "study" if case.path.endswith("/studies") else "rollout"
        for name, kind in (("variant", "variant"), ("id", made), ("name", "name")):
            if isinstance(answer.get(name), str):
                self.ids[kind].append(answer[name])


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    limits = {"operator_per_minute": 1_000_000, "events_per_minute": 100_000_000}
    home = make_home(tmp_path_factory.mktemp("home"), limits=limits)
    with serving(home) as world:
        seeded(world)
        world.post("/v1/unfreeze", {"family": "triage"})
        rollout = world.get("/v1/families/triage/rollout").json()
        ids = {
            "family": ["triage"],
            "variant": [rollout["candidate"], rollout["champion"]],
            "rollout": [rollout["id"]],
            "study": ["st_1"],
            "interaction": ["in_1"],
            "unit": ["u"],
            "name": ["key-serve", "key-read"],
            "key": ["triage"],
        }
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(world.app, log_level="error", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until(lambda: server.started or not thread.is_alive(), "the server to start")
        assert server.started, "the server ended while starting"
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield Installation(world, url, schemathesis.openapi.from_dict(openapi_document()), ids)
        server.should_exit = True
        thread.join(timeout=20)


@schemathesis.serializer("application/x-ndjson")
def _lines(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def test_every_operation_answers_as_described(installation: Installation, subtests: pytest.Subtests) -> None:
    """By turns what is allowed and what is not; the long test below gives each operation both."""
    _meet_every_operation(installation, subtests, *GenerationMode, n_cases=1, draw=0)


@pytest.mark.long
def test_twenty_thousand_calls_in_any_order_answer_as_described(
    installation: Installation, subtests: pytest.Subtests
) -> None:
    draw = 0
    while installation.answers.total() < 20_000:
        draw += 1
        for mode in GenerationMode:
            _meet_every_operation(installation, subtests, mode, n_cases=15, draw=draw)
    met = {operation for operation, _ in installation.answers}
    reached = {operation for operation, status in installation.answers if status == 2}
    assert len(reached) >= MOST_REACHED * len(met), f"a good answer was never seen of {sorted(met - reached)}"


def _meet_every_operation(
    installation: Installation, subtests: Any, *modes: GenerationMode, n_cases: int, draw: int
) -> None:
    operations = [found.ok() for found in installation.document.get_all_operations()]
    order = random.Random(draw)
    order.shuffle(operations)
    for operation, mode in zip(operations, itertools.cycle(modes), strict=False):
        if draw and order.random() < 0.8:  # else a new one can be started; the first draw meets what was seeded
            installation.revive(order)

        @seed(draw)
        @settings(max_examples=n_cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode), choice=st.integers(min_value=0, max_value=99))
        def answers_as_described(case: Any, choice: int) -> None:
            if choice < REAL:
                installation.name_what_is_there(case, choice)
            _check(installation, case)

        with subtests.test(operation.label):
            try:
                answers_as_described()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # nothing about this operation can be wrong


OTLP = {"POST /v1/traces", "POST /v1/logs"}  # its refusals have the media type of the request, says the protocol


def _check(installation: Installation, case: Any) -> None:
    response = case.call(base_url=installation.url, headers=HEADERS)
    installation.answers[case.operation.label, response.status_code // 100] += 1
    if response.status_code >= 400 and case.operation.label in OTLP:
        assert response.status_code < 500
        case.validate_response(response, checks=CHECKS)
        return
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        problem = response.json()
        assert problem["status"] == response.status_code
        assert response.status_code < 500 or problem["type"] in SAID_PLAINLY, problem
        if response.status_code >= 500:
            return
    case.validate_response(response, checks=CHECKS)
    installation.remember(case, response)
