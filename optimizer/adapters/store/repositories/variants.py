"""Tables variants, written once per (family, content), whose content never changes; evaluation_batches and
variant_performance: how each did; playbook_entries and playbook_steps: what a family has learned, and which steps of a
study are in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from optimizer.adapters.store.engine import insert_new
from optimizer.adapters.store.rows import chunks, columns_of, families_in, first, record_of
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.performance import VARIANT_PERFORMANCE as DAILY
from optimizer.adapters.store.tables.variants import (
    EVALUATION_BATCHES as BATCHES,
    PLAYBOOK_ENTRIES as ENTRIES,
    PLAYBOOK_STEPS as STEPS,
    VARIANTS,
)
from optimizer.core.evaluation.suite import Check, EvaluationBatch
from optimizer.core.family.variant import DRAFT, Source, Variant, VariantRecord
from optimizer.core.search.playbook.entries import Entry
from optimizer.ports import DaySums, StepRecord

_I = INTERACTIONS.c
FIXED_OF_ENTRY = ("id", "kind", "text", "position", "study", "created_at")
NONE: ColumnElement[str] = literal_column("''")
Key = tuple[str, str, str]  # (family, variant, model); "" where an event names none


class VariantTable:
    """ports.Variants on the database."""

    def add(self, tx: Connection, record: VariantRecord) -> bool:
        origin = columns_of(record)
        variant = origin.pop("variant")
        row = {**origin, "id": variant.id, "content": variant.content()}
        if insert_new(tx, VARIANTS, [row]) > 0:
            return True
        if record.source == DRAFT:
            return False
        named = and_(VARIANTS.c.family == record.family, VARIANTS.c.id == variant.id)
        return tx.execute(update(VARIANTS).where(named, VARIANTS.c.source == DRAFT).values(**origin)).rowcount > 0

    def get(self, tx: Connection, family: str, id: str) -> VariantRecord | None:
        return first(tx, select(VARIANTS).where(VARIANTS.c.family == family, VARIANTS.c.id == id), _record)

    def of_family(self, tx: Connection, family: str, sources: Collection[Source] | None = None) -> list[VariantRecord]:
        query = select(VARIANTS).where(VARIANTS.c.family == family).order_by(VARIANTS.c.created_at, VARIANTS.c.id)
        if sources is not None:
            query = query.where(VARIANTS.c.source.in_(sources))
        return [_record(row) for row in tx.execute(query).mappings()]

    def ids(self, tx: Connection, family: str) -> set[str]:
        return set(tx.execute(select(VARIANTS.c.id).where(VARIANTS.c.family == family)).scalars())


def _record(row: RowMapping) -> VariantRecord:
    return record_of(VariantRecord, row, variant=Variant.from_content(row["content"]))


class PerformanceTables:
    """ports.Performance on the database."""

    def add_batch(self, tx: Connection, batch: EvaluationBatch) -> None:
        insert_new(tx, BATCHES, [asdict(batch)])

    def batches(self, tx: Connection, family: str) -> list[EvaluationBatch]:
        query = select(BATCHES).where(BATCHES.c.family == family).order_by(BATCHES.c.created_at, BATCHES.c.id)
        batches: list[EvaluationBatch] = []
        for row in tx.execute(query).mappings():
            checks = row["checks"]
            batches.append(
                EvaluationBatch(**{**row, "checks": None if checks is None else [Check(**check) for check in checks]})
            )
        return batches

    def day_sums(self, tx: Connection, day: str) -> list[DaySums]:
        start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
        sums: dict[Key, dict[str, Any]] = {}
        for family in sorted({*families_in(tx, INTERACTIONS), *families_in(tx, FEEDBACK_EVENTS)}):
            variant, model = (
                func.coalesce(_I.variant, NONE).label("variant"),
                func.coalesce(_I.model, NONE).label("model"),
            )
            query = (
                select(
                    _I.family,
                    variant,
                    model,
                    func.count().label("n_interactions"),
                    func.count(_I.error).label("n_errors"),
                    func.count(_I.latency_ms).label("n_timed"),
                    func.avg(_I.latency_ms).label("mean_latency_ms"),
                    func.coalesce(func.sum(_I.cost_usd), 0.0).label("cost_usd"),
                    func.sum(_I.input_tokens).label("input_tokens"),
                    func.sum(_I.output_tokens).label("output_tokens"),
                )
                .where(_I.family == family, _within(_I.received_at, start))
                .group_by(_I.family, variant, model)
            )
            for row in tx.execute(query).mappings().all():
                key = (row["family"], row["variant"], row["model"])
                columns = {name: row[name] for name in OF_INTERACTIONS}
                sums[key] = {**columns, "p95_latency_ms": _p95(tx, key, start, row["n_timed"])}
            for key, columns in _feedback_of(tx, family, start).items():
                sums.setdefault(key, {}).update(columns)
        return [DaySums(family=f, variant=v, model=m, day=day, **columns) for (f, v, m), columns in sums.items()]

    def days(self, tx: Connection, families: Sequence[str], first: str, until: str) -> list[DaySums]:
        query = select(DAILY).where(DAILY.c.day >= first, DAILY.c.day < until)
        query = query.order_by(DAILY.c.family, DAILY.c.day, DAILY.c.variant, DAILY.c.model)
        return [
            DaySums(**row)
            for some in chunks(families)
            for row in tx.execute(query.where(DAILY.c.family.in_(some))).mappings()
        ]

    def put_day(self, tx: Connection, day: str, rows: Sequence[DaySums]) -> None:
        tx.execute(delete(DAILY).where(DAILY.c.day == day))
        if rows:
            tx.execute(insert(DAILY), [asdict(row) for row in rows])


OF_INTERACTIONS = ("n_interactions", "n_errors", "mean_latency_ms", "cost_usd", "input_tokens", "output_tokens")


def _within(column: ColumnElement[datetime], start: datetime) -> ColumnElement[bool]:
    return and_(column >= start, column < start + timedelta(days=1))


def _p95(tx: Connection, key: Key, start: datetime, n: int) -> float | None:
    """Nearest rank: the smallest latency that at least 95 % of the day's do not exceed."""
    if n == 0:
        return None
    family, variant, model = key
    query = (
        select(_I.latency_ms)
        .where(_I.family == family, func.coalesce(_I.variant, NONE) == variant, func.coalesce(_I.model, NONE) == model)
        .where(_within(_I.received_at, start), _I.latency_ms.is_not(None))
        .order_by(_I.latency_ms)
    )
    return float(tx.execute(query.offset(ceil(0.95 * n) - 1).limit(1)).scalar_one())


def _feedback_of(tx: Connection, family: str, start: datetime) -> dict[Key, dict[str, Any]]:
    f, i = FEEDBACK_EVENTS.c, INTERACTIONS.c
    variant, model = func.coalesce(f.variant, NONE).label("variant"), func.coalesce(i.model, NONE).label("model")
    query = (
        select(
            f.family,
            variant,
            model,
            func.count(f.success).label("n_labelled"),
            func.coalesce(func.sum(case((f.success.is_(True), 1), else_=0)), 0).label("n_success"),
            func.count(f.score).label("n_scored"),
            func.avg(f.score).label("mean_score"),
        )
        .select_from(FEEDBACK_EVENTS.outerjoin(INTERACTIONS, and_(f.family == i.family, f.interaction == i.id)))
        .where(f.family == family, _within(f.received_at, start))
        .group_by(f.family, variant, model)
    )
    names = ("n_labelled", "n_success", "n_scored", "mean_score")
    return {
        (row["family"], row["variant"], row["model"]): {name: row[name] for name in names}
        for row in tx.execute(query).mappings()
    }


class PlaybookTables:
    """ports.Playbooks on the database."""

    def entries(self, tx: Connection, family: str) -> dict[str, Entry]:
        query = select(ENTRIES).where(ENTRIES.c.family == family).order_by(ENTRIES.c.position)
        return {
            row["id"]: record_of(Entry, row, evidence=tuple(row["evidence"])) for row in tx.execute(query).mappings()
        }

    def put(self, tx: Connection, family: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            row = {**asdict(entry), "evidence": list(entry.evidence)}
            if not insert_new(tx, ENTRIES, [{"family": family, **row}]):
                changes = {name: value for name, value in row.items() if name not in FIXED_OF_ENTRY}
                tx.execute(
                    update(ENTRIES).where(ENTRIES.c.family == family, ENTRIES.c.id == entry.id).values(**changes)
                )

    def step(self, tx: Connection, study: str, step: int) -> list[StepRecord] | None:
        query = select(STEPS.c.record).where(STEPS.c.study == study, STEPS.c.step == step)
        record: list[StepRecord] | None = tx.execute(query).scalar()
        return record

    def add_to_step(
        self, tx: Connection, family: str, study: str, step: int, record: Sequence[StepRecord], at: datetime
    ) -> None:
        records = [*(self.step(tx, study, step) or ()), *record]
        if not insert_new(tx, STEPS, [{"study": study, "step": step, "family": family, "record": records, "at": at}]):
            tx.execute(update(STEPS).where(STEPS.c.study == study, STEPS.c.step == step).values(record=records, at=at))
