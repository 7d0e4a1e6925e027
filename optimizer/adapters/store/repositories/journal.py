"""Table lm_calls, the journal: written before a call is sent and after it is answered,
one row per attempt on the wire; judge_runs: what was asked for in the background outside studies, and what came of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, and_, bindparam, case, func, insert, or_, select, update

from optimizer.adapters.store.rows import chunks, columns_of, first, record_of
from optimizer.adapters.store.tables.examples import JUDGE_RUNS as RUNS
from optimizer.adapters.store.tables.studies import LM_CALLS as CALLS
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget, Spend
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.run import UNFINISHED, ComparisonRun, QueuedRun, RunSummary
from optimizer.core.models.language import PROPOSER, ModelAnswer
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.core.views.evaluation import EvaluationRun, SuitesReport
from optimizer.core.views.forgetting import ForgetRun
from optimizer.ports import JournalEntry

_SPENT = (
    func.sum(
        case(
            (CALLS.c.status.in_(("settled", "failed")), func.coalesce(CALLS.c.cost_usd, 0.0)),
            else_=CALLS.c.reserved_usd,
        )
    ),
    func.count(),
    func.sum(case((CALLS.c.status == "lost", 1), else_=0)),
)
# Built once: they are asked for every call, and building one takes longer than running it.
_SPEND = select(*_SPENT).where(CALLS.c.study == bindparam("of_study"))
_SEND = insert(CALLS)
_END = update(CALLS).where(CALLS.c.id == bindparam("of_id"))
_OWN = CALLS.c.study == bindparam("of_study")  # no row's where it is None
_FIND = (
    select(CALLS.c.key, CALLS.c.answer)
    .where(
        CALLS.c.key.in_(bindparam("some_keys", expanding=True)),
        CALLS.c.status == "settled",
        CALLS.c.answer.is_not(None),  # its text may have been too old to keep
        or_(_OWN, and_(CALLS.c.temperature == 0.0, CALLS.c.settled_at >= bindparam("not_before"))),
    )
    .order_by(case((_OWN, 0), else_=1), CALLS.c.settled_at, CALLS.c.id)
)


class JournalTable:
    """ports.Journal on the database."""

    def find(self, tx: Connection, key: str, *, study: str | None, not_before: datetime) -> ModelAnswer | None:
        return self.find_all(tx, [key], study=study, not_before=not_before).get(key)

    def find_all(
        self, tx: Connection, keys: Collection[str], *, study: str | None, not_before: datetime
    ) -> dict[str, ModelAnswer]:
        answers: dict[str, ModelAnswer] = {}
        for some in chunks(sorted(keys)):
            for key, answer in tx.execute(_FIND, {"some_keys": some, "of_study": study, "not_before": not_before}):
                answers.setdefault(key, ModelAnswer(**{**answer, "from_journal": True}))
        return answers

    def send(self, tx: Connection, entry: JournalEntry) -> None:
        answer = None if entry.answer is None else _plain(entry.answer)
        request = None if entry.request is None else dict(entry.request)
        tx.execute(_SEND, columns_of(entry, request=request, answer=answer))

    def settle(self, tx: Connection, id: str, answer: ModelAnswer, at: datetime) -> None:
        plain = {**_plain(answer), "from_journal": False}
        sums = {name: plain[name] for name in ("cost_usd", "input_tokens", "output_tokens", "latency_ms")}
        self._end(tx, id, status="settled", answer=plain, settled_at=at, **sums)

    def fail(self, tx: Connection, id: str, error: str, cost_usd: float, at: datetime) -> None:
        self._end(tx, id, status="failed", error=error, cost_usd=cost_usd, settled_at=at)

    def mark_lost(self, tx: Connection, study: str, at: datetime) -> int:
        in_flight = update(CALLS).where(CALLS.c.study == study, CALLS.c.status == "sent")
        return tx.execute(in_flight.values(status="lost", settled_at=at)).rowcount

    def spend(self, tx: Connection, study: str) -> Spend:
        usd, n_calls, n_lost = tx.execute(_SPEND, {"of_study": study}).one()
        return Spend(usd=float(usd or 0.0), n_calls=n_calls, n_lost=int(n_lost or 0))

    def usd_of_runs(self, tx: Connection, runs: Sequence[str]) -> dict[str, float]:
        """As ``spend`` says it, of those that asked anything."""
        query = select(_C.study, _SPENT[0]).group_by(_C.study)
        return {
            run: float(usd or 0.0)
            for some in chunks(runs)
            for run, usd in tx.execute(query.where(_C.study.in_(some))).tuples()
        }

    def usd_of_no_study(self, tx: Connection, family: str, purpose: str, since: datetime) -> float:
        query = select(_SPENT[0]).where(
            _C.study.is_(None), _C.family == family, _C.purpose == purpose, _C.sent_at > since
        )
        return float(tx.execute(query).scalar() or 0.0)

    def usd_without_a_run(self, tx: Connection, since: datetime) -> dict[str, float]:
        query = select(_C.family, _SPENT[0]).where(_C.study.is_(None), _C.sent_at >= since).group_by(_C.family)
        return {family or "": float(usd or 0.0) for family, usd in tx.execute(query).tuples()}

    def counts(self, tx: Connection) -> dict[str, int]:
        query = select(CALLS.c.status, func.count()).where(CALLS.c.study.is_not(None)).group_by(CALLS.c.status)
        return {status: n for status, n in tx.execute(query)}

    def spend_by_purpose(self, tx: Connection, study: str) -> dict[str, Spend]:
        query = (
            select(CALLS.c.purpose, *_SPENT)
            .where(CALLS.c.study == study)
            .group_by(CALLS.c.purpose)
            .order_by(CALLS.c.purpose)
        )
        return {
            purpose: Spend(usd=float(usd or 0.0), n_calls=n, n_lost=int(n_lost or 0))
            for purpose, usd, n, n_lost in tx.execute(query).tuples()
        }

    def answers(self, tx: Connection, study: str) -> dict[str, ModelAnswer]:
        query = (
            select(_C.key, _C.answer)
            .where(_C.study == study, _C.status == "settled", _C.purpose != PROPOSER, _C.answer.is_not(None))
            .order_by(_C.settled_at.desc(), _C.id.desc())
        )
        return {row.key: ModelAnswer(**row.answer) for row in tx.execute(query)}

    def latencies(self, tx: Connection, study: str, model: str) -> list[float]:
        query = (
            select(_C.latency_ms)
            .where(_C.study == study, _C.status == "settled", _C.purpose != PROPOSER, _C.model == model)
            .order_by(_C.latency_ms)
        )
        return list(tx.execute(query).scalars())

    def calls(self, tx: Connection, study: str) -> list[JournalEntry]:
        query = select(CALLS).where(CALLS.c.study == study).order_by(CALLS.c.sent_at, CALLS.c.id)
        return [
            record_of(JournalEntry, row, answer=None if row["answer"] is None else ModelAnswer(**row["answer"]))
            for row in tx.execute(query).mappings()
        ]

    def _end(self, tx: Connection, id: str, **columns: Any) -> None:
        """A call that was counted as lost may still be settled when its answer comes after all."""
        if tx.execute(_END, {"of_id": id, **columns}).rowcount == 0:
            raise NotFound(f"There is no journaled call {id!r}; a call must be journaled before it is sent.")


_C = CALLS.c
WITHOUT_JUDGE: Mapping[str, type[QueuedRun]] = {
    "compare": ComparisonRun,
    "evaluate": EvaluationRun,
    "forget": ForgetRun,
}


class RunTable:
    """ports.Runs on the database."""

    def add(self, tx: Connection, run: QueuedRun) -> None:
        tx.execute(insert(RUNS), [{**asdict(run), "request": dict(run.request)}])

    def get(self, tx: Connection, id: str) -> QueuedRun | None:
        return first(tx, select(RUNS).where(RUNS.c.id == id), _run)

    def unfinished(self, tx: Connection) -> list[QueuedRun]:
        query = select(RUNS).where(RUNS.c.status.in_(UNFINISHED)).order_by(RUNS.c.created_at, RUNS.c.id)
        return [_run(row) for row in tx.execute(query).mappings()]

    def latest(
        self,
        tx: Connection,
        families: Collection[str] | None,
        limit: int,
        *,
        start: int = 0,
        ended: bool | None = None,
        kind: str | None = None,
    ) -> list[RunSummary]:
        names = [field.name for field in fields(RunSummary)]
        query = select(*(RUNS.c[name] for name in names)).order_by(RUNS.c.created_at.desc(), RUNS.c.id.desc())
        if families is not None:
            query = query.where(RUNS.c.family.in_(sorted(families)))
        if ended is not None:
            query = query.where(RUNS.c.status.not_in(UNFINISHED) if ended else RUNS.c.status.in_(UNFINISHED))
        if kind is not None:
            query = query.where(RUNS.c.kind == kind)
        return [RunSummary(**row) for row in tx.execute(query.limit(limit).offset(start)).mappings()]

    def latest_of_judge(self, tx: Connection, family: str, limit: int) -> list[JudgeRun]:
        newest = RUNS.c.created_at.desc(), RUNS.c.id.desc()
        of_judge = RUNS.c.family == family, RUNS.c.kind.not_in(WITHOUT_JUDGE)
        rows = tx.execute(select(RUNS).where(*of_judge).order_by(*newest).limit(limit)).mappings()
        return [JudgeRun(**{**row, "budget": Budget(**row["budget"])}) for row in rows]

    def spent_since(self, tx: Connection, since: datetime) -> list[RunSpend]:
        r = RUNS.c
        query = select(r.id, r.family, r.budget, r.finished_at).where(
            or_(r.status.in_(UNFINISHED), r.finished_at >= since)
        )
        rows = tx.execute(query.order_by(r.id)).tuples().all()
        spent = JournalTable().usd_of_runs(tx, [row[0] for row in rows])
        return [
            RunSpend(
                run=id,
                family=family,
                cap_usd=budget.get("usd"),
                usd=spent.get(id, 0.0),
                has_ended=finished_at is not None,
            )
            for id, family, budget, finished_at in rows
        ]

    def update(self, tx: Connection, id: str, **changes: Any) -> QueuedRun:
        if isinstance(report := changes.get("result"), SuitesReport):
            changes["result"] = _reports().dump_python(report, mode="json")
        if tx.execute(update(RUNS).where(RUNS.c.id == id).values(**changes)).rowcount == 0:
            raise NotFound(f"There is no run {id!r}.", run=id)
        run = self.get(tx, id)
        assert run is not None  # it was just changed
        return run


def _plain(answer: ModelAnswer) -> dict[str, Any]:
    """Without what only the price at the time says: an older release reads these members and no others."""
    plain = asdict(answer)
    del plain["is_priced"]
    return plain


def _run(row: RowMapping) -> QueuedRun:
    members = {**row, "budget": Budget(**row["budget"])}
    kind = WITHOUT_JUDGE.get(row["kind"], JudgeRun)
    if kind is EvaluationRun and row["result"] is not None:
        members["result"] = _reports().validate_python(row["result"])
    return kind(**members)


@cache
def _reports() -> TypeAdapter[SuitesReport]:
    return TypeAdapter(SuitesReport)
