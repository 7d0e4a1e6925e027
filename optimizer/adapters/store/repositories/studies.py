"""Tables studies, trials, trial_results and tier_answers; and schedules:
where a person lets studies start by themselves, and when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, bindparam, case, delete, func, insert, or_, select, update

from optimizer.adapters.store.engine import upsert
from optimizer.adapters.store.rows import columns_of, first, newest_first, page_of, record_of, records_in, where_equal
from optimizer.adapters.store.tables.studies import (
    SCHEDULES,
    STUDIES,
    TIER_ANSWERS,
    TRIAL_RESULTS as RESULTS,
    TRIALS,
)
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.base.values import Budget, ExampleResult, Spend, grouped
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.core.scheduling.schedule import StoredSchedule
from optimizer.core.search.study import ENDED, UNFINISHED, Study, Trial, Trigger, TriggerKind
from optimizer.ports import TierAnswers

_S, _T = STUDIES.c, TRIALS.c
_FIGURES = [one for one in _T if one.name not in ("params", "started_at", "finished_at", "mlflow_run_id")]
_IS_RANKED = and_(_T.status == "complete", _T.score.is_not(None))
_MEAN_USD = case((_T.n > 0, _T.cost_usd / _T.n), else_=0.0)
# As `ranked` orders them, and behind them the others.
_BEST_FIRST = (
    case((_IS_RANKED, 0), else_=1),
    *(case((_IS_RANKED, key)) for key in (-_T.score, _T.proposer != "champion", _MEAN_USD)),
)
# Made once: a study's row is read and changed with each trial.
_BY_ID = select(STUDIES).where(STUDIES.c.id == bindparam("of_id"))
_CHANGE = update(STUDIES).where(STUDIES.c.id == bindparam("of_id"))


class StudyTables:
    """ports.Studies on the database."""

    def add(self, tx: Connection, study: Study) -> None:
        if study.status in UNFINISHED:
            running = tx.execute(
                select(STUDIES.c.id, STUDIES.c.status).where(STUDIES.c.active_family == study.family)
            ).first()
            if running is not None:
                raise Conflict(
                    f"Family {study.family!r} has study {running.id} ({running.status}) already, and a family has one"
                    " at a time. Wait for it, go on with it if it was interrupted (`detent study resume"
                    f" {running.id}`), or stop it with `detent study cancel {running.id}`.",
                    study=running.id,
                )
        active = study.family if study.status in UNFINISHED else None
        tx.execute(insert(STUDIES), [columns_of(study, active_family=active)])

    def get(self, tx: Connection, id: str) -> Study | None:
        return first(tx, _BY_ID, _study, {"of_id": id})

    def page(
        self,
        tx: Connection,
        *,
        family: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> tuple[list[Study], str | None]:
        query = where_equal(
            newest_first(select(STUDIES), STUDIES, cursor, limit), (_S.family, family), (_S.status, status)
        )
        studies = [_study(row) for row in tx.execute(query).mappings()]
        return page_of(studies, limit, lambda study: (study.created_at, study.id))

    def last_triggered(self, tx: Connection, family: str, kinds: Collection[TriggerKind] | None = None) -> Study | None:
        query = select(STUDIES).where(_S.family == family, _S.trigger.is_not(None))
        if kinds is not None:
            query = query.where(_S.trigger["kind"].as_string().in_(kinds))
        return first(tx, query.order_by(_S.created_at.desc(), _S.id.desc()).limit(1), _study)

    def spent_since(self, tx: Connection, since: datetime) -> list[RunSpend]:
        query = select(_S.id, _S.family, _S.budget, _S.spend, _S.finished_at).where(
            or_(_S.status.in_(UNFINISHED), _S.finished_at >= since)
        )
        return [
            RunSpend(
                run=id, family=family, cap_usd=budget.get("usd"), usd=spend["usd"], has_ended=finished_at is not None
            )
            for id, family, budget, spend, finished_at in tx.execute(query.order_by(_S.id))
        ]

    def unfinished(self, tx: Connection) -> list[Study]:
        studies = [
            _study(row) for row in tx.execute(select(STUDIES).where(STUDIES.c.status.in_(UNFINISHED))).mappings()
        ]
        # Asked to sort, SQLite would read all of them.
        return sorted(studies, key=lambda study: (study.created_at, study.id))

    def update(self, tx: Connection, id: str, **changes: Any) -> Study:
        if unknown := changes.keys() - Study.__dataclass_fields__.keys():  # which the statement would leave out
            raise ValueError(f"a study has no {', '.join(sorted(unknown))}")
        if "status" in changes:
            changes["active_family"] = self._existing(tx, id).family if changes["status"] in UNFINISHED else None
        if changes:
            tx.execute(_CHANGE, {"of_id": id, **changes})
        if changes.get("status") in ENDED:
            t = TRIALS.c
            stopped = {"status": "stopped", "finished_at": func.coalesce(t.finished_at, changes.get("finished_at"))}
            tx.execute(update(TRIALS).where(t.study == id, t.status == "running").values(**stopped))
        return self._existing(tx, id)

    def _existing(self, tx: Connection, id: str) -> Study:
        if (study := self.get(tx, id)) is None:
            raise NotFound(f"There is no study {id!r}; `detent study list` shows those that exist.")
        return study

    def put_trial(self, tx: Connection, trial: Trial) -> None:
        upsert(tx, TRIALS, [columns_of(trial, params=dict(trial.params))])

    def trials(self, tx: Connection, study: str) -> list[Trial]:
        query = select(TRIALS).where(_T.study == study).order_by(_T.number)
        return [record_of(Trial, row) for row in tx.execute(query).mappings()]

    def some_trials(self, tx: Connection, study: str, *, best_first: bool, start: int, n: int) -> list[Trial]:
        query = select(TRIALS).where(_T.study == study).order_by(*(_BEST_FIRST if best_first else ()), _T.number)
        return [record_of(Trial, row) for row in tx.execute(query.limit(n).offset(start)).mappings()]

    def trial_figures(self, tx: Connection, study: str) -> list[Trial]:
        rows = tx.execute(select(*_FIGURES).where(_T.study == study).order_by(_T.number))
        return records_in(rows, Trial, params={})

    def last_measured(
        self, tx: Connection, family: str, variant: str, *, before: datetime | None = None
    ) -> Trial | None:
        query = select(TRIALS).join(STUDIES, _S.id == _T.study).where(_S.family == family, _T.variant == variant)
        if before is not None:
            query = query.where(_S.created_at < before)
        newest = query.where(_IS_RANKED).order_by(_S.created_at.desc(), _S.id.desc()).limit(1)
        return first(tx, newest, partial(record_of, Trial))

    def put_results(
        self, tx: Connection, study: str, purpose: str, variant: str, results: Sequence[ExampleResult]
    ) -> None:
        name = {"study": study, "purpose": purpose, "variant": variant}
        upsert(tx, RESULTS, [columns_of(result, **name) for result in results])

    def results(
        self, tx: Connection, study: str, purpose: str, variant: str | None = None
    ) -> dict[str, list[ExampleResult]]:
        r = RESULTS.c
        query = select(RESULTS).where(r.study == study, r.purpose == purpose).order_by(r.variant, r.example)
        query = where_equal(query, (r.variant, variant))
        return grouped((row["variant"], record_of(ExampleResult, row)) for row in tx.execute(query).mappings())

    def put_tier_answers(self, tx: Connection, study: str, answers: TierAnswers) -> None:
        upsert(
            tx,
            TIER_ANSWERS,
            [{"study": study, "tiers": list(answers.tiers), "rows": [dict(row) for row in answers.rows]}],
        )

    def tier_answers(self, tx: Connection, study: str) -> TierAnswers | None:
        query = select(TIER_ANSWERS).where(TIER_ANSWERS.c.study == study)
        return first(tx, query, lambda row: TierAnswers(tiers=tuple(row["tiers"]), rows=row["rows"]))


def _study(row: RowMapping) -> Study:
    trigger = Trigger(**row["trigger"]) if row["trigger"] is not None else None
    return record_of(Study, row, budget=Budget(**row["budget"]), spend=Spend(**row["spend"]), trigger=trigger)


class ScheduleTable:
    """ports.Schedules on the database."""

    def put(self, tx: Connection, schedule: StoredSchedule) -> None:
        upsert(tx, SCHEDULES, [asdict(schedule)])

    def remove(self, tx: Connection, family: str) -> bool:
        return tx.execute(delete(SCHEDULES).where(SCHEDULES.c.family == family)).rowcount > 0

    def get(self, tx: Connection, family: str) -> StoredSchedule | None:
        return first(tx, select(SCHEDULES).where(SCHEDULES.c.family == family), partial(record_of, StoredSchedule))

    def all(self, tx: Connection) -> dict[str, StoredSchedule]:
        return {
            row["family"]: StoredSchedule(**row)
            for row in tx.execute(select(SCHEDULES).order_by(SCHEDULES.c.family)).mappings()
        }
