"""What a rollout's evidence says to people who read no statistics, and where its difference is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from optimizer.adapters.reports.difference_chart import LABEL_WIDTH, difference_chart
from optimizer.core.statistics.guardrails import GuardrailKind
from optimizer.core.views.rollout_evidence import CLAIMS, QUESTIONS, findings_in_words
from optimizer.core.views.rollout_status import EvidenceView, GuardrailView, MeanDifference

NOTHING_YET = {"e_value": 1.0, "log_e": 0.0, "log_e_now": 0.0, "share_of_way": 0.0, "passed": False}
GATE = EvidenceView(name="ship3", claim="", threshold=20.0, text="1 of 20", **NOTHING_YET)
GUARDRAIL = GuardrailView(
    **{name: getattr(GATE, name) for name in EvidenceView.__dataclass_fields__ if name != "name"},
    name="errors",
    margin=0.02,
    allowed="2 points more errors",
    n_candidate=0,
    n_blocks=0,
    champion_mean=0.0,
    candidate_mean=0.0,
)


def test_each_claim_is_a_question_with_its_answer() -> None:
    gates = (replace(GATE, passed=True), replace(GATE, name="roll"))
    quiet = replace(GUARDRAIL, n_candidate=9, champion_mean=0.021, candidate_mean=0.0345)
    cost = replace(quiet, name="cost", allowed="10 % more cost", champion_mean=0.5, candidate_mean=0.525)
    assert findings_in_words(gates, (GUARDRAIL, quiet, replace(quiet, passed=True), cost), 0.05) == (
        "Is it worse by 15 points (3 margins) or more? Ruled out.",
        "Is it worse? Not shown.",
        "Does it fail more often than is allowed (2 points more errors)? Nothing measured of the candidate.",
        "Does it fail more often than is allowed (2 points more errors)? No sign of it. Lately 3.5 % of its requests,"
        " and 2.1 % of the champion's.",
        "Does it fail more often than is allowed (2 points more errors)? Yes: alarm. Lately 3.5 % of its requests,"
        " and 2.1 % of the champion's.",
        "Does it cost more than is allowed (10 % more cost)? No sign of it. Lately it costs 105 % of the champion.",
    )


def test_every_gate_and_guardrail_has_its_question() -> None:
    assert QUESTIONS.keys() == CLAIMS.keys() | set(get_args(GuardrailKind))


@pytest.mark.parametrize(("upper", "margin", "is_left"), [(0.1, 0.05, True), (0.01, 0.3, False)])
def test_the_margin_s_label_never_meets_the_one_of_no_difference(upper: float, margin: float, is_left: bool) -> None:
    chart = difference_chart(MeanDifference(observed=0.0, lower=-0.1, upper=upper), margin)
    assert chart.is_label_left is is_left
    assert chart.margin >= LABEL_WIDTH if is_left else chart.margin + LABEL_WIDTH <= chart.zero
