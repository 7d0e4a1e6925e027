"""Table traffic_sums: what was received by minute, hour and day, and the events themselves where it does not reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, case, delete, func, select

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import families_in, where_equal
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.performance import TRAFFIC_SUMS as SUMS, WATERMARKS
from optimizer.core.base.minute_sums import Stretch, floor
from optimizer.core.feedback.traffic_sums import (
    KEPT_FOR,
    LENGTHS,
    READ_FOR,
    TrafficSum,
    cover,
    of_stretches,
)

FROM, UNTIL = "traffic_sums from", "traffic_sums"  # names of watermarks: every minute between the two is summed up
ALWAYS = datetime.max.replace(tzinfo=UTC)
_WITHOUT_UNITS = [column for column in SUMS.columns if column.name != "units"]


class TrafficSumTable:
    """ports.TrafficSums on the database."""

    def stretch(self, tx: Connection) -> Stretch | None:
        w = WATERMARKS.c
        limits = {row.name: row.at for row in tx.execute(select(w.name, w.at).where(w.name.in_((FROM, UNTIL))))}
        return (limits[FROM], limits[UNTIL]) if len(limits) == 2 else None

    def of_minutes(self, tx: Connection, start: datetime, until: datetime) -> list[TrafficSum]:
        families = sorted({*families_in(tx, INTERACTIONS), *families_in(tx, FEEDBACK_EVENTS)})
        return [traffic_sum for family in families for traffic_sum in _of_events(tx, family, (start, until))]

    def put(self, tx: Connection, rows: Sequence[TrafficSum], start: datetime, until: datetime) -> None:
        upsert(tx, SUMS, [asdict(row) for row in rows])
        begun, done = self.stretch(tx) or (start, start)
        if done - until > READ_FOR[1]:  # the clock was so far ahead that sums which are young again went as too old
            begun = until
        for longer, shorter in reversed(list(pairwise(LENGTHS))):
            ended = floor(min(done, until), longer), floor(until, longer)
            for family in families_in(tx, SUMS) if ended[0] < ended[1] else ():
                upsert(tx, SUMS, [asdict(row) for row in of_stretches(_stored(tx, family, shorter, ended), longer)])
        for length, age in KEPT_FOR.items() if floor(min(done, until), 60) < floor(until, 60) else ():
            for family in families_in(tx, SUMS):
                old = SUMS.c.family == family, SUMS.c.minutes == length, SUMS.c.start < until - age
                tx.execute(delete(SUMS).where(*old))
        upsert(tx, WATERMARKS, [{"name": FROM, "at": begun}, {"name": UNTIL, "at": until}])


def within(
    tx: Connection,
    family: str,
    since: datetime,
    until: datetime = ALWAYS,
    *,
    variant: str | None = None,
    feedback_only: bool = False,
) -> list[TrafficSum]:
    """The sums of what was received in [since, until): stored sums as far as there are some, events at both ends."""
    covered = cover(since, until, TrafficSumTable().stretch(tx))
    which: dict[str, Any] = {"variant": variant, "feedback_only": feedback_only}
    sums = [
        traffic_sum
        for minutes, stretch in covered.sums
        for traffic_sum in _stored(tx, family, minutes, stretch, **which)
    ]
    return sums + [traffic_sum for stretch in covered.rest for traffic_sum in _of_events(tx, family, stretch, **which)]


def outcomes_since(tx: Connection, family: str, since: datetime, *, variant: str | None = None) -> list[TrafficSum]:
    """The sums of outcomes without their units, which takes little memory however many are not summed up yet."""
    covered = cover(since, ALWAYS, TrafficSumTable().stretch(tx))
    sums = [
        traffic_sum
        for minutes, stretch in covered.sums
        for traffic_sum in _stored(tx, family, minutes, stretch, variant=variant, feedback_only=True, units=False)
    ]
    e = FEEDBACK_EVENTS.c
    query = select(
        func.coalesce(e.variant, "").label("variant"),
        e.source,
        func.count().label("n"),
        func.count(e.unit_hmac).label("n_with_unit"),
        func.count(e.success).label("n_success"),
        func.count(case((e.success, 1))).label("success_sum"),
        func.count(e.score).label("n_score"),
        func.coalesce(func.sum(e.score), 0.0).label("score_sum"),
    ).group_by(e.variant, e.source)
    query = where_equal(query.where(e.family == family), (e.variant, variant))
    for start, until in covered.rest:
        rows = tx.execute(query.where(e.received_at >= start, e.received_at < until)).mappings()
        sums += [TrafficSum(family=family, start=start, minutes=1, **row) for row in rows]
    return sums


def _stored(
    tx: Connection,
    family: str,
    minutes: int,
    stretch: Stretch,
    *,
    variant: str | None = None,
    feedback_only: bool = False,
    units: bool = True,
) -> list[TrafficSum]:
    s = SUMS.c
    query = select(*(SUMS.columns if units else _WITHOUT_UNITS)).where(
        s.family == family, s.minutes == minutes, s.start >= stretch[0], s.start < stretch[1]
    )
    query = where_equal(query, (s.variant, variant))
    if feedback_only:
        query = query.where(s.source != "")
    return [TrafficSum(**row) for row in tx.execute(query).mappings()]


def _of_events(
    tx: Connection, family: str, stretch: Stretch, *, variant: str | None = None, feedback_only: bool = False
) -> list[TrafficSum]:
    """The sums by minute, in the order of receipt, which the index has."""
    sums: dict[tuple[datetime, str, str], TrafficSum] = {}
    for events in (FEEDBACK_EVENTS,) if feedback_only else (FEEDBACK_EVENTS, INTERACTIONS):
        e, of_feedback = events.c, events is FEEDBACK_EVENTS
        query = select(
            e.id, e.received_at, e.variant, e.unit_hmac, *((e.source, e.success, e.score) if of_feedback else ())
        )
        query = query.where(e.family == family, e.received_at >= stretch[0], e.received_at < stretch[1])
        for id, at, of_variant, unit, *outcome in tx.execute(where_equal(query, (e.variant, variant))):
            source, success, score = outcome or ("", None, None)
            key = (floor(at, 1), of_variant or "", source)
            if (own := sums.get(key)) is None:
                own = sums[key] = TrafficSum(family=family, start=key[0], minutes=1, variant=key[1], source=source)
            own.add_event(id, unit, success=success, score=score)
    return list(sums.values())
