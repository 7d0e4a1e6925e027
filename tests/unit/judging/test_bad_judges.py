"""Judges that should not be trusted: each is found, or stays not measured, and none of them moves a gate."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from optimizer.adapters.predictors.judge_agreement import fit_judge
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.evaluation.gates import GateVerdict
from optimizer.core.evaluation.judging.calibration import Calibration, calibrated_gate
from optimizer.core.evaluation.suite import suite_id
from optimizer.jobs.families.vouch_for_judge import judge_gates
from optimizer.jobs.feedback.calibrate_judge import calibrate_judge
from optimizer.jobs.request import DryRunRequest
from tests.stand_ins.scripted_model import ScriptedModel
from tests.unit.judging.test_judged_studies import SPACE, by_settings, create
from tests.unit.judging.test_judged_traffic import Live
from tests.worlds.contexts import context_of
from tests.worlds.judged_world import PRICE, JudgedWorld, letters_family, prompt_of, writer_by
from tests.worlds.study_world import START

N = 60


def rated() -> list[tuple[str, float, str]]:
    """(class, rating by a person, answer): the longer answers are neither better nor worse."""
    draw = random.Random(0)
    kinds = ("complaint", "question")
    return [(kinds[i % 2], draw.randint(0, 4) / 4, "word " * draw.randint(2, 60)) for i in range(N)]


def gate_of(judge: Callable[[str, float, str], float]) -> GateVerdict:
    rows = rated()
    scores = [judge(*row) for row in rows]
    made = fit_judge(scores, [rating for _, rating, _ in rows], [str(i) for i in range(N)], 0.75)
    figures = {name: getattr(made.agreement, name).value for name in ("spearman", "kappa", "calibration_error")}
    fitted = {"method": made.method, "n": N, "fitted_at": START, "points": tuple(made.points)}
    return calibrated_gate("j_1", Calibration(judge="j_1", **fitted, **figures)).verdict


@pytest.mark.parametrize(
    "judge",
    [
        pytest.param(lambda kind, rating, answer: min(1.0, len(answer) / 300), id="loves length"),
        pytest.param(lambda kind, rating, answer: 1 - rating, id="the other way round"),
        pytest.param(lambda kind, rating, answer: 0.8, id="always the same"),
    ],
)
@pytest.mark.long
def test_a_judge_that_does_not_follow_people_is_found_by_its_calibration_and_passes_no_gate(judge):
    assert gate_of(judge) is GateVerdict.ERROR


def test_a_judge_that_follows_people_with_noise_passes_it():
    draw = random.Random(0)
    noisy = gate_of(lambda kind, rating, answer: min(1.0, max(0.0, rating + draw.uniform(-0.3, 0.3))))
    assert noisy is GateVerdict.PASS


def test_a_judge_that_answers_with_its_input_is_found_by_what_it_leaves_unmeasured_and_moves_no_gate(tmp_path):
    def silent():
        return ScriptedModel(lambda request, n: prompt_of(request), name="judge", price=PRICE, max_output_tokens=600)

    (tmp_path / "live").mkdir()
    live = Live(tmp_path / "live", silent())
    live.answered(25)
    live.clock.pass_seconds(120)
    made = live.monitor()
    assert (made.n_judged, made.n_unmeasured, live.feedback()) == (0, 25, [])
    asked = context_of(live.store, live.clock, "ann", family=lambda name: live.family, fit_judge=fit_judge)
    with pytest.raises(DatasetTooSmall, match="0 answers have its score"):
        calibrate_judge(asked, DryRunRequest(family=live.family.name))
    assert judge_gates(live.family, live.store)[0]["verdict"] == "error"
    (tmp_path / "study").mkdir()
    world = JudgedWorld(tmp_path / "study", silent(), model=writer_by(by_settings), family=letters_family(space=SPACE))
    study = world.fill_letters().run(create(world))
    assert study.outcome != "nominated"
    assert all(trial.score is None for trial in world.trials(study))


def test_what_another_judge_found_of_a_suite_speaks_for_nothing():
    targets = {"n": 10, "mean_score": 0.8}
    one, other = (letters_family(targets=targets, judge={"model": name}) for name in ("judge", "other"))
    assert suite_id(one, None) != suite_id(other, None)
    assert suite_id(one, None) == suite_id(letters_family(targets=targets), None)
