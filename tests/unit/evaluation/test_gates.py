"""The four gates, case by case as the contract words them."""

from __future__ import annotations

import pytest

from optimizer.core.evaluation.gates import (
    ConfirmationEvidence,
    GateSettings,
    GateVerdict,
    WishedFloor,
    all_passed,
    as_record,
    confidence_of,
    evaluate_gates,
    improvement_of,
    quality_level,
    quality_margin,
    risk_of,
)
from optimizer.core.statistics.noninferiority import NotLower
from tests.cases import named


def evidence(**changes):
    given = {"champion": 0.5, "candidate": 0.6, "champion_quality": 0.5, "p": 0.01, "looks": 1, "drops": [0.1] * 100}
    return ConfirmationEvidence(**{**given, **changes})


def not_lower(p: float, n: int = 100) -> NotLower:
    return NotLower(p=p, test="exact", n=n, fewest=32)


def verdicts(found):
    return {g.name: g.verdict.value for g in found}


@pytest.mark.parametrize(
    ("champion", "candidate", "passes"),
    [
        pytest.param(0.50, 0.575, True, id="relative gain of exactly 15 %"),
        pytest.param(0.50, 0.574, False, id="relative gain a little below"),
        pytest.param(0.099, 0.149, True, id="below .10 an absolute gain of .05"),
        pytest.param(0.099, 0.148, False, id="below .10 a large relative gain is not enough"),
        pytest.param(0.10, 0.115, True, id="from .10 on relative again"),
        pytest.param(0.80, 0.83, True, id="from .80 on against what is left: .03 of .20"),
        pytest.param(0.80, 0.829, False, id="from .80 on a little below"),
        pytest.param(0.79, 0.83, False, id="just below .80 still relative"),
        pytest.param(1.00, 1.00, False, id="nothing left to gain"),
        pytest.param(0.0, 0.05, True, id="from zero"),
        pytest.param(0.5, 0.4, False, id="worse"),
    ],
)
def test_improvement_is_read_as_the_contract_says(champion: float, candidate: float, passes: bool):
    found = evaluate_gates(evidence(champion=champion, candidate=candidate, champion_quality=champion), GateSettings())
    assert (verdicts(found)["improvement"] == "pass") is passes


@named(
    ("changes", "said"),
    {
        "little is left to gain: as a ratio -4.5": (
            {"champion": 0.94, "candidate": 0.67},
            "improvement -27.00 points, at least +0.90 points needed (quality 0.94 to 0.67)",
        ),
        "quality": (
            {"champion": 0.5, "candidate": 0.6},
            "improvement +10.00 points, at least +7.50 points needed (quality 0.5 to 0.6)",
        ),
        "dearer: as a ratio -4.077": (
            {"aim": "cost", "champion": 1.0, "candidate": 5.077},
            "improvement none: 5.08 times the champion's cost, at most 0.85 times allowed (cost 1 to 5.077)",
        ),
        "cheaper": (
            {"aim": "cost", "champion": 2.0, "candidate": 1.5},
            "improvement 0.250, at least 0.150 needed (cost 2 to 1.5)",
        ),
    },
)
def test_an_improvement_is_told_in_points_or_times_where_a_ratio_misleads(changes, said):
    found = evaluate_gates(evidence(**changes), GateSettings())[0]
    assert (found.name, found.reason) == ("improvement", said)


@pytest.mark.parametrize("aim", ["cost", "latency"])
def test_cost_and_latency_improve_by_one_minus_the_ratio(aim):
    assert improvement_of(aim, 2.0, 1.5) == 0.25
    assert improvement_of(aim, 0.0, 0.0) is None


@pytest.mark.parametrize(
    ("quality", "explicit", "margin"), [(0.05, None, 0.01), (0.3, None, 0.03), (0.9, None, 0.05), (0.9, 0.2, 0.2)]
)
def test_the_margin_is_explicit_or_a_tenth_of_the_quality_within_bounds(quality, explicit, margin):
    assert quality_margin(quality, explicit) == pytest.approx(margin)


def test_every_look_at_the_same_holdout_costs_confidence():
    assert [confidence_of(0.05, looks) for looks in (1, 2, 10, 30)] == pytest.approx([0.95, 0.9, 0.5, 0.0])
    assert verdicts(evaluate_gates(evidence(p=0.09, looks=2), GateSettings()))["confidence"] == "pass"
    assert verdicts(evaluate_gates(evidence(p=0.09, looks=3), GateSettings()))["confidence"] == "fail"


def test_what_fails_by_a_hair_is_not_printed_as_what_is_needed():
    drops = [-0.5] * 61 + [0.0] * 139
    reasons = {g.name: g.reason for g in evaluate_gates(evidence(p=0.20004, drops=drops), GateSettings())}
    assert reasons["confidence"].startswith("confidence 0.799, at least 0.800 needed")
    assert reasons["risk"] == "31% of the examples lose more than 0.10, at most 30% may"


def test_every_look_costs_the_gate_on_quality_as_much():
    cheap = {"aim": "cost", "champion": 2.0, "candidate": 1.0, "not_lower": not_lower(0.09)}
    assert verdicts(evaluate_gates(evidence(**cheap, looks=2), GateSettings()))["quality"] == "pass"
    assert verdicts(evaluate_gates(evidence(**cheap, looks=3), GateSettings()))["quality"] == "fail"


def test_risk_counts_examples_that_lose_more_than_the_larger_of_margin_and_a_tenth():
    drops = [-0.5] * 3 + [-0.1] * 5 + [0.2] * 2
    assert risk_of(drops, margin=0.05) == 0.3
    assert risk_of(drops, margin=0.5) == 0.0
    assert risk_of([0.7 - 0.8], margin=0.05) == 0.0  # a tenth, in binary a little more
    assert verdicts(evaluate_gates(evidence(drops=[-1.0] * 30 + [1.0] * 70), GateSettings()))["risk"] == "pass"
    assert verdicts(evaluate_gates(evidence(drops=[-1.0] * 31 + [1.0] * 69), GateSettings()))["risk"] == "fail"


def test_fewer_holdout_examples_than_asked_for_do_not_pass():
    found = evaluate_gates(evidence(drops=[0.1] * 99), GateSettings(n=100))
    assert verdicts(found)["n"] == "fail"
    assert "99, at least 100 needed" in next(g.reason for g in found if g.name == "n")


def test_fewer_examples_timed_than_scored_are_what_the_gate_on_n_counts():
    timed = {"aim": "latency", "champion": 2.0, "candidate": 1.0, "not_lower": not_lower(0.1)}
    assert verdicts(evaluate_gates(evidence(**timed, n_aim=20), GateSettings()))["n"] == "fail"
    assert verdicts(evaluate_gates(evidence(**timed, n_aim=100), GateSettings()))["n"] == "pass"


def test_aim_cost_also_needs_quality_that_is_shown_not_lower():
    cheap = {"aim": "cost", "champion": 2.0, "candidate": 1.0}
    assert verdicts(evaluate_gates(evidence(**cheap), GateSettings()))["quality"] == "error"
    assert verdicts(evaluate_gates(evidence(**cheap, not_lower=not_lower(0.5)), GateSettings()))["quality"] == "fail"
    assert all_passed(evaluate_gates(evidence(**cheap, not_lower=not_lower(0.1)), GateSettings()))


def test_the_gate_on_quality_says_which_test_spoke_and_when_the_examples_are_too_few():
    def reason(shown: NotLower) -> str:
        cheap = evidence(aim="cost", champion=2.0, candidate=1.0, not_lower=shown)
        return next(g.reason for g in evaluate_gates(cheap, GateSettings()) if g.name == "quality")

    assert reason(not_lower(0.1)).endswith("an exact test on 100 independent examples)")
    too_few = "fewer than 32 can show it only where the candidate is better now and then"
    assert too_few in reason(not_lower(0.4, n=20))


@pytest.mark.parametrize(
    ("confidence", "looks", "level"), [(0.8, 1, 0.2), (0.9, 2, 0.05), (1.0, 1, 1e-6), (0.0, 1, 0.999)]
)
def test_the_level_of_the_gate_on_quality_pays_for_every_look(confidence: float, looks: int, level: float):
    assert quality_level(GateSettings(confidence=confidence), looks) == pytest.approx(level)


def test_no_gate_evaluated_is_not_a_pass():
    assert not all_passed([])


def test_a_gate_is_recorded_with_its_reason_in_words():
    (record, *_) = (as_record(g) for g in evaluate_gates(evidence(), GateSettings()))
    assert record["name"] == "improvement"
    assert record["verdict"] == GateVerdict.PASS == "pass"
    assert record["required"] == 0.15
    assert "quality 0.5 to 0.6" in record["reason"]


@pytest.mark.parametrize(
    ("p", "verdict"),
    [
        pytest.param(0.2, "pass", id="as sure as asked"),
        pytest.param(0.21, "fail", id="a little less sure"),
        pytest.param(None, "inconclusive", id="nothing was processed in full"),
    ],
)
def test_what_was_wished_is_tested_in_the_place_of_quality_and_risk(p: float | None, verdict: str):
    test = None if p is None else not_lower(p)
    floor = WishedFloor(name="quality", what="the mean quality", floor=0.7, margin=0.05, measured=0.69, test=test)
    given = evidence(
        aim="cost", champion=1.0, candidate=0.9, not_lower=not_lower(0.9), drops=[-0.5] * 100, wished=[floor]
    )
    found = {gate.name: gate for gate in evaluate_gates(given, GateSettings())}
    assert found["quality"].verdict == verdict
    assert all_passed(list(found.values())) is (verdict == "pass")
    assert (found["risk"].verdict, found["risk"].value) == ("pass", 1.0)
    assert "(100% of the examples lose more than 0.10)" in found["risk"].reason
    assert found["improvement"].verdict == "pass", "any gain is enough"
