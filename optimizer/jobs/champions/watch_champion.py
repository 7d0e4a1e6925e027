"""Watches whether a champion becomes worse than it was, for as long as its tenure lasts.

It only raises an alert: people decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import fsum
from typing import Literal

import structlog

from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.evaluation.judging.calibration import judge_identity
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.alert_causes import OpenCause, speaks_for
from optimizer.core.rollout.alert_rules import AlertLevel, AlertRule
from optimizer.core.rollout.drift import ChampionWatch, alarm_text
from optimizer.core.rollout.start import LABEL_WINDOW_DAYS, most_labelled
from optimizer.core.serving.champion import beneath
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.send_alerts import families_of_models, open_causes
from optimizer.ports import Alert, Clock, Store, Transaction, WatchedTenure

ALERT = "champion_drift"
LEVEL: AlertLevel = "warning"
# After an hour's end: by then it receives nothing more, since events are stamped before they are committed, and an
# alert that tells of it is there.
SETTLED = timedelta(hours=1, seconds=60)
HISTORY = timedelta(days=30)
CHUNK = timedelta(hours=24)  # after which a state is written
LONGEST_TOLD = timedelta(hours=24)  # of one alert that spoke for drift: what lasts longer is news
ONE_HOUR = timedelta(hours=1)
_FIELDS: tuple[Literal["success", "score"], ...] = ("success", "score")
log = structlog.get_logger(__name__)


def watch_champion(
    store: Store, clock: Clock, families: Mapping[str, Family], rules: Sequence[AlertRule] = ()
) -> list[str]:
    """Reads each champion's outcomes of the full hours since the last look, each once; returns families with an alarm.

    Both success and score are watched, each by one source: the family's ``rollout.metric``, and of each other field the
    source with most labels. What a unit reports within an hour counts once, with its mean. State and ``read_until`` are
    written together with the alert, so a look that is killed or repeated changes nothing. A new tenure begins anew and
    closes the alerts of the one before; so does an edited judge, where the metric is its feedback.

    Outcomes of the time of which another alert told the same are no news and left out, by ``rules`` that are in force.
    """
    return [family.name for family in families.values() if _watch(store, clock.now(), family, rules)]


def _watch(store: Store, now: datetime, family: Family, rules: Sequence[AlertRule]) -> bool:
    """Whether the family's champion has an alarm."""
    until = floor(now - SETTLED, HOUR)
    states = _standing(store, now, until, family)
    for place, state in enumerate(states):
        while state.read_until < until and not state.watch.alarmed:
            # The state after the next stretch of full hours that begins with an outcome.
            watch = state.watch
            with store.read() as tx:
                first_at = store.switch_watches.first_outcome(
                    tx, state.family, watch.variant, watch.metric, state.read_until
                )
                stretches = _stretches_told(tx, store, state, rules, now)
            hour = until if first_at is None else min(floor(first_at, HOUR), until)
            end = min(hour + CHUNK, until)
            while hour < end:
                # No more than an hour is read in one go: a transaction that lasts keeps the store's log from shrinking.
                with store.read() as tx:
                    outcomes = store.drift_detectors.outcomes(
                        tx, state.family, watch.variant, watch.metric, hour, hour + ONE_HOUR, judge=watch.judge
                    )
                    # (first received at, mean) per unit, in the order in which units came.
                    units: dict[str, tuple[datetime, list[float]]] = {}
                    for at, unit, outcome in outcomes:
                        if any(begin <= at < end for begin, end in stretches):
                            continue
                        units.setdefault(unit, (at, []))[1].append(outcome)
                    means = [(at, fsum(values) / len(values)) for at, values in units.values()]
                for at, y in means:
                    watch = watch.after(at, y)
                hour += ONE_HOUR
            before, state = state, replace(state, watch=watch, read_until=end)
            states[place] = state
            # A stretch without outcomes is not worth a commit.
            if state.watch is not before.watch or state.read_until == until:
                store.write(lambda tx, state=state: _keep(tx, store, states, state, now))  # type: ignore[misc]
    return any(state.watch.alarmed for state in states)


def _stretches_told(
    tx: Transaction, store: Store, state: WatchedTenure, rules: Sequence[AlertRule], now: datetime
) -> list[tuple[datetime, datetime]]:
    """Of each alert that told what drift would tell: from an hour before it was raised, the longest that a rule looks
    back, until it was well again, at most a day: what lasts longer is worth a look of its own.
    """
    alerts = store.alerts.all(tx, open_only=True) + store.alerts.closed_since(tx, state.read_until)
    silences = store.alerts.silences(tx, now)
    drift = OpenCause(
        id="", kind=ALERT, subject=state.watch.metric.field, family=state.family, level=LEVEL, opened_at=now
    )
    stretches = []
    for alert in {alert.id: alert for alert in alerts if alert.kind != ALERT}.values():
        (cause,) = open_causes([alert], families_of_models(tx, store, [alert], rules, alert.opened_at))
        is_silent = any(silence.covers(cause.rule, cause.family) for silence in silences)
        if not is_silent and _is_of(cause, state, rules) and speaks_for(cause, drift, rules):
            end = min(alert.closed_at or now, alert.opened_at + LONGEST_TOLD)
            stretches.append((alert.opened_at - ONE_HOUR, end))
    return stretches


def _is_of(cause: OpenCause, state: WatchedTenure, rules: Sequence[AlertRule]) -> bool:
    """Whether its rule looks at what is watched here: this variant, and outcomes of this source."""
    rule = next((rule for rule in rules if rule.name == cause.rule), None)
    if rule is None:
        return True
    is_of_variant = rule.scope != "variant" or cause.subject.endswith(f" {state.watch.variant}")
    return is_of_variant and rule.source in (None, state.watch.metric.source)


def _standing(store: Store, now: datetime, until: datetime, family: Family) -> list[WatchedTenure]:
    """The watches of the present tenure, one per metric, begun here where there are none; none without a champion.

    While a field has no outcome, its metric is chosen again every hour.
    """
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        states = store.drift_detectors.get(tx, family.name)
        if champion is None:
            return []
        standing = {state.watch.metric.field: state for state in states if _goes_on(state, champion, family, until)}
        if standing and (
            len(standing) == len(_FIELDS) or min(state.read_until for state in standing.values()) >= until
        ):
            return list(standing.values())
        since = now - timedelta(days=LABEL_WINDOW_DAYS)
        # The one that a rollout would decide by first; of another field only what has labels
        labels = store.events.label_summary(tx, family.name, since)
        first = family.rollout.metric or most_labelled(labels)
        others = [[label for label in labels if label.field == field] for field in _FIELDS if field != first.field]
        metrics = [first, *(most_labelled(own) for own in others if own)]
    new_watches = [
        WatchedTenure(
            family=family.name,
            tenure=champion.seq,
            watch=ChampionWatch(
                variant=champion.variant, metric=metric, tenure_since=champion.since, judge=_judge_of(family, metric)
            ),
            read_until=floor(now - HISTORY, HOUR),
        )
        for metric in metrics
        if metric.field not in standing
    ]
    if not new_watches:
        return list(standing.values())
    following = [*standing.values(), *new_watches]
    ended_fields = {state.watch.metric.field for state in states}.difference(standing)

    def begin(tx: Transaction) -> None:
        store.drift_detectors.put(tx, following)
        for alert in store.alerts.all(tx, open_only=True, kind=ALERT, family=family.name):
            if not standing or alert.subject in ended_fields:
                store.alerts.close(tx, ALERT, family.name, alert.subject, now)

    store.write(begin)
    return following


def _goes_on(state: WatchedTenure, champion: Champion, family: Family, until: datetime) -> bool:
    """Whether a watch continues: not under another champion, declared metric or judge.

    While it has no outcome, it lasts an hour.
    """
    declared, metric = family.rollout.metric, state.watch.metric
    if state.tenure != champion.seq or (declared is not None and declared.field == metric.field and declared != metric):
        return False
    if state.watch.judge != _judge_of(family, metric):
        return False
    return state.watch.first_at is not None or state.read_until >= until


def _judge_of(family: Family, metric: Metric) -> str | None:
    """The judge whose scores are compared: those of two judges never are."""
    return judge_identity(family) if metric.source == "judge" and family.judge is not None else None


def _keep(tx: Transaction, store: Store, states: Sequence[WatchedTenure], state: WatchedTenure, now: datetime) -> None:
    """``state``: the one of them that was read on."""
    store.drift_detectors.put(tx, states)
    if not state.watch.alarmed:
        return
    has_way_back = beneath(store.champions.history(tx, state.family)) is not None
    detail = alarm_text(state.watch, family=state.family, has_way_back=has_way_back)
    field = state.watch.metric.field
    alert = Alert(
        id=new_id("al"), kind=ALERT, level=LEVEL, family=state.family, subject=field, opened_at=now, detail=detail
    )
    if store.alerts.open(tx, alert):
        log.warning("champion drift", family=state.family, variant=state.watch.variant, detail=detail)
