"""What every ports.Runs must do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import NotFound
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.ports import Transaction
from tests.stores import FAMILY, call, minutes, reading, writing

RUN = JudgeRun(
    id="jr_1",
    family=FAMILY,
    kind="score",
    judge="j_1",
    request={"interactions": ["in_1", "in_2"], "is_priced": True},
    budget=Budget(usd=1.5, calls=10),
    status="queued",
    n=2,
    created_by="anna",
    created_at=minutes(0),
)


def test_what_a_month_has_cost_counts_runs_and_calls_of_none(database: Database) -> None:
    runs = (
        replace(RUN, id="jr_1", status="finished", finished_at=minutes(-1)),
        replace(RUN, id="jr_2", status="cancelled", finished_at=minutes(0)),
        replace(RUN, id="jr_3", status="running", budget=Budget(calls=9)),
    )
    calls = [
        call(f"lm_{n}", study=of, reserved_usd=usd, sent_at=minutes(at))
        for n, (of, usd, at) in enumerate(
            [("jr_1", 1.0, -2), ("jr_2", 0.5, -1), ("jr_3", 0.2, 1), (None, 4.0, -1), (None, 0.3, 0), (None, 0.1, 1)]
        )
    ]

    def keep(tx: Transaction) -> None:
        for run in runs:
            database.runs.add(tx, run)
        for sent in calls:
            database.journal.send(tx, sent)

    database.write(keep)
    assert reading(database).runs.spent_since(minutes(0)) == [
        RunSpend(run="jr_2", family=FAMILY, cap_usd=1.5, usd=0.5, has_ended=True),
        RunSpend(run="jr_3", family=FAMILY, cap_usd=None, usd=0.2, has_ended=False),
    ]
    assert reading(database).journal.usd_without_a_run(minutes(0)) == {FAMILY: pytest.approx(0.4)}


def test_a_run_is_kept_and_changed_until_it_has_ended(database: Database) -> None:
    later = replace(RUN, id="jr_2", created_at=minutes(1))
    other = replace(RUN, id="jr_3", family="other")
    for run in (later, RUN, other):
        writing(database).runs.add(run)
    changed = writing(database).runs.update(
        "jr_2", status="finished", n_done=2, result={"n_judged": 2}, finished_at=minutes(2)
    )
    assert changed == replace(later, status="finished", n_done=2, result={"n_judged": 2}, finished_at=minutes(2))
    assert changed.has_ended
    with database.read() as tx:
        assert database.runs.get(tx, "jr_1") == RUN
        assert database.runs.get(tx, "jr_none") is None
        assert database.runs.latest_of_judge(tx, FAMILY, 9) == [changed, RUN]
        assert database.runs.latest_of_judge(tx, FAMILY, 1) == [changed]
        assert [run.id for run in database.runs.unfinished(tx)] == ["jr_1", "jr_3"]
    with pytest.raises(NotFound):
        writing(database).runs.update("jr_none", n_done=1)


def test_the_newest_runs_come_first_and_of_the_named_families_alone(database: Database) -> None:
    later = replace(RUN, id="jr_2", created_at=minutes(1))
    other = replace(RUN, id="jr_3", family="other", created_at=minutes(2))
    for run in (RUN, later, other):
        writing(database).runs.add(run)
    with database.read() as tx:
        assert [run.id for run in database.runs.latest(tx, None, 2)] == ["jr_3", "jr_2"]
        assert [run.id for run in database.runs.latest(tx, [FAMILY], 9)] == ["jr_2", "jr_1"]
        assert database.runs.latest(tx, [], 9) == []
        assert [run.id for run in database.runs.latest(tx, None, 1, start=1)] == ["jr_2"]
    writing(database).runs.update("jr_2", status="finished")
    assert [run.id for run in reading(database).runs.latest(None, 9, ended=True)] == ["jr_2"]
    assert [run.id for run in reading(database).runs.latest(None, 9, ended=False)] == ["jr_3", "jr_1"]
    assert reading(database).runs.latest(None, 9, kind="evaluate") == []
