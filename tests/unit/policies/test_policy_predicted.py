"""A learned confidence inside a policy: which model's predictor speaks, what it reads,
and where its faults are told.
"""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.core.declaration.prompt_kind import policy_faults
from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.assess import Situation, assess
from optimizer.core.policy.attempts import Call, Reply
from optimizer.core.policy.policy import parse_policy
from optimizer.core.predictor.predictor import FORMAT


def predictor(feature: str, weight: float = 1.0, intercept: float = 0.0) -> dict[str, Any]:
    part = {"kind": "linear", "centre": [0.0], "scale": [1.0], "weights": [weight], "intercept": intercept}
    return {"format": FORMAT, "answers": "probability", "features": [feature], "parts": [part], "trained_on": {}}


def policy(**when: Any) -> dict[str, Any]:
    return {"tiers": ["cheap", "strong"], "accept": 0.9, "confidence": {"kind": "predictor", **when}}


def confidence(policy_: dict[str, Any], text: str, model: str = "cheap", **answer: Any) -> float | None:
    answered = ModelAnswer(text=text, input_tokens=1, output_tokens=1, cost_usd=0.0, latency_ms=1.0, **answer)
    reply = Reply(call=Call(model=model, purpose="answer", tier=0), answer=answered)
    (attempt,) = assess(parse_policy(policy_), Situation(output=Output(), input={"question": "Why?"}), [reply])
    return attempt.confidence


def test_each_model_has_its_own_predictor_and_one_without_has_no_confidence() -> None:
    learned = policy(after={"cheap": predictor("answer.refusal", intercept=5.0)})
    assert confidence(learned, "Because.") == pytest.approx(0.9933, abs=1e-4)
    assert confidence(learned, "Because.", model="strong") is None


def test_it_reads_the_answers_log_probabilities_and_asks_for_them() -> None:
    learned = policy(after={"cheap": predictor("answer.log_probability_min")})
    assert parse_policy(learned).signal.needs_log_probabilities
    assert confidence(learned, "x", log_probability=-0.1, log_probability_min=-2.0) == pytest.approx(0.1192, abs=1e-4)
    assert not parse_policy(policy(after={"cheap": predictor("answer.log_words")})).signal.needs_log_probabilities


def test_it_reads_what_the_checks_find_whatever_the_validator_names() -> None:
    learned = policy(after={"cheap": predictor("issue.refused", weight=-9.0, intercept=4.5)})
    sure, unsure = confidence(learned, "Because."), confidence(learned, "I cannot help with that.")
    assert (sure > 0.9, unsure < 0.1) == (True, True)


def test_it_may_speak_before_the_call_from_the_request_alone() -> None:
    learned = parse_policy(
        policy(before={"cheap": predictor("request.why", weight=-9.0, intercept=4.5)})
    ).signal.predicted
    why, what = (
        learned.confidence_before("cheap", {"q": text}) for text in ("Why is the sky blue?", "What is the sky?")
    )
    assert why < 0.1 < 0.9 < what
    assert learned.confidence_before("strong", {"q": "x"}) is None


def test_faults_of_its_data_are_told_at_their_place_in_the_policy() -> None:
    broken = predictor("answer.refusal")
    broken["parts"][0]["scale"] = [0.0]
    found = policy_faults(policy(after={"cheap": broken}, during={}))
    assert sorted(fault.pointer for fault in found) == ["/confidence/after/cheap/parts/0/scale/0", "/confidence/during"]
