"""An evaluation in the background: capped by itself, resumed for nothing, kept once; figures alone for role read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.core.base.errors import BudgetTooSmall, Busy, Conflict, InvalidInput, NotFound
from optimizer.jobs.request import ItemActRequest, ItemRequest, PageRequest
from optimizer.jobs.runs import evaluate_suites
from optimizer.jobs.runs.create_evaluation import (
    EvaluateRequest,
    EvaluationDryRun,
    read_evaluation,
    start_evaluation,
    stop_evaluation,
)
from optimizer.jobs.runs.queue_run import RunBudgetBody
from optimizer.jobs.upkeep.read_operations import read_jobs
from optimizer.runtime.use_cases import use_case_of
from tests.stores import keep_variant, reading, writing
from tests.worlds.judged_world import JudgedWorld, prompt_of, writer_by
from tests.worlds.study_world import START, Killed, TopicModel, World, killed_at, topic_family

MARK = "xylophone"  # in every answer


class Evaluated:
    """A world, and evaluations in it."""

    def __init__(self, world):
        self.world = world
        self.context = world.run_context(lambda: True)

    def start(self, *, caps=None, **asked):
        budget = RunBudgetBody(**caps or {})
        return start_evaluation(
            self.context, EvaluateRequest(family=self.world.family.name, budget=budget, **{"n": 6, **asked})
        )

    def do(self, run, watched=lambda run: None):
        return self.world.carry_out(run, watched=watched)

    def read(self, run):
        return read_evaluation(self.context, ItemRequest(id=run.id))

    def n_calls(self, run):
        return reading(self.world.store).journal.spend(run.id).n_calls

    def batches(self):
        return reading(self.world.store).performance.batches(self.world.family.name)


@pytest.fixture
def place(tmp_path):
    return Evaluated(World(tmp_path, model=TopicModel(needs=0)).fill(n_dev=8))


@pytest.fixture
def two_suites(tmp_path):
    """A place where a family asks two suites by name."""
    family = topic_family(targets={"quick": {"n": 3, "errors": 0.5}, "long": {"n": 5, "mean_score": 0.5}})
    return Evaluated(World(tmp_path, family=family, model=TopicModel(needs=0)).fill(n_dev=8))


def test_a_dry_run_says_what_a_run_may_ask_and_a_run_asks_no_more(place):
    told = place.start(dry_run=True)
    assert isinstance(told, EvaluationDryRun)
    assert [(one.n, one.calls.high, one.calls_at_most) for one in told.suites] == [(6, 6, 9)]
    assert place.world.model.requests == []
    run = place.start()
    assert (run.status, run.n, run.budget.calls) == ("queued", 6, 9)
    seen = []
    made = place.do(run, watched=lambda one: seen.append(one.n_done))
    assert (made.status, sorted(seen), len(place.world.model.requests)) == ("finished", [1, 2, 3, 4, 5, 6], 6)
    report = place.read(run).result
    assert (report.variant, report.champion, report.verdict) == (run.request["variant"], run.request["variant"], None)
    (suite,) = report.suites
    assert (suite.n, suite.n_calls_in_all, suite.created_by) == (6, 6, "ann")
    assert [batch.id for batch in place.batches()] == [suite.id]
    assert suite.spent_usd == pytest.approx(6 * 0.00001)


def test_every_suite_is_planned_before_the_first_is_paid_for(two_suites):
    place = two_suites
    told = place.start(suite="full", n=None, dry_run=True)
    assert [(one.suite, one.n) for one in told.suites] == [("quick", 3), ("long", 5)]
    run = place.start(suite="full", n=None)
    assert run.budget.calls == 12, "one cap over all suites"
    report = place.do(run).result
    assert [one.suite_name for one in report.suites] == ["quick", "long"]
    assert report.family_suites == {"quick": 3, "long": 5}
    with pytest.raises(InvalidInput, match="no suite 'nope'"):
        place.start(suite="nope", n=None)


def test_a_cap_in_dollars_needs_a_price_of_the_champion_that_a_suite_asks_too(tmp_path):
    family = topic_family(targets={"n": 3, "regression": {"per_class": None, "latency": None}})
    world = World(tmp_path, family=family, model=TopicModel(needs=0)).fill(n_dev=8)
    mine = replace(family.variant(), model={**family.variant().model, "name": "other"})
    keep_variant(world.store, family.name, mine, START, source="edited")
    world.price = lambda name: world.model.price if name == "other" else None
    place = Evaluated(world)
    assert place.start(variant=mine.id, n=None, dry_run=True).suites[0].models == ["fake", "other"]
    with pytest.raises(BudgetTooSmall, match="'fake' has no known price"):
        place.start(variant=mine.id, n=None, caps={"usd": 1.0})


def test_what_a_suite_cost_is_reported_though_another_cannot_be_asked(two_suites, monkeypatch):
    place, evaluate = two_suites, evaluate_suites.evaluate_variant
    run = place.start(suite="full", n=None)

    def refused(*about, **options):
        if about[3].suite == "long":
            raise Conflict("It was changed meanwhile.")
        return evaluate(*about, **options)

    monkeypatch.setattr(evaluate_suites, "evaluate_variant", refused)
    made = place.do(run)
    assert (made.status, [one.suite_name for one in made.result.suites]) == ("finished", ["quick"])
    assert [(one.suite, one.why) for one in made.result.not_measured] == [("long", "It was changed meanwhile.")]


def test_a_suite_that_meets_a_locked_store_is_measured_when_the_run_goes_on(two_suites, monkeypatch):
    place, evaluate = two_suites, evaluate_suites.evaluate_variant
    run = place.start(suite="full", n=None)
    locked = [Busy("Another process holds the store.")]

    def once_locked(*about, **options):
        if about[3].suite == "long" and locked:
            raise locked.pop()
        return evaluate(*about, **options)

    monkeypatch.setattr(evaluate_suites, "evaluate_variant", once_locked)
    with pytest.raises(Busy):
        place.do(run)
    report = place.do(run).result
    assert ([one.suite_name for one in report.suites], report.not_measured) == (["quick", "long"], [])


def test_a_killed_worker_goes_on_asks_nothing_twice_and_keeps_one_batch(tmp_path):
    place = Evaluated(World(tmp_path, model=TopicModel(needs=0, before=killed_at(5))).fill())
    run = place.start(caps={"calls": 7})
    with pytest.raises(Killed):
        place.do(run)
    assert place.read(run).status == "running"
    made = place.do(run)
    assert (made.status, place.n_calls(run), len(place.batches())) == ("finished", 7, 1)
    writing(place.world.store).runs.update(run.id, status="running", finished_at=None)
    place.do(run)
    assert (place.n_calls(run), len(place.batches())) == (7, 1), "killed between batch and end"


def test_what_a_killed_worker_spent_counts_for_the_cap(tmp_path):
    place = Evaluated(World(tmp_path, model=TopicModel(needs=0, before=killed_at(5))).fill())
    run = place.start(caps={"calls": 5})
    with pytest.raises(Killed):
        place.do(run)
    made = place.do(run)
    (missed,) = made.result.not_measured
    assert (made.result.suites, "cap of 5 calls" in missed.why, place.n_calls(run)) == ([], True, 5)
    assert place.batches() == []


def test_it_stops_before_its_next_call(place):
    def after_two(one):
        if one.n_done == 2:
            stop_evaluation(place.context, ItemActRequest(id=one.id))
        place.world.clock.pass_seconds(1)

    made = place.do(place.start(), watched=after_two)
    assert (made.status, made.n_done < 6, made.result, place.batches()) == ("cancelled", True, None, [])
    assert read_jobs(place.context, PageRequest()).items == []


def test_it_stands_among_the_jobs_and_a_stranger_finds_none(place):
    run = place.start()
    (item,) = read_jobs(place.context, PageRequest()).items
    assert (item.kind, item.location) == ("evaluation", f"/v1/evaluations/{run.id}")
    with pytest.raises(NotFound, match="There is no evaluation 'ev_0'"):
        read_evaluation(place.context, ItemRequest(id="ev_0"))


def test_a_key_of_role_read_sees_figures_only(tmp_path):
    world = JudgedWorld(tmp_path, model=writer_by(lambda request: f"{MARK}: {prompt_of(request)[-12:]}"))
    place = Evaluated(world.fill_letters())
    run = place.start()
    assert place.do(run).status == "finished"
    done, write = place.read(run), use_case_of(read_evaluation).written
    written = [write(done, figures_only=one).decode() for one in (False, True)]
    assert ["opinions" in one for one in written] == [True, False], "what the judge said is a text"
    assert '"n_judged":6' in written[1]
