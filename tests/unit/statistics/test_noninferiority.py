"""Paired non-inferiority: outside vectors, slow independent computations,
and what follows from the choice of the test.
"""

from __future__ import annotations

import json
import os
import random
from math import comb
from pathlib import Path

import pytest

from optimizer.core.statistics.noninferiority import (
    clopper_pearson,
    exact_p,
    fewest_rows,
    gaffke_p,
    not_lower,
    statistic,
    tango_p,
)

SHARED = Path(os.environ.get("DETENT_SHARED", Path(__file__).parents[4] / "shared"))
VECTORS = SHARED / "statistics" / "noninferiority_vectors.json"


def vectors(part: str, n: int) -> list[dict]:
    if not VECTORS.exists():
        pytest.skip(f"the shared vectors are not at {VECTORS} (DETENT_SHARED)")
    found = json.loads(VECTORS.read_text())[part]["vectors"]
    assert len(found) == n
    return found


def test_the_score_test_agrees_with_the_shared_vectors():
    for case in vectors("tango", 38):
        given = case["inputs"]
        counts = given["n"], given["wins"], given["losses"], given["h"]
        z, u = statistic(*counts)
        found = {"z": z, "u": u, "p": tango_p(*counts)}
        assert found == pytest.approx(case["expected"], abs=case["abs_tol"]), case["id"]


def test_the_exact_test_agrees_with_the_shared_vectors_with_and_without_restriction():
    for case in vectors("exact", 35):
        given, expected = case["inputs"], case["expected"]
        counts = given["n"], given["wins"], given["losses"], given["h"]
        assert exact_p(*counts) == pytest.approx(expected["p_berger_boos"], abs=case["abs_tol"]), case["id"]
        assert exact_p(*counts, restricted=False) == pytest.approx(expected["p"], abs=case["abs_tol"]), case["id"]


def test_gaffkes_test_agrees_with_the_shared_vectors():
    for case in vectors("scores", 8):
        given = case["inputs"]
        expected = pytest.approx(case["expected"]["gaffke_p"], abs=case["abs_tol"])
        assert gaffke_p(given["differences"], margin=given["h"]) == expected, case["id"]


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (2, 1), (1, 3), (0, 2)])
def test_the_exact_p_is_the_largest_chance_of_all_tables_as_extreme(wins: int, losses: int):
    n, margin = 18, 0.1
    observed = statistic(n, wins, losses, margin)[0] - 1e-9
    extreme = [
        (w, x, comb(n, w) * comb(n - w, x))
        for w in range(n + 1)
        for x in range(n + 1 - w)
        if statistic(n, w, x, margin)[0] >= observed
    ]

    def chance(u: float) -> float:
        return sum(ways * u**w * (u + margin) ** x * (1 - 2 * u - margin) ** (n - w - x) for w, x, ways in extreme)

    largest = max(chance(i / 2000 * (1 - margin) / 2) for i in range(2001))
    assert exact_p(n, wins, losses, margin, restricted=False) == pytest.approx(largest, abs=1e-5)


@pytest.mark.parametrize("n", [29, 60])
def test_gaffkes_p_is_clopper_and_pearsons_where_rows_are_equal_or_lost(n: int):
    for n_lost in (0, 2):
        chance = sum(comb(n, i) * 0.05**i * 0.95 ** (n - i) for i in range(n_lost + 1))
        assert gaffke_p([-1.0] * n_lost + [0.0] * (n - n_lost), margin=0.05) == pytest.approx(chance, abs=1e-9)


@pytest.mark.parametrize(("n", "right"), [(12, 10), (40, 30), (5, 5)])
def test_gaffkes_p_beside_a_known_floor_is_clopper_and_pearsons_where_each_row_is_all_or_nothing(n: int, right: int):
    floor, margin = 0.7, 0.05
    chance = sum(comb(n, i) * 0.65**i * 0.35 ** (n - i) for i in range(right, n + 1))
    scores = [1.0] * right + [0.0] * (n - right)
    found = not_lower([floor] * n, scores, margin=margin, level=0.2, lowest=-floor)
    assert (found["test"], found["p"]) == ("gaffke", pytest.approx(chance, abs=1e-9))


def test_the_limits_of_a_share_are_clopper_and_pearsons():
    low, high = clopper_pearson(8, 40, 0.025)
    assert (low, high) == (pytest.approx(0.0905, abs=1e-4), pytest.approx(0.3565, abs=1e-4))
    assert clopper_pearson(0, 40, 0.025) == (0.0, pytest.approx(1 - 0.025 ** (1 / 40), abs=1e-9))
    beyond_half = clopper_pearson(330, 5000, 5e-7)[0]  # the sum from k on would vanish beside .5
    assert beyond_half == pytest.approx(0.0501, abs=1e-3)


@pytest.mark.parametrize(
    ("margin", "level", "n"), [(0.05, 0.05, 59), (0.05, 0.1, 45), (0.05, 0.2, 32), (0.01, 0.2, 161), (0.1, 0.05, 29)]
)
def test_the_fewest_rows_without_a_win_pass_and_one_fewer_does_not(margin: float, level: float, n: int):
    assert fewest_rows(margin, level) == n
    for test in (lambda rows: exact_p(rows, 0, 0, margin), lambda rows: gaffke_p([0.0] * rows, margin=margin)):
        assert test(n) <= level < test(n - 1)


def test_rows_that_all_lose_just_the_margin_show_nothing():
    assert gaffke_p([-0.05] * 30, margin=0.05, lowest=-0.05) == 1.0


def test_scores_of_0_and_1_are_tested_exactly_and_all_others_by_gaffkes_test():
    champion = [1.0, 0.0] * 50
    assert not_lower(champion, champion, margin=0.05, level=0.1)["test"] == "exact"
    graded = not_lower([*champion[:-1], 0.5], champion, margin=0.05, level=0.1)
    assert (graded["test"], graded["n"], graded["fewest"]) == ("gaffke", 100, 45)
    many = champion * 51
    assert not_lower(many, many, margin=0.05, level=0.05)["test"] == "tango"


def test_rows_of_one_group_count_once_with_their_mean():
    champion, candidate = [1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]
    found = not_lower(champion, candidate, margin=0.1, level=0.2, groups=["a", "a", "b", "c"])
    assert (found["n"], found["test"]) == (3, "gaffke")
    assert found["p"] == gaffke_p([-0.5, 0.0, 0.0], margin=0.1)
    same = champion * 30
    copies = not_lower(same, same, margin=0.1, level=0.2, groups=[0, 1, 2, 3] * 30)
    assert copies["p"] > 0.2 > not_lower(same, same, margin=0.1, level=0.2)["p"]  # 4 rows prove nothing, 120 would


def test_a_candidate_worse_by_the_margin_passes_seldom_enough():
    rng, n, level = random.Random(7), 120, 0.2
    known: dict[tuple[int, int], float] = {}
    passed = 0
    for _ in range(1500):
        draws = [rng.random() for _ in range(n)]
        counts = sum(x < 0.05 for x in draws), sum(0.05 <= x < 0.15 for x in draws)  # loses .10 and wins .05
        if counts not in known:
            known[counts] = exact_p(n, *counts, 0.05)
        passed += known[counts] <= level
    assert 0.12 < passed / 1500 < 0.2 + 0.03


@pytest.mark.parametrize(("margin", "level"), [(0.0, 0.1), (1.0, 0.1), (0.05, 0.0), (0.05, 1.0)])
def test_a_margin_or_level_that_cannot_be_tested_is_refused(margin: float, level: float):
    with pytest.raises(ValueError, match="between 0 and 1"):
        not_lower([1.0], [1.0], margin=margin, level=level)


@pytest.mark.parametrize(
    ("champion", "candidate", "groups"), [([], [], None), ([1.0], [1.0, 0.0], None), ([1.0], [1.0], ["a", "b"])]
)
def test_rows_that_do_not_pair_are_refused(champion: list[float], candidate: list[float], groups: list[str] | None):
    with pytest.raises(ValueError, match="same rows"):
        not_lower(champion, candidate, margin=0.05, level=0.1, groups=groups)


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="wins or losses"):
        exact_p(10, 6, 5, 0.05)
    with pytest.raises(ValueError, match="margin"):
        tango_p(10, 1, 1, 1.5)
