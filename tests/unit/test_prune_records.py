"""What is older than its retention goes in small batches; the sums and everything younger stay, and the audit says what went."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.database import Database
from optimizer.adapters.memory import MemoryClock
from optimizer.core.pipeline_record import PipelineRecord
from optimizer.jobs.prune_records import SENT_DAYS, prune_records, retentions
from tests.stores import NOW, new_database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    records = [
        PipelineRecord(id=f"r{age}-{i}", received_at=NOW - timedelta(days=age), processing_type="full", content_type="news")
        for age in (1, 89, 91, 200)
        for i in range(25)
    ]
    database.write(lambda tx: database.pipeline_stats.add(tx, records))
    yield database
    database.close()


def n_left(store: Database) -> tuple[int, int]:
    """Records, and what the sums say they were."""
    since = NOW - timedelta(days=400)
    with store.read() as tx:
        n_summed = sum(sums.n for sums in store.pipeline_stats.sums(tx, since, ("hour",)).values())
        return len(store.pipeline_stats.records(tx, since, 1000)), n_summed


def audited(store: Database) -> list[dict[str, Any]]:
    with store.read() as tx:
        return [entry for entry in store.audit.of_subject(tx, "pipeline_records")]


def test_old_records_go_and_their_sums_stay(store: Database) -> None:
    kept = retentions(store, pipeline_days=90)
    assert prune_records(store, MemoryClock(NOW), kept, batch=7) == {"pipeline_records": 50, "outbox": 0}
    assert n_left(store) == (50, 100)
    (entry,) = audited(store)
    assert (entry["action"], entry["actor"], entry["detail"]["n"]) == ("prune", "worker", 50)
    assert prune_records(store, MemoryClock(NOW), kept) == {"pipeline_records": 0, "outbox": 0}
    assert len(audited(store)) == 1, "a day on which nothing went is no entry"


def test_for_ever_is_for_ever(store: Database) -> None:
    assert prune_records(store, MemoryClock(NOW + timedelta(days=9000)), retentions(store, pipeline_days=0)) == {"outbox": 0}
    assert n_left(store) == (100, 100)


def test_each_batch_is_a_transaction_and_between_two_of_them_it_can_be_ended(store: Database) -> None:
    pauses: list[int] = []

    def pause() -> bool:
        pauses.append(n_left(store)[0])
        return len(pauses) == 2

    assert prune_records(store, MemoryClock(NOW), retentions(store, pipeline_days=90), pause=pause, batch=10)["pipeline_records"] == 20
    assert pauses == [90, 80], "what one batch deleted is gone before the next"


def test_messages_that_were_taken_go_and_what_waits_or_is_compared_later_stays(store: Database) -> None:
    def add(topic: str, subject: str, *, sent_days_ago: int | None) -> None:
        store.write(lambda tx: store.outbox.add(tx, topic, subject, {"n": subject}, NOW - timedelta(days=99)))
        with store.read() as tx:
            item = store.outbox.oldest(tx, topic)
        if item is not None and sent_days_ago is not None:
            store.write(lambda tx: store.outbox.sent(tx, item.seq, NOW - timedelta(days=sent_days_ago)))

    for days in (SENT_DAYS + 2, SENT_DAYS + 1):
        add("alert slack", "al_1", sent_days_ago=days)
        add("rollout", "ro_1", sent_days_ago=days)
    add("alert slack", "al_2", sent_days_ago=SENT_DAYS - 1)
    add("alert slack", "al_3", sent_days_ago=None)
    kept = retentions(store, pipeline_days=0)
    assert prune_records(store, MemoryClock(NOW), kept, batch=2) == {"outbox": 3}
    with store.read() as tx:
        left = {subject: store.outbox.last(tx, topic, subject) for topic, subject in (("alert slack", "al_1"), ("alert slack", "al_2"), ("alert slack", "al_3"), ("rollout", "ro_1"))}  # fmt: skip
    assert left == {"al_1": None, "al_2": {"n": "al_2"}, "al_3": {"n": "al_3"}, "ro_1": {"n": "ro_1"}}
