"""Tables interactions, later_parts, feedback_events and idempotency_keys: what production reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, func, insert, or_, select

from optimizer.adapters.store import arm_stats, cursors
from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.hashed_rows import Name, chunks, families_in, hashes
from optimizer.adapters.store.new_rows import insert_rows
from optimizer.adapters.store.rows import first, narrowed
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS, IdempotencyKeyRow, LaterPartsRow
from optimizer.adapters.store.traffic_sums import within
from optimizer.core.base.errors import Conflict
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction, LabelSummary, LaterParts
from optimizer.core.feedback.stored_rows import ARM_COLUMNS, EventRow
from optimizer.core.feedback.traffic_sums import summed_by

KEYS = IdempotencyKeyRow.__table__
LATER = LaterPartsRow.__table__
OneEvent = TypeVar("OneEvent", Interaction, FeedbackEvent)


class EventTables:
    """ports.Events on the database."""

    def add_new(self, tx: Connection, interactions: Sequence[EventRow], feedback: Sequence[EventRow]) -> None:
        insert_rows(tx, INTERACTIONS, interactions)
        insert_rows(tx, FEEDBACK_EVENTS, feedback)
        arm_stats.add_events(tx, interactions, feedback)

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
        i = INTERACTIONS.c
        query = (
            select(INTERACTIONS)
            .where(*_made_of_parts(family, variants, since))
            .order_by(i.received_at.desc(), i.id.desc())
            .limit(limit)
        )
        return [_interaction(row) for row in tx.execute(query).mappings()]

    def n_made_of_parts(self, tx: Connection, family: str, variants: Collection[str], *, since: datetime) -> int:
        return int(
            tx.execute(
                select(func.count()).select_from(INTERACTIONS).where(*_made_of_parts(family, variants, since))
            ).scalar()
            or 0
        )

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
        return first(tx, narrowed(query, (INTERACTIONS.c.family, family)), _interaction)

    def interactions(self, tx: Connection, ids: Collection[str]) -> dict[str, list[Interaction]]:
        by_id: dict[str, list[Interaction]] = {}
        for some in chunks(sorted(ids)):
            for row in tx.execute(select(INTERACTIONS).where(INTERACTIONS.c.id.in_(some))).mappings():
                by_id.setdefault(row["id"], []).append(_interaction(row))
        return by_id

    def feedback_of(self, tx: Connection, family: str, interaction: str) -> list[FeedbackEvent]:
        query = select(FEEDBACK_EVENTS).where(
            FEEDBACK_EVENTS.c.family == family, FEEDBACK_EVENTS.c.interaction == interaction
        )
        events = [_feedback(row) for row in tx.execute(query).mappings()]
        return sorted(
            events, key=lambda event: (event.received_at, event.id)
        )  # asked to sort, SQLite would read all of the family's

    def page_of_feedback(self, tx: Connection, **filters: Any) -> tuple[list[FeedbackEvent], str | None]:
        return _page(tx, _READS_FEEDBACK, **filters)

    def page_of_interactions(self, tx: Connection, **filters: Any) -> tuple[list[Interaction], str | None]:
        return _page(tx, _READS_INTERACTIONS, **filters)

    def stored_answer(self, tx: Connection, scope: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        query = select(KEYS.c.body_hash, KEYS.c.answer).where(KEYS.c.scope == scope, KEYS.c.key == key)
        row = tx.execute(query).first()
        return None if row is None else (row.body_hash, row.answer)

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

    def arm_summary(self, tx: Connection, family: str, rollout: str | None) -> list[dict[str, Any]]:
        return arm_stats.summary(tx, family, rollout)

    def cost_usd(self, tx: Connection, family: str, since: datetime) -> float:
        own = select(func.sum(INTERACTIONS.c.cost_usd)).where(
            INTERACTIONS.c.family == family, INTERACTIONS.c.received_at >= since, INTERACTIONS.c.by_gateway
        )
        sums = [own, select(func.sum(LATER.c.cost_usd)).where(LATER.c.family == family, LATER.c.received_at >= since)]
        return sum(float(tx.execute(query).scalar() or 0.0) for query in sums)

    def label_summary(self, tx: Connection, family: str, since: datetime) -> list[LabelSummary]:
        summaries = []
        sums = summed_by(within(tx, family, since, feedback_only=True, units=False), "variant", "source")
        for (variant, source), label_sums in sums.items():
            of: dict[str, Any] = {"variant": variant or None, "source": source}
            if label_sums.n_score:
                summaries.append(
                    LabelSummary(
                        **of, field="score", n=label_sums.n_score, mean=label_sums.score_sum / label_sums.n_score
                    )
                )
            if label_sums.n_success:
                summaries.append(
                    LabelSummary(
                        **of,
                        field="success",
                        n=label_sums.n_success,
                        mean=label_sums.success_sum / label_sums.n_success,
                    )
                )
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
    query = narrowed(query, (e.variant, variant))
    if since is not None:
        query = query.where(e.received_at >= since)
    if cursor is not None:
        at, id, of = cursors.decode(cursor, datetime, str, str)
        query = query.where(e.received_at >= at)  # what the index begins with
        query = query.where(or_(e.received_at > at, e.id > id, and_(e.id == id, e.family > of)))
    # Each family's page by its index: asked for all at once, the database would read and sort every event.
    families = families_in(tx, events) if family is None else [family]
    rows = [row for name in families for row in tx.execute(query.where(e.family == name)).mappings()]
    rows.sort(key=lambda row: (row["received_at"], row["id"], row["family"]))
    page = [read(row) for row in rows[: limit + 1]]
    return cursors.page(page, limit, lambda event: (event.received_at, event.id, event.arm.family))


def _made_of_parts(family: str, variants: Collection[str], since: datetime) -> list[ColumnElement[bool]]:
    i = INTERACTIONS.c
    return [i.family == family, i.received_at >= since, i.variant.in_(sorted(variants)), i.parts.is_not(None)]


_INTERACTION_FIELDS = tuple(name for name in Interaction.__dataclass_fields__ if name != "arm")
_FEEDBACK_FIELDS = tuple(name for name in FeedbackEvent.__dataclass_fields__ if name != "arm")


def _arm(row: RowMapping) -> Arm:
    return Arm(**{name: row[name] for name in ARM_COLUMNS})


def _interaction(row: RowMapping) -> Interaction:
    return Interaction(arm=_arm(row), **{name: row[name] for name in _INTERACTION_FIELDS})


def _feedback(row: RowMapping) -> FeedbackEvent:
    return FeedbackEvent(arm=_arm(row), **{name: row[name] for name in _FEEDBACK_FIELDS})


_READS_FEEDBACK = FEEDBACK_EVENTS, _feedback
_READS_INTERACTIONS = INTERACTIONS, _interaction
