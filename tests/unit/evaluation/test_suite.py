"""The evaluation suite: what targets ask, what was found, and what it says before a rollout."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.core.base.errors import InvalidFamily
from optimizer.core.base.values import ExampleResult
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.gates import GateRecord
from optimizer.core.evaluation.suite import Check, EvaluationBatch, check_suite, gates_of_suites, suite_id
from optimizer.core.family.family import Family
from tests.rows.evaluations import SCORER_VERSION, batch_of, check_of


def family(targets: dict[str, Any] | None = None, **changes: Any) -> Family:
    base = {
        "name": "triage",
        "inputs": {"text": {"type": "text"}},
        "output": {"field": "topic"},
        "prompt": {
            "current": "1",
            "versions": {"1": {"created_at": "2026-11-20", "content": [{"role": "user", "content": "{{text}}"}]}},
        },
    }
    return parse_family({**base, **({} if targets is None else {"targets": targets}), **changes})


def results(*scores: float | None, latency_ms: float | None = 100.0, **changes: Any) -> list[ExampleResult]:
    return [
        ExampleResult(example=f"e{i}", score=s, output="x", cost_usd=0.01, latency_ms=latency_ms, **changes)
        for i, s in enumerate(scores)
    ]


def checked(targets: dict[str, Any], found: list[ExampleResult], **more: Any) -> list[Check]:
    wanted = family(targets).targets
    assert wanted is not None
    return check_suite(wanted, found, **more)


ALL = {
    **{"mean_score": 0.9, "high_scores": {"from": 0.95, "share": 0.75}, "low_scores": {"below": 0.8, "share": 0.25}},
    **{"errors": 0.0, "retries": 0.2, "cost_usd_per_call": 0.01, "p95_latency_ms": 100},
}


def test_what_lies_at_a_target_meets_it() -> None:
    checks = checked(ALL, results(1.0, 0.95, 1.0, 0.65))
    assert [(c.name, c.verdict) for c in checks] == [(name, "met") for name in ALL]
    assert checks[1].found == 0.75


def test_an_answer_that_its_judge_could_not_score_is_no_error_and_no_score() -> None:
    judged = {"error": "the judge could not be measured: judge: timeout", "judgement": {"score": None}}
    found = [*results(1.0, 1.0, 1.0), *results(None, **judged)]
    verdicts = {c.name: (c.verdict, c.found) for c in checked({"errors": 0.0, "mean_score": 0.5}, found)}
    assert verdicts["errors"] == ("met", 0.0)
    assert verdicts["mean_score"][0] not in ("met", "missed")
    unread = results(0.0, error="no JSON", judgement=None)
    assert checked({"errors": 0.0}, [*found, *unread])[0].verdict != "met"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ({"mean_score": 0.9}, results(0.89)),
        ({"high_scores": {"from": 0.95, "share": 0.9}}, results(0.94, 1.0)),
        ({"low_scores": {"below": 0.8, "share": 0.02}}, results(0.79, 1.0)),
        ({"errors": 0.4}, results(0.5, error="label not found")),
        ({"retries": 0.2}, results(1.0, n_retries=2)),
        ({"cost_usd_per_call": 0.009}, results(1.0)),
        ({"p95_latency_ms": 99}, results(1.0)),
    ],
)
def test_what_lies_beyond_a_target_misses_it(target: dict[str, Any], found: list[ExampleResult]) -> None:
    (check,) = checked(target, found)
    assert check.verdict == "missed"
    assert "is asked" in check.said


def test_what_could_not_be_measured_is_neither_met_nor_missed() -> None:
    checks = checked({"mean_score": 0.1, "p95_latency_ms": 1000}, results(1.0, None, latency_ms=None))
    assert [c.verdict for c in checks] == ["unmeasured", "unmeasured"]
    assert "1 of 2 examples have no score" in checks[0].said


def test_a_class_of_few_examples_cannot_tell() -> None:
    checks = checked(
        {"regression": {"overall": None, "latency": None}}, results(0.0), champion=results(1.0), class_of={"e0": "rare"}
    )
    assert [(c.name, c.verdict) for c in checks] == [("regression of rare", "unmeasured")]


def batch(of: Family, *verdicts: str, variant: str = "v_1", champion: str = "v_0") -> EvaluationBatch:
    checks = [check_of(f"t{i}", verdict, f"t{i} said {verdict}") for i, verdict in enumerate(verdicts)]
    return batch_of(variant=variant, suite=suite_id(of, champion), checks=checks)


def gate(of: Family, *batches: EvaluationBatch, champion: str = "v_0", scorer: str = SCORER_VERSION) -> GateRecord:
    """The one gate of the family's suite, for ``v_1``."""
    (found,) = gates_of_suites(of, batches, "v_1", champion=champion, scorer_version=scorer)
    return found


@pytest.mark.parametrize(
    ("batches", "verdict"),
    [
        ([], "inconclusive"),
        ([("met", "met")], "pass"),
        ([("met", "missed", "unmeasured")], "fail"),
        ([("met", "unmeasured")], "inconclusive"),
        ([("met",), ("unmeasured",)], "pass"),
        ([("met",), ("missed",)], "fail"),
        ([("missed",), ("met",)], "pass"),
        ([("met", "undecided")], "inconclusive"),
        ([("met", "missed"), ("met", "undecided")], "fail"),
        ([("met", "missed"), ("met", "undecided"), ("met", "undecided")], "fail"),
        ([("met", "missed"), ("met", "undecided"), ("met", "met")], "pass"),
        ([("met", "met"), ("met", "undecided")], "pass"),
        ([("met", "met"), ("missed", "undecided")], "fail"),
        ([("met", "undecided"), ("unmeasured", "met")], "pass"),
        ([("missed", "met"), ("unmeasured", "met")], "fail"),
    ],
)
def test_the_newest_evaluation_that_could_tell_decides(batches: list[tuple[str, ...]], verdict: str) -> None:
    asked = family({"mean_score": 0.9})
    found = gate(asked, *(batch(asked, *one) for one in batches))
    assert (found["name"], found["verdict"]) == ("suite", verdict)


def test_what_cannot_be_told_yet_is_no_pass_and_says_what_to_do() -> None:
    asked = family({"regression": {"latency": 0.2}})
    found = gate(asked, batch(asked, "met", "undecided"))
    assert found["verdict"] == "inconclusive"
    assert found["reason"] == "t1 said undecided: detent family evaluate triage --variant v_1"


def test_other_variants_targets_and_scorers_speak_for_nothing() -> None:
    asked, before = family({"mean_score": 0.9}), family({"mean_score": 0.5})
    scored = family({"mean_score": 0.9}, scorer={"rouge_1": 1.0})
    found = gate(asked, batch(asked, "met", variant="v_2"), batch(before, "met"), batch(scored, "met"))
    assert found["verdict"] == "inconclusive"
    assert "detent family evaluate triage --variant v_1" in found["reason"]


def test_an_evaluation_that_another_version_of_the_scorer_made_speaks_for_nothing() -> None:
    """As after a function of the user's own was mended: its name and weight are what they were."""
    asked = family({"mean_score": 0.9})
    found = gate(asked, batch(asked, "met"), scorer="s_mended")
    assert found["verdict"] == "inconclusive"
    assert "with the scorer as it is now: detent family evaluate triage --variant v_1" in found["reason"]


def test_a_family_without_targets_has_no_such_gate() -> None:
    assert gates_of_suites(family(), [], "v_1", champion="v_0", scorer_version=SCORER_VERSION) == []


def test_a_candidate_whose_examples_failed_is_no_regression_of_zero() -> None:
    champion, now = results(*[1.0] * 20), results(*[1.0] * 10, *[None] * 10)
    classes = {f"e{i}": "a" if i < 10 else "b" for i in range(20)}
    checks = checked({"regression": {}}, now, champion=champion, class_of=classes)
    assert {c.name: c.verdict for c in checks} == {
        "regression": "unmeasured",
        "regression of a": "met",
        "regression of b": "unmeasured",
    }
    assert "10 of 20 examples that the champion has a score on have none" in checks[0].said


def test_a_comparison_with_another_champion_speaks_for_nothing() -> None:
    compared, alone = family({"regression": {}}), family({"mean_score": 0.9})
    beside_another = gate(compared, batch(compared, "met"), champion="v_9")
    assert (beside_another["verdict"], "v_9" in beside_another["reason"]) == ("inconclusive", True)
    while_it_served = gate(compared, batch(compared, "met", champion="v_1"))
    assert while_it_served["verdict"] == "inconclusive"
    of_its_own = gate(alone, batch(alone, "met"), champion="v_9")
    assert of_its_own["verdict"] == "pass", "targets of its own hold beside any champion"


def test_no_check_at_all_is_no_pass() -> None:
    asked = family({"regression": {"overall": None}})
    assert gate(asked, batch(asked))["verdict"] == "inconclusive"


def test_an_unknown_target_and_one_of_a_policy_family_are_refused() -> None:
    with pytest.raises(InvalidFamily, match="targets"):
        family({"mean_scores": 0.9})
    with pytest.raises(InvalidFamily, match="asks none; remove targets"):
        family(
            {"mean_score": 0.9},
            kind="policy",
            prompt={"current": "1", "versions": {"1": {"created_at": "2026-11-20", "policy": {}}}},
        )
