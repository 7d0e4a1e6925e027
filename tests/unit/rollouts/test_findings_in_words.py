"""What a rollout's evidence says to people who read no statistics, and where its difference is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from optimizer.adapters.reports.page import LABEL_WIDTH, difference_chart
from optimizer.core.rollout.evidence_state import EvidenceState
from optimizer.core.statistics.guardrails import Guardrail, GuardrailKind
from optimizer.core.statistics.outcomes import Block, Outcomes
from optimizer.core.statistics.quality_gate import QualityGate
from optimizer.core.views.rollout_evidence import CLAIMS, QUESTIONS, findings_in_words, guardrails_of
from optimizer.core.views.rollout_status import EvidenceView, GuardrailView, MeanDifference

NOTHING_YET = {"e_value": 1.0, "log_e": 0.0, "log_e_now": 0.0, "share_of_way": 0.0, "passed": False}
GATE = EvidenceView(name="ship3", claim="", threshold=20.0, text="1 of 20", **NOTHING_YET)


def watched(kind: GuardrailKind, *counts: tuple[float, int, float, int]) -> tuple[GuardrailView, ...]:
    """The view after blocks of (the candidate's outcome, how often, the champion's, how often)."""
    guardrail = Guardrail.start(kind, champion_mean=0.05)
    for own, n, other, m in counts:
        arms = (Outcomes(counts=((own, n),)), Outcomes(counts=((other, m),)))
        guardrail = guardrail.after(Block(candidate=arms[0], champion=arms[1], stage=0))
    return guardrails_of(
        EvidenceState(quality=QualityGate.start(margin=0.05, champion_mean=0.5), guardrails={kind: guardrail})
    )


def test_each_claim_is_a_question_with_its_answer() -> None:
    gates = (replace(GATE, passed=True), replace(GATE, name="roll"))
    assert findings_in_words(gates, (), 0.05) == (
        "Is it worse by 15 points (3 margins) or more? Ruled out.",
        "Is it worse? Not shown.",
    )


@pytest.mark.parametrize(
    ("kind", "counts", "says"),
    [
        (
            "errors",
            (),
            "Does it fail more often than is allowed (1 point more errors)? Nothing measured of the candidate.",
        ),
        ("errors", ((0.0, 3, 0.0, 20),), "No sign of it. Lately 0.0 % failed, and 0.0 % of the champion's."),
        ("errors", ((1.0, 30, 0.0, 30),), "Yes: alarm. Lately 100.0 % failed, and 0.0 % of the champion's."),
        ("latency", ((0.0, 9, 0.0, 9),), "No sign of it. Lately 0.0 % were slow, and 0.0 % of the champion's."),
        (
            "cost",
            ((0.21, 9, 0.2, 9),),
            "No sign of it. Lately it costs 105 % of what the champion costs, the dearest capped.",
        ),
        ("cost", ((0.0, 9, 0.0, 9),), "Does it cost more than is allowed (10 % more cost)? No sign of it."),
    ],
)
def test_a_guardrail_says_what_was_observed_and_nothing_of_what_was_known_before(
    kind: GuardrailKind, counts: Any, says: str
) -> None:
    (finding,) = findings_in_words((), watched(kind, *counts), 0.05)
    assert finding.endswith(says)


def test_every_gate_and_guardrail_has_its_question() -> None:
    assert QUESTIONS.keys() == CLAIMS.keys() | set(get_args(GuardrailKind))


@pytest.mark.parametrize(("upper", "margin", "is_left"), [(0.1, 0.05, True), (0.01, 0.3, False)])
def test_the_margin_s_label_never_meets_the_one_of_no_difference(upper: float, margin: float, is_left: bool) -> None:
    chart = difference_chart(MeanDifference(observed=0.0, lower=-0.1, upper=upper), margin)
    assert chart.is_label_left is is_left
    assert chart.margin >= LABEL_WIDTH if is_left else chart.margin + LABEL_WIDTH <= chart.zero
