"""Tables interactions, later_parts, feedback_events and idempotency_keys: what production reports; arm_stats: events
summed up by rollout and arm, in the transaction that keeps them.

Rows of events, of which none is stored yet, are written as the driver's own tuples: on the way of every event, building
a dictionary for each row and asking each column costs more than writing it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Dialect

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.family_names import FamilyKey, key_of
from optimizer.adapters.store.rows import (
    SAME_IDS,
    Name,
    chunks,
    cursor_at,
    each_family,
    families_in,
    first,
    hashes,
    page_of,
    position_of,
    record_of,
    where_equal,
    where_named,
)
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, Utc
from optimizer.adapters.store.tables.events import IDEMPOTENCY_KEYS as KEYS, LATER_PARTS as LATER
from optimizer.adapters.store.tables.performance import ARM_STATS as ARMS
from optimizer.adapters.store.traffic_sums import outcomes_since
from optimizer.core.base.answers import Json
from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Busy, Conflict, KeyReused
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction, LabelSummary, LaterParts
from optimizer.core.feedback.stored_rows import KEY, SUMS, EventRow, sums_by_arm
from optimizer.core.feedback.traffic_sums import summed_by
from optimizer.core.views.rollout_status import ArmTotals
from optimizer.ports import InteractionFilter, InteractionMatches

Value = Callable[[Any], Any]
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)  # of time, as far as databases have it
INSTANT = timedelta(microseconds=1)
LEAST_DEPTH = 8  # newest interactions of each family, among which a page is looked for first
MOST_LOOKED_AT = 20_000  # interactions that may match, of one page
LEAST_READ = 100  # matches that are read together where not all are shown
ROWS_AT_MOST = 256  # of one statement; with thirty columns that is a quarter of the values that SQLite can bind
STATEMENTS = 256  # statements that stay prepared, by table, columns and number of rows
TIMES = 4096  # texts of times that stay cached, since many events share them


def insert_rows(tx: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Rows with a value for each column of the table, in its order.

    Raises Busy where one is there already: another process wrote it at this moment.
    """
    if not rows:
        return
    values = _values(tx.dialect, table)
    n, done = 0, 0
    for size in _sizes(len(rows)):
        places, columns = _columns(rows[done : done + size], table, values)
        statement = _statement(table, places, size)
        n += tx.exec_driver_sql(statement, tuple(chain.from_iterable(zip(*columns, strict=True)))).rowcount
        done += size
    if n < len(rows):
        raise Busy(SAME_IDS, retry_after_s=1)


def _sizes(n: int) -> Iterator[int]:
    """Powers of two that add up to n.

    A statement of each size is prepared once and lets other threads run once. A driver's own way, one step per row,
    waits for the interpreter behind every row.
    """
    while n:
        size = min(ROWS_AT_MOST, 1 << n.bit_length() - 1)
        yield size
        n -= size


def _columns(
    rows: Sequence[Sequence[Any]], table: Table, values: Mapping[int, Value]
) -> tuple[tuple[int, ...], list[Sequence[Any]]]:
    """The places of the columns that have a value in any row, and these columns as they are stored.

    Binding costs more than storing, and most columns of an event are empty.
    """
    places: list[int] = []
    columns: list[Sequence[Any]] = []
    for place, column in enumerate(zip(*rows, strict=True)):
        if column.count(None) == len(rows) and place in _absent(table):
            continue
        stored_as = values.get(place)
        places.append(place)
        columns.append(
            column if stored_as is None else [None if value is None else stored_as(value) for value in column]
        )
    return tuple(places), columns


@cache
def _absent(table: Table) -> frozenset[int]:
    """The places of columns in which a row has NULL where it says nothing."""
    return frozenset(
        place
        for place, column in enumerate(table.columns)
        if column.nullable and column.server_default is None and column.default is None
    )


@lru_cache(maxsize=STATEMENTS)
def _statement(table: Table, places: Sequence[int], n_rows: int) -> str:
    columns = [table.columns[place] for place in places]
    names = ", ".join(f'"{column.name}"' for column in columns)
    marks = f"({', '.join('?' for _ in columns)})"
    return f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([marks] * n_rows)} ON CONFLICT DO NOTHING'


@lru_cache(maxsize=16)
def _values(dialect: Dialect, table: Table) -> dict[int, Value]:
    """Place of a column -> its conversion, for columns that are stored in another form.

    SQLite's driver takes numbers, booleans and texts as they are.
    """
    stored: dict[int, Value] = {}
    for place, column in enumerate(table.columns):
        if isinstance(column.type, FamilyKey):
            stored[place] = key_of
        elif isinstance(column.type, Utc | JSON):
            stored_as = column.type.dialect_impl(dialect).bind_processor(dialect)
            assert stored_as is not None
            stored[place] = lru_cache(maxsize=TIMES)(stored_as) if isinstance(column.type, Utc) else stored_as
    return stored


_I = INTERACTIONS.c
_COLUMNS = (*KEY, *SUMS)
_ADD = (
    f"INSERT INTO {ARMS.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' for _ in _COLUMNS)})"
    f" ON CONFLICT ({', '.join(KEY)}) DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}"
)
OneEvent = TypeVar("OneEvent", Interaction, FeedbackEvent)


class EventTables:
    """ports.Events on the database."""

    def add_new(self, tx: Connection, interactions: Sequence[EventRow], feedback: Sequence[EventRow]) -> None:
        insert_rows(tx, INTERACTIONS, interactions)
        insert_rows(tx, FEEDBACK_EVENTS, feedback)
        # In the order of the key: two processes that take the same rows the other way round would wait for each other.
        sums = sorted((*(part or "" for part in arm), *own) for arm, own in sums_by_arm(interactions, feedback).items())
        for family, *row in sums:
            tx.exec_driver_sql(_ADD, (key_of(str(family)), *row))  # as the driver takes them, as in insert_rows

    def add_texts(
        self, tx: Connection, interaction: Interaction, *, input: Json = None, output: str | None = None
    ) -> None:
        for name, value in (text for text in (("input", input), ("output", output)) if text[1] is not None):
            at = (INTERACTIONS.c.family == interaction.arm.family) & (INTERACTIONS.c.id == interaction.id)
            tx.execute(update(INTERACTIONS).where(at, INTERACTIONS.c[name].is_(null())).values({name: value}))

    def add_later_parts(self, tx: Connection, row: LaterParts) -> None:
        values = {
            "family": row.family,
            "interaction": row.interaction,
            "cost_usd": row.cost_usd,
            "received_at": row.received_at,
        }
        tx.execute(insert(LATER).values(parts=[dict(part) for part in row.parts], **values))

    def later_parts(self, tx: Connection, family: str, interactions: Collection[str]) -> dict[str, LaterParts]:
        by_interaction: dict[str, LaterParts] = {}
        for some in chunks(sorted(interactions)):
            for row in tx.execute(
                select(LATER).where(LATER.c.family == family, LATER.c.interaction.in_(some))
            ).mappings():
                by_interaction[row["interaction"]] = LaterParts(**row)
        return by_interaction

    def made_of_parts(
        self, tx: Connection, family: str, variants: Collection[str], *, since: datetime, limit: int
    ) -> list[Interaction]:
        query = (
            select(INTERACTIONS)
            .where(*_made_of_parts(family, variants, since))
            .order_by(_I.received_at.desc(), _I.id.desc())
            .limit(limit)
        )
        return [interaction_of(row) for row in tx.execute(query).mappings()]

    def n_made_of_parts(self, tx: Connection, family: str, variants: Collection[str], *, since: datetime) -> int:
        return int(
            tx.execute(
                select(func.count()).select_from(INTERACTIONS).where(*_made_of_parts(family, variants, since))
            ).scalar()
            or 0
        )

    def next_made_of_parts(
        self,
        tx: Connection,
        family: str,
        variants: Collection[str],
        *,
        after: tuple[datetime, str],
        until: datetime,
        limit: int,
    ) -> list[Interaction]:
        at, id = after
        query = (
            select(INTERACTIONS)
            .where(*_made_of_parts(family, variants, at), _I.received_at < until)
            .where(or_(_I.received_at > at, _I.id > id))
            .order_by(_I.received_at, _I.id)
            .limit(limit)
        )
        return [interaction_of(row) for row in tx.execute(query).mappings()]

    def corrections(self, tx: Connection, family: str, interactions: Collection[str]) -> dict[str, Mapping[str, Any]]:
        f, rows = FEEDBACK_EVENTS.c, list[RowMapping]()
        for some in chunks(sorted(interactions)):
            query = select(f.interaction, f.expected, f.received_at, f.id).where(
                f.family == family, f.interaction.in_(some)
            )
            rows += tx.execute(query).mappings()
        ordered = sorted(rows, key=lambda row: (row["received_at"], row["id"]))
        return {row["interaction"]: row["expected"] for row in ordered if row["expected"] is not None}

    def known(self, tx: Connection, names: Collection[Name]) -> dict[Name, str]:
        return {**hashes(tx, FEEDBACK_EVENTS, names), **hashes(tx, INTERACTIONS, names)}

    def interaction(self, tx: Connection, id: str, family: str | None = None) -> Interaction | None:
        query = select(INTERACTIONS).where(INTERACTIONS.c.id == id).order_by(INTERACTIONS.c.received_at).limit(1)
        return first(tx, where_equal(query, (INTERACTIONS.c.family, family)), interaction_of)

    def interactions(self, tx: Connection, ids: Collection[str]) -> dict[str, list[Interaction]]:
        by_id: dict[str, list[Interaction]] = {}
        for some in chunks(sorted(ids)):
            for row in tx.execute(select(INTERACTIONS).where(INTERACTIONS.c.id.in_(some))).mappings():
                by_id.setdefault(row["id"], []).append(interaction_of(row))
        return by_id

    def feedback_of(
        self, tx: Connection, names: Collection[tuple[str, str]], *, by_id: bool = False
    ) -> list[FeedbackEvent]:
        f = FEEDBACK_EVENTS.c
        query = where_named(select(FEEDBACK_EVENTS), names, f.family, f.id if by_id else f.interaction)
        events = [outcome_of(row) for row in tx.execute(query).mappings()]
        # Asked to sort, SQLite would read all of the family's.
        return sorted(events, key=lambda event: (event.received_at, event.id))

    def page_of_feedback(self, tx: Connection, **filters: Any) -> tuple[list[FeedbackEvent], str | None]:
        return _page(tx, (FEEDBACK_EVENTS, outcome_of), **filters)

    def page_of_interactions(self, tx: Connection, **filters: Any) -> tuple[list[Interaction], str | None]:
        return _page(tx, (INTERACTIONS, interaction_of), **filters)

    def matches(
        self,
        tx: Connection,
        matching: InteractionFilter,
        *,
        cursor: str | None,
        limit: int,
        shown: Callable[[Sequence[Interaction]], Sequence[Interaction]] | None = None,
    ) -> InteractionMatches:
        names = sorted(matching.families) if matching.families is not None else families_in(tx, INTERACTIONS)
        at, id, family = position_of(cursor, datetime, str, str) if cursor is not None else (matching.until, "", "")
        if at >= matching.until:
            at, id, family = matching.until, "", ""
        newest_first = _I.received_at.desc(), _I.id.desc(), _I.family.desc()
        query = where_equal(select(INTERACTIONS), (_I.variant, matching.variant))
        if matching.units is not None:
            query = query.where(_I.unit_hmac.in_(sorted(matching.units)))
        if matching.failed is not None:
            query = query.where(_I.error.is_not(None) if matching.failed else _I.error.is_(None))
        if matching.score_at_most is not None:
            f = FEEDBACK_EVENTS.c
            low = f.family == _I.family, f.interaction == _I.id, outcome_value() <= matching.score_at_most
            query = query.where(select(f.id).where(*low).exists())
        if matching.text is not None:
            in_json = canonical_json(matching.text).decode("utf-8", "replace")[1:-1]
            places = [cast(_I.input, String).icontains(in_json, autoescape=True)]
            places += [column.icontains(matching.text, autoescape=True) for column in (_I.output, _I.error)]
            query = query.where(or_(*places))
        query = query.where(_I.family.in_(names)).order_by(*newest_first)
        matches: list[Interaction] = []
        # Of many families each has a part of a page: were as many read of each, most would be read for nothing.
        depth, n_looked_at, floor = max(LEAST_DEPTH, -(-(limit + 1) // max(1, len(names)))), 0, None
        while names:
            floor = _floor(tx, names, at if id else at - INSTANT, matching.since, depth, failed=bool(matching.failed))
            least = matching.since if floor is None else floor
            while len(matches) <= limit:
                behind = or_(
                    _I.received_at < at,
                    and_(_I.received_at == at, or_(_I.id < id, and_(_I.id == id, _I.family < family))),
                )
                # One bound of the time: of two, SQLite walks the index from the older one on.
                # Sorted by their names alone: whole rows of all families would be copied for the few that are shown.
                within_time = query.where(_I.received_at >= least, _I.received_at <= at, behind)
                n = limit + 1 - len(matches) if shown is None else max(limit + 1 - len(matches), LEAST_READ)
                named = within_time.with_only_columns(_I.family, _I.id).limit(n).subquery()
                joined = INTERACTIONS.join(named, and_(_I.family == named.c.family, _I.id == named.c.id))
                rows = tx.execute(select(INTERACTIONS).select_from(joined).order_by(*newest_first)).mappings()
                some = [interaction_of(row) for row in rows]
                matches += some if shown is None else shown(some)
                if len(some) < n:
                    break
                at, id, family = some[-1].received_at, some[-1].id, some[-1].arm.family
            n_looked_at += depth * len(names)
            if len(matches) > limit or floor is None or n_looked_at >= MOST_LOOKED_AT:
                break
            at, id, family, depth = floor, "", "", 4 * depth
        items, next_cursor = page_of(matches, limit, lambda each: (each.received_at, each.id, each.arm.family))
        if next_cursor is not None:
            return InteractionMatches(items=items, next_cursor=next_cursor, looked_back_to=items[-1].received_at)
        if floor is None:
            return InteractionMatches(items=items, next_cursor=None, looked_back_to=matching.since)
        return InteractionMatches(items=items, next_cursor=cursor_at(floor, "", ""), looked_back_to=floor)

    def stored_answer(self, tx: Connection, scope: str, key: str, body_hash: str) -> Mapping[str, Json] | None:
        query = select(KEYS.c.body_hash, KEYS.c.answer).where(KEYS.c.scope == scope, KEYS.c.key == key)
        row = tx.execute(query).first()
        if row is None:
            return None
        if row.body_hash != body_hash:
            raise KeyReused(
                "This Idempotency-Key came with another body before. Send a new key with a new body.", key=key
            )
        answer: Mapping[str, Json] = row.answer
        return answer

    def store_answer(
        self, tx: Connection, scope: str, key: str, body_hash: str, answer: Mapping[str, Any], at: datetime
    ) -> None:
        row = {"scope": scope, "key": key, "body_hash": body_hash, "answer": dict(answer), "created_at": at}
        if not insert_new(tx, KEYS, [row]):
            raise Conflict(
                "A request with this Idempotency-Key is being carried out at this moment. Send it again for its"
                " answer.",
                key=key,
            )

    def arm_summary(self, tx: Connection, family: str, rollout: str | None) -> list[ArmTotals]:
        a = ARMS.c
        query = select(a.variant, a.role, *(func.sum(a[name]).label(name) for name in SUMS)).where(a.family == family)
        query = where_equal(query, (a.rollout, rollout))
        rows = tx.execute(query.group_by(a.variant, a.role).order_by(a.variant, a.role)).mappings()
        return [
            ArmTotals(
                variant=row["variant"] or None,
                role=row["role"] or None,
                **{name: row[name] for name in ("n_interactions", "n_errors", "n_labelled", "n_success", "n_scored")},
                mean_score=row["score_sum"] / row["n_scored"] if row["n_scored"] else None,
                mean_latency_ms=row["latency_sum_ms"] / row["n_latency"] if row["n_latency"] else None,
                cost_usd=row["cost_usd"],
            )
            for row in rows
        ]

    def cost_usd(self, tx: Connection, family: str, since: datetime) -> float:
        own = select(func.sum(INTERACTIONS.c.cost_usd)).where(
            INTERACTIONS.c.family == family, INTERACTIONS.c.received_at >= since, INTERACTIONS.c.by_gateway
        )
        sums = [own, select(func.sum(LATER.c.cost_usd)).where(LATER.c.family == family, LATER.c.received_at >= since)]
        return sum(float(tx.execute(query).scalar() or 0.0) for query in sums)

    def label_summary(self, tx: Connection, family: str, since: datetime) -> list[LabelSummary]:
        summaries = []
        for (variant, source), labels in summed_by(outcomes_since(tx, family, since), "variant", "source").items():
            of_score, of_success = (labels.n_score, labels.score_sum), (labels.n_success, labels.success_sum)
            for field, (n, total) in (("score", of_score), ("success", of_success)):
                if n:
                    of: dict[str, Any] = {"variant": variant or None, "source": source, "field": field}
                    summaries.append(LabelSummary(**of, n=n, mean=total / n))
        return sorted(summaries, key=lambda s: (s.variant or "", s.field, s.source))


def _page(
    tx: Connection,
    source: tuple[Table, Callable[[RowMapping], OneEvent]],
    *,
    family: str | None,
    variant: str | None,
    since: datetime | None,
    cursor: str | None,
    limit: int,
) -> tuple[list[OneEvent], str | None]:
    events, read = source
    e = events.c
    query = select(events).order_by(e.received_at, e.id).limit(limit + 1)
    query = where_equal(query, (e.variant, variant))
    least = since or BEGINNING
    if since is not None:
        query = query.where(e.received_at >= since)
    if cursor is not None:
        at, id, of = position_of(cursor, datetime, str, str)
        least = max(least, at)
        query = query.where(e.received_at >= at)  # what the index begins with
        query = query.where(or_(e.received_at > at, e.id > id, and_(e.id == id, e.family > of)))
    # Each family's page by its index: asked for all at once, the database would read and sort every event. A family
    # whose first event comes after a full page is not asked.
    firsts = (
        [(least, family)]
        if family is not None
        else [(row.first_at, row.family) for row in tx.execute(_firsts_query(events), {"least": least})]
    )
    rows: list[RowMapping] = []
    for first_at, name in firsts:
        narrowed = query.where(e.family == name)
        if len(rows) > limit:
            if first_at > rows[limit]["received_at"]:
                break
            narrowed = narrowed.where(e.received_at <= rows[limit]["received_at"])
        rows += tx.execute(narrowed).mappings()
        rows.sort(key=lambda row: (row["received_at"], row["id"], row["family"]))
        del rows[limit + 1 :]
    return page_of([read(row) for row in rows], limit, lambda event: (event.received_at, event.id, event.arm.family))


@cache
def _firsts_query(events: Table) -> Select[Any]:
    families, e = each_family(events), events.c
    of_family = and_(e.family == families.c.family, e.received_at >= bindparam("least", type_=Utc()))
    first_at = select(func.min(e.received_at)).where(of_family).scalar_subquery().label("first_at")
    firsts = select(families.c.family, first_at).where(families.c.family.is_not(None)).subquery()
    query = select(firsts.c.family, firsts.c.first_at).where(firsts.c.first_at.is_not(None))
    return query.order_by(firsts.c.first_at, firsts.c.family)


def _floor(
    tx: Connection, names: Sequence[str], at: datetime, since: datetime, depth: int, *, failed: bool
) -> datetime | None:
    """The time from which on no family has more than ``depth`` interactions up to ``at``, of them those that failed
    where only these are looked for, by an index alone; None where ``since`` is such a time.
    """
    families = each_family(INTERACTIONS)
    within = [_I.family == families.c.family, _I.received_at >= since, _I.received_at <= at]
    within += [_I.error.is_not(None)] if failed else []
    nth = select(_I.received_at).where(*within).order_by(_I.received_at.desc()).limit(1).offset(depth - 1)
    nth_of_each = select(nth.correlate(families).scalar_subquery().label("at")).where(families.c.family.in_(names))
    floor: datetime | None = tx.execute(select(func.max(nth_of_each.subquery().c.at))).scalar()
    return floor


def outcome_value() -> ColumnElement[float]:
    """Of a feedback event: its score, else 1 or 0 for success and failure."""
    f = FEEDBACK_EVENTS.c
    return func.coalesce(f.score, cast(case((f.success, 1.0), (f.success.is_(False), 0.0)), Float))


def _made_of_parts(family: str, variants: Collection[str], since: datetime) -> list[ColumnElement[bool]]:
    return [_I.family == family, _I.received_at >= since, _I.variant.in_(sorted(variants)), _I.parts.is_not(None)]


def interaction_of(row: RowMapping) -> Interaction:
    return record_of(Interaction, row, arm=record_of(Arm, row))


def outcome_of(row: RowMapping) -> FeedbackEvent:
    return record_of(FeedbackEvent, row, arm=record_of(Arm, row))
