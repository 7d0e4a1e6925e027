"""The routes that a content pipeline's own clients call: one item in, the figures of the last hours out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from optimizer.content.core.records.record import read_record
from optimizer.core.base.minute_sums import HOUR, floor
from tests.unit.access.test_error_shape import assert_problem
from tests.worlds.api_world import World, make_home, serving

RECORD = "/api/performance/record"
EXIT = {
    "processing_type": "early_exit",
    "content_type": "news",
    "quality_score": 0.31,
    "processing_time": 12.5,
    "exit_checkpoint": "post_download",
    "exit_reason": "duration_seconds < 60",
    "exit_confidence": 0.9,
    "time_saved_pct": 0.9,
    "CONFIG_VERSION": "balanced",
}
FULL = {"processing_type": "full", "content_type": "talk", "quality_score": 0.8, "processing_time": 125}


def send(world: World, values: dict[str, Any], n: int = 1) -> None:
    for _ in range(n):
        assert world.client.post(RECORD, params=values).status_code == 200


@pytest.mark.parametrize("how", ["query", "body", "both"])
def test_a_record_comes_as_query_parameters_or_as_a_body_and_is_there_at_once(world: World, how: str) -> None:
    split = 3 if how == "both" else 0 if how == "body" else len(EXIT)
    query, body = dict(list(EXIT.items())[:split]), dict(list(EXIT.items())[split:])
    answer = world.client.post(RECORD, params=query, json=body or None)
    assert (answer.status_code, answer.json()) == (200, {"status": "recorded", "processing_type": "early_exit"})
    with world.shared.store.read() as tx:
        (kept,) = world.shared.store.pipeline_stats.records(tx, world.shared.clock.now() - timedelta(hours=1), 10)
    assert kept == read_record(EXIT, id=kept.id, received_at=kept.received_at)
    assert world.get("/api/performance/").json()["overall_metrics"]["early_exits"] == 1


def test_each_part_has_a_route_of_its_own_that_says_the_same(world: World) -> None:
    send(world, EXIT)
    send(world, FULL)
    page = world.get("/api/performance/?hours=24").json()
    for path, part, whole in (
        ("content-types", "content_types", "content_type_breakdown"),
        ("checkpoints", "checkpoints", "checkpoint_analytics"),
        ("quality-trends?hours=24", "quality_trends", "quality_trends"),
        ("metrics/summary", "overall_metrics", "overall_metrics"),
    ):
        answer = world.get(f"/api/performance/{path}").json()
        assert answer[part] == page[whole]
        assert (answer["hours"], answer["from"]) == (24, page["from"])


def test_hours_are_those_of_the_clock_with_the_present_one(world: World) -> None:
    now, stats = world.shared.clock.now(), world.shared.store.pipeline_stats
    ages = [timedelta(0), timedelta(hours=1), timedelta(hours=30)]
    old = [read_record(FULL, id=f"pr_{i}", received_at=floor(now, HOUR) - age) for i, age in enumerate(ages)]
    world.shared.store.write(lambda tx: stats.add(tx, old))
    for hours, expected in ((1, 1), (2, 2), (24, 2), (31, 3)):
        trend = world.get(f"/api/performance/quality-trends?hours={hours}").json()["quality_trends"]
        assert len(trend) == expected
    times = [hour["hour"] for hour in world.get("/api/performance/quality-trends?hours=31").json()["quality_trends"]]
    assert times == sorted(times)


def test_reads_are_answered_from_sums_and_never_from_records(world: World) -> None:
    send(world, EXIT)
    asked: list[str] = []

    def note(_c: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    engine = world.shared.store._readers.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    for path in ("", "metrics/summary", "content-types", "checkpoints", "quality-trends"):
        assert world.get(f"/api/performance/{path}").status_code == 200
    event.remove(engine, "before_cursor_execute", note)
    assert any("pipeline_hours" in statement for statement in asked)
    assert not any("pipeline_records" in statement for statement in asked)


def test_every_fault_of_a_record_is_named_and_nothing_is_kept(world: World) -> None:
    answer = world.client.post(
        RECORD, params={"processing_type": "fast", "quality_score": "7"}, json={"exit_confidence": "sure", "color": 1}
    )
    document = assert_problem(answer, 422, "invalid-input")
    named = {fault["pointer"] for fault in document["errors"]}
    assert named == {"/processing_type", "/quality_score", "/exit_confidence", "/color"}
    assert world.get("/api/performance/").json()["overall_metrics"]["total_processed"] == 0


def test_one_fault_is_spoken_of_as_one(world: World) -> None:
    document = assert_problem(world.get("/api/performance/quality-trends?hours=5000"), 422, "invalid-input")
    assert document["detail"].startswith("One fault in the request: query ")
    assert document["detail"].endswith("Correct it and send the request again.")


@pytest.mark.parametrize(
    ("options", "status", "slug"),
    [
        ({"params": {**FULL, "colour": "red"}}, 400, "unknown-parameter"),
        ({"params": FULL, "json": {"quality_score": 0.9}}, 422, "invalid-input"),
        ({"params": [("processing_type", "full"), ("content_type", "a"), ("content_type", "b")]}, 422, "invalid-input"),
        ({"json": [FULL]}, 422, "invalid-input"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "malformed-body"),
        ({"data": FULL}, 415, "unsupported-media-type"),
        ({}, 422, "invalid-input"),
    ],
)
def test_what_cannot_be_read_is_a_problem_document(
    world: World, options: dict[str, Any], status: int, slug: str
) -> None:
    assert_problem(world.client.post(RECORD, **options), status, slug)


@pytest.mark.parametrize("hours", ["0", "-1", "2161", "many", "1.5"])
def test_a_span_that_cannot_be_is_refused(world: World, hours: str) -> None:
    document = assert_problem(world.get(f"/api/performance/?hours={hours}"), 422, "invalid-input")
    assert document["errors"][0]["pointer"] == "/hours"


def test_of_what_was_reported_a_key_of_role_read_sees_the_figures(world: World) -> None:
    send(world, {**EXIT, "content_type": "label", "exit_checkpoint": "detail"})  # named as members with texts are
    world.add_key("reader", "read", secret="secret of reader")
    page = world.get("/api/performance/", headers={"Authorization": "Bearer secret of reader"}).json()
    assert page["content_type_breakdown"]["label"]["early_exits"] == 1
    found = page["checkpoint_analytics"]["detail"]
    assert (found["exits"], found["reasons"]) == (1, None)


def test_records_count_as_events_against_the_limit(tmp_path: Path) -> None:
    with serving(make_home(tmp_path, limits={"events_per_minute": 2})) as world:
        send(world, FULL, 2)
        answer = world.client.post(RECORD, params=FULL)
        assert_problem(answer, 429, "too-many-requests")
        assert int(answer.headers["retry-after"]) >= 1


def test_the_page_is_found_without_its_last_slash_too(world: World) -> None:
    assert world.get("/api/performance?hours=3").json()["hours"] == 3


def test_a_record_that_is_sent_again_under_its_key_counts_once(world: World) -> None:
    key = {"Idempotency-Key": "item-1"}
    first, again = (world.client.post(RECORD, params=EXIT, headers=key) for _ in range(2))
    as_body = world.client.post(RECORD, json={name: str(value) for name, value in EXIT.items()}, headers=key)
    assert first.json() == again.json() == as_body.json() == {"status": "recorded", "processing_type": "early_exit"}
    assert_problem(world.client.post(RECORD, params=FULL, headers=key), 422, "idempotency-key-reused")
    assert world.get("/api/performance/").json()["overall_metrics"]["total_processed"] == 1
