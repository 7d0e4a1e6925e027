"""The rows of events: their columns in one order, from the declaration to the file."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import Table

from optimizer.adapters.store.repositories import events
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.core.feedback.events import Event, FeedbackEvent, Interaction
from optimizer.core.feedback.reported import read_report
from optimizer.core.feedback.stored_rows import (
    FEEDBACK_COLUMNS,
    columns_of,
    feedback_of,
    feedback_row,
    interaction_row,
)
from optimizer.jobs.ids import new_ulids
from tests.rows.event_rows import rows_of
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, temporary_database

REPORTED = {
    **{"family": FAMILY, "unit": "u", "output": "out", "input": {"a": 1}, "latency_ms": 1500, "cost_usd": 0.5},
    **{"input_tokens": 3, "model": "small", "tags": {"k": "v"}, "score": 0.25, "success": False, "label": "word"},
    **{"expected": {"topic": "x"}, "conversation": "c", "parts": [{"tier": 0, "output": "o"}], "error": "it failed"},
}


@pytest.mark.parametrize(("kept", "table"), [(Interaction, INTERACTIONS), (FeedbackEvent, FEEDBACK_EVENTS)])
def test_a_row_has_its_columns_in_the_order_of_the_table(kept: type[Event], table: Table) -> None:
    assert columns_of(kept) == tuple(column.name for column in table.columns)


def test_a_report_of_both_becomes_the_rows_that_its_events_would() -> None:
    report = read_report(REPORTED, now=NOW)
    where: dict[str, Any] = {"of": arm(), "content_hash": "h", "received_at": NOW, "sent_by": "key"}
    began = NOW - timedelta(milliseconds=1500)
    names = ("output", "input", "cost_usd", "input_tokens", "model", "conversation", "parts", "error")
    named = {name: REPORTED[name] for name in names}
    of_answer = interaction(
        "x", **where, occurred_at=began, latency_ms=1500.0, tags={"k": "v"}, by_gateway=True, **named
    )
    assert interaction_row(report, arm(), "x", "h", NOW, "key", by_gateway=True) == rows_of([of_answer])[0]
    told = {name: REPORTED[name] for name in ("score", "success", "label", "expected")}
    of_outcome = feedback("x", **where, occurred_at=NOW, interaction="x", tags={"k": "v"}, **told)
    assert feedback_row(report, arm(), "x", "h", NOW, "key") == rows_of([of_outcome])[0]
    assert feedback_of(rows_of([of_outcome])[0]) == of_outcome


@pytest.mark.parametrize("n", [1, 2, 3, 100, 255, 256, 257, 600])
def test_any_number_of_rows_is_written_in_few_statements(n: int) -> None:
    sizes = list(events._sizes(n))
    assert sum(sizes) == n
    assert len(sizes) <= 8 + n // events.ROWS_AT_MOST
    with temporary_database() as database:
        keep_events(database, [feedback(f"fb_{i:04}", score=i / n) for i in range(n)])
        with database.read() as tx:
            found = tx.exec_driver_sql("SELECT id, score FROM feedback_events ORDER BY id").all()
    assert found == [(f"fb_{i:04}", i / n) for i in range(n)]


def test_what_all_rows_of_a_statement_leave_out_is_absent_as_where_one_names_it() -> None:
    told = [{"label": "good"}, {}, {"expected": {"a": 1}, "success": False}, {}]
    with temporary_database() as database:
        for name, some in (("alone", [[one] for one in told]), ("together", [told])):
            for n, rows in enumerate(some):
                keep_events(database, [feedback(f"{name}-{n}-{i}", **one) for i, one in enumerate(rows)])
        columns = ", ".join(name for name in FEEDBACK_COLUMNS if name not in ("id", "content_hash"))
        with database.read() as tx:
            found = tx.exec_driver_sql(f"SELECT {columns} FROM feedback_events ORDER BY id").all()
    assert found[:4] == found[4:]
    labels = columns.split(", ").index("label")
    assert [row[labels] for row in found[:4]] == ["good", None, None, None]


def test_the_ids_of_one_commit_are_told_apart_and_stand_in_their_order() -> None:
    ids = list(islice(new_ulids(), 3000))
    assert len(set(ids)) == 3000
    assert all(len(id) == 26 and set(id) <= set("0123456789abcdefghjkmnpqrstvwxyz") for id in ids)
    assert ids[:1024] == sorted(ids[:1024])
    assert ids[0] != next(new_ulids())
