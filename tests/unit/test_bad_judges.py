"""Judges that should not be trusted: each is found, or stays not measured, and none of them moves a gate."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from optimizer.adapters.predictors.judge_agreement import fit_judge
from optimizer.core.evaluation.gates import GateVerdict
from optimizer.core.evaluation.judging.calibration import Calibration, calibrated_gate, why_uncalibrated
from optimizer.core.evaluation.suite import suite_id
from tests.judged_world import letters_family
from tests.study_world import START

N = 60


def rated(seed: int) -> list[tuple[str, float, str]]:
    """(class, rating by a person, answer): the longer answers are neither better nor worse."""
    draw = random.Random(seed)
    kinds = ("complaint", "question")
    return [(kinds[i % 2], draw.randint(0, 4) / 4, "word " * draw.randint(2, 60)) for i in range(N)]


def gate_of(judge: Callable[[str, float, str], float], seed: int) -> GateVerdict:
    rows = rated(seed)
    scores = [judge(*row) for row in rows]
    made = fit_judge(scores, [rating for _, rating, _ in rows], [str(i) for i in range(N)], 0.75)
    record = Calibration(
        judge="j_1",
        method=made.method,
        n=N,
        spearman=made.agreement.spearman.value,
        kappa=made.agreement.kappa.value,
        calibration_error=made.agreement.calibration_error.value,
        fitted_at=START,
        points=tuple(made.points),
    )
    return calibrated_gate("j_1", record).verdict


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "judge",
    [
        pytest.param(lambda kind, rating, answer: rating if kind == "question" else 1 - rating, id="wrong by class"),
        pytest.param(lambda kind, rating, answer: min(1.0, len(answer) / 300), id="loves length"),
        pytest.param(lambda kind, rating, answer: 1 - rating, id="the other way round"),
        pytest.param(lambda kind, rating, answer: 0.8, id="always the same"),
    ],
)
def test_a_judge_that_does_not_follow_people_is_found_by_its_calibration_and_passes_no_gate(judge, seed):
    assert gate_of(judge, seed) is GateVerdict.ERROR


@pytest.mark.parametrize("seed", range(3))
def test_a_judge_that_follows_people_with_noise_passes_it(seed):
    draw = random.Random(seed)
    noisy = gate_of(lambda kind, rating, answer: min(1.0, max(0.0, rating + draw.uniform(-0.3, 0.3))), seed)
    assert noisy is GateVerdict.PASS


def test_a_judge_that_gives_no_scores_cannot_be_calibrated_and_passes_no_gate():
    """One that refuses, or answers with its input: test_judged_evaluation.py has both give no score."""
    assert why_uncalibrated("j_1", None) is not None
    assert calibrated_gate("j_1", None).verdict is GateVerdict.ERROR


def test_what_another_judge_found_of_a_suite_speaks_for_nothing():
    targets = {"n": 10, "mean_score": 0.8}
    one, other = (letters_family(targets=targets, judge={"model": name}) for name in ("judge", "other"))
    assert suite_id(one, None) != suite_id(other, None)
    assert suite_id(one, None) == suite_id(letters_family(targets=targets), None)
