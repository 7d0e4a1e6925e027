"""Table judge_runs: what was asked for in the background outside studies, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from optimizer.adapters.store.repositories.journal import JournalTable
from optimizer.adapters.store.rows import first
from optimizer.adapters.store.tables import JudgeRunRow
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.evaluation.run import UNFINISHED, ComparisonRun, QueuedRun
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.core.views.evaluation import EvaluationRun, SuitesReport

RUNS = JudgeRunRow.__table__
WITHOUT_JUDGE: Mapping[str, type[QueuedRun]] = {"compare": ComparisonRun, "evaluate": EvaluationRun}


class RunTable:
    """ports.Runs on the database."""

    def __init__(self) -> None:
        self._journal = JournalTable()

    def add(self, tx: Connection, run: QueuedRun) -> None:
        tx.execute(insert(RUNS), [{**asdict(run), "request": dict(run.request)}])

    def get(self, tx: Connection, id: str) -> QueuedRun | None:
        return first(tx, select(RUNS).where(RUNS.c.id == id), _run)

    def unfinished(self, tx: Connection) -> list[QueuedRun]:
        query = select(RUNS).where(RUNS.c.status.in_(UNFINISHED)).order_by(RUNS.c.created_at, RUNS.c.id)
        return [_run(row) for row in tx.execute(query).mappings()]

    def latest_of_judge(self, tx: Connection, family: str, limit: int) -> list[JudgeRun]:
        newest = RUNS.c.created_at.desc(), RUNS.c.id.desc()
        of_judge = RUNS.c.family == family, RUNS.c.kind.not_in(WITHOUT_JUDGE)
        rows = tx.execute(select(RUNS).where(*of_judge).order_by(*newest).limit(limit)).mappings()
        return [JudgeRun(**_members(row)) for row in rows]

    def spent_since(self, tx: Connection, since: datetime) -> list[RunSpend]:
        r = RUNS.c
        query = select(r.id, r.family, r.budget, r.finished_at).where(
            or_(r.status.in_(UNFINISHED), r.finished_at >= since)
        )
        return [
            RunSpend(
                run=id,
                family=family,
                cap_usd=budget.get("usd"),
                usd=self._journal.spend(tx, id).usd,
                has_ended=finished_at is not None,
            )
            for id, family, budget, finished_at in tx.execute(query.order_by(r.id))
        ]

    def update(self, tx: Connection, id: str, **changes: Any) -> QueuedRun:
        if isinstance(report := changes.get("result"), SuitesReport):
            changes["result"] = _reports().dump_python(report, mode="json")
        if tx.execute(update(RUNS).where(RUNS.c.id == id).values(**changes)).rowcount == 0:
            raise NotFound(f"There is no run {id!r}.", run=id)
        run = self.get(tx, id)
        assert run is not None  # it was just changed
        return run


def _run(row: RowMapping) -> QueuedRun:
    members = _members(row)
    kind = WITHOUT_JUDGE.get(row["kind"], JudgeRun)
    if kind is EvaluationRun and row["result"] is not None:
        members["result"] = _reports().validate_python(row["result"])
    return kind(**members)


@cache
def _reports() -> TypeAdapter[SuitesReport]:
    return TypeAdapter(SuitesReport)


def _members(row: RowMapping) -> dict[str, Any]:
    return {**row, "budget": Budget(**row["budget"])}
