"""Strategy ``race``: whose contenders enter when, who meets which examples, and what the proposers are told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from optimizer.core.base.values import ExampleResult
from optimizer.core.search.call_estimate import answers_for_a_race, is_raced
from optimizer.core.search.proposers.race import CHAMPION_FIRST, RacedSearch
from optimizer.core.search.racing import ContinuousRejects, Race
from optimizer.core.search.strategy import Proposal
from optimizer.core.search.study import Definition
from tests.worlds.study_world import topic_examples, topic_family

FAMILY = topic_family()
START = FAMILY.variant()
DEV = topic_examples(40, "dev")
Score = Callable[[str, str], float | None]  # of a variant on an example


def variant(number: int) -> Any:
    return replace(START, model={**START.model, "max_tokens": 100 + number})


class Scripted:
    """Proposes the given variants and keeps what it is told."""

    def __init__(self, numbers: list[int], name: str) -> None:
        self.left, self.name = list(numbers), name
        self.told: dict[str, float | None] = {}
        self.told_before_ask: list[int] = []
        self.start: Any = None

    def begin(self, start: Any) -> Scripted:
        self.start = start
        return self

    def ask(self) -> Proposal | None:
        self.told_before_ask.append(len(self.told))
        return Proposal(variant=variant(self.left.pop(0)), proposer=self.name) if self.left else None

    def tell(self, proposal: Proposal, score: float | None, results: Any) -> None:
        self.told[proposal.variant.id] = score


def race(*strategies: Scripted, seed: int = 1) -> RacedSearch:
    return RacedSearch(START, [one.begin for one in strategies], [e.id for e in DEV], seed=seed)


def passed(levels: dict[str, float]) -> Score:
    """An example is passed by those whose level is above its difficulty."""
    return lambda id, example: float(levels.get(id, 0.3) > int(example.split("-")[1]) / 40)


def play(search: RacedSearch, score: Score) -> dict[str, list[str]]:
    """Plays to the end: variant -> examples that it met, in order."""
    met: dict[str, list[str]] = {}
    while heats := search.heats():
        for heat in heats:
            id, examples = heat.proposal.variant.id, heat.turn.examples
            met.setdefault(id, []).extend(examples)
            search.tell(heat, [ExampleResult(example=e, score=score(id, e), output="") for e in examples])
    return met


GOOD = variant(2).id


def test_the_champion_meets_a_few_examples_before_the_first_proposal():
    search = race(Scripted([1, 2, 3], "a"))
    (heat,) = search.heats()
    assert heat.proposal.variant == START
    assert len(heat.turn.examples) == CHAMPION_FIRST


def test_what_the_end_may_ask_for_is_known_at_any_time():
    search = race(Scripted([1, 2, 3, 4, 5], "a"))
    rng = random.Random(2)
    for n_rounds in range(12):
        for heat in search.heats():
            search.tell(heat, [ExampleResult(example=e, score=rng.random(), output="") for e in heat.turn.examples])
        asked = [len(heat.turn.examples) for heat in search.last()]
        assert sum(asked) <= search.n_last, n_rounds


def test_those_that_are_behind_meet_fewer_examples_and_nobody_meets_one_twice():
    search = race(Scripted([1, 2, 3, 4, 5], "a"))
    met = play(search, passed({GOOD: 0.9} | {variant(n).id: 0.05 for n in (1, 3, 4, 5)}))
    assert all(len(set(examples)) == len(examples) for examples in met.values())
    others = [len(examples) for id, examples in met.items() if id not in (START.id, GOOD)]
    assert len(others) == 4
    assert max(others) < len(DEV) / 2


def test_the_next_proposer_starts_from_the_leader_and_is_told_after_each_wave():
    second = Scripted([11, 12, 13, 14, 15, 16], "b")
    search = race(Scripted([1, 2, 3], "a"), second)
    play(search, passed({GOOD: 0.9}))
    assert second.start == variant(2)
    assert second.told_before_ask == [1, 1, 1, 1, 5, 5, 5], "of the leader, then of the first wave, too"
    assert set(second.told) == {GOOD, *(variant(n).id for n in range(11, 15))}


def test_what_a_proposer_is_told_is_on_the_scale_of_the_scores():
    first = Scripted([1, 2, 3], "a")
    second = Scripted([], "b")
    play(race(first, second), passed({GOOD: 0.9}))
    assert first.told[START.id] == pytest.approx(0.3, abs=0.2), "after a dozen examples"
    assert 0.6 < second.told[GOOD] <= 0.91, "drawn towards the others"


def test_a_proposal_that_is_in_already_does_not_enter_twice():
    search = race(Scripted([1, 2], "a"), Scripted([2, 1], "b"))
    met = play(search, passed({GOOD: 0.9}))
    assert set(met) == {START.id, variant(1).id, GOOD}


def test_without_proposals_only_the_champion_is_asked():
    assert set(play(race(Scripted([], "a")), passed({}))) == {START.id}


def test_a_contender_without_a_score_where_the_champion_has_one_is_out_and_does_not_lead():
    search = race(Scripted([1, 2, 3], "a"))
    missing = search.heats()[0].turn.examples[1]  # all of them meet the same ones first
    met = play(search, lambda id, example: 0.3 if id != GOOD else None if example == missing else 1.0)
    assert len(met[GOOD]) == 4
    assert search.leader().variant.id != GOOD


def test_nobody_is_out_for_an_example_that_the_champion_has_no_score_on_either():
    search = race(Scripted([1, 2], "a"))
    lost = search.heats()[0].turn.examples[0]
    met = play(search, lambda id, example: None if example == lost else 0.9 if id == GOOD else 0.3)
    assert len(met[START.id]) == len(met[GOOD]) == len(DEV)


def test_an_example_that_was_forgotten_leaves_the_order_of_the_others_as_it_was():
    ids = [e.id for e in DEV]
    whole = RacedSearch(START, [], ids, seed=3).heats()[0].turn.examples
    rest = RacedSearch(START, [], [id for id in ids if id != whole[5]], seed=3).heats()[0].turn.examples
    assert rest[:11] == tuple(e for e in whole if e != whole[5])


def test_with_a_cap_on_calls_each_proposers_contenders_get_their_part_of_them():
    numbers = range(1, 11)
    levels = {variant(n).id: 0.4 + 0.01 * n for n in (*numbers, *range(11, 21))}

    def asked(calls: int | None) -> tuple[int, int]:
        proposers = [lambda start: Scripted(list(numbers), "a"), lambda start: Scripted(list(range(11, 21)), "b")]
        search = RacedSearch(START, proposers, [e.id for e in DEV], seed=1, calls=calls, n_contenders=[10, 10])
        met = play(search, passed(levels))
        by_second = max(len(met[variant(n).id]) for n in range(11, 21))
        return sum(map(len, met.values())), by_second

    total, by_second = asked(300)
    assert 280 <= total <= 300, "the end of leader and champion is within the calls"
    assert by_second > 4, "the first proposer's contenders left something"
    assert total < asked(None)[0] <= 0.5 * 21 * len(DEV) + 2 * len(DEV)


@pytest.mark.parametrize("calls", [44, 60, 90, 120, 200])
def test_a_race_over_one_list_chooses_what_its_rule_alone_chooses_with_the_same_calls(calls):
    levels = {variant(n).id: 0.2 + 0.05 * (n * 7 % 11) for n in range(1, 11)}
    for seed in range(6):
        proposers = [lambda start: Scripted([], "a"), lambda start: Scripted(list(range(1, 11)), "b")]
        search = RacedSearch(
            START, proposers, [e.id for e in DEV], seed=seed, calls=calls, n_contenders=[0, 10], n_champion_first=0
        )
        met = play(search, passed(levels))
        alone = Race([e.id for e in DEV], ContinuousRejects(calls=calls, share=1.0), seed=seed)
        for id in met:
            alone.enter(id)
        while turns := alone.turns():
            for turn in turns:
                alone.tell(turn, [passed(levels)(turn.variant, e) for e in turn.examples])
        if calls <= 0.5 * 11 * len(DEV):
            leader = search.leader()
            assert leader.variant.id == alone.leader()
        assert sum(map(len, met.values())) <= calls


@pytest.mark.parametrize(("calls", "is_level"), [(90, False), (150, True)])
def test_what_is_left_of_the_calls_brings_the_champion_as_far_as_its_leader_or_is_not_spent(calls, is_level):
    levels = {variant(n).id: 0.6 for n in range(1, 11)} | {GOOD: 0.9}
    search = RacedSearch(
        START,
        [lambda start: Scripted(list(range(1, 11)), "a")],
        [e.id for e in DEV],
        seed=1,
        calls=calls,
        n_contenders=[10],
        n_champion_first=0,
    )
    met = play(search, passed(levels))
    assert {p.variant.id for p in search.pair} == {START.id, GOOD}
    n_champion, n_leader = len(met[START.id]), len(met[GOOD])
    assert met[GOOD][:n_champion] == met[START.id]
    assert (n_champion == n_leader) is is_level
    assert is_level or n_leader - n_champion > calls - sum(map(len, met.values())) > 0, (
        "a few more would decide nothing"
    )


def test_of_a_budget_a_race_may_have_what_confirmation_and_bootstrapping_leave():
    def answers(budget: int | None, per_answer: int = 1) -> int | None:
        sizes = Definition(n_candidates=3, max_examples=2)
        return answers_for_a_race(budget, sizes, n_train=50, n_confirmation=30, per_answer=per_answer)

    assert answers(None) is None
    assert answers(300) == 300 - 30 - 4 * 4, (
        "four rounds of bootstrapping, each expected to ask for twice as many examples as are shown"
    )
    assert answers(300, per_answer=3) == (300 - 30) // 3 - 4 * 4
    assert answers(40) == 0


@pytest.mark.parametrize(
    ("strategies", "aim", "calls", "races"),
    [
        pytest.param(["race"], "quality", None, True, id="race always"),
        pytest.param(["joint"], "quality", 90 * 10 - 1, True, id="joint where its calls do not pay for all rows"),
        pytest.param(["joint"], "quality", 90 * 10, False, id="not where they do"),
        pytest.param(["joint"], "quality", None, False, id="nor without a cap"),
        pytest.param(["joint"], "cost", 100, False, id="nor for another aim than quality"),
        pytest.param(["settings"], "quality", 100, False, id="no other strategy"),
    ],
)
def test_who_races_is_known_beforehand(strategies, aim, calls, races):
    assert is_raced(strategies, aim, Definition(n_settings=89), calls=calls, n_dev=10) is races
