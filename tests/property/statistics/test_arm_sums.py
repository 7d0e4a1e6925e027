"""What is summed up while events come in is what the events themselves say, whoever brings them in whatever parts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import example, given, settings, strategies as st
from sqlalchemy import Connection, case, func, select

from optimizer.adapters.store import Database
from optimizer.adapters.store.migrations.versions import r0108_arm_stats
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.performance import ARM_STATS
from optimizer.core.feedback.events import FeedbackEvent, Interaction
from tests.examples import n_examples
from tests.stores import FAMILY, arm, feedback, interaction, keep_events, take_step, temporary_database

Batch = list[dict[str, Any]]
EXACT = st.integers(0, 64).map(lambda n: n / 8)  # sums of these are the same in any order
ROLLOUTS = (None, "ro_1", "ro_2")
ARMS_OF = st.fixed_dictionaries(
    {
        "family": st.sampled_from((FAMILY, "triage")),
        "rollout": st.sampled_from(ROLLOUTS),
        "variant": st.sampled_from((None, "v_a", "v_b")),
        "role": st.sampled_from((None, "champion", "candidate")),
    }
)
SERVED = {"error": st.sampled_from((None, "timeout")), "latency_ms": st.none() | EXACT, "cost_usd": st.none() | EXACT}
TOLD = {"success": st.none() | st.booleans(), "score": st.none() | EXACT, "label": st.just("x")}
EVENT = st.fixed_dictionaries({"arm": ARMS_OF, "served": st.fixed_dictionaries(SERVED)}) | st.fixed_dictionaries(
    {"arm": ARMS_OF, "told": st.fixed_dictionaries(TOLD)}
)
BATCHES = st.lists(st.lists(EVENT, min_size=1, max_size=6), max_size=6)


def events_of(batch: Batch, name: str) -> list[Interaction | FeedbackEvent]:
    return [
        interaction(f"{name}-{i}", of=arm(**one["arm"]), **one["served"])
        if "served" in one
        else feedback(f"{name}-{i}", of=arm(**one["arm"]), **one["told"])
        for i, one in enumerate(batch)
    ]


def read_from_events(tx: Connection, family: str, rollout: str | None) -> list[dict[str, Any]]:
    """As it was read before there were sums."""
    i, f, arms = INTERACTIONS.c, FEEDBACK_EVENTS.c, dict[tuple[Any, Any], dict[str, Any]]()
    served = {
        "n_interactions": func.count(),
        "n_errors": func.count(i.error),
        "mean_latency_ms": func.avg(i.latency_ms),
        "cost_usd": func.coalesce(func.sum(i.cost_usd), 0.0),
    }
    told = {
        "n_labelled": func.count(f.success),
        "n_success": func.coalesce(func.sum(case((f.success.is_(True), 1), else_=0)), 0),
        "n_scored": func.count(f.score),
        "mean_score": func.avg(f.score),
    }
    for source, sums in ((INTERACTIONS, served), (FEEDBACK_EVENTS, told)):
        columns = [value.label(name) for name, value in sums.items()]
        query = select(source.c.variant, source.c.role, *columns).where(source.c.family == family)
        if rollout is not None:
            query = query.where(source.c.rollout == rollout)
        for row in tx.execute(query.group_by(source.c.variant, source.c.role)).mappings():
            empty = {**dict.fromkeys((*served, *told), 0), "mean_latency_ms": None, "mean_score": None}
            arms.setdefault((row["variant"], row["role"]), empty).update(row)
    return [arms[key] for key in sorted(arms, key=lambda key: (key[0] or "", key[1] or ""))]


def assert_sums_are_the_events(database: Database) -> None:
    with database.read() as tx:
        for family in (FAMILY, "triage"):
            for rollout in ROLLOUTS:
                found = database.events.arm_summary(tx, family, rollout)
                assert [asdict(arm) for arm in found] == read_from_events(tx, family, rollout), (family, rollout)


@settings(max_examples=n_examples(5))
@example([[{"arm": {"family": FAMILY}, "served": {"error": None, "latency_ms": 0.5, "cost_usd": None}}]] * 2)
@given(BATCHES)
def test_the_sums_of_arms_are_those_of_the_events_whichever_process_wrote_them(batches: list[Batch]) -> None:
    with temporary_database() as database:
        other = Database(database.url)  # another worker's
        for n, batch in enumerate(batches):
            keep_events(database if n % 2 else other, events_of(batch, str(n)))
        other.close()
        assert_sums_are_the_events(database)


@settings(max_examples=n_examples(2))
@given(BATCHES)
def test_a_store_of_before_is_filled_with_the_sums_of_its_events(batches: list[Batch]) -> None:
    with temporary_database() as database:
        for n, batch in enumerate(batches):
            keep_events(database, events_of(batch, str(n)))
        database.write(lambda tx: (ARM_STATS.drop(tx), take_step(tx, r0108_arm_stats)))
        assert_sums_are_the_events(database)
