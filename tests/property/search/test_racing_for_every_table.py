"""What holds for a race, whatever the scores are."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from optimizer.core.search.racing import ContinuousRejects, Race

RULES = [
    ContinuousRejects(),
    ContinuousRejects(calls=9),
    ContinuousRejects(share=0.3),
]
score = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1))


@st.composite
def tables(draw):
    """Contender -> its score on each example."""
    n_examples, n_variants = draw(st.integers(1, 14)), draw(st.integers(1, 7))
    row = st.lists(score, min_size=n_examples, max_size=n_examples)
    return {f"v{i}": draw(row) for i in range(n_variants)}


def play(table, rule, seed, *, stop_after=None):
    """(race, calls made): until the race is decided or so many calls were made."""
    n_examples = len(next(iter(table.values())))
    race = Race([str(i) for i in range(n_examples)], rule, seed=seed)
    for variant in table:
        race.enter(variant)
    calls = go_on(race, table, stop_after)
    return race, calls


def go_on(race, table, stop_after=None):
    calls = []
    while turns := race.turns():
        for turn in turns:
            scores = []
            for example in turn.examples:
                if stop_after is not None and len(calls) >= stop_after:
                    break
                calls.append((turn.variant, example))
                scores.append(table[turn.variant][int(example)])
            race.tell(turn, scores)
        if stop_after is not None and len(calls) >= stop_after:
            break
    return calls


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(table=tables(), seed=st.integers(0, 3))
def test_a_race_ends_asks_nothing_twice_and_its_leader_was_measured(rule, table, seed):
    race, calls = play(table, rule, seed)
    assert len(calls) == len(set(calls))
    leader = race.leader()
    if leader is None:
        assert all(x is None for scores in race.standing.scores.values() for x in scores)
    else:
        assert any(x is not None for x in race.standing.scores[leader])


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(table=tables(), seed=st.integers(0, 3))
def test_everybody_meets_the_first_examples_of_the_order_and_the_calls_of_a_variant_are_in_it(rule, table, seed):
    race, calls = play(table, rule, seed)
    for variant in table:
        met = [example for v, example in calls if v == variant]
        assert met == list(race.order[: len(met)])
        assert met


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(table=tables(), seed=st.integers(0, 3), stop_after=st.integers(0, 40))
def test_a_race_stopped_anywhere_and_fed_its_scores_again_takes_the_same_way(rule, table, seed, stop_after):
    straight, all_calls = play(table, rule, seed)
    _, calls = play(table, rule, seed, stop_after=stop_after)
    assert calls == all_calls[:stop_after]
    again, replayed = play(table, rule, seed)  # a new process, whose journal answers
    assert replayed == all_calls
    assert again.leader() == straight.leader()
