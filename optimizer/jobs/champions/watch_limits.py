"""Tells of champions that fail, are slow, cost too much, are asked no more or hear of no outcome any more,
from the sums by minute alone; does nothing but alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.family import Family
from optimizer.core.rollout.champion_limits import (
    LOOK_BACK,
    STEADY_HOUR,
    STEADY_MINUTES,
    ChampionLimits,
    LimitCrossing,
    LimitedFigure,
    have_stopped,
    is_enough,
    limits_crossed,
    outcomes_alarm,
    silence_alarm,
)
from optimizer.core.serving.champion import beneath
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.champions.watch_rules import LateSums
from optimizer.jobs.feedback.roll_up_minutes import MINUTES
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.ports import Alert, Clock, Store, Transaction

OUT_OF_LIMITS = "champion_out_of_limits"
OF_NO_VARIANT: tuple[LimitedFigure, ...] = ("silence", "outcomes")
LATELY = timedelta(minutes=1)  # in which a request or an outcome shows that they still come
# Before the newest request: all that is read of a family with enough in them. A day of many families takes long.
RECENT = (timedelta(minutes=15), timedelta(hours=2))


def watch_limits(store: Store, clock: Clock, families: Mapping[str, Family], limits: ChampionLimits) -> list[Alert]:
    """Keeps one open alert per figure that is beyond its limit; returns those that are new.

    Everything is decided as of the last minute that is summed up: while the worker does not sum up, nothing is raised
    and nothing cleared.

    Args:
        limits: of the installation; ``constraints`` of a family say what latency and cost it may have.
    """
    return [
        alert
        for family in families.values()
        for alert in _watch(
            store,
            clock,
            family,
            replace(
                limits,
                p95_latency_ms=family.constraints.p95_latency_ms,
                cost_usd_per_call=family.constraints.cost_usd_per_call,
            ),
        )
    ]


def _watch(store: Store, clock: Clock, family: Family, limits: ChampionLimits) -> list[Alert]:
    with store.read() as tx:
        until = store.minute_stats.watermark(tx, MINUTES)
        champion = store.champions.current(tx, family.name)
        if until is None or champion is None:
            return []
        open_alerts = store.alerts.all(tx, open_only=True, kind=OUT_OF_LIMITS, family=family.name)
        newest = store.minute_stats.newest(tx, family.name, until - LOOK_BACK, source="")
        own = _own(tx, store, champion, newest, until, is_open=bool(open_alerts)) if newest is not None else []
        open_figures = [figure for alert in open_alerts if (figure := _figure_of(alert, champion)) is not None]
        quiet = [
            _silent(tx, store, family.name, newest, until, limits),
            _unanswered(tx, store, family.name, until, limits),
        ]
        crossed = limits_crossed(own, until, limits, open_figures)
        if crossed:  # only then are events read: what an import brought of earlier days tells nothing of now
            begin = min(row.minute for row in own)
            own = LateSums(store).taken_off(tx, family.name, own, begin, until)
            crossed = limits_crossed(own, until, limits, open_figures)
        crossings = [
            *crossed,
            *(crossing for crossing in quiet if crossing is not None),
        ]
        alerts: list[Alert] = []
        for crossing in crossings:
            f = champion.family
            back = beneath(store.champions.history(tx, f)) if crossing.figure not in OF_NO_VARIANT else None
            way = f" The way back: detent champion rollback {f}" if back is not None else ""
            detail = f"Champion {champion.variant} of {f}: {crossing.detail}. Look: detent feedback stats {f}.{way}"
            # An alert about a champion ends with its tenure; an alert about what does not come is about no variant
            alerts.append(
                Alert(
                    id=new_id("al"),
                    kind=OUT_OF_LIMITS,
                    family=f,
                    subject=crossing.figure
                    if crossing.figure in OF_NO_VARIANT
                    else f"{champion.variant} {crossing.figure}",
                    level=crossing.level,
                    opened_at=clock.now(),
                    detail=detail,
                )
            )
    if not alerts and not open_alerts:
        return []
    return store.write(lambda tx: keep_alerts(tx, store, OUT_OF_LIMITS, alerts, at=clock.now(), family=family.name))


def _own(
    tx: Transaction, store: Store, champion: Champion, newest: datetime, until: datetime, *, is_open: bool
) -> list[MinuteSums]:
    """Of the tenure, as much of the last day as its figures need; requests that name no variant are the champion's."""
    variants, begin = (champion.variant, ""), max(champion.since, until - LOOK_BACK)
    of_day = store.minute_stats.counts(tx, champion.family, begin, variants=variants)
    own: list[MinuteSums] = []
    for span in (*RECENT, LOOK_BACK):
        since = max(begin, min(newest + LATELY, until) - span)
        rows = store.minute_stats.of_family(tx, champion.family, since, source="")
        own = [row for row in rows if row.variant in variants and row.minute >= begin]
        if is_enough(own, of_day, is_open=is_open):
            break
    return own


def _silent(
    tx: Transaction, store: Store, family: str, last: datetime | None, until: datetime, limits: ChampionLimits
) -> LimitCrossing | None:
    """Judged by the minutes before the pause, and by the whole day where these raise an alarm: a day can only show that
    the pause is usual.
    """
    crossing = None
    if last is None or last >= until - LATELY:
        return None
    for since in (last - STEADY_MINUTES * LATELY, until - LOOK_BACK):
        crossing = silence_alarm(store.minute_stats.n_by_minute(tx, family, since, source=""), until, limits)
        if crossing is None:
            return None
    return crossing


def _unanswered(
    tx: Transaction, store: Store, family: str, until: datetime, limits: ChampionLimits
) -> LimitCrossing | None:
    """Of what applications send; people and judges rate when they like. Judged as ``_silent``, by an hour at first."""
    for source in ("user", "system"):
        last = store.minute_stats.newest(tx, family, until - LOOK_BACK, source=source)
        if last is None or last >= until - LATELY:
            continue
        for since in (last - STEADY_HOUR, until - LOOK_BACK):
            outcomes = store.minute_stats.n_by_minute(tx, family, since, source=source)
            if not have_stopped(outcomes, until, limits):
                break
            requests = store.minute_stats.n_by_minute(tx, family, since, source="")
            crossing = outcomes_alarm(requests, outcomes, until, limits)
            if crossing is None:
                break
        else:
            return crossing
    return None


def _figure_of(alert: Alert, champion: Champion) -> LimitedFigure | None:
    variant, _, figure = alert.subject.rpartition(" ")
    return cast("LimitedFigure", figure) if variant == champion.variant else None
