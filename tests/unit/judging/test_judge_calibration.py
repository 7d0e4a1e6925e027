"""What a judge's calibration record says, and which judge may decide by itself."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from datetime import UTC, datetime
from math import sqrt
from statistics import correlation

import pytest

from optimizer.core.base.answers import of_members
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.gates import GateVerdict
from optimizer.core.evaluation.judging.calibration import (
    Calibration,
    calibrated_gate,
    independent_ratings,
    least_correlation,
    why_uncalibrated,
)
from optimizer.core.evaluation.judging.judgement import Judgement, MemberScore
from optimizer.core.evaluation.judging.report import judged_scores
from tests.cases import named


def data(one):
    """As the store has it."""
    return {**asdict(one), "fitted_at": one.fitted_at.isoformat()}


def calibration(**changes):
    fitted = {"method": "isotonic", "n": 40, "fitted_at": datetime(2026, 11, 22, tzinfo=UTC)}
    figures = {"spearman": 0.6, "kappa": 0.5, "calibration_error": 0.08}
    points = ((0.2, 0.1), (0.6, 0.5), (1.0, 0.7))
    return Calibration(**{"judge": "j_1", "points": points, **fitted, **figures, **changes})


def test_a_score_between_two_points_is_mapped_between_their_ratings():
    mapped = calibration().mapped
    assert [mapped(score) for score in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)] == pytest.approx([0.1, 0.1, 0.3, 0.5, 0.6, 0.7])


def test_the_record_survives_json():
    for one in (calibration(kappa=None), calibration(scored=(0.2, 0.9), rated=(0.15, 0.55), n_independent=9.8)):
        assert of_members(Calibration, json.loads(json.dumps(data(one)))) == one


def test_a_record_from_before_ranges_were_kept_is_read_and_shows_no_figure():
    old = {
        name: value for name, value in data(calibration()).items() if name not in ("scored", "rated", "n_independent")
    }
    assert of_members(Calibration, old) == calibration()
    assert "calibrate the judge again" in of_members(Calibration, old).why_extrapolated([0.5])


@named(
    ("scores", "why"),
    {
        "within the ratings": ([0.3, 0.5, 0.6], None),
        "above": ([0.85, 0.9, 0.9], "beyond the ratings that the calibration rests on (0.150 to 0.550)"),
        "below": ([0.2, 0.2], "beyond the ratings that the calibration rests on (0.150 to 0.550)"),
        "one in ten with a score that nobody rated": ([0.5] * 9 + [0.95], None),
        "two in ten": ([0.5] * 8 + [0.95, 0.1], "2 of 10 answers have scores beyond those that people rated"),
    },
)
def test_a_figure_beyond_the_ratings_that_a_calibration_rests_on_is_not_shown(scores, why):
    """As .805 was, by a judge calibrated on ratings between .15 and .55."""
    rests_on = calibration(scored=(0.2, 0.9), rated=(0.15, 0.55))

    def judged(n: int, score: float) -> ExampleResult:
        judgement = Judgement(opinions=(MemberScore(model="m", score=score),)).as_data()
        return ExampleResult(example=str(n), score=score, output="", judgement=judgement)

    shown = judged_scores("j_1", rests_on, {"the winner": [judged(*each) for each in enumerate(scores)]})
    if why is None:
        assert shown["said"].endswith(f"People would rate the winner {shown['rated']['the winner']:.3f}.")
        return
    assert shown["rated"] == {}
    assert "What they would rate the winner would be extrapolated, so it is not shown: " in shown["said"]
    assert why in shown["said"]
    assert "People would rate" not in shown["said"]


@pytest.mark.parametrize(
    ("record", "part"),
    [
        (None, "uncalibrated"),
        (calibration(judge="j_2"), "has changed"),
        (calibration(n=19), "rests on 19 ratings"),
        (calibration(spearman=None), "same score"),
        (calibration(spearman=-0.8), "do not follow"),
        (calibration(spearman=0.35, n=20), "may be chance"),
        (calibration(spearman=0.5, n_independent=9.8), "40 ratings, which say as much as 10 of as many units"),
    ],
    ids=["none", "another judge", "few ratings", "constant", "turned round", "chance", "units"],
)
def test_a_judge_without_shown_agreement_never_decides(record, part):
    assert part in (why_uncalibrated("j_1", record) or "")
    gate = calibrated_gate("j_1", record)
    assert gate.verdict is GateVerdict.ERROR
    assert part in gate.reason


def test_a_judge_that_follows_people_may_decide_and_the_gate_says_by_how_much():
    gate = calibrated_gate("j_1", calibration())
    assert (gate.verdict, gate.value) == (GateVerdict.PASS, 0.6)
    assert "rank correlation 0.60" in gate.reason


def test_the_bound_of_a_rank_correlation():
    # z = atanh(.6) = .6931; sd = sqrt(1.18 / 37) = .1786; tanh(.6931 - 1.645 x .1786) = .3775
    assert least_correlation(0.6, 40) == pytest.approx(0.378, abs=0.002)
    assert least_correlation(1.0, 40) == 1.0
    assert least_correlation(0.99, 3) == -1.0


def test_ratings_of_units_of_their_own_are_all_independent_and_those_of_like_units_count_once_each():
    values = [0.1, 0.5, 0.3, 0.9, 0.7, 0.2]
    assert independent_ratings(values, values, list("abcdef")) == 6
    of_two = [0.2, 0.2, 0.2, 0.9, 0.9, 0.9]
    assert independent_ratings(of_two, of_two, list("aaabbb")) == pytest.approx(2)
    assert independent_ratings(of_two, [0.1, 0.9, 0.5] * 2, list("aaabbb")) == 6, "ratings are not alike within a unit"


def test_a_judge_that_agrees_with_nobody_is_passed_by_few_users_in_five_of_100_at_most():
    """5 users, 8 ratings each: what a user asks is scored alike, and he rates alike, both by chance."""
    draw, n_passed, n_simulated, units = random.Random(0), 0, 400, [str(i // 8) for i in range(40)]
    for _ in range(n_simulated):
        means = [[draw.gauss(0, 1) for _ in range(5)] for _ in ("scores", "ratings")]
        scores, ratings = ([mean + draw.gauss(0, 1) for mean in own for _ in range(8)] for own in means)
        n_independent = independent_ratings(scores, ratings, units)
        record = calibration(spearman=_rank_correlation(scores, ratings), n_independent=n_independent)
        n_passed += why_uncalibrated("j_1", record) is None
    assert n_passed <= 0.05 * n_simulated + 2 * sqrt(n_simulated * 0.05 * 0.95)


def _rank_correlation(scores, ratings):
    ranks = [[sorted(values).index(value) for value in values] for values in (scores, ratings)]
    return correlation(*ranks)
