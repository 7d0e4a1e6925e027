"""What the tick reads of interactions, feedback and fetches, each by the index that has nothing else; it writes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select

from optimizer.adapters.store.engine import in_one_row, is_one_of, seconds_between
from optimizer.adapters.store.rows import chunks
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.events import EXPOSURE_COUNTS as EXPOSURES
from optimizer.adapters.store.traffic_sums import outcomes_since
from optimizer.core.family.settings import Metric
from optimizer.core.rollout.blocks import (
    IN_TIME,
    LATEST,
    ArmName,
    ReportedRequest,
    counted_at,
    labelled_by_key,
)
from optimizer.core.rollout.cohorts import Cohort, stage_of
from optimizer.core.serving.rollout import Rollout
from optimizer.ports import Fetches, UnitOutcomes

_F = FEEDBACK_EVENTS.c
COHORTS_PER_QUERY = 100  # each is a branch of the condition, and SQLite bounds their depth

_I, _E = INTERACTIONS.c, EXPOSURES.c
# Built once: every tick asks for them, and building one takes longer than running it.
_REQUESTS = select(
    _I.unit_hmac, _I.variant, _I.stage, _I.occurred_at, _I.received_at, _I.error, _I.latency_ms, _I.cost_usd
)
_STARTED = _REQUESTS.where(
    _I.rollout == bindparam("of_rollout"), _I.occurred_at >= bindparam("since"), _I.occurred_at < bindparam("until")
)
# Those that started before. By the index of what was received: that of what started would read all of ``LATEST``.
_REPORTED_LATE = _REQUESTS.where(
    _I.family == bindparam("of_family"),
    _I.received_at >= bindparam("received_since"),
    _I.received_at < bindparam("received_until"),
    func.coalesce(_I.rollout, "") == bindparam("of_rollout"),
    _I.occurred_at >= bindparam("oldest"),
    _I.occurred_at < bindparam("since"),
)
# all that stands before the time is named, so that each pair of variant and stage is a range of the primary key
_FETCHES = (
    select(_E.variant, _E.stage, _E.window_start, _E.n_exposed)
    .where(
        _E.family == bindparam("of_family"),
        _E.variant.in_(bindparam("both", expanding=True)),
        _E.rollout == bindparam("of_rollout"),
        _E.stage.in_(bindparam("some_stages", expanding=True)),
        _E.window_start >= bindparam("since"),
        _E.window_start < bindparam("until"),
    )
    .order_by(_E.variant, _E.stage, _E.window_start)
)


class ObservationQueries:
    """ports.Observations on the database."""

    def requests(self, tx: Connection, rollout: Rollout, since: datetime, until: datetime) -> list[ReportedRequest]:
        times = {"of_rollout": rollout.id, "since": since}
        received = {"received_since": since + IN_TIME, "received_until": until + IN_TIME, "oldest": since - LATEST}
        rows = tx.execute(_STARTED, {**times, "until": until}).all()
        late = tx.execute(_REPORTED_LATE, {**times, **received, "of_family": rollout.family}).all()
        requests = []
        for row in (*rows, *late):
            arm, stage = _arm(rollout, row.variant), stage_of(rollout.ladder, row.stage)
            at = counted_at(row.occurred_at, row.received_at)
            if arm is None or stage is None or row.unit_hmac is None or at is None or at >= until:
                continue
            requests.append(
                ReportedRequest(
                    unit_hmac=row.unit_hmac,
                    arm=arm,
                    at=row.occurred_at,
                    counted_at=at,
                    stage=stage,
                    failed=row.error is not None,
                    timed_out=is_timeout(row.error),
                    latency_ms=row.latency_ms,
                    cost_usd=row.cost_usd,
                )
            )
        return sorted(requests, key=lambda r: (r.at, r.unit_hmac))

    def fetches(self, tx: Connection, rollout: Rollout, since: datetime, until: datetime) -> list[Fetches]:
        stages = {
            "" if share is None else repr(float(share)): stage_of(rollout.ladder, share)
            for share in (*rollout.ladder, None)
        }
        parameters = {
            "of_family": rollout.family,
            "of_rollout": rollout.id,
            "since": since,
            "until": until,
            "some_stages": list(stages),
        }
        fetches = []
        for row in tx.execute(_FETCHES, {**parameters, "both": [rollout.candidate, rollout.champion]}):
            arm, stage = _arm(rollout, row.variant), stages[row.stage]
            assert arm is not None
            assert stage is not None
            fetches.append(Fetches(arm=arm, stage=stage, window_start=row.window_start, n=row.n_exposed))
        return fetches

    def cohort_units(
        self, tx: Connection, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> dict[str, ArmName]:
        arms: dict[str, ArmName] = {}
        for source in (INTERACTIONS.c, FEEDBACK_EVENTS.c):
            query = (
                select(source.unit_hmac, source.variant, source.stage)
                .distinct()
                .where(*_of_cohort(source, rollout, cohort_start, received_until))
            )
            for row in tx.execute(query):
                arm = _arm(rollout, row.variant)
                if arm is not None and row.unit_hmac is not None and stage_of(rollout.ladder, row.stage) == stage:
                    arms[row.unit_hmac] = arm
        return arms

    def recomputed_units(
        self, tx: Connection, rollout: Rollout, stage: int, cohort_start: datetime, received_until: datetime
    ) -> dict[str, set[str]]:
        recomputed, by_token = dict[str, set[str]](), set[str]()
        for source in (INTERACTIONS.c, FEEDBACK_EVENTS.c):
            query = select(source.unit_hmac, source.stage, source.sent_by).distinct().where(source.recomputed)
            for row in tx.execute(query.where(*_of_cohort(source, rollout, cohort_start, received_until))):
                if row.unit_hmac is not None and stage_of(rollout.ladder, row.stage) == stage:
                    recomputed.setdefault(row.unit_hmac, set()).add(row.sent_by or "")
        for source in (INTERACTIONS.c, FEEDBACK_EVENTS.c):
            for some in chunks(sorted(recomputed)):
                query = (
                    select(source.unit_hmac, source.stage)
                    .distinct()
                    .where(source.unit_hmac.in_(some), ~source.recomputed)
                )
                rows = tx.execute(query.where(*_of_cohort(source, rollout, cohort_start, received_until)))
                by_token |= {row.unit_hmac for row in rows if stage_of(rollout.ladder, row.stage) == stage}
        return {unit: keys for unit, keys in recomputed.items() if unit not in by_token}

    def outcomes(
        self,
        tx: Connection,
        rollout: Rollout,
        cohort: Cohort,
        units: Collection[str],
        *,
        metric: Metric,
        received_since: datetime,
        received_until: datetime,
    ) -> UnitOutcomes:
        value = _F.success if metric.field == "success" else _F.score
        query = select(_F.unit_hmac, _F.stage, _F.sent_by, _F.received_at, value.label("value")).where(
            _F.rollout == rollout.id,
            _F.cohort_start >= cohort.start,
            _F.cohort_start <= cohort.closes_at,
            _F.source == metric.source,
            value.is_not(None),
            _F.received_at >= received_since,
            _F.received_at <= received_until,
            is_one_of(_F.unit_hmac, units),
        )
        if metric.source == "judge" and (judge := rollout.settings.get("judge")) is not None:
            query = query.where(_F.tags["judge"].as_string() == judge)
        values, first_at = dict[str, list[tuple[float, str]]](), dict[str, datetime]()
        for row in tx.execute(query):
            if stage_of(rollout.ladder, row.stage) == cohort.stage:
                values.setdefault(row.unit_hmac, []).append((float(row.value), row.sent_by or ""))
                first_at[row.unit_hmac] = min(row.received_at, first_at.get(row.unit_hmac, row.received_at))
        means = {unit: sum(sorted(value for value, _ in own)) / len(own) for unit, own in values.items()}
        by_key = labelled_by_key([key for _, key in own] for own in values.values())
        return UnitOutcomes(means=means, first_at=first_at, by_key=by_key)

    def outside(self, tx: Connection, family: str, since: datetime, until: datetime) -> set[str]:
        units: set[str] = set()
        for c in (INTERACTIONS.c, FEEDBACK_EVENTS.c):  # a unit counts by either
            query = (
                select(c.unit_hmac).distinct().where(c.family == family, c.received_at >= since, c.received_at <= until)
            )
            units |= {row.unit_hmac for row in tx.execute(query.where(c.rollout.is_(None), c.unit_hmac.is_not(None)))}
        return units

    def reporters(self, tx: Connection, family: str, since: datetime, limit: int) -> tuple[int, int]:
        query = select(_I.by_gateway).where(_I.family == family, _I.received_at >= since)
        by_gateway = tx.execute(query.order_by(_I.received_at.desc()).limit(limit)).scalars().all()
        return len(by_gateway), by_gateway.count(False)

    def delays_s(self, tx: Connection, family: str, variant: str, since: datetime, limit: int) -> list[float]:
        sums = outcomes_since(tx, family, since, variant=variant)
        newest_first = sorted(((minute_sums.start, minute_sums.n) for minute_sums in sums), reverse=True)
        wanted = limit
        # in parts, since otherwise the events of every variant would be read for the few of this one
        while True:
            n, first = 0, None
            for start, own in newest_first:
                if n < wanted:
                    n, first = n + own, start
            delays = []
            if first is not None:
                query = (
                    select(seconds_between(_F.received_at, _I.received_at))
                    .join(INTERACTIONS, (_I.family == _F.family) & (_I.id == _F.interaction))
                    .where(_F.family == family, _F.received_at >= max(since, first), _F.variant == variant)
                    .order_by(_F.received_at.desc())
                    .limit(limit)
                )
                delays = [max(0.0, s) for s in in_one_row(tx, query)]
            if len(delays) == limit or n < wanted:
                return delays
            wanted *= 4  # some of these outcomes name no interaction

    def late_feedback(
        self,
        tx: Connection,
        rollout: Rollout,
        since: datetime,
        until: datetime,
        closed_at: Callable[[datetime], datetime],
    ) -> dict[ArmName, tuple[int, int]]:
        query = (
            select(_F.variant, _F.cohort_start, func.count().label("n"), func.max(_F.received_at).label("last"))
            .where(_F.rollout == rollout.id, _F.cohort_start >= since, _F.cohort_start <= until)
            .group_by(_F.cohort_start, _F.variant)
        )
        late: dict[ArmName, int] = {"candidate": 0, "champion": 0}
        all_of: dict[ArmName, int] = {"candidate": 0, "champion": 0}
        with_late: dict[datetime, datetime] = {}
        for row in tx.execute(query):
            arm = _arm(rollout, row.variant)
            if arm is not None:
                all_of[arm] += row.n
                if row.last > closed_at(row.cohort_start):
                    with_late[row.cohort_start] = closed_at(row.cohort_start)
        for some in chunks(sorted(with_late.items()), COHORTS_PER_QUERY):
            # Every branch names the rollout, so that each is a search of its own by the index.
            received_after = or_(
                *(and_(_F.rollout == rollout.id, _F.cohort_start == c, _F.received_at > at) for c, at in some)
            )
            for variant, n in tx.execute(select(_F.variant, func.count()).where(received_after).group_by(_F.variant)):
                arm = _arm(rollout, variant)
                if arm is not None:
                    late[arm] += n
        return {arm: (late[arm], all_of[arm]) for arm in late}


def _of_cohort(
    source: Any, rollout: Rollout, cohort_start: datetime, received_until: datetime
) -> tuple[ColumnElement[bool], ...]:
    return (source.rollout == rollout.id, source.cohort_start == cohort_start, source.received_at <= received_until)


def _arm(rollout: Rollout, variant: str | None) -> ArmName | None:
    return "candidate" if variant == rollout.candidate else "champion" if variant == rollout.champion else None


def is_timeout(error: str | None) -> bool:
    return error is not None and ("timeout" in error.lower() or "timed out" in error.lower())
