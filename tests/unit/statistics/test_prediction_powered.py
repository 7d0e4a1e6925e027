"""The mean rating of judged answers, of which people rated a random few."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from optimizer.core.base.values import Interval
from optimizer.core.statistics.prediction_powered import (
    LEAST_RATINGS,
    PoweredMean,
    RatedAnswer,
    powered_mean,
    t_quantile,
)


def population(n: int, seed: int, noise: float = 0.2) -> tuple[list[float], list[float]]:
    """Ratings, and a judge's scores that follow them with some noise."""
    rng = random.Random(seed)
    ratings = [rng.choice([0.0, 0.25, 0.5, 0.75, 1.0]) for _ in range(n)]
    return ratings, [min(1.0, max(0.0, rating + rng.gauss(0, noise))) for rating in ratings]


def powered(ratings: list[float], scores: list[float], n: int) -> PoweredMean:
    rated = [RatedAnswer(score=s, rating=r) for s, r in zip(scores[:n], ratings[:n], strict=True)]
    found = powered_mean(sum(scores) / len(scores), len(scores), rated)
    assert found is not None
    return found


@pytest.mark.parametrize("freedom", [15, 18, 28, 98, 298])
def test_the_quantile_of_students_t_is_that_of_scipy(freedom: int) -> None:
    from scipy.stats import t as student

    assert t_quantile(0.975, freedom) == pytest.approx(student.ppf(0.975, freedom), abs=1e-5)


def test_the_estimate_is_that_of_ppi_python_with_the_same_slope() -> None:
    from ppi_py import ppi_mean_pointestimate

    ratings, scores = population(400, seed=1)
    ours = powered(ratings, scores, 50)
    theirs = ppi_mean_pointestimate(np.array(ratings[:50]), np.array(scores[:50]), np.array(scores), lam=ours.slope)
    assert ours.mean == pytest.approx(float(theirs[0]))


def test_a_good_judge_narrows_the_interval_and_a_useless_one_leaves_it() -> None:
    ratings, good = population(1000, seed=2)
    useless = [random.Random(f"{i}").random() for i in range(1000)]
    assert _width(powered(ratings, good, 50).interval) < 0.75 * _width(powered(ratings, good, 50).people)
    found = powered(ratings, useless, 50)
    assert _width(found.interval) == pytest.approx(_width(found.people), rel=0.1)


def test_a_judge_whose_scores_go_the_wrong_way_is_not_used() -> None:
    ratings, scores = population(300, seed=3)
    found = powered(ratings, [1 - score for score in scores], 50)
    assert found.slope == 0
    assert found.mean == pytest.approx(found.people_mean)
    assert _width(found.interval) == pytest.approx(_width(found.people), rel=0.03)


def test_too_few_ratings_give_no_interval() -> None:
    ratings, scores = population(100, seed=5)
    rated = [RatedAnswer(score=s, rating=r) for s, r in zip(scores, ratings, strict=True)]
    assert powered_mean(0.5, 100, rated[: LEAST_RATINGS - 1]) is None
    assert powered_mean(0.5, 100, rated[:LEAST_RATINGS]) is not None


def test_ratings_that_are_all_alike_are_not_taken_for_certainty() -> None:
    """Of 20 draws without a failure the share of failures may be 1 - .025^(1/20) = .168."""
    found = powered([1.0] * 200, [0.9] * 200, 20)
    assert found.mean == 1
    assert found.interval.upper == 1
    assert found.interval.lower == pytest.approx(1 - 0.1684, abs=1e-4)


def test_answers_count_by_the_inverse_of_their_inclusion_probability() -> None:
    """Bad answers were drawn four times as often; weighted back they are as many as they are."""
    rated = [RatedAnswer(score=0.5, rating=0.0, inclusion=0.4)] * 40 + [
        RatedAnswer(score=0.5, rating=1.0, inclusion=0.1)
    ] * 40
    found = powered_mean(0.5, 1000, rated)
    assert found.people_mean == pytest.approx(0.8)


def test_all_answers_rated_leave_only_that_they_are_a_sample_themselves() -> None:
    ratings, scores = population(60, seed=6)
    found = powered(ratings, scores, 60)
    assert found.mean == pytest.approx(found.people_mean)
    assert _width(found.interval) == pytest.approx(_width(found.people), rel=0.1)


def test_the_predicted_width_is_what_further_ratings_give() -> None:
    predicted, obtained = [], []
    for seed in range(40):
        ratings, scores = population(1000, seed=seed)
        predicted.append(powered(ratings, scores, 40).width_after(60))
        obtained.append(_width(powered(ratings, scores, 100).interval))
    assert sum(predicted) == pytest.approx(sum(obtained), rel=0.05)


def test_the_interval_holds_the_truth_19_times_in_20_where_most_ratings_are_alike() -> None:
    """One in eight is bad: with the normal quantile, 20 ratings would hold it 17 times in 20."""
    rng, hits, runs = random.Random(7), 0, 600
    for _ in range(runs):
        ratings = [0.0 if rng.random() < 0.125 else rng.choice([0.8, 1.0]) for _ in range(400)]
        scores = [min(1.0, max(0.0, rating + rng.gauss(0, 0.3))) for rating in ratings]
        found = powered(ratings, scores, 20).interval
        hits += found.lower <= 0.875 * 0.9 <= found.upper
    assert hits / runs >= 0.93


def test_a_draw_whose_scores_lie_far_from_those_of_all_answers_says_less() -> None:
    ratings, scores = population(50, seed=8)
    rated = [RatedAnswer(score=s, rating=r) for s, r in zip(scores, ratings, strict=True)]
    middle = sum(scores) / 50
    near, far = powered_mean(middle, 1000, rated), powered_mean(middle - 0.3, 1000, rated)
    assert _width(far.interval) > 1.2 * _width(near.interval)


def test_where_a_few_answers_are_very_bad_the_lower_side_reaches_further() -> None:
    ratings = [0.0] * 3 + [0.8, 0.9, 1.0] * 9
    found = powered(ratings, [0.5] * 30, 30)
    assert found.mean - found.interval.lower > 1.3 * (found.interval.upper - found.mean)


def test_what_is_no_sample_is_refused() -> None:
    rated = [RatedAnswer(score=0.5, rating=0.5)] * 30
    with pytest.raises(ValueError, match="29 judged, 30 rated"):
        powered_mean(0.5, 29, rated)
    with pytest.raises(ValueError, match="no interval"):
        powered_mean(0.5, 100, [*rated, replace(rated[0], inclusion=0.0)])


def _width(interval: Interval) -> float:
    return interval.upper - interval.lower
