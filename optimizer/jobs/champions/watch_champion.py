"""Watches whether a champion becomes worse than it was, for as long as it reigns.

It only raises an alert: people decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from math import fsum

import structlog

from optimizer.core.evaluation.judging.identity import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.drift import ChampionWatch, alarm_text
from optimizer.core.rollout.start import LABEL_WINDOW_DAYS, most_labelled
from optimizer.core.serving.champion import beneath
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, Store, Transaction, WatchedReign

ALERT = "champion_drift"
SETTLED = timedelta(
    seconds=60
)  # after its end nothing more is received in an hour: events are stamped before they are committed
HISTORY = timedelta(days=30)
CHUNK = timedelta(hours=24)
log = structlog.get_logger(__name__)


def watch_champion(store: Store, clock: Clock, families: Mapping[str, Family]) -> list[str]:
    """Reads each champion's outcomes of the full hours since the last look, each once;
    returns the families with an alarm.

    Outcomes are of one field and source: the family's ``rollout.metric``, else the one with most labels. What a unit
    reports within an hour counts once, with its mean. State and ``read_until`` are written together with the alert, so
    a look that is killed or repeated changes nothing. A new reign begins anew and closes the alert of the one before;
    so does an edited judge, where the metric is its feedback.
    """
    return [family.name for family in families.values() if _watch(store, clock.now(), family)]


def _watch(store: Store, now: datetime, family: Family) -> bool:
    """Whether the family's champion has an alarm."""
    until = _hour(now - SETTLED)
    state = _standing(store, now, until, family)
    while state is not None and state.read_until < until and not state.watch.alarmed:
        before, state = state, _read_on(store, state, until)
        if (
            state.watch is not before.watch or state.read_until == until
        ):  # a stretch without outcomes is not worth a commit
            store.write(lambda tx, state=state: _keep(tx, store, state, now))  # type: ignore[misc]
    return state is not None and state.watch.alarmed


def _standing(store: Store, now: datetime, until: datetime, family: Family) -> WatchedReign | None:
    """Where the present reign stands, begun here where nothing is known of it yet; None without a champion."""
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        state = store.drift_detectors.get(tx, family.name)
        if champion is None:
            return None
        if state is not None and _goes_on(state, champion, family, until):
            return state
        since = now - timedelta(days=LABEL_WINDOW_DAYS)
        metric = family.rollout.metric or most_labelled(store.events.label_summary(tx, family.name, since))
    judge = _judge_of(family, metric)
    watch = ChampionWatch(variant=champion.variant, metric=metric, reigns_since=champion.since, judge=judge)
    begun = WatchedReign(family=family.name, reign=champion.seq, watch=watch, read_until=_hour(now - HISTORY))

    def begin(tx: Transaction) -> None:
        store.drift_detectors.put(tx, begun)
        store.alerts.close(tx, ALERT, family.name, "", now)

    store.write(begin)
    return begun


def _goes_on(state: WatchedReign, champion: Champion, family: Family, until: datetime) -> bool:
    """Not under another champion, another declared metric or another judge; and while no outcome was found,
    the metric is chosen again every hour.
    """
    declared, metric = family.rollout.metric, state.watch.metric
    if state.reign != champion.seq or (declared is not None and declared != metric):
        return False
    if state.watch.judge != _judge_of(family, metric):
        return False
    return state.watch.first_at is not None or state.read_until >= until


def _judge_of(family: Family, metric: Metric) -> str | None:
    """Whose scores are compared: those of two judges never are."""
    return judge_identity(family) if metric.source == "judge" and family.judge is not None else None


def _read_on(store: Store, state: WatchedReign, until: datetime) -> WatchedReign:
    """The state after the next stretch of full hours."""
    end = min(state.read_until + CHUNK, until)
    watch = state.watch
    with store.read() as tx:
        outcomes = store.drift_detectors.outcomes(
            tx, state.family, watch.variant, watch.metric, state.read_until, end, judge=watch.judge
        )
    for _, of_hour in groupby(outcomes, key=lambda outcome: _hour(outcome[0])):
        for at, y in _one_per_unit(of_hour):
            watch = watch.after(at, y)
    return replace(state, watch=watch, read_until=end)


def _one_per_unit(outcomes: Iterable[tuple[datetime, str, float]]) -> list[tuple[datetime, float]]:
    """(first received at, mean) per unit, in the order in which units came."""
    units: dict[str, list[tuple[datetime, float]]] = {}
    for at, unit, y in outcomes:
        units.setdefault(unit, []).append((at, y))
    return [(found[0][0], fsum(y for _, y in found) / len(found)) for found in units.values()]


def _keep(tx: Transaction, store: Store, state: WatchedReign, now: datetime) -> None:
    store.drift_detectors.put(tx, state)
    if not state.watch.alarmed:
        return
    has_way_back = beneath(store.champions.history(tx, state.family)) is not None
    detail = alarm_text(state.watch, family=state.family, has_way_back=has_way_back)
    alert = Alert(id=new_id("al"), kind=ALERT, level="warning", family=state.family, opened_at=now, detail=detail)
    if store.alerts.open(tx, alert):
        log.warning("champion drift", family=state.family, variant=state.watch.variant, detail=detail)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
