"""What no interruption, failure or race may do to a study: mix, lose, ship or pay anything that it should not."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from optimizer.core.base.errors import BudgetTooSmall, ModelFailed
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.variant import VariantRecord
from optimizer.core.models.language import ModelPrice
from optimizer.core.serving.champion import next_tenure
from optimizer.jobs.studies import run_study as job
from optimizer.jobs.studies.search_trials import Trials
from tests.clock import Clock
from tests.worlds.study_world import START, Killed, TopicModel, World, killed_at, topic_family


def test_a_study_cancelled_while_it_is_taken_up_stays_cancelled(tmp_path):
    world = World(tmp_path).fill()
    study = world.create()

    def scorer_for(family):
        world.stop(study)
        return world.scorer

    ended = world.run(study, scorer_for=scorer_for)
    assert (ended.status, ended.started_at) == ("cancelled", None)
    assert world.model.requests == []


def test_a_failure_does_not_overwrite_how_a_study_ended(tmp_path):
    world = World(tmp_path).fill()
    study = world.create()

    def scorer_for(family):
        world.stop(study)
        raise ModelFailed("Too late to matter.")

    assert world.run(study, scorer_for=scorer_for).status == "cancelled"


def test_time_that_ran_out_while_nobody_worked_keeps_what_was_found(tmp_path):
    world = World(tmp_path, model=TopicModel(before=killed_at(30))).fill()
    study = world.create(budget=Budget(minutes=30))
    with pytest.raises(Killed):
        world.run(study)
    found = [t.variant for t in world.trials(study) if t.status == "complete"]
    assert len(found) >= 2
    clock = Clock(START, step_s=0.001)
    clock.at = world.clock.at + timedelta(hours=5)
    late = World(tmp_path, clock=clock)
    ended = late.run(study)
    assert [t.variant for t in late.trials(ended) if t.status == "complete"] == found
    assert ended.outcome == "nominated"
    assert {c.purpose for c in late.calls(ended)[30:]} <= {"confirmation"}


def test_a_study_cancelled_with_a_complete_journal_is_not_finished_by_it(tmp_path, monkeypatch):
    world = World(tmp_path).fill()
    world.run(world.create(strategy="bootstrap"))
    again = world.create(strategy="bootstrap")

    def stop_then(family):
        assert world.stored(again).status == "queued"
        return world.scorer

    evaluate, parts_met = Trials.evaluate, []

    def stopped_before_the_third(trials, evaluator, parts):
        parts_met.append(parts)
        if len(parts_met) == 3:
            world.stop(again)
        return evaluate(trials, evaluator, parts)

    monkeypatch.setattr(Trials, "evaluate", stopped_before_the_third)
    world.clock.step_s = 1.0
    ended = world.run(again, scorer_for=stop_then)
    assert (ended.status, len(parts_met)) == ("cancelled", 3)
    assert ended.confirmation is None


def test_the_pace_of_an_interrupted_study_is_known_at_once(tmp_path, monkeypatch):
    world = World(tmp_path, model=TopicModel(before=killed_at(20))).fill()
    study = world.create()
    with pytest.raises(Killed):
        world.run(study)
    paces = []
    monkeypatch.setattr(
        job, "_search_and_confirm", lambda run, _holdout: paces.append(run.seconds_per_call()) or run.study
    )
    World(tmp_path).run(study)
    assert paces == [pytest.approx(0.01)]


def test_a_confirmation_that_was_cancelled_goes_on_with_the_winner_that_looked(tmp_path, monkeypatch):
    world = World(tmp_path).fill()
    study = world.create(strategy="bootstrap")

    def stop_at_the_first_look(n):
        if "of holdout" in str(world.model.requests[-1].messages[-1]["content"]):
            world.stop(study)

    world.model.before = stop_at_the_first_look
    world.clock.step_s = 1.0
    cancelled = world.run(study)
    world.model.before = None
    assert (cancelled.status, cancelled.outcome) == ("cancelled", None)
    assert world.n_looked_at(study)
    world.resume(study)

    def no_search(*args, **kwargs):
        raise AssertionError("a second search could bring a second winner to a holdout that was looked at once")

    monkeypatch.setattr(job, "run_search", no_search)
    ended = world.run(study)
    assert (ended.status, ended.winner, ended.confirmation["looks"]) == ("finished", cancelled.winner, 1)


def test_a_study_cancelled_between_search_and_confirmation_does_not_spend_its_look(tmp_path, monkeypatch):
    world = World(tmp_path).fill()
    study = world.create(strategy="bootstrap")
    confirm_winner = job.confirm_winner

    def stopped_before(*args, **kwargs):
        world.stop(study)
        return confirm_winner(*args, **kwargs)

    monkeypatch.setattr(job, "confirm_winner", stopped_before)
    world.clock.step_s = 1.0
    assert world.run(study).status == "cancelled"
    assert world.n_looked_at() == 0


def test_scores_of_two_scorers_never_meet_in_one_study(tmp_path):
    world = World(tmp_path, model=TopicModel(before=killed_at(20))).fill()
    study = world.create()
    with pytest.raises(Killed):
        world.run(study)
    edited = World(tmp_path, family=topic_family(scorer={"label_match": 0.5, "exact_match": 0.5}))
    edited.scorer = Scorer(edited.family.output, edited.family.metrics, list(METRICS.built_in.values()))
    ended = edited.run(study)
    assert ended.status == "failed"
    assert "scorer" in ended.error
    assert edited.model.requests == []


def replace_champion(world, tx, variant):
    record = VariantRecord(family="topics", variant=variant, source="person", created_at=START, created_by="test")
    world.store.variants.add(tx, record)
    current = world.store.champions.current(tx, "topics")
    world.store.champions.put(
        tx, next_tenure(current, variant=variant.id, at=START, by="test", why="no limit", forced=True)
    )


class FailsOnHoldout(TopicModel):
    """Gives up on some holdout documents as soon as examples are shown."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.failing = {f"number {i} of holdout" for i in range(n)}

    def _text(self, request):
        shown = any(m["role"] == "assistant" for m in request.messages)
        if shown and any(name in str(request.messages[-1]["content"]) for name in self.failing):
            raise ModelFailed("The request was refused.", kind="http", status_of_model=400)
        return super()._text(request)


def test_a_winner_that_fails_where_the_champion_answers_is_judged_by_the_worst_case(tmp_path):
    family = topic_family(rollout={"gates": {"n": 12, "max_risk": 0.05}})
    failing = World(tmp_path, family=family, model=FailsOnHoldout(8)).fill(n_holdout=24)
    study = failing.run(failing.create(strategy="bootstrap", definition={"n_holdout": 24}))
    assert study.confirmation["n"] == 16
    assert study.confirmation["n_unscored"] == 8
    # The champion of this world scores 0 everywhere, so losing eight examples costs no quality:
    # nothing speaks against it.
    assert study.outcome == "nominated"


class Champion(FailsOnHoldout):
    """Right half of the time without examples, nearly always with them, and silent on the documents it fails on."""

    def _text(self, request):
        text = str(request.messages[-1]["content"])
        if not any(m["role"] == "assistant" for m in request.messages):
            knows = any(name in text for name in self.failing) or "number 1 of dev" in text
            return next(t for t in ("biology", "physics", "music") if t in text) if knows else "?"
        return super()._text(request)


def test_failing_on_what_the_champion_can_do_does_not_ship(tmp_path):
    family = topic_family(rollout={"gates": {"n": 12, "max_risk": 0.3}})
    world = World(tmp_path, family=family, model=Champion(10)).fill(n_holdout=24)
    study = world.run(world.create(strategy="bootstrap", definition={"n_holdout": 24}))
    missed = {g["name"]: g["verdict"] for g in study.confirmation["gates"] if g["verdict"] != "pass"}
    assert study.outcome == "not_confirmed"
    assert missed == {"measured": "error"}
    assert "10" in study.confirmation["summary"]


class Gated(TopicModel):
    """Holds every call of the search back until somebody opens the gate, except the first few."""

    def __init__(self) -> None:
        super().__init__(concurrency=4)
        self.after_end: list[int] = []
        self.ended = False

    async def complete(self, request):
        if self.ended:
            self.after_end.append(1)
        return await super().complete(request)


def test_nothing_is_in_flight_and_nothing_is_asked_after_a_cancelled_search(tmp_path, monkeypatch):
    model = Gated()
    world = World(tmp_path, model=model).fill(n_train=30, n_dev=12)
    study = world.create(definition={"n_dev": 12})
    in_flight = threading.Event()
    release = threading.Event()

    def slow(n):
        if n == 30:
            in_flight.set()
            release.wait(60)

    model.before = slow
    seen = []
    original = job.run_search

    def searched(run, **kwargs):
        def stop_soon():
            in_flight.wait(60)
            world.stop(study)
            threading.Timer(0.3, release.set).start()

        stopper = threading.Thread(target=stop_soon)
        stopper.start()
        found = original(run, **kwargs)
        stopper.join()
        seen.append(Counter(c.status for c in world.calls(study)))
        model.ended = True
        return found

    monkeypatch.setattr(job, "run_search", searched)
    world.clock.step_s = 1.0
    ended = world.run(study)
    assert ended.status == "cancelled"
    assert seen[0]["sent"] == 0
    assert model.after_end == []
    assert ended.spend.n_calls == len(world.calls(study))


@pytest.mark.parametrize(
    ("price", "max_tokens"),
    [
        pytest.param(None, 8, id="no price"),
        pytest.param(ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0), None, id="no output limit"),
    ],
)
def test_a_dollar_cap_over_calls_without_bound_is_refused_before_anything_is_written(tmp_path, price, max_tokens):
    world = World(tmp_path).fill()
    if max_tokens is None:
        unlimited = world.family.variant()
        without = {name: value for name, value in unlimited.model.items() if name != "max_tokens"}
        world.store.write(lambda tx: replace_champion(world, tx, replace(unlimited, model=without)))
    world.model.price = price
    world.model.max_output_tokens = None
    with pytest.raises(BudgetTooSmall, match=r"price|output limit"):
        world.create(budget=Budget(usd=5.0))
    with world.store.read() as tx:
        assert world.store.studies.page(tx)[0] == []


def test_a_dollar_cap_is_refused_when_a_model_of_the_space_has_no_price(tmp_path):
    world = World(tmp_path).fill()
    prices = {"fake": world.model.price, "free": None}
    world.price = prices.__getitem__
    with pytest.raises(BudgetTooSmall, match="'free' has no known price"):
        world.create(budget=Budget(usd=5.0), definition={"space": {"model": {"choices": ["fake", "free"]}}})
    assert (
        world.create(definition={"space": {"model": {"choices": ["fake", "free"]}}}, dry_run=True).reserved_usd is None
    )
