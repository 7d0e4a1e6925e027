"""Who meets the next example: the race, its rule, and the estimate that it reads."""

from __future__ import annotations

import random
from math import inf, sqrt

import numpy as np
import pytest

from optimizer.core.search.racing import ContinuousRejects, Race, _variances, estimate, first_look, reach

EXAMPLES = [f"e{i}" for i in range(40)]
GOOD, BAD = "good", "bad"


def drawn(share: float, seed: int, n: int = len(EXAMPLES)) -> list[float]:
    rng = random.Random(seed)
    return [float(rng.random() < share) for _ in range(n)]


def run(race: Race, table: dict[str, list[float]]) -> dict[str, int]:
    """Plays a race to its end; contender -> calls."""
    at = {e: i for i, e in enumerate(EXAMPLES)}
    calls = dict.fromkeys(table, 0)
    while turns := race.turns():
        for turn in turns:
            calls[turn.variant] += len(turn.examples)
            race.tell(turn, [table[turn.variant][at[e]] for e in turn.examples])
    return calls


def entered(rule, table, seed=1) -> Race:
    race = Race(EXAMPLES, rule, seed=seed)
    for variant in table:
        race.enter(variant)
    return race


def test_the_best_of_clearly_different_contenders_wins_for_far_fewer_calls_than_all():
    table = {f"v{i}": drawn(0.2, i) for i in range(12)} | {GOOD: drawn(0.95, 99)}
    race = entered(ContinuousRejects(), table)
    calls = run(race, table)
    assert race.leader() == GOOD
    assert sum(calls.values()) < 0.6 * len(table) * len(EXAMPLES)


def test_a_contender_that_enters_late_can_still_win():
    table = {f"v{i}": drawn(0.2, i) for i in range(6)}
    race = entered(ContinuousRejects(), table)
    run(race, table)
    race.enter(GOOD)
    run(race, table | {GOOD: drawn(0.95, 99)})
    assert race.leader() == GOOD


def test_what_could_not_be_measured_never_leads():
    table = {"unmeasured": [None] * 40, BAD: [0.0] * 40}
    race = entered(ContinuousRejects(), table)
    assert race.leader() is None
    run(race, table)
    assert race.leader() == BAD


def test_a_race_without_contenders_or_examples_is_decided():
    assert Race(EXAMPLES, ContinuousRejects(), seed=1).turns() == []
    empty = Race([], ContinuousRejects(), seed=1)
    empty.enter(GOOD)
    assert empty.turns() == []
    assert empty.leader() is None


def test_one_contender_alone_needs_no_more_than_its_first_examples():
    race = entered(ContinuousRejects(), {GOOD: [1.0] * 40})
    assert run(race, {GOOD: [1.0] * 40})[GOOD] <= 8


def test_the_first_of_equals_leads():
    table = {"champion": [0.5] * 40, "same": [0.5] * 40}
    race = entered(ContinuousRejects(), table)
    run(race, table)
    assert race.leader() == "champion"


def by_the_formula(table: dict[str, list[float]], calls: int, n_examples: int) -> dict[str, int]:
    """Contender -> calls: the rule written down once more, its reach by bisection."""
    left, asked, spent = list(table), dict[str, int](), 0
    met = max(1, min(4, calls // (2 * len(table))))
    while True:
        while len(left) > 1:
            mean = {v: sum(table[v][:met]) / met for v in left}
            worst = min(reversed(left), key=lambda v: mean[v])
            others = [mean[v] for v in left if v != worst]
            far = by_bisection(len(left), calls - spent, n_examples)
            if not sum(others) / len(others) - mean[worst] > sqrt(far / (met * len(left))) - 1:
                break
            left.remove(worst)
            asked[worst] = met
            spent += met
        if len(left) == 1 or met == n_examples or spent + len(left) * (met + 1) > calls:
            return asked | dict.fromkeys(left, met)
        met += 1


def by_bisection(n: int, calls: int, n_examples: int) -> float:
    """How far the calls reach: the level C with which those of the levels C / i, none above the examples, add up."""

    if calls >= n * n_examples:
        return inf

    def used(c: float) -> float:
        levels = [min(n_examples, c / i) for i in range(2, n + 1)]
        return sum(levels) + levels[0]

    low, high = 0.0, float(n * n_examples)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if used(middle) <= max(1, calls) else (low, middle)
    return low


@pytest.mark.parametrize("calls", [30, 90, 120, 200, 350])
def test_continuous_rejects_drop_whom_the_formula_drops_and_stay_within_the_calls(calls):
    for seed in range(8):
        table = {f"v{i}": drawn(0.2 + 0.07 * i, 100 * seed + i) for i in range(10)}
        race = entered(ContinuousRejects(calls=calls, share=1.0), table, seed=seed)
        made = run(race, table)
        at = {e: i for i, e in enumerate(EXAMPLES)}
        in_order = {v: [scores[at[e]] for e in race.order] for v, scores in table.items()}
        assert made == by_the_formula(in_order, calls, len(EXAMPLES))
        assert sum(made.values()) <= calls
        assert made[race.leader()] == max(made.values())


@pytest.mark.parametrize(("n", "calls", "n_examples"), [(2, 30, 40), (10, 60, 40), (10, 300, 40), (200, 4000, 100)])
def test_the_reach_of_the_calls_uses_them_up_where_nobody_meets_more_than_there_is(n, calls, n_examples):
    assert reach(n, calls, n_examples) == pytest.approx(by_bisection(n, calls, n_examples))


def test_calls_that_pay_for_everything_let_nobody_fall_for_want_of_them():
    assert reach(10, 401, 40) == inf
    table = {f"v{i}": drawn(0.5, i) for i in range(6)}
    made = run(entered(ContinuousRejects(calls=1000, share=1.0), table), table)
    assert set(made.values()) == {40}


@pytest.mark.parametrize(
    ("calls", "n", "first"),
    [(None, 9, 4), (1000, 9, 4), (72, 9, 4), (71, 9, 3), (36, 9, 2), (9, 9, 1), (0, 9, 1), (90, 1, 1)],
)
def test_a_first_look_takes_at_most_half_of_the_calls_and_never_more_than_four_of_each(calls, n, first):
    assert first_look(calls, n) == first


def test_without_a_budget_a_race_makes_a_share_of_all_calls():
    table = {f"v{i}": drawn(0.5, i) for i in range(10)}
    by_share, by_calls = (
        run(entered(rule, table), table)
        for rule in (ContinuousRejects(share=0.25), ContinuousRejects(share=1.0, calls=100))
    )
    assert by_share == by_calls


def test_a_latecomer_brings_back_only_whom_its_coming_makes_too_early_a_fall():
    table = {f"v{i}": drawn(0.2, i) for i in range(6)} | {GOOD: drawn(0.95, 99)}
    race = entered(ContinuousRejects(), {v: s for v, s in table.items() if v != "v5"})
    before = run(race, table)
    race.enter("v5")
    after = run(race, table)
    assert 0 < after["v5"] < len(EXAMPLES)
    assert race.leader() == GOOD
    assert sum(before.values()) + sum(after.values()) <= 0.5 * len(table) * len(EXAMPLES)


# --- the estimates --------------------------------------------------------------------------------------------------


def test_effects_solve_hendersons_equations():
    """Against the definition: all examples and Variants in one linear system, solved densely."""
    rng = random.Random(5)
    scores = {f"v{k}": [rng.random() for _ in range(n)] for k, n in enumerate((12, 12, 8, 4, 4, 4))}
    effects = _effects_of(scores)
    noise, spread = _variances(scores)
    names, n_examples = list(scores), 12
    size = n_examples + len(names)
    left, right = np.zeros((size, size)), np.zeros(size)
    for k, name in enumerate(names):
        left[n_examples + k, n_examples + k] += 1 / spread
        for i, x in enumerate(scores[name]):
            rows = [i, n_examples + k]
            left[np.ix_(rows, rows)] += 1 / noise
            right[rows] += x / noise
    solved = np.linalg.solve(left, right)[n_examples:]
    for k, name in enumerate(names):
        assert effects[name] == pytest.approx(solved[k], abs=1e-9)


def _effects_of(scores):
    return estimate(tuple((v, tuple(own)) for v, own in scores.items()))


def test_the_spread_of_equal_variants_is_the_least_and_of_different_ones_near_the_truth():
    rng = random.Random(1)
    effects = [rng.gauss(0, 0.2) for _ in range(60)]
    different = {f"v{i}": [e + rng.gauss(0, 0.1) for _ in range(30)] for i, e in enumerate(effects)}
    equal = {f"v{i}": [0.5 + rng.gauss(0, 0.1) for _ in range(30)] for i in range(60)}
    noise, spread = _variances(different)
    assert noise == pytest.approx(0.01, rel=0.2)
    assert spread == pytest.approx(0.04, rel=0.4)
    assert _variances(equal)[1] == pytest.approx(0.0004, abs=0.0003)


def test_a_harder_example_for_all_changes_no_gap():
    rng = random.Random(2)
    scores = {f"v{k}": [rng.random() for _ in range(n)] for k, n in enumerate((10, 10, 6, 6))}
    harder = {v: [x - 0.3 * (i == 8) - 0.2 * (i < 3) for i, x in enumerate(s)] for v, s in scores.items()}
    for other in ("v1", "v2", "v3"):
        before, after = (effects["v0"] - effects[other] for effects in (_effects_of(scores), _effects_of(harder)))
        assert after == pytest.approx(before, abs=1e-9)
