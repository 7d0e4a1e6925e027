"""Tables minute_stats, stat_sums, watermarks, drift_detectors and switch_watches: events summed up per minute, hour and
day of receipt, how far that has been done, and what is known about how each champion does; pipeline_records and
pipeline_hours: what content pipelines report, and its sums by hour of receipt.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
)

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import chunks, families_in, first, records_in, where_equal
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.performance import (
    DRIFT_DETECTORS as DETECTORS,
    MINUTE_STATS as MINUTES,
    PIPELINE_HOURS as HOURS,
    PIPELINE_RECORDS as RECORDS,
    SCORED_BY_JUDGES,
    STAT_SUMS as LONGER,
    SWITCH_WATCHES as SWITCHES,
    WATERMARKS,
)
from optimizer.core.base.minute_sums import (
    ALL_FAMILIES,
    DAY,
    HOUR,
    MinuteSums,
    Stretch,
    floor,
    longer_sums,
    stat_cover,
)
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.pipeline_record import SUMS, PipelineRecord, PipelineSums, sums_of
from optimizer.core.models.injection import Sign
from optimizer.core.rollout.drift import STORED_CHAMPION_WATCH
from optimizer.core.rollout.switch_watch import STORED_SWITCH_WATCH, ServedOutcome
from optimizer.ports import WatchedSwitch, WatchedTenure
from optimizer.ports.performance import Grouping

FROM, UNTIL = "stat_sums", "minute_stats"  # names of watermarks: hours and days that begin between them are summed up
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
SIGNS = frozenset(get_args(Sign))
HOURS_KEPT = timedelta(days=62)  # twice as long as they are read, since a clock may go back
MOST_REASONS, OTHER_REASONS = 200, "other"  # why a pipeline ended early: of an hour, and in the place of more
_F, _I = FEEDBACK_EVENTS.c, INTERACTIONS.c
_JUDGED = FEEDBACK_EVENTS.outerjoin(INTERACTIONS, and_(_F.family == _I.family, _F.interaction == _I.id))
Key = tuple[str, datetime, str, str, str]  # family, minute, variant, model, source
_COLUMNS = [column.name for column in MINUTES.columns]
_LONGER = [column for column in LONGER.columns if column.name not in ("minutes", "start")]


class MinuteStatTables:
    """ports.MinuteStats on the database."""

    def oldest(self, tx: Connection, since: datetime) -> datetime | None:
        times = []
        for events in (INTERACTIONS, FEEDBACK_EVENTS):
            for family in families_in(tx, events):
                query = select(events.c.received_at).where(events.c.family == family, events.c.received_at >= since)
                times.append(tx.execute(query.order_by(events.c.received_at).limit(1)).scalar())
        return min((at for at in times if at is not None), default=None)

    def sums(self, tx: Connection, start: datetime, until: datetime) -> list[MinuteSums]:
        sums: dict[Key, MinuteSums] = {}
        for events, add in _SUMMED:
            for family in families_in(tx, events):
                add(tx, sums, family, _within(events, family, start, until))
        return list(sums.values())

    def late(self, tx: Connection, family: str, start: datetime, until: datetime, before: datetime) -> list[MinuteSums]:
        sums: dict[Key, MinuteSums] = {}
        for events, add in _SUMMED:
            add(tx, sums, family, and_(_within(events, family, start, until), events.c.occurred_at < before))
        return list(sums.values())

    def put(self, tx: Connection, rows: Sequence[MinuteSums]) -> None:
        if not rows:
            return
        first_minute, last = min(row.minute for row in rows), max(row.minute for row in rows)
        keys = {_key_of(row) for row in rows}
        replaced = [  # none but where the clock went back
            row
            for family in sorted({row.family for row in rows})
            for row in self.of_family(tx, family, first_minute, until=last + timedelta(minutes=1))
            if _key_of(row) in keys
        ]
        upsert(tx, MINUTES, [{name: getattr(row, name) for name in _COLUMNS} for row in rows])
        if self.watermark(tx, FROM) is None:
            # Before the first minute of a home nothing came; before that of an older home's, minutes have no scores.
            self.set_watermark(tx, FROM, BEGINNING if self.watermark(tx, UNTIL) is None else first_minute)
        for minutes in (HOUR, DAY):
            # Adds to what is stored of the same hours or days
            added = longer_sums(rows, replaced, minutes)
            begun = min(row.minute for row in added), max(row.minute for row in added) + timedelta(minutes=minutes)
            stored = {
                _key_of(row): row
                for some in chunks(sorted({row.family for row in added}))
                for row in _read_longer(tx, minutes, begun, some)
            }
            for row in added:
                if (before := stored.get(_key_of(row))) is not None:
                    row.add(before)
            columns = [column.name for column in _LONGER]
            upsert(
                tx,
                LONGER,
                [
                    {"minutes": minutes, "start": row.minute, **{name: getattr(row, name) for name in columns}}
                    for row in added
                ],
            )
        families = sorted({row.family for row in rows})
        for some in chunks([ALL_FAMILIES, *families]):
            old = LONGER.c.family.in_(some), LONGER.c.minutes == HOUR, LONGER.c.start < last - HOURS_KEPT
            tx.execute(delete(LONGER).where(*old))

    def within(
        self,
        tx: Connection,
        family: str,
        since: datetime,
        until: datetime,
        *,
        lengths: Sequence[int] = (HOUR, DAY),
        source: str | None = None,
    ) -> list[MinuteSums]:
        cover = stat_cover(since, until, self.summed(tx), lengths)
        sums = [row for minutes, stretch in cover.sums for row in _read_longer(tx, minutes, stretch, [family], source)]
        edges = [
            row for start, end in cover.rest for row in self.of_family(tx, family, start, until=end, source=source)
        ]
        return [*sums, *edges]

    def hours(self, tx: Connection, families: Sequence[str], since: datetime, until: datetime) -> list[MinuteSums]:
        cover = stat_cover(since, until, self.summed(tx), (HOUR,))
        sums = [
            row
            for minutes, stretch in cover.sums
            for some in chunks(families)
            for row in _read_longer(tx, minutes, stretch, some)
        ]
        m = MINUTES.c
        for start, end in cover.rest:
            query = select(MINUTES).where(m.minute >= floor(start, 1), m.minute < end)
            for some in chunks(families):
                sums += records_in(tx.execute(query.where(m.family.in_(some))), MinuteSums)
        return sums

    def of_all(
        self, tx: Connection, families: Collection[str], since: datetime, until: datetime
    ) -> list[MinuteSums] | None:
        cover = stat_cover(since, until, self.summed(tx), (HOUR, DAY))
        if cover.rest:
            return None
        others = [family for family in families_in(tx, LONGER) if family not in families]
        sums: list[MinuteSums] = []
        for minutes, stretch in cover.sums:
            rows = _read_longer(tx, minutes, stretch, [ALL_FAMILIES])
            of_all = {(row.minute, row.model, row.source): row for row in rows}
            for some in chunks(others):
                for row in _read_longer(tx, minutes, stretch, some):
                    of_all[row.minute, row.model, row.source].add(row, -1)
            sums += [row for row in of_all.values() if row.n]
        return sums

    def days(self, tx: Connection, since: datetime, until: datetime) -> list[MinuteSums]:
        families = families_in(tx, LONGER)
        return [row for some in chunks(families) for row in _read_longer(tx, DAY, (since, until), some)]

    def n_judged(self, tx: Connection, since: datetime, until: datetime) -> dict[str, int]:
        counts, families = dict[str, int](), families_in(tx, LONGER)
        for minutes, (start, end) in stat_cover(since, until, self.summed(tx), (HOUR, DAY)).sums:
            c = LONGER.c
            of_judges = c.minutes == minutes, c.start >= start, c.start < end, SCORED_BY_JUDGES  # as its index says it
            for some in chunks(families):
                query = select(c.family, func.sum(c.n_score).label("n")).where(c.family.in_(some), *of_judges)
                for row in tx.execute(query.group_by(c.family)):
                    counts[row.family] = counts.get(row.family, 0) + int(row.n)
        return counts

    def summed(self, tx: Connection) -> Stretch | None:
        w = WATERMARKS.c
        at = {row.name: row.at for row in tx.execute(select(w.name, w.at).where(w.name.in_((FROM, UNTIL))))}
        return (at[FROM], at[UNTIL]) if len(at) == 2 and at[FROM] < at[UNTIL] else None

    def of_family(
        self,
        tx: Connection,
        family: str,
        since: datetime,
        *,
        until: datetime | None = None,
        variant: str | None = None,
        source: str | None = None,
    ) -> list[MinuteSums]:
        m = MINUTES.c
        of_family = select(MINUTES).where(m.family == family, m.minute >= floor(since, 1))
        query = where_equal(of_family, (m.variant, variant), (m.source, source)).order_by(*MINUTES.primary_key.columns)
        if until is not None:
            query = query.where(m.minute < until)
        return records_in(tx.execute(query), MinuteSums)

    def counts(
        self, tx: Connection, family: str, since: datetime, *, variants: Collection[str]
    ) -> tuple[int, int, int]:
        m = MINUTES.c
        sums = [func.coalesce(func.sum(n), 0) for n in (m.n, m.n_latency, m.n_cost)]
        of_family = m.family == family, m.minute >= since, m.source == "", m.variant.in_(sorted(variants))
        n, n_latency, n_cost = tx.execute(select(*sums).where(*of_family)).one()
        return n, n_latency, n_cost

    def n_by_minute(self, tx: Connection, family: str, since: datetime, *, source: str) -> dict[datetime, int]:
        m = MINUTES.c
        query = select(m.minute, func.sum(m.n)).where(m.family == family, m.minute >= floor(since, 1))
        return {at: int(n) for at, n in tx.execute(query.where(m.source == source, m.n > 0).group_by(m.minute))}

    def asked_by(self, tx: Connection, model: str, since: datetime) -> set[str]:
        m, families = MINUTES.c, set[str]()
        of_model = select(m.family).where(m.minute >= floor(since, 1), m.model == model, m.source == "").distinct()
        for some in chunks(families_in(tx, MINUTES)):
            families.update(tx.execute(of_model.where(m.family.in_(some))).scalars())
        return families

    def newest_hour(self, tx: Connection) -> tuple[datetime, int] | None:
        c = LONGER.c
        of_all = c.family == ALL_FAMILIES, c.minutes == HOUR
        newest = select(func.max(c.start)).where(*of_all).scalar_subquery()
        row = tx.execute(select(c.start, func.sum(c.n)).where(*of_all, c.start == newest).group_by(c.start)).first()
        return None if row is None else (row[0], int(row[1]))

    def newest(self, tx: Connection, family: str, since: datetime, *, source: str | None = None) -> datetime | None:
        m = MINUTES.c
        of_source = m.source != "" if source is None else m.source == source
        of_family = select(m.minute).where(m.family == family, m.minute >= floor(since, 1), of_source)
        at: datetime | None = tx.execute(of_family.order_by(m.minute.desc()).limit(1)).scalar()
        return at

    def watermark(self, tx: Connection, name: str) -> datetime | None:
        at: datetime | None = tx.execute(select(WATERMARKS.c.at).where(WATERMARKS.c.name == name)).scalar()
        return at

    def set_watermark(self, tx: Connection, name: str, at: datetime) -> None:
        upsert(tx, WATERMARKS, [{"name": name, "at": at}])


def _key_of(row: MinuteSums) -> Key:
    return row.family, row.minute, row.variant, row.model, row.source


@cache
def _longer_query(of_source: bool) -> Select[Any]:
    """Built once: to build it takes longer than to read the hours of a page."""
    c = LONGER.c
    of_families = c.family.in_(bindparam("some_families", expanding=True, type_=c.family.type))
    query = select(*_LONGER, c.start.label("minute")).where(of_families, c.minutes == bindparam("length"))
    query = query.where(c.start >= bindparam("begin"), c.start < bindparam("end"))
    query = query.where(c.source == bindparam("of_source")) if of_source else query
    return query.order_by(*LONGER.primary_key.columns)


def _read_longer(
    tx: Connection, minutes: int, stretch: Stretch, families: Sequence[str], source: str | None = None
) -> list[MinuteSums]:
    values: dict[str, Any] = {"some_families": families, "length": minutes, "begin": stretch[0], "end": stretch[1]}
    values |= {} if source is None else {"of_source": source}
    return records_in(tx.execute(_longer_query(source is not None), values), MinuteSums)


def _within(events: Table, family: str, start: datetime, until: datetime) -> ColumnElement[bool]:
    return and_(events.c.family == family, events.c.received_at >= start, events.c.received_at < until)


def _sums_of(
    sums: dict[Key, MinuteSums], family: str, received_at: datetime, variant: str | None, model: str | None, source: str
) -> MinuteSums:
    key = (family, floor(received_at, 1), variant or "", model or "", source)
    if key not in sums:
        sums[key] = MinuteSums(family=key[0], minute=key[1], variant=key[2], model=key[3], source=key[4])
    return sums[key]


def _add_interactions(tx: Connection, sums: dict[Key, MinuteSums], family: str, which: ColumnElement[bool]) -> None:
    served = select(
        _I.received_at,
        _I.variant,
        _I.model,
        _I.error.is_not(None).label("failed"),
        _I.latency_ms,
        _I.cost_usd,
        _I.input_tokens,
        _I.output_tokens,
        _I.parts,
        _I.time_to_first_token_ms,
    )
    # A row's values by their place: by name they take as long again as to sum them up.
    for at, variant, model, failed, latency_ms, cost_usd, n_in, n_out, parts, first_token_ms in tx.execute(
        served.where(which)
    ):
        _sums_of(sums, family, at, variant, model, "").add_interaction(
            failed=failed,
            latency_ms=latency_ms,
            cost_usd=cost_usd,
            tokens=(n_in, n_out),
            parts=parts,
            first_token_ms=first_token_ms,
        )


def _add_outcomes(tx: Connection, sums: dict[Key, MinuteSums], family: str, which: ColumnElement[bool]) -> None:
    judge, signs = (case((_F.source == "judge", _F.tags[name].as_string())).label(name) for name in ("judge", "signs"))
    outcome = (_F.received_at, _F.variant, _I.model, _F.source, _F.success, _F.score, judge, signs)
    judged = select(*outcome).select_from(_JUDGED)
    for at, variant, model, source, success, score, by, words in tx.execute(judged.where(which)):
        _sums_of(sums, family, at, variant, model, source).add_outcome(
            success=success,
            score=score,
            judge=by,
            # no word of a user's is kept here
            signs=SIGNS.intersection(words.split(", ")) if words else (),
        )


_SUMMED = ((INTERACTIONS, _add_interactions), (FEEDBACK_EVENTS, _add_outcomes))


class DriftDetectorTable:
    """ports.DriftDetectors on the database, and the outcomes that teach them."""

    def get(self, tx: Connection, family: str) -> list[WatchedTenure]:
        row = tx.execute(select(DETECTORS).where(DETECTORS.c.family == family)).first()
        if row is None:
            return []
        records = json.loads(row.state)
        if isinstance(records, dict):  # of a version that watched one metric
            records = [{"read_until": row.read_until.isoformat(), "watch": records}]
        return [
            WatchedTenure(
                family=row.family,
                tenure=row.reign,
                watch=STORED_CHAMPION_WATCH.validate_python(record["watch"]),
                read_until=datetime.fromisoformat(record["read_until"]),
            )
            for record in records
        ]

    def put(self, tx: Connection, rows: Sequence[WatchedTenure]) -> None:
        records = [
            {
                "read_until": row.read_until.isoformat(),
                "watch": STORED_CHAMPION_WATCH.dump_python(row.watch, mode="json", by_alias=True),
            }
            for row in rows
        ]
        state = json.dumps(records, separators=(",", ":"), allow_nan=False)
        family, tenure, read_until = rows[0].family, rows[0].tenure, min(row.read_until for row in rows)
        upsert(tx, DETECTORS, [{"family": family, "reign": tenure, "state": state, "read_until": read_until}])

    def outcomes(
        self,
        tx: Connection,
        family: str,
        variant: str,
        metric: Metric,
        start: datetime,
        until: datetime,
        *,
        judge: str | None = None,
    ) -> Iterator[tuple[datetime, str, float]]:
        value = _F[metric.field]
        query = (
            select(_F.received_at, func.coalesce(_F.unit_hmac, _F.id).label("unit"), value.label("value"))
            .where(_F.family == family, _F.received_at >= start, _F.received_at < until)
            .where(_F.variant == variant, _F.source == metric.source, value.is_not(None))
            .order_by(_F.received_at, _F.id)
        )
        query = where_equal(query, (_F.tags["judge"].as_string(), judge))
        return ((row.received_at, row.unit, float(row.value)) for row in tx.execute(query))


class SwitchWatchTable:
    """ports.SwitchWatches on the database, and the outcomes that are compared."""

    def get(self, tx: Connection, family: str) -> WatchedSwitch | None:
        return first(tx, select(SWITCHES).where(SWITCHES.c.family == family), _watched)

    def all(self, tx: Connection) -> dict[str, WatchedSwitch]:
        return {row["family"]: _watched(row) for row in tx.execute(select(SWITCHES)).mappings()}

    def put(self, tx: Connection, row: WatchedSwitch) -> None:
        state = json.dumps(
            STORED_SWITCH_WATCH.dump_python(row.watch, mode="json"), separators=(",", ":"), allow_nan=False
        )
        upsert(
            tx, SWITCHES, [{"family": row.family, "reign": row.tenure, "state": state, "read_until": row.read_until}]
        )

    def outcomes(
        self, tx: Connection, family: str, metric: Metric, start: datetime, until: datetime, *, judge: str | None
    ) -> list[ServedOutcome]:
        value = _F[metric.field]
        query = (
            select(
                _F.received_at,
                _I.received_at.label("served_at"),
                func.coalesce(_F.unit_hmac, _F.id).label("unit"),
                value.label("value"),
                _F.variant,
                _F.role,
                _F.rollout,
            )
            .select_from(_JUDGED)
            .where(_within(FEEDBACK_EVENTS, family, start, until))
            .where(_F.source == metric.source, value.is_not(None), _F.variant.is_not(None))
            .order_by(_F.received_at, _F.id)
        )
        query = where_equal(query, (_F.tags["judge"].as_string(), judge))
        return [ServedOutcome(**{**row, "value": float(row["value"])}) for row in tx.execute(query).mappings()]

    def first_outcome(
        self, tx: Connection, family: str, variant: str, metric: Metric, since: datetime
    ) -> datetime | None:
        query = (
            select(_F.received_at)
            .where(_F.family == family, _F.received_at >= since, _F.variant == variant)
            .where(_F.source == metric.source, _F[metric.field].is_not(None))
            .order_by(_F.received_at)
            .limit(1)
        )
        at: datetime | None = tx.execute(query).scalar()
        return at


def _watched(row: RowMapping) -> WatchedSwitch:
    watch = STORED_SWITCH_WATCH.validate_python(json.loads(row["state"]))
    return WatchedSwitch(family=row["family"], tenure=row["reign"], watch=watch, read_until=row["read_until"])


class PipelineStatTables:
    """ports.PipelineStats on the database."""

    def add(self, tx: Connection, records: Sequence[PipelineRecord]) -> None:
        if not records:
            return
        tx.execute(insert(RECORDS), [asdict(record) for record in records])
        sums: dict[tuple[Any, ...], PipelineSums] = {}
        reasons: dict[datetime, set[str]] = {}
        for record in records:
            hour = floor(record.received_at, HOUR)
            where = ("", "")  # that and why belongs to early exits only
            if record.processing_type == "early_exit":
                where = (record.exit_checkpoint, self._reason(tx, reasons, hour, record.exit_reason))
            key = (hour, record.processing_type, record.content_type, *where)  # in the order of the primary key
            sums[key] = sums.get(key, PipelineSums()) + sums_of(record)
        names = [column.name for column in HOURS.primary_key.columns]
        rows = [{**dict(zip(names, key, strict=True)), **asdict(total)} for key, total in sums.items()]
        upsert(tx, HOURS, rows, add=SUMS)

    def _reason(self, tx: Connection, of_hours: dict[datetime, set[str]], hour: datetime, reason: str) -> str:
        """The reason, or that it is another one than the first of its hour: one that quotes the item's own figures is
        new with each item.
        """
        if hour not in of_hours:
            of_hour = select(HOURS.c.exit_reason).where(HOURS.c.hour == hour, HOURS.c.processing_type == "early_exit")
            of_hours[hour] = set(tx.execute(of_hour.distinct()).scalars())
        known = of_hours[hour]
        if reason and reason not in known and len(known) >= MOST_REASONS:
            return OTHER_REASONS
        known.add(reason)
        return reason

    def sums(self, tx: Connection, since: datetime, by: Sequence[Grouping]) -> dict[tuple[Any, ...], PipelineSums]:
        groups = [func.date(HOURS.c.hour).label("day") if name == "day" else HOURS.c[name] for name in by]
        query = select(*groups, *(func.sum(HOURS.c[name]).label(name) for name in SUMS)).where(HOURS.c.hour >= since)
        rows = tx.execute(query.group_by(*groups).order_by(*groups)).mappings()
        # A database has dates as texts or as dates.
        return {
            tuple(
                datetime.fromisoformat(str(row[name])).replace(tzinfo=UTC) if name == "day" else row[name]
                for name in by
            ): PipelineSums(**{name: row[name] for name in SUMS})
            for row in rows
        }

    def records(self, tx: Connection, since: datetime, limit: int) -> list[PipelineRecord]:
        query = (
            select(RECORDS)
            .where(RECORDS.c.received_at >= since)
            .order_by(RECORDS.c.received_at.desc(), RECORDS.c.id.desc())
            .limit(limit)
        )
        return [PipelineRecord(**row) for row in tx.execute(query).mappings()][::-1]
