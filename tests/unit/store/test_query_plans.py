"""What is asked at every call, fetch, tick or page goes by an index that fits, however large the tables have grown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from optimizer.adapters.store import Database
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.cohorts import Cohort
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes
from optimizer.ports import InteractionFilter, UnitCount
from tests.clock import Clock
from tests.stores import (
    FAMILY,
    NOW,
    arm,
    feedback,
    interaction,
    keep_events,
    minutes,
    new_database,
    reading,
    rollout,
    writing,
)

WATCHED = rollout(ladder=(0.5,))
KNOWN = "ro_counted"  # a rollout with a look that is known already


def outcomes(database: Database, tx: Connection, *, hours: float) -> Any:
    known = rollout(ladder=(0.5,), settings={"cohort_minutes": 60, "feedback_window": {"hours": hours}})
    cohort = Cohort(stage=0, start=NOW, closes_at=NOW)
    return database.observations.outcomes(
        tx, known, cohort, ["u"], metric=Metric(), received_since=NOW, received_until=NOW
    )


def _known(folder: Path) -> Iterator[Database]:
    made = new_database(folder)
    writing(made).unit_counts.put(KNOWN, 1, {(0, "u"): UnitCount(n_values=1)})
    writing(made).traffic_sums.put([], minutes(-9 * 1440), NOW)
    yield made
    made.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield from _known(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The same, of which tests only ask how a query is planned."""
    yield from _known(tmp_path_factory.mktemp("unchanged"))


RECEIVED = "_received (family=? AND received_at>?"
FEEDBACK, INTERACTIONS = f"ix_feedback_family{RECEIVED}", f"ix_interactions_family{RECEIVED}"
SUMS = "sqlite_autoindex_traffic_sums_1 (family=? AND minutes=? AND start>? AND start<?)"
BY_ID, UNSENT = "sqlite_autoindex_examples_1 (family=? AND id=?)", "ix_outbox_unsent (topic=? AND sent_at=?)"
COHORT = "_rollout_cohort (rollout=? AND cohort_start"
IN_COHORT = (f"ix_interactions{COHORT}=?)", f"ix_feedback{COHORT}=?)")
IN_COHORTS = f"ix_feedback{COHORT}>? AND cohort_start<?)"
OF_INTERACTION = "ix_feedback_interaction (family=? AND interaction=?)"
LABELLED = "COVERING INDEX ix_feedback_labelled (family=? AND received_at>? AND received_at<?)"

HOT: dict[str, tuple[Callable[[Database, Connection], Any], tuple[str, ...]]] = {
    "budget before a call": (
        lambda d, tx: d.journal.spend(tx, "st_1"),
        ("COVERING INDEX ix_lm_calls_study (study=?)",),
    ),
    "answer of a call": (
        lambda d, tx: d.journal.find(tx, "key", study="st_1", not_before=NOW),
        ("INDEX ix_lm_calls_key_status (key=? AND status=?)",),
    ),
    "rollouts at every poll": (lambda d, tx: d.rollouts.all_active(tx), ("(active_family>?)",)),
    "a family's rollout": (lambda d, tx: d.rollouts.active(tx, FAMILY), ("(active_family=?)",)),
    "arms of a rollout": (
        lambda d, tx: d.events.arm_summary(tx, FAMILY, "ro_1"),
        ("INDEX sqlite_autoindex_arm_stats_1 (family=? AND rollout=?)",),
    ),
    "money of an hour": (
        lambda d, tx: d.events.cost_usd(tx, FAMILY, NOW),
        (f"{INTERACTIONS})", "ix_later_parts_family_received (family=? AND received_at>?)"),
    ),
    "interactions older than their retention": (
        lambda d, tx: d.retained.old(tx, "interactions", FAMILY, NOW, 500),
        ("ix_interactions_family_received (family=? AND received_at<?)",),
    ),
    "feedback older than its retention": (
        lambda d, tx: d.retained.old(tx, "feedback_events", FAMILY, NOW, 500),
        ("ix_feedback_family_received (family=? AND received_at<?)",),
    ),
    "requests of a cascade": (
        lambda d, tx: d.events.made_of_parts(tx, FAMILY, {"v_1", "v_2"}, since=NOW, limit=10),
        (f"{INTERACTIONS})",),
    ),
    "corrections of requests": (lambda d, tx: d.events.corrections(tx, FAMILY, {"in_1", "in_2"}), (OF_INTERACTION,)),
    "labels of a month": (
        lambda d, tx: d.events.label_summary(tx, FAMILY, minutes(-2 * 1440)),
        (
            "watermarks",
            *[SUMS] * 5,
            f"{FEEDBACK} AND received_at<?)",
        ),
    ),
    "outcomes of a champion's last hours": (
        lambda d, tx: d.traffic.outcomes(tx, FAMILY, "v_a", minutes(-360), NOW),
        ("watermarks", SUMS),
    ),
    "how late a champion's outcomes came": (
        lambda d, tx: d.observations.delays_s(tx, FAMILY, "v_a", minutes(-60), 10),
        (
            "watermarks",
            SUMS,
            f"{FEEDBACK} AND received_at<?)",
        ),
    ),
    "the turns of a conversation": (
        lambda d, tx: d.traffic.turns(tx, {FAMILY: ["c-1"], "triage": ["c-1"]}, NOW, NOW, 10),
        ("ix_interactions_conversation (conversation=? AND family=? AND received_at>? AND received_at<?)",),
    ),
    "the review that waits longest": (
        lambda d, tx: d.reviews.page(tx, None, "open", among=(FAMILY, "triage"), start=0, n=1),
        ("ix_reviews_status_created (status=?)",),
    ),
    "how many reviews wait": (
        lambda d, tx: d.reviews.n_open(tx, None, among=(FAMILY, "triage")),
        ("ix_reviews_status_created (status=?)",),
    ),
    "how many messages wait": (
        lambda d, tx: d.outbox.backlog(tx, topics=("alert",)),
        ("COVERING INDEX ix_outbox_unsent (topic=? AND sent_at=?)",),
    ),
    "what runs have spent": (
        lambda d, tx: d.journal.usd_of_runs(tx, ["st_1", "jr_1"]),
        ("ix_lm_calls_study (study=?)",),
    ),
    "outcomes of an interaction": (
        lambda d, tx: d.events.feedback_of(tx, [(FAMILY, "in_1"), ("other", "in_2")]),
        (OF_INTERACTION,),
    ),
    "examples of several families": (lambda d, tx: d.examples.named(tx, [(FAMILY, "t1"), ("other", "t2")]), (BY_ID,)),
    "sealed examples of several families": (
        lambda d, tx: d.examples.sealed(tx, [(FAMILY, "t1"), ("other", "t2")]),
        (BY_ID,),
    ),
    "exposures of a rollout": (
        lambda d, tx: d.exposures.totals(tx, FAMILY, "ro_1"),
        ("sqlite_autoindex_exposure_sums_1 (rollout=? AND family=?)",),
    ),
    "quality blocks of a rollout": (
        lambda d, tx: d.blocks.of_rollout(tx, "ro_1", kind="quality"),
        ("ix_cohort_blocks_kind (rollout=? AND kind=?)",),
    ),
    "requests of ten seconds": (
        lambda d, tx: d.observations.requests(tx, WATCHED, NOW, NOW),
        (
            "ix_interactions_rollout_occurred (rollout=? AND occurred_at>? AND occurred_at<?)",
            f"{INTERACTIONS} AND received_at<?)",
        ),
    ),
    "fetches of ten seconds": (
        lambda d, tx: d.observations.fetches(tx, WATCHED, NOW, NOW),
        ("(family=? AND variant=? AND rollout=? AND stage=? AND window_start>? AND window_start<?)",),
    ),
    "units of a cohort": (lambda d, tx: d.observations.cohort_units(tx, WATCHED, 0, NOW, NOW), IN_COHORT),
    "units of a cohort without a token": (
        lambda d, tx: d.observations.recomputed_units(tx, WATCHED, 0, NOW, NOW),
        IN_COHORT,
    ),
    "exposures that keys reported": (
        lambda d, tx: d.exposures.reported(tx, "ro_1"),
        ("sqlite_autoindex_exposure_sums_1 (rollout=?)",),
    ),
    "outcomes of units": (lambda d, tx: outcomes(d, tx, hours=24), (IN_COHORTS,)),
    "outcomes of units, short window": (lambda d, tx: outcomes(d, tx, hours=1), (IN_COHORTS,)),
    "who was served in a gap": (lambda d, tx: d.observations.outside(tx, FAMILY, NOW, NOW), (INTERACTIONS, FEEDBACK)),
    "what units were counted for, by a process that starts": (
        lambda d, tx: d.unit_counts.get(tx, "ro_1", 0, ["u"]),
        ("(rollout=? AND n_blocks>?)",),
    ),
    "what units were counted for": (
        lambda d, tx: [d.unit_counts.get(tx, KNOWN, 0, ["u"]) for _ in range(2)],
        ("(rollout=? AND n_blocks>?)", "(rollout=? AND n_blocks=?)", "(rollout=? AND n_blocks>?)"),
    ),
    "what the tick knows": (lambda d, tx: d.blocks.state(tx, "ro_1"), ("(rollout=?)",)),
    "the head of a rollout's decisions": (
        lambda d, tx: d.rollouts.last_decision(tx, "ro_1"),
        ("sqlite_autoindex_decisions_1 (rollout=?)",),
    ),
    "what MLflow has to hear": (lambda d, tx: d.outbox.due(tx, NOW, 20, topics=("study",)), (UNSENT,)),
    "whatever MLflow has not heard": (lambda d, tx: d.outbox.unsent(tx, topics=("study",)), (UNSENT,)),
    "what a channel has to hear first": (lambda d, tx: d.outbox.oldest(tx, "alert slack"), (UNSENT,)),
    "unfinished studies": (lambda d, tx: d.studies.unfinished(tx), ("ix_studies_status (status=?)",)),
    "studies of one status": (lambda d, tx: d.studies.page(tx, status="queued"), ("ix_studies_status (status=?)",)),
    "looks of an example": (lambda d, tx: d.examples.looks(tx, FAMILY, ["h1"]), ("(family=? AND example=?)",)),
    "minutes of a champion": (
        lambda d, tx: d.minute_stats.of_family(tx, FAMILY, NOW, variant="v_a", source=""),
        ("(family=? AND minute>?)",),
    ),
    "how many came by minute": (
        lambda d, tx: d.minute_stats.n_by_minute(tx, FAMILY, NOW, source=""),
        ("(family=? AND minute>?)",),
    ),
    "a pipeline's hours": (lambda d, tx: d.pipeline_stats.sums(tx, NOW, ("hour", "processing_type")), ("(hour>?)",)),
    "a pipeline's records": (
        lambda d, tx: d.pipeline_stats.records(tx, NOW, 10),
        ("ix_pipeline_records_received_at (received_at>?)",),
    ),
    "labels of a time": (lambda d, tx: d.traffic.label_counts(tx, [FAMILY, "triage"], NOW, NOW), (LABELLED,)),
    "some outcomes with a label": (
        lambda d, tx: d.traffic.labelled(tx, [FAMILY], "wrong", NOW, NOW, 50),
        (LABELLED.removeprefix("COVERING "),),
    ),
    "how far minutes are summed up": (lambda d, tx: d.minute_stats.watermark(tx, "minute_stats"), ("(name=?)",)),
    "outcomes of a champion": (
        lambda d, tx: list(d.drift_detectors.outcomes(tx, FAMILY, "v_a", Metric(), NOW, NOW)),
        (f"{FEEDBACK} AND received_at<?)",),
    ),
    "what a judge scored in the times of draws": (
        lambda d, tx: d.traffic.judged_sums(tx, FAMILY, "j", [(minutes(-9), minutes(-5)), (minutes(-3), NOW)]),
        (f"{FEEDBACK} AND received_at<?)",),
    ),
    "the watch on a champion": (lambda d, tx: d.drift_detectors.get(tx, FAMILY), ("(family=?)",)),
    "the watch on a switch": (lambda d, tx: d.switch_watches.get(tx, FAMILY), ("(family=?)",)),
    "outcomes since a switch, with when they were served": (
        lambda d, tx: d.switch_watches.outcomes(tx, FAMILY, Metric(), NOW, NOW, judge=None),
        (f"{FEEDBACK} AND received_at<?)",),
    ),
    "the first outcome of a champion": (
        lambda d, tx: d.switch_watches.first_outcome(tx, FAMILY, "v_a", Metric(), NOW),
        (f"{FEEDBACK})",),
    ),
    "late feedback": (
        lambda d, tx: d.observations.late_feedback(tx, WATCHED, NOW, NOW, lambda begun: begun),
        (IN_COHORTS,),
    ),
    "the next blocks": (lambda d, tx: list(d.blocks.each(tx, "ro_1")), ("(rollout=? AND seq>?)",)),
    "what the units of a rollout were counted for": (
        lambda d, tx: d.unit_counts.sums(tx, "ro_1"),
        ("(rollout=? AND n_blocks>?)",),
    ),
    "open alerts": (lambda d, tx: d.alerts.all(tx, open_only=True), ("ix_alerts_closed_kind (closed_at=?)",)),
    "open alerts of a kind": (
        lambda d, tx: d.alerts.all(tx, open_only=True, kind="champion_worse"),
        ("ix_alerts_closed_kind (closed_at=? AND kind=?)",),
    ),
    "alerts that were closed lately": (
        lambda d, tx: d.alerts.closed_since(tx, NOW),
        ("ix_alerts_closed_kind (closed_at>?)",),
    ),
    "open alerts of a rollout": (
        lambda d, tx: d.alerts.all(tx, open_only=True, subject="ro_1"),
        ("ix_alerts_closed_kind (closed_at=?)",),
    ),
    "all alerts of a kind": (
        lambda d, tx: d.alerts.all(tx, open_only=False, kind="frozen"),
        ("ix_alerts_kind (kind=?)",),
    ),
    "what was done to a rollout": (lambda d, tx: d.audit.of_subject(tx, "ro_1"), ("ix_audit_subject (subject=?)",)),
    "the champion": (lambda d, tx: d.champions.current(tx, FAMILY), ("(family=? AND current=?)",)),
}


EVENTS = ("interactions", "feedback_events")
OF_MINUTES: dict[str, Callable[[Database, Connection], Any]] = {
    "the first event since": lambda d, tx: d.minute_stats.oldest(tx, NOW),
    "the events of a minute": lambda d, tx: d.minute_stats.sums(tx, NOW, minutes(1)),
}


@pytest.mark.parametrize("name", OF_MINUTES)
def test_summing_up_minutes_reads_events_by_family_and_time_of_receipt(database: Database, name: str) -> None:
    keep_events(database, [interaction(), feedback()])  # a family to ask for
    plans = plans_of(database, OF_MINUTES[name])
    by_receipt = [plan for plan in plans if "_family_received (family=? AND received_at>?" in plan]
    assert len(by_receipt) == 2
    assert not any(f"SCAN {table}" in plan or "TEMP B-TREE" in plan for plan in plans for table in EVENTS)


def test_requests_that_failed_are_found_by_their_index(database: Database) -> None:
    failed = InteractionFilter(since=minutes(-60), until=NOW, families=[FAMILY], failed=True)
    plans = plans_of(database, lambda d, tx: d.events.matches(tx, failed, cursor=None, limit=10))
    assert ["ix_interactions_failed (family=? AND received_at>? AND" in plan for plan in plans] == [True, True]


def test_scores_of_judges_are_counted_by_their_index(database: Database) -> None:
    keep_events(database, [feedback(score=0.5, source="judge")])
    roll_up_minutes(database, Clock(minutes(2 * 1440)))
    plans = plans_of(database, lambda d, tx: d.minute_stats.n_judged(tx, minutes(-1440), minutes(1440)))
    counted = "SEARCH stat_sums USING INDEX ix_stat_sums_judged (family=? AND minutes=? AND start>? AND start<?)"
    assert counted in plans


@pytest.mark.parametrize("family", [None, FAMILY])
def test_a_page_of_feedback_is_read_by_family_and_time_of_receipt(database: Database, family: str | None) -> None:
    keep_events(database, [feedback(str(i)) for i in range(3)])
    ask: dict[str, Any] = {"family": family, "variant": None, "since": None, "limit": 1}
    _, cursor = reading(database).events.page_of_feedback(cursor=None, **ask)
    plans = plans_of(database, lambda d, tx: d.events.page_of_feedback(tx, cursor=cursor, **ask))
    by_receipt = [plan for plan in plans if "ix_feedback_family_received (family=? AND received_at>?" in plan]
    assert len(by_receipt) == (2 if family is None else 1), "of all, first when each family's events begin"
    assert not any("SCAN feedback_events" in plan for plan in plans)


def test_a_page_of_all_families_asks_only_those_whose_events_come_early_enough(database: Database) -> None:
    events = [feedback(str(i), of=arm(family=f"f{i:02}"), received_at=minutes(i)) for i in range(30)]
    keep_events(database, events)
    plans = plans_of(
        database,
        lambda d, tx: d.events.page_of_feedback(tx, family=None, variant=None, since=None, cursor=None, limit=3),
    )
    assert len(plans) == 5, "when each begins, and the four that fill the page and say that there is more"


@pytest.mark.parametrize("name", HOT)
def test_a_query_that_runs_often_never_reads_a_whole_table(unchanged: Database, name: str) -> None:
    ask, expected = HOT[name]
    plans = plans_of(unchanged, ask)
    assert len(plans) == len(expected)
    for plan, index in zip(plans, expected, strict=True):
        assert index in plan
        assert "SCAN" not in plan.replace("SCAN given VIRTUAL TABLE", "")  # the list that was given


def plans_of(database: Database, ask: Callable[[Database, Connection], Any]) -> list[str]:
    plans: list[str] = []

    def explain(connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        rows = cursor.connection.cursor().execute("EXPLAIN QUERY PLAN " + statement, parameters)
        plans.append(" | ".join(row[3] for row in rows))

    with database.read() as tx:
        event.listen(tx, "before_cursor_execute", explain)
        ask(database, tx)
    return plans
