"""The live comparison: every search runs on a scripted model, a stop loses nothing,
and what was not run is shown as not run.
"""

from __future__ import annotations

import importlib
import json

import pytest
from common import RESULTS

from tests.worlds.live_world import SMALL, TASK, Models, live, run_arms as run, write_rows

setup = importlib.import_module("live.setup")
baselines = importlib.import_module("trivial_baselines")


@pytest.fixture
def data(tmp_path):
    return write_rows(tmp_path / "data")


@pytest.mark.parametrize("arm", live.ARMS)
def test_every_search_runs_and_those_that_have_instructions_written_find_the_one_that_helps(tmp_path, data, arm):
    models = Models()
    outcome = run(tmp_path, data, [arm], models)[TASK, arm, 1]
    assert len(outcome.scores) == SMALL.holdout
    assert outcome.n_calls <= len(models.model.requests)
    if arm == live.BARE:
        assert (outcome.n_calls, outcome.n_examples) == (0, 0)
        assert outcome.mean < 1
    else:
        assert outcome.n_calls > 0
        assert outcome.model_minutes == pytest.approx(outcome.n_calls * 12 / 60_000)
    if arm in ("DSPy MIPROv2", "DSPy GEPA"):
        assert outcome.mean == 1.0
        assert "kitchen" in outcome.instruction


def test_a_cell_that_was_run_is_not_run_again_and_one_that_failed_is(tmp_path, data):
    first = run(tmp_path, data, [live.BARE, live.FIRST], Models(fails_after=SMALL.holdout))
    assert set(first) == {(TASK, live.BARE, 1)}
    models = Models()
    again = run(tmp_path, data, [live.BARE, live.FIRST], models)
    assert again[TASK, live.BARE, 1] == first[TASK, live.BARE, 1]
    assert len(again) == 2
    n = len(models.model.requests)
    run(tmp_path, data, [live.BARE, live.FIRST], models)
    assert len(models.model.requests) == n


def test_a_stop_within_a_cell_loses_no_answer(tmp_path, data):
    class Killed(BaseException):
        pass

    class Stopped(Models):
        def _answer(self, request, n):
            if n == 12:
                raise Killed
            return super()._answer(request, n)

    stopped, resumed, undisturbed = Stopped(), Models(), Models()
    with pytest.raises(Killed):
        run(tmp_path, data, [live.FIRST], stopped)
    outcome = run(tmp_path, data, [live.FIRST], resumed)[TASK, live.FIRST, 1]
    (tmp_path / "other").mkdir()
    whole = run(tmp_path / "other", data, [live.FIRST], undisturbed)[TASK, live.FIRST, 1]
    assert (outcome.scores, outcome.n_calls) == (whole.scores, whole.n_calls)
    assert len(stopped.model.requests) - 1 + len(resumed.model.requests) == len(undisturbed.model.requests)


def test_no_cell_begins_after_the_minutes(tmp_path, data):
    assert run(tmp_path, data, [live.BARE, "race"], minutes=-1.0) == {}


def outcome(mean: float, n_calls: int = 10):
    return setup.Outcome(
        scores=[mean] * 4,
        dev_score=None,
        n_calls=n_calls,
        model_minutes=1.0,
        minutes=2.0,
        instruction="x",
        n_examples=0,
    )


def test_what_was_not_run_is_said_and_no_number_stands_in_its_place():
    cells = {(TASK, "race", 1): outcome(0.75), (TASK, "race", 2): outcome(0.25), (TASK, live.BARE, 1): outcome(0.5, 0)}
    text = live.table(cells, [TASK], live.ARMS, [1, 2])
    assert "| race | 0.750 | 0.250 | 0.500 | 10 | 1.0 |" in text
    assert "| bare prompt | 0.500 | not run | 0.500 | 0 | 1.0 |" in text
    assert "| joint | not run | not run | not run | not run | not run |" in text
    whole = live.page(cells, [TASK], live.ARMS, [1, 2], SMALL, commit="abc", machine="here")
    assert "commit abc, here" in whole
    assert whole.endswith(live.table(cells, [TASK], [live.BARE, "race"], [1, 2]))
    compared = live.compared(cells, [1, 2])
    (known,) = [c for c in compared if c.case == f"{TASK}: race" and c.other_name == live.BARE]
    assert (known.ours, known.other, known.n) == (0.75, 0.5, 4)  # the seed that both were run on
    assert all(c.ours is None and c.other is None for c in compared if c.unit == live.NOT_RUN)
    assert any(c.case == f"{TASK}: joint, not run" for c in compared)


def test_ours_and_gepa_may_make_as_many_calls_as_miprov2_made_on_the_same_rows(tmp_path, data):
    cells = run(tmp_path, data, ["DSPy MIPROv2", "race", "joint", "DSPy GEPA"], Models())
    made = {arm: outcome.n_calls for (_, arm, _), outcome in cells.items()}
    assert max(made.values()) == made["DSPy MIPROv2"], made


def test_searches_that_were_not_run_have_no_row(tmp_path):
    whole = live.page({(TASK, "race", 1): outcome(0.75)}, [TASK], live.ARMS, [1], SMALL, commit="abc", machine="here")
    assert "| race | 0.750 |" in whole
    assert "| joint |" not in whole
    assert live.NOTHING in live.page({}, [TASK], live.ARMS, [1], SMALL, commit="abc", machine="here")


def test_seeds_draw_other_rows_and_no_row_is_both_seen_and_held_out(data):
    task = next(t for t in live.TASKS if t.name == TASK)
    one, two = (setup.rows_of(task, data, seed, SMALL) for seed in (1, 2))
    assert [len(part) for part in one] == [8, 6, 8]
    assert [e.id for e in one[0]] != [e.id for e in two[0]]
    ids = [e.id for part in one for e in part]
    assert len(set(ids)) == len(ids)
    assert setup.rows_of(task, data, 1, SMALL) == one


def test_the_page_ends_with_what_the_stored_result_says_of_answers_without_a_model():
    stored = baselines.PAGE.read_text(encoding="utf-8")
    assert stored == baselines.with_stored_section(stored)
    assert stored.count(baselines.TITLE) == 1


@pytest.mark.skipif(not baselines.DATA.exists(), reason="the task's rows are not here; set DETENT_SHARED")
def test_answers_without_a_model_measured_again_give_the_figures_of_the_page():
    result = json.loads((RESULTS / "trivial_baselines.json").read_text(encoding="utf-8"))
    again = {cell.case: cell.other for task in live.TASKS for cell in baselines.measured(task)}
    assert again == pytest.approx({cell["case"]: cell["other"] for cell in result["cells"]})
