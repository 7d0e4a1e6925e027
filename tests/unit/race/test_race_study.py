"""A study that races: the same promises as of every study, for fewer calls."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from optimizer.core.base.values import Budget
from optimizer.core.search.run_off import RUN_OFF, rows_in_words
from tests.clock import Clock
from tests.worlds.study_world import START, Killed, TopicModel, World

N_DEV = 20
SIZES = {"n_train": 12, "n_dev": N_DEV, "n_holdout": 20, "n_candidates": 4, "n_settings": 4}


def world_of(folder, **options):
    return World(folder, **options).fill(n_dev=N_DEV)


def searched(world, **options):
    return world.run(world.create(strategy="race", definition=SIZES, **options))


def caught_at(n, error):
    def before(count):
        if count == n:
            raise error

    return before


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    world = world_of(tmp_path_factory.mktemp("race"))
    return world, searched(world)


def n_results(world, study):
    with world.store.read() as tx:
        found = world.store.studies.results(tx, study.id, "search")
    return {variant: len(results) for variant, results in found.items()}


def test_a_race_finds_what_full_evaluation_finds_for_fewer_calls(done, tmp_path):
    world, race = world_of(tmp_path), done[1]
    in_full = world.run(world.create(strategy="bootstrap+settings", definition=SIZES))
    assert [(each.status, each.outcome) for each in (race, in_full)] == [("finished", "nominated")] * 2
    assert race.spend.n_calls - 40 < 0.85 * (in_full.spend.n_calls - 40)


def test_champion_and_winner_met_every_dev_example_and_the_others_say_that_they_were_dropped(done):
    world, study = done
    trials = {t.variant: t for t in world.trials(study)}
    met = n_results(world, study)
    assert met[study.champion] == met[study.winner] == N_DEV
    assert trials[study.champion].number == 0
    dropped = [t for t in trials.values() if t.status == "dropped"]
    assert dropped
    assert {t.status for t in trials.values()} == {"complete", "dropped"}
    assert all(t.n == met[t.variant] < N_DEV for t in dropped)
    assert study.spend.n_calls == sum(t.n_calls for t in trials.values()) + 40


@pytest.mark.parametrize("at", [80, *(pytest.param(n, marks=pytest.mark.long) for n in (10, 40, 120))])
def test_a_race_that_was_torn_off_takes_the_same_way_and_asks_nothing_twice(done, tmp_path, at):
    undisturbed, before = done
    world = world_of(tmp_path, model=TopicModel(before=caught_at(at, Killed())))
    study = world.create(strategy="race", definition=SIZES)
    with pytest.raises(Killed):
        world.run(study)
    met = n_results(world, study)
    assert not [t for t in world.trials(study) if t.status == "complete" and met[t.variant] < N_DEV], "too early"
    resumed = World(tmp_path)
    ended = resumed.run(study)
    assert (ended.outcome, ended.winner) == (before.outcome, before.winner)
    ways = [
        [(t.variant, t.proposer, t.status, t.score, t.n) for t in w.trials(s)]
        for w, s in ((resumed, ended), (undisturbed, before))
    ]
    assert ways[0] == ways[1]
    resumed.assert_asked_nothing_twice(ended)


@pytest.mark.parametrize(
    "n_calls", [72, 120, *(pytest.param(n, marks=pytest.mark.long) for n in (88, 104, 136, 152, 168, 184))]
)
def test_a_race_under_a_cap_on_calls_ends_within_it_and_compares_on_what_champion_and_leader_both_met(
    tmp_path, n_calls
):
    world = world_of(tmp_path)
    study = searched(world, budget=Budget(calls=n_calls))
    assert study.spend.n_calls <= n_calls
    met, trials = n_results(world, study), {t.variant: t for t in world.trials(study)}
    n_used = study.findings[RUN_OFF]["n_used"]
    assert {t.status for t in trials.values()} <= {"complete", "dropped", "stopped"}
    assert trials[study.champion].status == "complete"
    if study.winner is not None:
        assert study.outcome == "nominated"
        assert trials[study.winner].status == "complete"
        assert n_used == min(met[study.champion], met[study.winner])
        if n_used < N_DEV:
            assert study.spend.n_calls >= n_calls - 2
            assert f"The choice rests on {n_used} of {N_DEV} dev rows." in rows_in_words(study.findings)
    if study.spend.search_cut:
        assert "calls are held back for the confirmation." in study.spend.search_cut


def test_a_dry_run_of_a_race_expects_no_more_calls_than_full_evaluation(done):
    world, _ = done
    race = world.create(strategy="race", definition=SIZES, dry_run=True)
    in_full = world.create(strategy="bootstrap+settings", definition=SIZES, dry_run=True)
    assert race.calls.expected < in_full.calls.expected
    assert race.n_trials == in_full.n_trials


def test_a_race_that_runs_out_of_dollars_has_left_what_its_end_needs(tmp_path):
    world = world_of(tmp_path)
    reserved = world.create(strategy="race", definition=SIZES, dry_run=True, budget=Budget(usd=5.0)).reserved_usd
    study = searched(world, budget=Budget(usd=reserved * 1.02))
    assert study.spend.usd <= reserved * 1.02
    assert study.spend.search_cut is None or "end of the race" in study.spend.search_cut
    assert n_results(world, study)[study.champion] == N_DEV


def timed(folder, seconds_at):
    """A world in which only the model's answers take time: ``seconds_at(n)`` for the n-th."""
    clock = Clock(START)

    def before(n):
        clock.at += timedelta(seconds=seconds_at(n))

    return world_of(folder, clock=clock, model=TopicModel(before=before))


@pytest.mark.long
def test_a_race_that_runs_out_of_time_finishes_its_leader_and_confirms_it_in_time(tmp_path):
    world = timed(tmp_path, lambda n: 0.01)  # as the model says that it takes
    budget = Budget(minutes=2.0 / 60)
    study = searched(world, budget=budget)
    assert "has used its time" in study.spend.search_cut
    met = n_results(world, study)
    assert met[study.champion] == met[study.winner] == N_DEV
    assert study.outcome == "nominated"
    assert study.finished_at - study.started_at <= timedelta(minutes=budget.minutes)


@pytest.mark.long
def test_an_example_that_is_forgotten_between_kill_and_resume_does_not_keep_candidates_from_winning(tmp_path):
    world = world_of(tmp_path, model=TopicModel(before=caught_at(80, Killed())))
    study = world.create(strategy="race", definition=SIZES)
    with pytest.raises(Killed):
        world.run(study)
    gone = study.dataset["dev"][3]
    resumed = World(tmp_path)
    resumed.store.write(lambda tx: tx.execute(text("DELETE FROM examples WHERE id = :id"), {"id": gone}))
    ended = resumed.run(study)
    assert ended.outcome == "nominated"
    assert {t.n for t in resumed.trials(ended) if t.status == "complete"} == {29}


@pytest.mark.parametrize("how", ["cancelled after a kill", "its scorer fails"])
def test_no_trial_of_an_ended_study_is_left_running(tmp_path, how):
    error = Killed() if how.startswith("cancelled") else RuntimeError("out of paper")
    world = world_of(tmp_path, model=TopicModel(before=caught_at(100, error)))
    study = world.create(strategy="race", definition=SIZES)
    with pytest.raises(type(error)):
        world.run(study)
    if isinstance(error, Killed):
        assert "running" in {t.status for t in world.trials(study)}
        world.stop(study)
        world.run(study)
    trials = world.trials(study)
    assert {t.status for t in trials} <= {"complete", "stopped"}
    assert all(t.finished_at is not None for t in trials)


def test_a_race_that_was_cancelled_goes_on_where_it_was(done, tmp_path):
    world = world_of(tmp_path, clock=Clock(START, step_s=1.0))
    study = world.create(strategy="race", definition=SIZES)
    world.model.before = lambda n: world.stop(study) if n == 90 else None
    assert world.run(study).status == "cancelled"
    ended = world.run(world.resume(study))
    _, undisturbed = done
    assert (ended.outcome, ended.winner) == (undisturbed.outcome, undisturbed.winner)
    assert {t.status for t in world.trials(ended)} == {"complete", "dropped"}
    assert len({c.key for c in world.calls(ended)}) == len(world.calls(ended)) == ended.spend.n_calls


def test_without_all_of_the_champions_dev_examples_nothing_wins_and_the_holdout_stays_sealed(tmp_path):
    world = timed(tmp_path, lambda n: 3600.0 if n == 20 else 0.01)
    study = searched(world, budget=Budget(minutes=1.0))
    assert n_results(world, study)[study.champion] < N_DEV
    assert study.winner is None
    assert not [c for c in world.calls(study) if c.purpose == "confirmation"]
