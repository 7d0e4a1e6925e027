"""Bodies that are refused for their size, and how much is said of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import named
from tests.worlds.api_world import World, make_home, serving

TOLD = 400_000  # characters of the largest answer to a body that is refused


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Which refuses everything."""
    with serving(make_home(tmp_path_factory.mktemp("home"))) as running:
        yield running


@named(
    ("path", "body", "status"),
    {
        "a name of 200 KB above many faults": (
            "/v1/freeze",
            {"n" * 200_000: {f"k{i}": "\0" for i in range(3000)}},
            400,
        ),
        "more members than a body may have": ("/v1/freeze", {f"k{i}": 1 for i in range(21_000)}, 413),
        "a body beyond the route's size": ("/v1/freeze", {"reason": "x" * 300_000}, 413),
        "unknown variables": ("/v1/families/triage/render", {"variables": {f"v{i}": "x" for i in range(19_000)}}, 422),
        "65 levels": ("/v1/families/triage/render", {"variables": {"text": json.loads("[" * 65 + "]" * 65)}}, 400),
        "unknown knobs": (
            "/v1/families/triage/variants",
            {"from": "v", "policy": {f"knob{i}": 1 for i in range(15_000)}},
            404,
        ),
        "unknown slots": ("/v1/families/triage/studies", {"space": {f"slot{i}": {} for i in range(9000)}}, 422),
        "unknown fields of a thousand events": ("/v1/feedback", [{f"f{i}": 1 for i in range(45)}] * 1000, 200),
        "more values than events may have": ("/v1/feedback", [[]] * 50_001, 413),
        "a long name": (
            "/v1/feedback",
            [{"family": "triage", "unit": "u", "score": 1, "tags": {"n" * 400_000: "\0"}}],
            200,
        ),
        "unknown members of a record": ("/api/performance/record", {f"m{i}": 1 for i in range(15_000)}, 422),
    },
)
def test_what_is_told_of_a_hostile_body_is_bounded(world: World, path: str, body: Any, status: int) -> None:
    answer = world.post(path, body)
    assert (answer.status_code, len(answer.text) < TOLD * (10 if status == 200 else 1)) == (status, True), answer.text[
        :500
    ]
    if status in (400, 422) and path != "/v1/families/triage/studies":
        assert len(answer.json()["errors"]) <= 101


def test_a_body_that_does_not_say_its_size_is_stopped_at_the_route_s(world: World) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield b" " * 65_536

    answer = world.client.post("/v1/freeze", content=pieces(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["limit_bytes"], answer.headers["connection"]) == (413, 262_144, "close")
