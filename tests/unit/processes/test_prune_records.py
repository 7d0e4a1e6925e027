"""What is older than its retention goes in small batches; the sums and everything younger stay,
and the audit says what went.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, select, text

from optimizer.adapters.store import Database
from optimizer.adapters.store.tables.studies import STUDIES
from optimizer.core.base.values import Budget, ExampleResult
from optimizer.core.dataset.examples import make_example
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.events import LaterParts
from optimizer.core.feedback.pipeline_record import PipelineRecord
from optimizer.core.rollout.drift import ChampionWatch
from optimizer.core.scheduling.monthly_budget import month_of
from optimizer.core.serving.rollout import Champion
from optimizer.core.views.evaluation import EvaluationQuery, EvaluationRun, SuitesReport
from optimizer.host.config import load_settings
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.upkeep.prune_records import PruneReport, prune_records, what_would_go
from optimizer.jobs.upkeep.read_retention import SENT_DAYS, Retention, retentions
from optimizer.ports import TierAnswers, WatchedTenure
from optimizer.runtime.worker import Worker
from tests.clock import Clock
from tests.rows.evaluations import batch_of, report_of
from tests.rows.event_rows import rows_of
from tests.rows.ingestion import family as family_with
from tests.stores import (
    FAMILY,
    NOW,
    answer,
    arm,
    call,
    feedback,
    interaction,
    new_database,
    reading,
    rollout,
    study,
    writing,
)

CLOCK = Clock(NOW)


def family(name: str = FAMILY, days: int = 90) -> Family:
    return family_with(name, retain_days=days)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """Whose minutes are summed up until now."""
    database = new_database(tmp_path)
    writing(database).minute_stats.set_watermark(MINUTES, NOW)
    yield database
    database.close()


def kept(store: Database, *families: Family, pipeline_days: int = 0) -> list[Retention]:
    return retentions(store, CLOCK, {one.name: one for one in families}, pipeline_days=pipeline_days)[0]


def gone(report: PruneReport) -> dict[Any, int]:
    """How many rows, by kind, or by family and kind where one is named."""
    return {(one.rows if one.family is None else (one.family, one.rows)): one.n for one in report.items if one.n}


def pruned(store: Database, *families: Family) -> dict[Any, int]:
    return gone(prune_records(store, CLOCK, kept(store, *families)))


def add_events(store: Database, of: str, days: float, n: int) -> None:
    def write(tx: Any) -> None:
        where, at = arm(family=of, rollout=None), ago(days)
        names = [f"{days}-{i}" for i in range(n)]
        store.events.add_new(
            tx,
            rows_of(
                [interaction(f"in-{name}", of=where, received_at=at, input={"document": "a text"}) for name in names]
            ),
            rows_of([feedback(f"fb-{name}", of=where, received_at=at) for name in names]),
        )
        for name in names:
            store.events.add_later_parts(
                tx, LaterParts(family=of, interaction=f"in-{name}", parts=[{}], cost_usd=0.1, received_at=at)
            )

    store.write(write)


def n_rows(store: Database, table: str) -> int:
    with store.read() as tx:
        return int(tx.execute(text(f"SELECT count(*) FROM {table}")).scalar() or 0)


def audited(store: Database, rows: str) -> list[dict[str, Any]]:
    return list(reading(store).audit.of_subject(rows))


# --- what people sent -------------------------------------------------------------------------------------------------


def test_each_family_keeps_what_was_sent_for_its_own_days(store: Database) -> None:
    for of in ("triage", FAMILY):
        for days in (0.5, 6, 9, 91):
            add_events(store, of, days, 2)
    report = prune_records(store, CLOCK, kept(store, family(days=90), family("triage", days=7)))
    per_kind = ("interactions", "feedback_events", "later_parts")
    assert gone(report) == {(FAMILY, rows): 2 for rows in per_kind} | {("triage", rows): 4 for rows in per_kind}
    assert reading(store).events.interaction("in-9-0", FAMILY) is not None
    assert reading(store).events.interaction("in-9-0", "triage") is None
    assert reading(store).events.interaction("in-6-0", "triage") is not None
    assert pruned(store, family(), family("triage", days=7)) == {}


def test_the_counts_of_an_arm_outlast_its_events(store: Database) -> None:
    add_events(store, FAMILY, 91, 3)
    before = reading(store).events.arm_summary(FAMILY, None)
    prune_records(store, CLOCK, kept(store, family()))
    assert n_rows(store, "interactions") == n_rows(store, "feedback_events") == 0
    assert reading(store).events.arm_summary(FAMILY, None) == before
    assert [(arm.n_interactions, arm.n_labelled) for arm in before] == [(3, 3)]


def test_every_batch_is_a_transaction_of_its_own_and_none_removes_more_than_it_may(store: Database) -> None:
    add_events(store, FAMILY, 91, 23)
    per_transaction = [0]

    @event.listens_for(store._writing, "after_cursor_execute")
    def count_rows(_c: Any, cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("DELETE"):
            per_transaction[-1] += cursor.rowcount

    @event.listens_for(store._writing, "commit")
    def next_transaction(_c: Any) -> None:
        per_transaction.append(0)

    prune_records(store, CLOCK, kept(store, family()), batch=5)
    assert max(per_transaction) == 5
    assert [n for n in per_transaction if n] == [5, 5, 5, 5, 3] * 3, "feedback, parts that came later, interactions"


def test_between_two_batches_it_can_be_ended_and_goes_on_at_the_next_call(store: Database) -> None:
    add_events(store, FAMILY, 91, 20)
    left: list[int] = []

    def pause() -> bool:
        left.append(n_rows(store, "feedback_events"))
        return len(left) == 2

    report = prune_records(store, CLOCK, kept(store, family()), pause=pause, batch=5)
    assert (left, report.more, gone(report)) == ([15, 10], True, {(FAMILY, "feedback_events"): 10})
    assert pruned(store, family())[FAMILY, "feedback_events"] == 10


def test_a_family_whose_file_does_not_say_how_long_is_left_alone_and_named(store: Database) -> None:
    add_events(store, "gone", 400, 1)
    add_events(store, "broken", 400, 1)
    found, unpruned = retentions(store, CLOCK, {"broken": family("broken", days=1)}, {"broken": None})
    assert gone(prune_records(store, CLOCK, found)) == {}
    assert [(one.family, one.why) for one in unpruned] == [
        ("broken", "its file cannot be used"),
        ("gone", "it has no file"),
    ]


# --- what stays because something still needs it ----------------------------------------------------------------------


def test_what_is_not_summed_up_yet_stays(store: Database) -> None:
    writing(store).minute_stats.set_watermark(MINUTES, ago(100))
    for days in (99, 101):
        add_events(store, FAMILY, days, 1)
    prune_records(store, CLOCK, kept(store, family()))
    assert reading(store).events.interaction("in-99-0", FAMILY) is not None
    assert reading(store).events.interaction("in-101-0", FAMILY) is None


def test_what_the_watch_on_the_champion_has_not_read_stays(store: Database) -> None:
    watch = ChampionWatch(
        variant="v_aaaaaaaaaaaa", metric=Metric(field="success", source="user"), tenure_since=ago(200)
    )
    tenure = WatchedTenure(family=FAMILY, tenure=1, watch=watch, read_until=ago(100))
    champion = Champion(family=FAMILY, seq=1, variant=watch.variant, since=ago(200), why="first", by="anna")
    store.write(lambda tx: (store.champions.put(tx, champion), store.drift_detectors.put(tx, [tenure])))
    add_events(store, FAMILY, 99, 1)
    assert pruned(store, family()) == {}
    writing(store).drift_detectors.put([replace(tenure, read_until=NOW)])
    assert (FAMILY, "interactions") in pruned(store, family())


# --- examples, reviews, answers to repeated requests ------------------------------------------------------------------


def example(id: str, days: float, **changes: Any) -> Any:
    usual = {"origin": "correction", "released": False, "created_at": ago(days)}
    return make_example(id=id, family=FAMILY, input={"document": id}, expected={"summary": "s"}, **{**usual, **changes})


def test_corrections_that_nobody_released_go_and_released_and_imported_ones_stay(store: Database) -> None:
    rows = [
        example("old", 91),
        example("young", 80),
        example("released", 91, released=True),
        example("imported", 91, origin="import"),
        example("curated", 91, origin="curated", released=True),
    ]
    writing(store).examples.add(rows)
    writing(store).reviews.open("rv_1", FAMILY, "release_example", "old", {"split": "train"}, ago(91))
    writing(store).reviews.open("rv_2", FAMILY, "release_example", "young", {"split": "train"}, ago(80))
    assert pruned(store, family()) == {(FAMILY, "examples"): 1, (FAMILY, "reviews"): 1}
    with store.read() as tx:
        ids = [row["id"] for row in tx.execute(text("SELECT id FROM examples ORDER BY id")).mappings()]
        assert [review.id for review in store.reviews.page(tx, FAMILY, None)] == ["rv_2"]
    assert ids == ["curated", "imported", "released", "young"]


def test_a_study_under_way_keeps_the_examples_that_it_was_given(store: Database) -> None:
    writing(store).examples.add([example("old", 91)])
    writing(store).studies.add(study(status="running"))
    assert pruned(store, family()) == {}
    writing(store).studies.update("st_1", status="finished", finished_at=NOW)
    assert pruned(store, family()) == {(FAMILY, "examples"): 1}


def test_answers_to_idempotency_keys_go_with_the_strictest_family(store: Database) -> None:
    for days in (6, 9, 31):
        writing(store).events.store_answer("key ann", f"k{days}", "hash", {"accepted": 1}, ago(days))
    assert pruned(store, family(days=90)) == {"idempotency_keys": 1}
    assert pruned(store, family(days=90), family("triage", days=7)) == {"idempotency_keys": 1}
    assert reading(store).events.stored_answer("key ann", "k6", "hash") is not None


# --- what studies recorded --------------------------------------------------------------------------------------------


def add_study(store: Database, id: str, *, finished_days_ago: float | None, status: str = "finished") -> None:
    """With a call, a result, tier answers and learned confidences."""
    at = None if finished_days_ago is None else ago(finished_days_ago)
    findings = {"out_of_fold": {"small": {"hash": "h", "confidence": [0.5]}}, "confidence": [{"tier": "small"}]}
    result = ExampleResult(
        example="ex_1", score=1.0, output="A text.", error=None, cost_usd=0.1, latency_ms=1.0, from_journal=False
    )
    failure = replace(result, example="ex_2", score=0.0, output=None, error="A text was refused.")

    def write(tx: Any) -> None:
        store.studies.add(tx, study(id, status="queued"))
        store.studies.put_results(tx, id, "search", "v_1", [result, failure])
        store.studies.put_tier_answers(tx, id, TierAnswers(tiers=("small",), rows=[{"score": 1.0}]))
        store.journal.send(tx, call(f"ca_{id}", study=id, request={"messages": ["a text"]}))
        store.journal.settle(tx, f"ca_{id}", answer("An answer."), NOW)
        store.journal.send(tx, call(f"cb_{id}", study=id, request={"messages": ["a text"]}))
        store.journal.fail(tx, f"cb_{id}", "It said: a text", 0.0, NOW)
        store.studies.update(tx, id, status=status, finished_at=at, findings=findings)

    store.write(write)


def texts_of(store: Database, id: str) -> tuple[Any, ...]:
    with store.read() as tx:
        entry, failed = store.journal.calls(tx, id)
        ((result, failure),) = store.studies.results(tx, id, "search").values()
        findings = tx.execute(select(STUDIES.c.findings).where(STUDIES.c.id == id)).scalar()
        assert failure.error is not None, "that there was one is counted"
        said = failure.error if "text" in failure.error else None
        texts = entry.request, entry.answer, failed.request, failed.error, result.output, said
        return *texts, store.studies.tier_answers(tx, id), sorted(findings)


def test_texts_and_answers_per_example_of_a_study_go_and_its_money_scores_and_findings_stay(store: Database) -> None:
    add_study(store, "st_old", finished_days_ago=91)
    add_study(store, "st_young", finished_days_ago=80)
    add_study(store, "st_running", finished_days_ago=None, status="running")
    kinds = {"texts_of_model_calls": 2, "outputs_of_studies": 2, "tier_answers": 1, "confidences_of_studies": 1}
    assert pruned(store, family()) == {(FAMILY, row): n for row, n in kinds.items()}
    assert texts_of(store, "st_old") == (None,) * 7 + (["confidence"],)
    for id in ("st_young", "st_running"):
        assert None not in texts_of(store, id)
        assert texts_of(store, id)[-1] == ["confidence", "out_of_fold"]
    with store.read() as tx:
        assert store.journal.spend(tx, "st_old").usd == 0.25
        assert store.studies.results(tx, "st_old", "search")["v_1"][0].score == 1.0
        assert store.journal.answers(tx, "st_old") == {}
        assert store.journal.find(tx, "key 1", study="st_old", not_before=ago(999)) is not None, (
            "of another study of the same question"
        )
    assert pruned(store, family()) == {}


def test_the_report_of_an_evaluation_goes_and_its_batch_stays(store: Database) -> None:
    rest = {"champion": None, "verdict": None, "not_measured": [], "family_suites": {}}
    report = SuitesReport(family=FAMILY, variant="v_1", suites=[report_of(family=FAMILY)], **rest)
    query = EvaluationQuery(variant="v_1", suite=None, split="dev", n=None, bare=False)
    run = {"family": FAMILY, "request": query, "budget": Budget(), "n": 1, "created_by": "ann", "created_at": NOW}

    def write(tx: Any) -> None:
        store.performance.add_batch(tx, batch_of(family=FAMILY))
        for id, days in (("ev_old", 91), ("ev_young", 80)):
            store.runs.add(tx, EvaluationRun(id=id, status="queued", **run))
            store.runs.update(tx, id, status="finished", finished_at=ago(days), result=report)

    store.write(write)
    assert pruned(store, family()) == {(FAMILY, "reports_of_evaluations"): 1}
    with store.read() as tx:
        old, young = (store.runs.get(tx, id) for id in ("ev_old", "ev_young"))
        assert (old.result, young.result) == (None, report)
        assert len(store.performance.batches(tx, FAMILY)) == 1
    assert pruned(store, family()) == {}


def test_what_the_study_behind_a_rollout_recorded_stays_until_the_rollout_is_through(store: Database) -> None:
    add_study(store, "st_old", finished_days_ago=91)
    writing(store).rollouts.add(rollout(study="st_old", created_at=ago(1)))
    assert pruned(store, family()) == {}


def test_calls_outside_studies_go_with_their_family(store: Database) -> None:
    for name, changes in (
        ("old", {}),
        ("of_study", {"study": "st_1"}),
        ("young", {"sent_at": ago(80)}),
        ("other", {"family": "triage"}),
    ):
        entry = call(
            f"ca_{name}", **{"study": None, "sent_at": ago(91), "request": {"messages": ["a text"]}, **changes}
        )
        writing(store).journal.send(entry)
    assert pruned(store, family(), family("triage", days=400)) == {(FAMILY, "model_calls"): 1}


def test_calls_outside_studies_lose_their_texts_and_count_as_spent_until_their_month_is_over(store: Database) -> None:
    def send(tx: Any) -> None:
        for id, days in (("ca_month", 15), ("ca_before", 25)):  # the 5th of November, the 26th of October
            store.journal.send(tx, call(id, study=None, sent_at=ago(days), request={"messages": ["a text"]}))
            store.journal.settle(tx, id, answer("An answer."), ago(days))

    store.write(send)
    dry = what_would_go(store, kept(store, family(days=7)))
    (calls,) = (one for one in dry.items if one.rows == "model_calls")
    assert (calls.n, calls.before, "spending" in calls.held_by) == (1, month_of(NOW), True)
    assert pruned(store, family(days=7)) == {
        (FAMILY, "model_calls"): 1,
        (FAMILY, "texts_of_model_calls"): 1,
    }
    assert reading(store).journal.usd_without_a_run(month_of(NOW)) == {FAMILY: 0.25}
    assert reading(store).journal.find("key 1", study=None, not_before=ago(99)) is None
    assert pruned(store, family(days=7)) == {}


# --- what is kept per installation ------------------------------------------------------------------------------------


@pytest.fixture
def records(store: Database) -> Database:
    rows = [
        PipelineRecord(id=f"r{age}-{i}", received_at=ago(age), processing_type="full", content_type="news")
        for age in (1, 89, 91, 200)
        for i in range(25)
    ]
    writing(store).pipeline_stats.add(rows)
    return store


def n_left(store: Database) -> tuple[int, int]:
    """Records, and what the sums say they were."""
    n_summed = sum(sums.n for sums in reading(store).pipeline_stats.sums(ago(400), ("hour",)).values())
    return len(reading(store).pipeline_stats.records(ago(400), 1000)), n_summed


def test_old_records_of_the_content_pipeline_go_and_their_sums_stay(records: Database) -> None:
    found = kept(records, pipeline_days=90)
    assert gone(what_would_go(records, found)) == {"pipeline_records": 50}
    assert gone(prune_records(records, CLOCK, found, batch=7)) == {"pipeline_records": 50}
    assert n_left(records) == (50, 100)
    (entry,) = audited(records, "pipeline_records")
    assert (entry["action"], entry["actor"], entry["detail"]["n"]) == ("prune", "worker", 50)
    assert gone(prune_records(records, CLOCK, found)) == {}
    assert len(audited(records, "pipeline_records")) == 1, "a day on which nothing went is no entry"


def test_for_ever_is_for_ever(records: Database) -> None:
    assert pruned(records) == {}
    assert n_left(records) == (100, 100)


def test_messages_that_were_taken_go_and_what_waits_or_is_compared_later_stays(store: Database) -> None:
    def add(topic: str, subject: str, *, sent_days_ago: int | None) -> None:
        writing(store).outbox.add(topic, subject, {"n": subject}, NOW - timedelta(days=99))
        item = reading(store).outbox.oldest(topic)
        if item is not None and sent_days_ago is not None:
            writing(store).outbox.sent(item.seq, ago(sent_days_ago))

    for days in (SENT_DAYS + 2, SENT_DAYS + 1):
        add("alert slack", "al_1", sent_days_ago=days)
        add("rollout", "ro_1", sent_days_ago=days)
    add("alert slack", "al_2", sent_days_ago=SENT_DAYS - 1)
    add("alert slack", "al_3", sent_days_ago=None)
    assert gone(what_would_go(store, kept(store))) == {"outbox": 3}
    assert gone(prune_records(store, CLOCK, kept(store), batch=2)) == {"outbox": 3}
    left = {
        subject: reading(store).outbox.last(topic, subject)
        for topic, subject in (
            ("alert slack", "al_1"),
            ("alert slack", "al_2"),
            ("alert slack", "al_3"),
            ("rollout", "ro_1"),
        )
    }
    assert left == {"al_1": None, "al_2": {"n": "al_2"}, "al_3": {"n": "al_3"}, "ro_1": {"n": "ro_1"}}


def test_the_worker_prunes_by_the_days_that_each_family_file_says(store, tmp_path, monkeypatch):
    add_events(store, FAMILY, 9, 2)
    worker = Worker(load_settings("dev", tmp_path))
    worker._store, worker._clock = store, CLOCK
    worker._families = SimpleNamespace(families={FAMILY: family(days=7)}, problems={}, retired=dict)  # type: ignore[assignment]
    worker._prune()
    assert n_rows(store, "interactions") == 0
