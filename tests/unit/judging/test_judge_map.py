"""The map from a judge's scores to people's ratings."""

from __future__ import annotations

import random

import pytest

from optimizer.adapters.predictors.judge_agreement import LEAST_ISOTONIC, fit_map, fit_points, map_scores


def answers(n: int, seed: int = 1) -> tuple[list[float], list[float]]:
    """Scores of a judge that is far too generous and on the whole right, and the ratings."""
    rng = random.Random(seed)
    ratings = [rng.random() for _ in range(n)]
    return [min(1.0, max(0.0, 0.6 + 0.4 * rating + rng.gauss(0, 0.05))) for rating in ratings], ratings


def error(found: list[float], ratings: list[float]) -> float:
    return sum((f - r) ** 2 for f, r in zip(found, ratings, strict=True)) / len(ratings)


@pytest.mark.parametrize("n", [20, 300])
def test_a_map_brings_scores_nearer_to_the_ratings_of_other_answers(n: int) -> None:
    scores, ratings = answers(n)
    later_scores, later = answers(400, seed=2)
    found = fit_map(scores, ratings, [str(i) for i in range(n)])
    mean = [sum(ratings) / n] * 400
    assert error(map_scores(found.points, later_scores), later) < 0.5 * error(later_scores, later)
    assert error(map_scores(found.points, later_scores), later) < 0.5 * error(mean, later)


def test_few_ratings_get_the_curve_and_many_what_is_nearer_out_of_fold() -> None:
    """The scores say only whether a rating is above the middle: a step, which a curve does not follow."""
    rng = random.Random(3)
    scores = [rng.random() for _ in range(400)]
    ratings = [0.2 + 0.3 * (score > 0.3) + 0.4 * (score > 0.8) for score in scores]
    few = fit_map(scores[: LEAST_ISOTONIC - 1], ratings[: LEAST_ISOTONIC - 1], [str(i) for i in range(199)])
    assert few.method == "platt"
    assert fit_map(scores, ratings, [str(i) for i in range(400)]).method == "isotonic"


def test_the_isotonic_map_is_that_of_scikit_learn() -> None:
    from sklearn.isotonic import IsotonicRegression

    scores, ratings = answers(250)
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, ratings)
    asked = [i / 37 for i in range(38)]
    mapped = map_scores(fit_points("isotonic", scores, ratings), asked)
    assert mapped == pytest.approx(list(model.predict(asked)), abs=1e-4)


def test_a_judge_that_is_wrong_way_round_gets_the_mean_rating() -> None:
    scores, ratings = answers(60)
    points = fit_points("platt", [1 - score for score in scores], ratings)
    assert points == ((0.0, pytest.approx(sum(ratings) / 60)),)


@pytest.mark.parametrize(
    ("scores", "ratings", "expected"),
    [
        pytest.param([0.5] * 20, [0.0, 1.0] * 10, 0.5, id="one score"),
        pytest.param([i / 20 for i in range(20)], [1.0] * 20, 1.0, id="all good"),
        pytest.param([i / 20 for i in range(20)], [0.0] * 20, 0.0, id="all bad"),
    ],
)
def test_what_tells_nothing_gets_the_mean_rating(scores: list[float], ratings: list[float], expected: float) -> None:
    assert map_scores(fit_map(scores, ratings, [str(i) for i in range(20)]).points, [0.1, 0.9]) == [expected, expected]


def test_an_answer_out_of_fold_does_not_know_the_ratings_of_its_group() -> None:
    scores, ratings = answers(40)
    groups = [str(i // 4) for i in range(40)]
    found = fit_map(scores, ratings, groups)
    turned = [1 - r if g == "3" else r for r, g in zip(ratings, groups, strict=True)]
    again = fit_map(scores, turned, groups)
    of_group = [i for i, group in enumerate(groups) if group == "3"]
    assert [found.out_of_fold[i] for i in of_group] == [again.out_of_fold[i] for i in of_group]
    assert found.out_of_fold != again.out_of_fold
