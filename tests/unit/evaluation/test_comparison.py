"""Paired tests: an independent slow computation, and known cases."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import combinations, product
from math import factorial

import pytest

from optimizer.core.base.values import p95
from optimizer.core.evaluation.comparison import (
    bootstrap_interval,
    bootstrap_reduction_p,
    compare_scores,
    mcnemar_p,
    sign_flip_p,
)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (3, 2), (5, 5), (9, 4), (2, 11)])
def test_exact_mcnemar_equals_counting_every_coin_sequence(wins: int, losses: int):
    sequences = list(product((0, 1), repeat=wins + losses))
    assert mcnemar_p(wins, losses) == sum(sum(s) >= wins for s in sequences) / len(sequences)


def test_exact_mcnemar_equals_a_sum_of_factorials_for_many_pairs():
    tail = sum(Fraction(factorial(60), factorial(k) * factorial(60 - k)) for k in range(40, 61))
    assert mcnemar_p(40, 20) == pytest.approx(float(tail / 2**60), rel=1e-12)


def test_the_sign_flip_test_of_few_differences_equals_choosing_every_subset_to_flip():
    differences = [0.3, -0.1, 0.25, 0.0, 0.4, -0.05, 0.2]
    nonzero = [d for d in differences if d]
    sums = [
        sum(-abs(d) if i in flipped else abs(d) for i, d in enumerate(nonzero))
        for size in range(len(nonzero) + 1)
        for flipped in map(set, combinations(range(len(nonzero)), size))
    ]
    expected = sum(s >= sum(differences) - 1e-12 for s in sums) / len(sums)
    assert sign_flip_p(differences, seed=1) == pytest.approx(expected)


def test_the_drawn_sign_flip_test_comes_close_to_a_naive_simulation():
    rng = random.Random(3)
    differences = [rng.gauss(0.04, 0.2) for _ in range(60)]
    other = random.Random(99)
    observed = sum(differences)
    naive = sum(sum(d * other.choice((-1, 1)) for d in differences) >= observed for _ in range(4000)) / 4000
    assert sign_flip_p(differences, seed=5) == pytest.approx(naive, abs=0.03)


def test_the_sign_flip_test_is_never_certain_and_repeats_with_its_seed():
    differences = [0.5] * 40
    assert 0 < sign_flip_p(differences, seed=1) < 0.001
    mixed = [0.1, -0.08] * 20 + [0.02]
    assert sign_flip_p(mixed, seed=7) == sign_flip_p(mixed, seed=7) != sign_flip_p(mixed, seed=8)


def test_under_no_gain_the_sign_flip_test_rejects_about_as_often_as_it_says():
    rng = random.Random(11)
    rejected = sum(sign_flip_p([rng.uniform(-1, 1) for _ in range(25)], seed=i, n_draws=300) <= 0.1 for i in range(300))
    assert 12 <= rejected <= 50  # 30 expected, standard deviation 5.2


def test_scores_of_zero_and_one_are_compared_by_mcnemar_and_others_by_sign_flip():
    assert compare_scores([0, 1, 0], [1.0, 1, 0], seed=1).test == "mcnemar"
    assert compare_scores([0, 1, 0.5], [1.0, 1, 0], seed=1).test == "sign_flip"


def test_a_comparison_counts_wins_ties_and_losses_and_the_lift_lies_in_its_interval():
    found = compare_scores([0.0] * 10 + [1.0] * 5 + [0.0] * 5, [1.0] * 10 + [1.0] * 5 + [0.0] * 4 + [1.0], seed=1)
    assert (found.wins, found.ties, found.losses) == (11, 9, 0)
    assert found.lift == pytest.approx(found.candidate_mean - found.champion_mean) == pytest.approx(0.55)
    assert found.interval.lower < found.lift < found.interval.upper
    assert found.p == pytest.approx(2**-11)


def test_a_bootstrap_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = random.Random(2)
    held = 0
    for i in range(200):
        interval = bootstrap_interval([rng.gauss(0.1, 0.3) for _ in range(40)], seed=i, n_draws=400)
        held += interval.lower <= 0.1 <= interval.upper
    assert 176 <= held <= 199  # 190 expected; the percentile interval is a little short


def test_an_interval_of_groups_that_are_one_each_is_that_of_rows_and_of_several_it_is_wider():
    rng = random.Random(3)
    differences = [rng.choice([-1.0, 0.0, 1.0]) for _ in range(20)]
    rows, single = (bootstrap_interval(differences, seed=0, groups=each) for each in (None, [*map(str, range(20))]))
    assert rows == single
    tenfold = [difference for difference in differences for _ in range(10)]
    few = bootstrap_interval(tenfold, seed=0, groups=[str(at // 10) for at in range(200)])
    many = bootstrap_interval(tenfold, seed=0)
    assert few.upper - few.lower > 2 * (many.upper - many.lower)
    of_one = bootstrap_interval(differences, seed=0, groups=["one"] * 20)
    assert (of_one.lower, of_one.upper) == (min(differences), max(differences))


def of_cases(rng: random.Random, n_groups: int, size: int) -> tuple[list[float], list[float], list[str]]:
    """Scores of two equal variants where all rows of one case say the same, and their groups."""
    scores = [(rng.choice((0.0, 1.0)), rng.choice((0.0, 1.0))) for _ in range(n_groups)]
    rows = [(*pair, f"case-{i}") for i, pair in enumerate(scores) for _ in range(size)]
    return [b for b, _, _ in rows], [c for _, c, _ in rows], [group for _, _, group in rows]


def test_rows_of_one_case_make_an_equal_variant_no_surer_to_be_called_better_or_cheaper():
    rng, n = random.Random(4), 400
    better, cheaper, by_row = 0, 0, 0
    for i in range(n):
        before, after, groups = of_cases(rng, 10, 10)
        better += compare_scores(before, after, seed=i, n_draws=20, groups=groups).p <= 0.05
        by_row += compare_scores(before, after, seed=i, n_draws=20).p <= 0.05
        dollars = [[0.1 + score for score in scores] for scores in (before, after)]
        cheaper += bootstrap_reduction_p(*dollars, seed=i, n_draws=500, groups=groups) <= 0.05
    noise = 2 * (n * 0.05 * 0.95) ** 0.5
    assert max(better, cheaper) <= n * 0.05 + noise < by_row


def test_few_groups_are_never_surer_than_their_signs_can_be_however_many_rows_they_hold():
    for n_groups in (1, 2, 4):
        groups = [str(at % n_groups) for at in range(120)]
        ones, zeros = [1.0] * 120, [0.0] * 120
        assert compare_scores(zeros, ones, seed=1, groups=groups).p == 2.0**-n_groups
        for statistic in (None, p95):
            assert bootstrap_reduction_p(ones, zeros, statistic=statistic, seed=1, n_draws=99, groups=groups) == max(
                0.01, 2.0**-n_groups
            )


def test_groups_of_one_row_each_change_nothing():
    rng = random.Random(6)
    alone = [*map(str, range(30))]
    for draw in (rng.random, lambda: rng.choice((0.0, 1.0))):
        before, after = ([draw() for _ in alone] for _ in range(2))
        assert compare_scores(before, after, seed=1, groups=alone) == compare_scores(before, after, seed=1)
        for statistic in (None, p95):
            rows, single = (
                bootstrap_reduction_p(before, after, statistic=statistic, seed=1, n_draws=99, groups=groups)
                for groups in (None, alone)
            )
            assert rows == single


def test_a_wider_confidence_gives_a_wider_interval():
    differences = [0.1, -0.2, 0.3, 0.05, 0.0, 0.2]
    narrow, wide = (bootstrap_interval(differences, seed=1, confidence=c) for c in (0.8, 0.99))
    assert wide.lower < narrow.lower <= narrow.upper < wide.upper


def test_a_cost_that_is_halved_everywhere_is_a_reduction_and_an_equal_one_is_not():
    def mean(values):
        return sum(values) / len(values)

    champion = [1.0, 2.0, 3.0, 4.0] * 5
    assert bootstrap_reduction_p(champion, [c / 2 for c in champion], statistic=mean, seed=1, n_draws=999) == 0.001
    assert bootstrap_reduction_p(champion, champion, statistic=mean, seed=1, n_draws=999) == 1.0
    slower = [c * 1.1 for c in champion]
    assert bootstrap_reduction_p(champion, slower, statistic=p95, seed=1, n_draws=999) == 1.0


def test_p95_is_the_nearest_rank():
    assert p95(list(range(1, 101))) == 95
    assert p95([7.0]) == 7.0


@pytest.mark.parametrize(("champion", "candidate"), [([], []), ([1.0], [1.0, 0.0])])
def test_lists_that_do_not_pair_are_refused(champion: list[float], candidate: list[float]):
    with pytest.raises(ValueError, match="same examples"):
        compare_scores(champion, candidate, seed=1)
