"""Deletes what is too old from tables that other modules write; what is summed up,
decided or released is not touched here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    func,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)

from optimizer.adapters.store.example_places import drop_bands
from optimizer.adapters.store.rows import chunks, families_in
from optimizer.adapters.store.tables import FEEDBACK_EVENTS, INTERACTIONS
from optimizer.adapters.store.tables.events import IDEMPOTENCY_KEYS as KEYS, LATER_PARTS as LATER
from optimizer.adapters.store.tables.examples import (
    EXAMPLE_BANDS as BANDS,
    EXAMPLE_INDEXES as INDEXES,
    EXAMPLES,
    GRAPHS,
    JUDGE_RUNS as RUNS,
    REVIEWS,
    STUDENTS,
)
from optimizer.adapters.store.tables.operators import OUTBOX
from optimizer.adapters.store.tables.performance import PIPELINE_RECORDS as RECORDS, TRAFFIC_SUMS as SUMS
from optimizer.adapters.store.tables.studies import (
    LM_CALLS as CALLS,
    STUDIES,
    TIER_ANSWERS,
    TRIAL_RESULTS as RESULTS,
    TRIALS,
)
from optimizer.adapters.store.tables.variants import PLAYBOOK_ENTRIES as ENTRIES, VARIANTS
from optimizer.core.feedback.traffic_sums import LENGTHS
from optimizer.core.search.study import ENDED, OUT_OF_FOLD
from optimizer.ports.deletion import OldRows, RowKey

Condition = Callable[[str | None, datetime], ColumnElement[bool]]
READ_LATER = "rollout"  # the topic whose newest message is compared with the record when a rollout is verified
FINDING = STUDIES.c.findings[OUT_OF_FOLD]
ERROR_GONE = "There was an error; what it said is no longer kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExpiringRows:
    """``texts``: the columns that are emptied in the place of deleting the row. ``errors``: a column of which is kept
    that there was one, since figures count it.
    """

    table: Table
    key: tuple[Column[Any], ...]
    old: Condition
    texts: tuple[str, ...] = ()
    errors: Column[Any] | None = None


class RetentionTables:
    """ports.Retained on the database."""

    def families(self, tx: Connection) -> list[str]:
        return sorted({*families_in(tx, INTERACTIONS), *families_in(tx, FEEDBACK_EVENTS)})

    def n_old(self, tx: Connection, rows: OldRows, family: str | None, before: datetime) -> int:
        kind = _KINDS[rows]
        return int(
            tx.execute(select(func.count()).select_from(kind.table).where(kind.old(family, before))).scalar() or 0
        )

    def old(self, tx: Connection, rows: OldRows, family: str | None, before: datetime, limit: int) -> list[RowKey]:
        kind = _KINDS[rows]
        return [tuple(row) for row in tx.execute(select(*kind.key).where(kind.old(family, before)).limit(limit))]

    def remove(self, tx: Connection, rows: OldRows, family: str | None, keys: Sequence[RowKey]) -> int:
        kind = _KINDS[rows]
        if rows == "confidences_of_studies":
            return sum(_without_confidences(tx, study) for (study,) in keys)
        values: dict[str, Any] = {name: null() for name in kind.texts}
        if kind.errors is not None:
            values[kind.errors.name] = case((kind.errors.is_not(None), ERROR_GONE), else_=null())
        change: Any = update(kind.table).values(values) if values else delete(kind.table)
        if "family" in kind.table.primary_key.columns:
            change = change.where(kind.table.c.family == family)
        n = sum(tx.execute(change.where(tuple_(*kind.key).in_(some))).rowcount for some in chunks(keys))
        if kind.table is EXAMPLES and family is not None:
            drop_bands(tx, [(family, id) for (id,) in keys])
        return n

    def forget(self, tx: Connection, family: str, limit: int) -> int:
        for table, texts, of_family in _forgotten(family):
            has_text = or_(*(table.c[name].is_not(None) for name in texts)) if texts else true()
            key = tuple(table.primary_key.columns)
            keys = [tuple(row) for row in tx.execute(select(*key).where(of_family, has_text).limit(limit))]
            if keys:
                change = update(table).values({name: null() for name in texts}) if texts else delete(table)
                return sum(tx.execute(change.where(tuple_(*key).in_(some))).rowcount for some in chunks(keys))
        return 0


def _forgotten(family: str) -> Iterator[tuple[Table, Sequence[str], ColumnElement[bool]]]:
    """Each table with texts of a family, the columns that are emptied in the place of the row, and which rows."""
    of_family = (INTERACTIONS, FEEDBACK_EVENTS, LATER, EXAMPLES, BANDS, STUDENTS, INDEXES, REVIEWS)
    for table in (*of_family, GRAPHS, SUMS, ENTRIES, VARIANTS):
        yield table, (), table.c.family == family
    yield CALLS, ("request", "answer", "error"), CALLS.c.family == family
    own = select(STUDIES.c.id).where(STUDIES.c.family == family)
    yield RESULTS, ("output", "error", "judgement"), RESULTS.c.study.in_(own)
    yield TIER_ANSWERS, (), TIER_ANSWERS.c.study.in_(own)
    yield TRIALS, (), TRIALS.c.study.in_(own)  # what was proposed stands in their settings
    yield STUDIES, ("findings", "error"), STUDIES.c.family == family
    yield RUNS, ("error", "result"), RUNS.c.family == family


def _without_confidences(tx: Connection, study: str) -> int:
    findings = tx.execute(select(STUDIES.c.findings).where(STUDIES.c.id == study)).scalar() or {}
    rest = {name: finding for name, finding in findings.items() if name != OUT_OF_FOLD}
    return tx.execute(update(STUDIES).where(STUDIES.c.id == study).values(findings=rest)).rowcount


def _received(events: Table) -> Condition:
    return lambda family, before: and_(events.c.family == family, events.c.received_at < before)


def _created(table: Table, *more: ColumnElement[bool]) -> Condition:
    return lambda family, before: and_(table.c.family == family, table.c.created_at < before, *more)


def _of_old_studies(study: ColumnElement[str], *more: ColumnElement[bool]) -> Condition:
    s = STUDIES.c

    def old(family: str | None, before: datetime) -> ColumnElement[bool]:
        return and_(
            study.in_(select(s.id).where(s.family == family, s.status.in_(ENDED), s.finished_at < before)), *more
        )

    return old


def _texts_of_calls(family: str | None, before: datetime) -> ColumnElement[bool]:
    """The texts of calls of studies and runs that ended before, and of calls of none."""
    ended = (
        select(of.id).where(of.family == family, of.status.in_(ENDED), of.finished_at < before)
        for of in (STUDIES.c, RUNS.c)
    )
    has_text = or_(CALLS.c.request.is_not(None), CALLS.c.answer.is_not(None), CALLS.c.error.is_not(None))
    of_none = and_(CALLS.c.study.is_(None), CALLS.c.family == family, CALLS.c.sent_at < before)
    return and_(or_(of_none, *(CALLS.c.study.in_(ids) for ids in ended)), has_text)


def _of_evaluations(family: str | None, before: datetime) -> ColumnElement[bool]:
    """Reports that may hold what a judge said; their figures stay in the evaluation batches."""
    r = RUNS.c
    return and_(r.family == family, r.kind == "evaluate", r.finished_at < before, r.result.is_not(None))


def _of_stretches_before(family: str | None, before: datetime) -> ColumnElement[bool]:
    """The stretches that ended: a day in which something is still stored goes when it ends."""
    s = SUMS.c
    ended = (and_(s.minutes == length, s.start <= before - timedelta(minutes=length)) for length in LENGTHS)
    return and_(s.family == family, or_(*ended))


def _sent(_family: str | None, before: datetime) -> ColumnElement[bool]:
    newest = select(func.max(OUTBOX.c.seq)).where(OUTBOX.c.topic == READ_LATER).group_by(OUTBOX.c.subject)
    return and_(OUTBOX.c.sent_at < before, OUTBOX.c.seq.not_in(newest))


_KINDS: Mapping[OldRows, _ExpiringRows] = {
    "interactions": _ExpiringRows(table=INTERACTIONS, key=(INTERACTIONS.c.id,), old=_received(INTERACTIONS)),
    "later_parts": _ExpiringRows(table=LATER, key=(LATER.c.interaction,), old=_received(LATER)),
    "feedback_events": _ExpiringRows(
        table=FEEDBACK_EVENTS, key=(FEEDBACK_EVENTS.c.id,), old=_received(FEEDBACK_EVENTS)
    ),
    "examples": _ExpiringRows(
        table=EXAMPLES,
        key=(EXAMPLES.c.id,),
        old=_created(EXAMPLES, EXAMPLES.c.released.is_(False), EXAMPLES.c.origin == "correction"),
    ),
    "reviews": _ExpiringRows(table=REVIEWS, key=(REVIEWS.c.id,), old=_created(REVIEWS)),
    "graphs": _ExpiringRows(table=GRAPHS, key=(GRAPHS.c.id,), old=_received(GRAPHS)),
    "traffic_sums": _ExpiringRows(table=SUMS, key=tuple(SUMS.primary_key.columns), old=_of_stretches_before),
    "idempotency_keys": _ExpiringRows(
        table=KEYS, key=(KEYS.c.key, KEYS.c.scope), old=lambda _family, before: KEYS.c.created_at < before
    ),
    "outbox": _ExpiringRows(table=OUTBOX, key=(OUTBOX.c.seq,), old=_sent),
    "pipeline_records": _ExpiringRows(
        table=RECORDS, key=(RECORDS.c.id,), old=lambda _family, before: RECORDS.c.received_at < before
    ),
    "model_calls": _ExpiringRows(  # of no study
        table=CALLS,
        key=(CALLS.c.id,),
        old=lambda family, before: and_(CALLS.c.study.is_(None), CALLS.c.family == family, CALLS.c.sent_at < before),
    ),
    "texts_of_model_calls": _ExpiringRows(
        table=CALLS,
        key=(CALLS.c.id,),
        old=_texts_of_calls,
        texts=("request", "answer", "error"),
    ),
    "outputs_of_studies": _ExpiringRows(
        table=RESULTS,
        key=(RESULTS.c.study, RESULTS.c.purpose, RESULTS.c.variant, RESULTS.c.example),
        old=_of_old_studies(
            RESULTS.c.study,
            or_(RESULTS.c.output.is_not(None), RESULTS.c.judgement.is_not(None), RESULTS.c.error != ERROR_GONE),
        ),
        texts=("output", "judgement"),
        errors=RESULTS.c.error,
    ),
    "tier_answers": _ExpiringRows(
        table=TIER_ANSWERS, key=(TIER_ANSWERS.c.study,), old=_of_old_studies(TIER_ANSWERS.c.study)
    ),
    "reports_of_evaluations": _ExpiringRows(table=RUNS, key=(RUNS.c.id,), old=_of_evaluations, texts=("result",)),
    "confidences_of_studies": _ExpiringRows(
        table=STUDIES, key=(STUDIES.c.id,), old=_of_old_studies(STUDIES.c.id, FINDING.as_string().is_not(None))
    ),
}
