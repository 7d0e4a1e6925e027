"""What ports.PipelineStats must do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from optimizer.adapters.store import Database
from optimizer.content.core.records.report import total
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.feedback.pipeline_record import PipelineRecord, PipelineSums, sums_of
from tests.stores import NOW, minutes, reading, writing


def record(id: str = "pr_1", **changes: Any) -> PipelineRecord:
    usual = {"received_at": NOW, "processing_type": "full", "content_type": "news", "quality_score": 0.75}
    return PipelineRecord(id=id, **{**usual, **changes})


def left(id: str, **changes: Any) -> PipelineRecord:
    why = {"exit_checkpoint": "post_download", "exit_reason": "short", "exit_confidence": 0.5}
    return record(id, **{"processing_type": "early_exit", **why, **changes})


RECORDS = [
    record("pr_1", processing_time_s=8.0, time_saved_share=0.0),
    record("pr_2", quality_score=None, processing_type="lightweight", time_saved_share=0.5, processing_time_s=2.0),
    record("pr_3", content_type="talk", received_at=minutes(59)),
    left("pr_4", received_at=minutes(60)),
    left("pr_5", received_at=minutes(61), exit_reason="dull", content_type="talk"),
    left("pr_6", received_at=minutes(62)),
]


@pytest.fixture(params=[1, len(RECORDS)], ids=["one by one", "together"])
def filled(request: pytest.FixtureRequest, database: Database) -> Database:
    for start in range(0, len(RECORDS), request.param):
        writing(database).pipeline_stats.add(RECORDS[start : start + request.param])
    return database


def test_records_come_back_as_they_were_kept_oldest_first(filled: Database) -> None:
    assert reading(filled).pipeline_stats.records(NOW, 100) == RECORDS
    last = reading(filled).pipeline_stats.records(minutes(60), 2)
    assert last == RECORDS[-2:], "the last ones, where there are more than asked for"


@pytest.mark.parametrize(
    ("by", "key_of"),
    [
        (("processing_type",), lambda r: (r.processing_type,)),
        (("content_type", "processing_type"), lambda r: (r.content_type, r.processing_type)),
        (("hour", "processing_type"), lambda r: (floor(r.received_at, HOUR), r.processing_type)),
        (("exit_checkpoint", "exit_reason"), lambda r: (r.exit_checkpoint, r.exit_reason)),
    ],
)
def test_the_sums_of_hours_are_those_of_their_records(filled: Database, by: Any, key_of: Any) -> None:
    expected: dict[Any, PipelineSums] = {}
    for one in RECORDS:
        expected[key_of(one)] = expected.get(key_of(one), PipelineSums()) + sums_of(one)
    assert reading(filled).pipeline_stats.sums(NOW, by) == expected


def test_hours_before_are_left_out(filled: Database) -> None:
    later = reading(filled).pipeline_stats.sums(minutes(60), ("content_type",))
    none = reading(filled).pipeline_stats.sums(minutes(120), ("hour",))
    assert (total(later.values()).n, none) == (3, {})


def test_days_are_those_of_utc(filled: Database) -> None:
    hours = reading(filled).pipeline_stats.sums(NOW, ("hour",))
    days = reading(filled).pipeline_stats.sums(NOW, ("day",))
    by_day: dict[datetime, PipelineSums] = {}
    for (hour,), sums in hours.items():
        day = hour.replace(hour=0)
        by_day[day] = by_day.get(day, PipelineSums()) + sums
    assert {day: sums.n for (day,), sums in days.items()} == {day: sums.n for day, sums in by_day.items()}


def test_where_and_why_counts_for_early_exits_alone(database: Database) -> None:
    odd = record(exit_checkpoint="post_download", exit_reason="short")
    writing(database).pipeline_stats.add([odd])
    assert list(reading(database).pipeline_stats.sums(NOW, ("exit_checkpoint", "exit_reason"))) == [("", "")]
    assert reading(database).pipeline_stats.records(NOW, 1) == [odd]


def test_a_record_that_cannot_be_kept_leaves_the_sums_alone(filled: Database) -> None:
    before = reading(filled).pipeline_stats.sums(NOW, ("hour", "content_type"))
    with pytest.raises(IntegrityError):
        writing(filled).pipeline_stats.add([record("pr_7"), record("pr_1")])
    assert reading(filled).pipeline_stats.sums(NOW, ("hour", "content_type")) == before


def test_nothing_to_keep_is_no_fault(database: Database) -> None:
    writing(database).pipeline_stats.add([])
    assert reading(database).pipeline_stats.sums(NOW, ("hour",)) == {}


def test_pruning_takes_what_is_older_up_to_a_number_and_leaves_the_sums_alone(filled: Database) -> None:
    def pruned(before: Any, limit: int) -> tuple[int, list[str]]:
        keys = reading(filled).retained.old("pipeline_records", None, before, limit)
        n = writing(filled).retained.remove("pipeline_records", None, keys)
        return n, [one.id for one in reading(filled).pipeline_stats.records(NOW, 10)]

    before = reading(filled).pipeline_stats.sums(NOW, ("hour",))
    ids = [one.id for one in RECORDS]
    assert pruned(NOW, 10) == (0, ids), "what came at that moment itself stays"
    assert pruned(minutes(61), 2) == (2, ids[2:])
    assert pruned(minutes(61), 10) == (2, ["pr_5", "pr_6"])
    assert reading(filled).pipeline_stats.sums(NOW, ("hour",)) == before


@pytest.mark.parametrize("at_once", [30, 300])
def test_reasons_that_are_new_with_each_item_are_one_behind_the_first_of_an_hour(
    database: Database, at_once: int
) -> None:
    exits = [left(f"pr_{n}", exit_reason=f"{n} s are too short") for n in range(300)]
    for start in range(0, 300, at_once):
        writing(database).pipeline_stats.add(exits[start : start + at_once])
    later = [left("pr_later", exit_reason="0 s are too short"), left("pr_next", received_at=minutes(60))]
    writing(database).pipeline_stats.add(later)
    by_reason = reading(database).pipeline_stats.sums(NOW, ("exit_reason",))
    assert (len(by_reason), by_reason[("other",)].n) == (202, 100)
    assert (by_reason[("0 s are too short",)].n, by_reason[("short",)].n) == (2, 1)
