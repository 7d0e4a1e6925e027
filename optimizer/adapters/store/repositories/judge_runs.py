"""Table judge_runs: what judges were asked to do in the background, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from optimizer.adapters.store.repositories.journal import JournalTable
from optimizer.adapters.store.tables import JudgeRunRow
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import UNFINISHED, JudgeRun
from optimizer.core.scheduling.monthly_budget import RunSpend

RUNS = JudgeRunRow.__table__


class JudgeRunTable:
    """ports.JudgeRuns on the database."""

    def __init__(self) -> None:
        self._journal = JournalTable()

    def add(self, tx: Connection, run: JudgeRun) -> None:
        tx.execute(insert(RUNS), [{**asdict(run), "request": dict(run.request)}])

    def get(self, tx: Connection, id: str) -> JudgeRun | None:
        row = tx.execute(select(RUNS).where(RUNS.c.id == id)).mappings().first()
        return None if row is None else _run(row)

    def unfinished(self, tx: Connection) -> list[JudgeRun]:
        query = select(RUNS).where(RUNS.c.status.in_(UNFINISHED)).order_by(RUNS.c.created_at, RUNS.c.id)
        return [_run(row) for row in tx.execute(query).mappings()]

    def latest(self, tx: Connection, family: str, limit: int) -> list[JudgeRun]:
        newest = RUNS.c.created_at.desc(), RUNS.c.id.desc()
        query = select(RUNS).where(RUNS.c.family == family).order_by(*newest).limit(limit)
        return [_run(row) for row in tx.execute(query).mappings()]

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

    def update(self, tx: Connection, id: str, **changes: Any) -> JudgeRun:
        if tx.execute(update(RUNS).where(RUNS.c.id == id).values(**changes)).rowcount == 0:
            raise NotFound(f"There is no judge run {id!r}.", run=id)
        run = self.get(tx, id)
        assert run is not None  # it was just changed
        return run


def _run(row: RowMapping) -> JudgeRun:
    return JudgeRun(**{**row, "budget": Budget(**row["budget"])})
