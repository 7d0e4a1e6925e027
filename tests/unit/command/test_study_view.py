"""How a study with many trials is told at a terminal: the front is to be seen among them."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from optimizer.cli.study import run
from optimizer.cli.study.view import view
from optimizer.core.base.values import Budget, Spend
from optimizer.core.search.study import Trial
from optimizer.core.views.study_front import front_of, on_front
from optimizer.core.views.study_headline import StudyView, view_of_study
from tests import stores

N = 33
TRIALS = [
    Trial(
        **{"study": "st_1", "number": n, "variant": f"v_{n:02}", "params": {}, "status": "complete", "n": 10},
        proposer="replay" if n else "champion",
        score=0.5 + n / 100,
        cost_usd=9.7e-5 + n * 1e-6,
    )
    for n in range(N)
]


def replayed() -> StudyView:
    settings = "; ".join(f"v_{n:02} saves {n}%" for n in range(1, N))
    steps: Any = [{"variant": f"v_{n:02}", "p": 0.1, "lift": 0.0, "passed": n < N - 1} for n in range(1, N)]
    ended: Any = {"status": "finished", "outcome": "nominated", "champion": "v_00", "winner": "v_01"}
    return view_of_study(
        stores.study(
            **ended,
            id="st_1",
            strategy="replay",
            aim="cost",
            spend=Spend(remark=f"Proposed: {settings}. 2 settings left out."),
            confirmation={"sequence": steps, "gates": []},
        )
    )


def test_the_front_comes_first_and_of_many_trials_settings_and_tests_ten_are_shown_and_the_rest_counted() -> None:
    out, study = io.StringIO(), replayed()
    front = front_of(study, TRIALS, {}, {}, requests_per_month=0, front=on_front(TRIALS))
    view(Console(file=out, width=200), study, TRIALS, front=front)
    before, _, rest = out.getvalue().partition("Remark    ")
    assert "The front, beside it champion and winner" in before
    remark, _, table = rest.partition("\n\n")
    assert remark.count(" saves ") == 10
    assert "Remark    22 more; all of them: --json, or detent study report st_1\nRemark    v_32 saves 32%." in remark
    assert "2 settings left out." in remark
    trials, _, holdout = table.partition("23 more trials; all of them: --json")
    shown = [line.split()[1] for line in trials.splitlines()[1:]]
    assert shown == ["v_00", "v_01", *(f"v_{n}" for n in range(25, N))], "champion, winner and the best"
    assert (
        "  22 proposals before these passed; all of them: --json, or detent study report st_1\n  tested v_23: passed"
        in holdout
    )
    assert holdout.count("  tested ") == 10


def test_a_search_that_is_watched_tells_ten_trials_and_counts_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "read_study", lambda session, id: replayed())
    monkeypatch.setattr(run, "trials_of", lambda session, id: TRIALS)
    session: Any = type("Session", (), {"server": None})
    run._watch(session, "st_1", False, lambda: True)
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines[0] == "trial 0 (champion): 0.500 on 10 dev examples, $0.0000097 a call, v_00"
    assert (len(lines), last) == (10, "23 more trials")


def test_the_front_of_items_that_are_replayed_is_told_in_time() -> None:
    out, study = io.StringIO(), replace(replayed(), budget=Budget(calls=0))
    front = front_of(study, TRIALS, {}, {}, requests_per_month=0, front=on_front(TRIALS))
    view(Console(file=out, width=200), study, TRIALS, front=front)
    before, _, _ = out.getvalue().partition("Remark")
    assert ("Time share" in before, "Per 1,000 calls" in before) == (True, False)
