"""A study that races: the same promises as of every study, for fewer calls."""

from __future__ import annotations

from collections import Counter

import pytest

from optimizer.core.strategy import without_turn
from optimizer.core.study import Budget
from optimizer.jobs.request_stop import request_stop
from tests.study_world import SteadyClock, TopicModel, World

SIZES = {"n_train": 12, "n_dev": 30, "n_holdout": 20, "n_candidates": 4, "n_settings": 4}


def world_of(folder, **options):
    return World(folder, **options).fill(n_dev=30)


def searched(world, **options):
    return world.run(world.create(strategy="race", definition=SIZES, **options))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = world_of(tmp_path_factory.mktemp("race"))
    return world, searched(world)


def n_results(world, study):
    with world.store.read() as tx:
        return {variant: len(results) for variant, results in world.store.studies.results(tx, study.id, "search").items()}


def test_a_race_finds_what_full_evaluation_finds_for_fewer_calls(tmp_path_factory):
    ended = {}
    for strategy in ("race", "bootstrap+settings"):
        world = world_of(tmp_path_factory.mktemp("one"), model=TopicModel(needs=4))  # so that most contenders are no good
        ended[strategy] = world.run(world.create(strategy=strategy, definition=SIZES))
        assert (ended[strategy].status, ended[strategy].outcome) == ("finished", "nominated")
    n_search = {strategy: study.spend.n_calls - 40 for strategy, study in ended.items()}
    assert n_search["race"] < 0.85 * n_search["bootstrap+settings"]


def test_champion_and_winner_met_every_dev_example_and_the_others_say_that_they_were_dropped(done):
    world, study = done
    trials = {t.variant: t for t in world.trials(study)}
    met = n_results(world, study)
    assert met[study.champion] == met[study.winner] == 30
    assert trials[study.champion].number == 0
    dropped = [t for t in trials.values() if t.status == "dropped"]
    assert dropped
    assert {t.status for t in trials.values()} == {"complete", "dropped"}
    assert all(t.n == met[t.variant] < 30 for t in dropped)
    assert study.spend.n_calls == sum(t.n_calls for t in trials.values()) + 40


def test_no_request_of_a_race_is_asked_twice(done):
    world, study = done
    assert max(Counter(c.key for c in world.calls(study)).values()) == 1


@pytest.mark.parametrize("at", [10, 40, 80, 120])
def test_a_race_that_was_torn_off_takes_the_same_way_and_asks_nothing_twice(done, tmp_path, at):
    class Pulled(BaseException):
        """The plug."""

    def pull(n):
        if n == at:
            raise Pulled

    undisturbed, before = done
    world = world_of(tmp_path, model=TopicModel(before=pull))
    study = world.create(strategy="race", definition=SIZES)
    with pytest.raises(Pulled):
        world.run(study)
    resumed = World(tmp_path)
    ended = resumed.run(study)
    assert (ended.outcome, ended.winner) == (before.outcome, before.winner)
    ways = [[(t.variant, t.proposer, t.status, t.score, t.n) for t in w.trials(s)] for w, s in ((resumed, ended), (undisturbed, before))]
    assert ways[0] == ways[1]
    assert max(Counter(c.key for c in resumed.calls(ended) if c.status == "settled").values()) == 1


@pytest.mark.parametrize("n_calls", range(72, 200, 16))
def test_a_race_that_its_budget_cuts_short_keeps_calls_for_its_leaders_last_examples(tmp_path, n_calls):
    world = world_of(tmp_path)
    study = searched(world, budget=Budget(calls=n_calls))
    assert study.spend.n_calls <= n_calls
    met = n_results(world, study)
    assert met[study.champion] == 30
    if study.winner is not None:
        assert met[study.winner] == 30
        assert study.outcome == "nominated"
    if study.spend.search_cut:
        assert "calls are held back" in study.spend.search_cut
        assert all(t.status in ("complete", "stopped") for t in world.trials(study))


def test_a_race_cut_short_finds_a_winner_before_full_evaluation_would_have_had_one(tmp_path):
    study = searched(world_of(tmp_path), budget=Budget(calls=150))
    assert study.outcome == "nominated"
    assert study.spend.search_cut


def test_a_race_cut_before_the_settings_had_their_turn_says_so(tmp_path):
    world = world_of(tmp_path)
    study = searched(world, budget=Budget(calls=120))
    assert study.spend.search_cut
    assert without_turn(study, world.trials(study)) == ("settings",)


def test_a_cancelled_race_stops_before_its_next_call(tmp_path):
    clock = SteadyClock(1.0)
    world = world_of(tmp_path, clock=clock)
    study = world.create(strategy="race", definition=SIZES)

    def stop(n):
        if n == 60:
            request_stop(study.id, actor="person", store=world.store, clock=clock)

    world.model.before = stop
    ended = world.run(study)
    assert ended.status == "cancelled"
    assert len(world.model.requests) == 60
    assert {t.status for t in world.trials(ended)} <= {"complete", "stopped"}


def test_a_race_with_several_calls_in_flight_stays_within_its_budget_and_counts_every_call(tmp_path):
    world = world_of(tmp_path, model=TopicModel(concurrency=8))
    study = searched(world, budget=Budget(calls=240))
    assert study.outcome == "nominated"
    assert study.spend.n_calls <= 240
    assert study.spend.n_calls == sum(t.n_calls for t in world.trials(study)) + 40
    assert max(Counter(c.key for c in world.calls(study)).values()) == 1


def test_a_dry_run_of_a_race_expects_no_more_calls_than_full_evaluation(done):
    world, _ = done
    race = world.create(strategy="race", definition=SIZES, dry_run=True)
    in_full = world.create(strategy="bootstrap+settings", definition=SIZES, dry_run=True)
    assert race.calls.expected < in_full.calls.expected
    assert race.n_trials == in_full.n_trials
