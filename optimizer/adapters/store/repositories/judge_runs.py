"""Table judge_runs: what judges were asked to do in the background, and what came of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from optimizer.adapters.store.tables import JudgeRunRow
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import UNFINISHED, JudgeRun

RUNS = JudgeRunRow.__table__


class JudgeRunTable:
    """ports.JudgeRuns on the database."""

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

    def update(self, tx: Connection, id: str, **changes: Any) -> JudgeRun:
        if tx.execute(update(RUNS).where(RUNS.c.id == id).values(**changes)).rowcount == 0:
            raise NotFound(f"There is no judge run {id!r}.", run=id)
        found = self.get(tx, id)
        assert found is not None  # it was just changed
        return found


def _run(row: RowMapping) -> JudgeRun:
    return JudgeRun(**{**row, "budget": Budget(**row["budget"])})
