"""Reads until when records are kept, family by family, and what holds some of them longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

from optimizer.core.family.family import Family
from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.feedback.retention import KEY_DAYS, RetentionLimit, RetentionNeed, cut
from optimizer.core.scheduling.monthly_budget import month_of
from optimizer.core.serving.family_names import is_retired
from optimizer.jobs.feedback.roll_up_minutes import HISTORY, MINUTES
from optimizer.jobs.rollouts.watch_holdback import rollout_of_holdback
from optimizer.ports import Clock, Store, Transaction
from optimizer.ports.deletion import OldRows

SENT_DAYS = 30  # messages that MLflow and the alert channels have taken
OF_EVENTS: tuple[OldRows, ...] = (
    "feedback_events",
    "later_parts",
    "interactions",
    "traffic_sums",
    "examples",
    "reviews",
    "graphs",
    "model_calls",
)
OF_STUDIES: tuple[OldRows, ...] = (
    "texts_of_model_calls",
    "outputs_of_studies",
    "tier_answers",
    "reports_of_evaluations",
    "confidences_of_studies",
)
OF_NO_FAMILY: tuple[OldRows, ...] = ("idempotency_keys", "outbox", "pipeline_records")
assert {*OF_EVENTS, *OF_STUDIES, *OF_NO_FAMILY} == set(get_args(OldRows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Rows of one kind (and family; None: of none) and until when they go.

    ``prune`` deletes up to so many in one transaction.
    """

    rows: str
    family: str | None
    days: int
    cut: RetentionLimit
    count: Callable[[Transaction], int]
    prune: Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprunedFamily:
    """A family of which everything stays, since its file does not say for how long it may be kept."""

    family: str
    why: str


def retentions(
    store: Store, clock: Clock, families: Mapping[str, Family], problems: Iterable[str] = (), *, pipeline_days: int = 0
) -> tuple[list[Retention], list[UnprunedFamily]]:
    """Everything that is pruned by age, and the families that are left alone.

    Args:
        families: retired ones, too.
        problems: families whose file cannot be used: their last good version may say fewer days than the file means.
        pipeline_days: of the content pipeline's records; 0: for ever.
    """
    broken = set(problems)
    sure = {name: family for name, family in families.items() if name not in broken}
    with store.read() as tx:
        retained = [retention for family in sure.values() for retention in _of_family(tx, store, clock, family)]
        days_kept = [family.privacy.retain_days for family in sure.values()]
        # Answers to Idempotency-Keys belong to no family: they stay as long as the strictest one says.
        days, strictest = min([KEY_DAYS, *days_kept]), min(days_kept, default=SENT_DAYS)
        of_no_family = [
            _retention(store, "idempotency_keys", None, days, cut(clock.now(), days)),
            _retention(store, "interactions", NO_FAMILY, strictest, cut(clock.now(), strictest)),
            _retention(store, "outbox", None, SENT_DAYS, cut(clock.now(), SENT_DAYS)),
        ]
        if pipeline_days:
            of_no_family.append(
                _retention(store, "pipeline_records", None, pipeline_days, cut(clock.now(), pipeline_days))
            )
        retained += of_no_family
        unpruned = [
            UnprunedFamily(family=name, why=_why_kept(name, name in broken))
            for name in sorted({*store.retained.families(tx), *broken} - sure.keys())
        ]
    return retained, unpruned


def _why_kept(name: str, is_broken: bool) -> str:
    if is_broken:
        return "its file cannot be used"
    if is_retired(name):
        return (
            "it was retired, and its file cannot be read any more; its texts go with: detent family delete"
            f" {name} --forget --confirm {name}"
        )
    return "it has no file"


def _of_family(tx: Transaction, store: Store, clock: Clock, family: Family) -> list[Retention]:
    # The rollouts whose evidence is still being read: the active one, and the one whose promotion is compared
    # with its holdback.
    champion = store.champions.current(tx, family.name)
    rollouts = (
        store.rollouts.active(tx, family.name),
        rollout_of_holdback(tx, store, clock, champion) if champion is not None else None,
    )
    days, watched = family.privacy.retain_days, [rollout for rollout in rollouts if rollout is not None]
    # What has not been summed up, or read by the champion's watch, yet: after long without a worker.
    summed = store.minute_stats.watermark(tx, MINUTES) or clock.now() - HISTORY
    holds = [RetentionNeed(since=summed, why="what came later is not summed up yet")]
    for tenure in store.drift_detectors.get(tx, family.name):
        # Nobody reads on for a champion that serves no more, such as that of a retired family.
        if tenure.watch.alarmed or champion is None or tenure.tenure != champion.seq:
            continue
        holds.append(
            RetentionNeed(since=tenure.read_until, why="the watch on the champion has not read what came later")
        )
    holds += [
        RetentionNeed(since=rollout.created_at, why=f"rollout {rollout.id} is not through") for rollout in watched
    ]
    events = cut(clock.now(), days, holds)
    summed_up = RetentionNeed(since=month_of(clock.now()), why="the month's spending is summed up from them")
    calls = cut(clock.now(), days, [*holds, summed_up])  # their texts go after as many days as a study's
    searched = [store.studies.get(tx, rollout.study) for rollout in watched if rollout.study is not None]
    studies = cut(
        clock.now(),
        days,
        [
            RetentionNeed(since=study.finished_at, why=f"the rollout of study {study.id}'s winner is not through")
            for study in searched
            if study is not None and study.finished_at is not None
        ],
    )
    kinds = [(rows, calls if rows == "model_calls" else events) for rows in OF_EVENTS] + [
        (rows, studies) for rows in OF_STUDIES
    ]
    if any(study.family == family.name for study in store.studies.unfinished(tx)):
        kinds = [(rows, until) for rows, until in kinds if rows != "examples"]  # the study was given them, by id
    return [_retention(store, rows, family.name, days, until) for rows, until in kinds]


def _retention(store: Store, rows: OldRows, family: str | None, days: int, until: RetentionLimit) -> Retention:
    return Retention(
        rows=rows,
        family=family,
        days=days,
        cut=until,
        count=lambda tx: store.retained.n_old(tx, rows, family, until.before),
        prune=partial(_prune, store, rows, family, until),
    )


def _prune(store: Store, rows: OldRows, family: str | None, until: RetentionLimit, most: int) -> int:
    """They are found in a reading transaction, which blocks no writer, and removed by their keys."""
    with store.read() as tx:
        keys = store.retained.old(tx, rows, family, until.before, most)
    return store.write(lambda tx: store.retained.remove(tx, rows, family, keys), rows=len(keys)) if keys else 0
