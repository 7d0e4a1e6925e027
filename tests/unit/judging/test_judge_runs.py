"""What a judge is asked to do in the background: capped by itself, resumed for nothing, stopped when told."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from optimizer.core.base.errors import BudgetTooSmall, Busy
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.judging.run import JudgeRun, JudgeRunEstimate
from optimizer.core.scheduling.monthly_budget import MonthlyLimits
from optimizer.jobs.request import ItemActRequest
from optimizer.jobs.runs.create_judge_run import (
    JudgeCheckRequest,
    JudgeScoreRequest,
    check_biases,
    score_answers,
    stop_judge_run,
)
from optimizer.jobs.runs.queue_run import RunBudgetBody
from optimizer.jobs.studies.read_spending import monthly_left
from tests.stand_ins.scripted_model import ScriptedModel
from tests.stores import reading
from tests.unit.judging.test_judge_check import judge_that, letter_writer
from tests.unit.judging.test_judged_traffic import Live, family_of
from tests.worlds.contexts import context_of
from tests.worlds.judged_world import JudgedWorld, dies_at, judge_model, letters_family
from tests.worlds.study_world import Killed


def asked_by_ann(world, usd_per_month=None, models=None, is_worker_running=True):
    return context_of(
        world.store,
        world.clock,
        "ann",
        family=lambda name: world.family,
        models=lambda: models or world,
        settings=SimpleNamespace(usd_per_month=usd_per_month),
        is_worker_running=lambda: is_worker_running,
    )


def ask(act, request, world, budget=None, usd_per_month=None, models=None, **options):
    caps = RunBudgetBody(usd=budget.usd, calls=budget.calls) if budget is not None else RunBudgetBody()
    context = asked_by_ann(world, usd_per_month, models)
    return act(context, request(family=world.family.name, budget=caps, **options))


def stop_run(world, run, **options):
    return stop_judge_run(asked_by_ann(world, **options), ItemActRequest(id=run.id))


def score(world, **options):
    return ask(score_answers, JudgeScoreRequest, world, **options)


def do(world, run, **options):
    return world.carry_out(run, **{"intake_of": lambda actor: world.intake, **options})


def live(folder, *judges, usd_per_month=None, **judge):
    family = family_of(**judge)
    budget = family.budget.model_copy(update={"usd_per_month": usd_per_month})
    world = Live(folder, *judges, family=family.model_copy(update={"budget": budget}))
    world.answered(6)
    world.clock.pass_seconds(1)
    return world


def test_answers_are_scored_as_the_run_was_asked_for(tmp_path):
    world = live(tmp_path)
    run = score(world, n=4)
    assert (run.status, run.n, "interactions" in run.request) == ("queued", 4, False)
    drawn = reading(world.store).runs.get(run.id).request["interactions"]
    seen = []
    made = do(world, run, watched=lambda one: seen.append((one.status, one.n_done)))
    assert seen == [("running", 1), ("running", 2), ("running", 3), ("running", 4)]
    assert (made.status, made.n_done, made.result["n_judged"], made.result["stopped"]) == ("finished", 4, 4, None)
    assert {event.interaction for event in world.feedback()} == set(drawn)
    assert do(world, run) == made, "what has ended is not done again"


def test_an_answer_that_the_judge_cannot_read_is_drawn_after_those_that_it_has_not_seen(tmp_path):
    silent = ScriptedModel(lambda request, n: "?", name="judge", max_output_tokens=600)
    world, drawn = live(tmp_path, silent), []
    for _ in range(4):
        run = score(world, n=2)
        drawn.append(reading(world.store).runs.get(run.id).request["interactions"])
        assert do(world, run).result["n_unmeasured"] == 2
    assert len({id for ids in drawn[:3] for id in ids}) == 6
    assert drawn[3] == drawn[0], "then once more"


@pytest.mark.parametrize("cap", [{"usd": float("inf")}, {"usd": float("nan")}, {"usd": -1.0}, {"calls": -1}])
def test_a_budget_that_would_hold_nothing_is_refused(cap):
    with pytest.raises(ValidationError, match=r"greater than or equal to 0|finite number"):
        RunBudgetBody(**cap)


def test_without_a_budget_the_cap_is_what_the_dry_run_says(tmp_path):
    silent = ScriptedModel(lambda request, n: "?", name="judge", max_output_tokens=600, price=None)
    world = live(tmp_path, silent)
    told = score(world, dry_run=True)
    assert isinstance(told, JudgeRunEstimate)
    assert (told.n, told.calls.high, told.calls_at_most, told.usd) == (6, 12, 18, None)
    run = score(world)
    assert run.budget == Budget(calls=18)
    made = do(world, run)
    assert (made.result["n_unmeasured"], made.result["usd"]) == (6, None), "without a price, dollars are unknown, not 0"
    assert sum(world.calls_by_purpose().values()) == 12


def test_a_cap_of_calls_ends_a_score_and_says_so(tmp_path):
    world = live(tmp_path, judge_model(concurrency=1))
    made = do(world, score(world, budget=Budget(calls=2)))
    assert (made.status, made.result["n_judged"]) == ("finished", 2)
    assert "2 calls" in made.result["stopped"]
    assert sum(world.calls_by_purpose().values()) == 2


def test_a_judge_without_a_price_is_refused_under_dollars_before_anything_is_queued(tmp_path):
    world = live(tmp_path, judge_model(price=None))
    with pytest.raises(BudgetTooSmall):
        score(world, budget=Budget(usd=1.0))
    assert reading(world.store).runs.latest_of_judge("letters", 9) == []


def test_a_run_is_held_to_the_month_and_what_it_may_spend_is_kept_from_others(tmp_path):
    world = live(tmp_path, usd_per_month=1.0)
    with pytest.raises(BudgetTooSmall, match="would pass a monthly limit"):
        score(world, budget=Budget(usd=1.5), dry_run=True)
    score(world, n=2, budget=Budget(usd=0.7))
    with pytest.raises(BudgetTooSmall, match=r"reserved \$0.7000 of this month's \$1"):
        score(world, budget=Budget(usd=0.5))
    assert score(world, n=2, budget=Budget(usd=0.3)).budget.usd == 0.3


def test_two_runs_that_are_asked_for_at_once_do_not_both_get_the_last_of_the_month(tmp_path):
    world = live(tmp_path, usd_per_month=1.0)
    add, rivals = world.store.write, [lambda: score(world, n=2, budget=Budget(usd=0.7))]

    def a_rival_writes_first(work, **options):
        if rivals:
            rivals.pop()()
        return add(work, **options)

    world.store.write = a_rival_writes_first
    with pytest.raises(BudgetTooSmall, match="monthly limit"):
        score(world, n=2, budget=Budget(usd=0.7))
    assert len(reading(world.store).runs.latest_of_judge("letters", 9)) == 1


def test_under_a_monthly_limit_a_run_reserves_no_more_than_it_may_need_and_what_it_spent_counts(tmp_path):
    world = live(tmp_path, usd_per_month=1.0)
    told = score(world, dry_run=True)
    run = score(world)
    assert run.budget.calls == told.calls_at_most
    assert run.budget.usd == pytest.approx(told.usd.high * told.calls_at_most / told.calls.high)
    assert run.budget.usd < 0.1
    spent = do(world, run).result["usd"]
    assert 0 < spent < run.budget.usd
    with world.store.read() as tx:
        left = monthly_left(tx, world.store, world.clock, "letters", MonthlyLimits(family_usd=1.0))
    assert left.usd == pytest.approx(1.0 - spent)


def test_under_a_monthly_limit_a_judge_without_a_price_is_refused(tmp_path):
    with pytest.raises(BudgetTooSmall, match="no known price"):
        score(live(tmp_path, judge_model(price=None), usd_per_month=1.0))


def test_a_run_that_was_killed_goes_on_under_the_same_cap_and_pays_for_nothing_twice(tmp_path):
    world = live(tmp_path, judge_model(dies_at(3), concurrency=1))
    run = score(world, budget=Budget(calls=6))
    with pytest.raises(Killed):
        do(world, run)
    assert reading(world.store).runs.get(run.id).status == "running"
    made = do(world, run)
    assert made.result["n_judged"] == 5, "6 calls, of which one was in flight at the kill"
    assert made.result["stopped"] is not None
    assert len(world.feedback()) == 5
    assert reading(world.store).journal.spend(run.id).n_calls == 6


def test_a_run_stops_before_its_next_call_and_a_queued_one_at_once(tmp_path):
    asked = itertools.count(1)

    def thinks(answer):
        if next(asked) == 3:  # while it is asked, so that no other call may have begun
            stop_run(world, run)
            world.clock.pass_seconds(1)
        return 7

    world = live(tmp_path, judge_model(thinks, concurrency=1))
    run = score(world)
    made = do(world, run)
    assert (made.status, made.result["n_judged"] < 6) == ("cancelled", True)
    assert "was cancelled" in made.result["stopped"]
    queued = score(world)
    assert stop_run(world, queued).status == stop_run(world, queued).status == "cancelled"
    assert do(world, queued).result is None


def test_one_that_a_killed_process_left_is_cancelled_at_once_where_no_worker_runs(tmp_path):
    world = live(tmp_path, judge_model(dies_at(3), concurrency=1))
    run = score(world)
    with pytest.raises(Killed):
        do(world, run)
    assert stop_run(world, run).status == "running", "its worker may be on its way"
    ended = stop_run(world, run, is_worker_running=False)
    assert (ended.status, ended.finished_at is None) == ("cancelled", False)
    assert do(world, run).n_done == 2, "what has ended is not done again"


def test_a_run_of_a_judge_that_was_changed_meanwhile_asks_nothing(tmp_path):
    world = live(tmp_path)
    run = score(world)
    world.families.families["letters"] = family_of(dimensions={"brief": "It is short."})
    made = do(world, run)
    assert (made.status, made.error_type) == ("failed", "conflict")
    assert "was changed after this run was asked for" in made.error
    assert world.calls_by_purpose() == {}


def checking(folder, judge, n_dev=20):
    world = JudgedWorld(folder, judge, model=letter_writer(), family=letters_family()).fill_letters(n_dev=n_dev)
    world.intake = None
    return world, lambda **options: ask(check_biases, JudgeCheckRequest, world, **options)


def test_a_check_is_queued_with_its_price_and_says_what_it_found(tmp_path):
    world, check = checking(tmp_path, judge_that(chooses=lambda first, second: "first"))
    told, run = check(dry_run=True), check()
    assert isinstance(run, JudgeRun)
    assert (told.n, run.n, run.budget.calls) == (20, 80, told.calls_at_most)
    made = do(world, run)
    assert (made.status, made.result["is_biased"], made.n_done) == ("finished", True, 80)
    assert made.result["biases"]["judge"][0]["said"].startswith("position: biased")


def test_a_check_under_a_cap_in_dollars_needs_the_price_of_all_that_it_asks(tmp_path):
    world, check = checking(tmp_path, judge_that())
    world.by_name["writer"].price = None
    with pytest.raises(BudgetTooSmall, match="'writer' has no known price"):
        check(budget=Budget(usd=0.5))


def test_a_check_is_held_to_the_month_too(tmp_path):
    world, check = checking(tmp_path, judge_that())
    with pytest.raises(BudgetTooSmall, match="monthly limit"):
        check(budget=Budget(usd=0.5), usd_per_month=0.25)
    run = check(usd_per_month=0.25)
    assert run.budget.usd < 0.25
    assert do(world, run).status == "finished", "what is reserved is enough for it"


def test_a_check_whose_budget_ends_says_so_and_another_asks_no_answer_anew_that_was_given_at_temperature_0(tmp_path):
    world, check = checking(tmp_path, judge_that())
    made = do(world, check(budget=Budget(calls=70)))
    assert (made.status, "70 calls" in made.result["stopped"]) == ("finished", True)
    before = world.calls_by_purpose()
    assert sum(before.values()) == 70
    assert do(world, check()).status == "finished"
    assert world.calls_by_purpose()["judge"] <= 20 * 4


def test_a_check_whose_budget_ends_keeps_what_it_found_and_one_that_is_stopped_too(tmp_path):
    world, check = checking(tmp_path, judge_that(chooses=lambda first, second: "first", concurrency=1), n_dev=24)
    made = do(world, check(budget=Budget(calls=48 + 88)))
    position = made.result["biases"]["judge"][0]
    assert (position["verdict"], 20 <= position["n"] < 24) == ("biased", True), position
    assert (made.result["is_biased"], made.result["n_calls"]) == (True, 136)

    def stop(one):
        if one.n_done >= 2:
            stop_run(world, one)
        world.clock.pass_seconds(1)

    cut = do(world, check(), watched=stop)
    assert (cut.status, "was cancelled" in cut.result["stopped"]) == ("cancelled", True)


class BusyOnce:
    """The next write of a kind is refused, as by a store that another process holds."""

    def __init__(self, table, monkeypatch, name, when=lambda given: True):
        self.n_refused, write = 0, getattr(table, name)

        def refusing(*args, **given):
            if self.n_refused == 0 and when(given):
                self.n_refused += 1
                raise Busy("The store is busy.")
            return write(*args, **given)

        monkeypatch.setattr(table, name, refusing)


def test_a_busy_store_keeps_progress_from_being_told_and_ends_nothing(tmp_path, monkeypatch):
    world = live(tmp_path, judge_model(concurrency=1))
    run = score(world)
    busy = BusyOnce(world.store.runs, monkeypatch, "update", lambda given: given.get("n_done") == 2)
    made = do(world, run)
    assert (busy.n_refused, made.status, made.n_done, made.result["n_judged"]) == (1, "finished", 6, 6)


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_run_that_met_a_busy_store_goes_on_at_the_next_look_and_pays_for_nothing_twice(
    tmp_path, monkeypatch, at_the_end
):
    world = live(tmp_path, judge_model(concurrency=1))
    run = score(world, budget=Budget(calls=6))
    if at_the_end:
        BusyOnce(world.store.runs, monkeypatch, "update", lambda given: "finished_at" in given)
    else:
        BusyOnce(type(world.intake), monkeypatch, "take")
    with pytest.raises(Busy):
        do(world, run)
    assert reading(world.store).runs.get(run.id).status == "running"
    made = do(world, run)
    assert (made.status, made.result["n_judged"], made.result["stopped"]) == ("finished", 6, None)
    assert (len(world.feedback()), sum(world.calls_by_purpose().values())) == (6, 6)


def test_a_fault_of_ours_is_kept_and_raised(tmp_path):
    world = live(tmp_path)
    run = score(world)
    with pytest.raises(ZeroDivisionError):
        do(world, run, intake_of=lambda actor: 1 / 0)
    assert reading(world.store).runs.get(run.id).status == "failed"
