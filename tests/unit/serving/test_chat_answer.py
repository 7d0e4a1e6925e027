"""The figures of a chat's answer, as its sender reads them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from api.gateway.chat_answer import ChatResult, detent_of
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer

CALL: Any = SimpleNamespace(
    token=None,
    family="",
    served=None,
    sticky=False,
    cheapest_only=False,
    injection=(),
    truncated=(),
    variant=Variant(messages=({"role": "user", "content": "x"},)),
)


def test_an_answer_says_confidence_and_dollars_without_the_noise_of_floats() -> None:
    answer = ModelAnswer(text="x", input_tokens=1, output_tokens=1, cost_usd=9.299999999999999e-06, latency_ms=1.0)
    other = {"tier": "strong", "asked": True, "confidence": 0.1234567891, "cost_usd": 0.1 + 0.2}
    answered = ChatResult(answer=answer, models=("m",), confidence=0.9816020063660389, more={"others": [other]})
    detent = detent_of(CALL, answered)
    assert (detent["confidence"], detent["cost_usd"]) == (0.981602, 9.3e-06)
    assert detent["others"] == [{**other, "confidence": 0.123457, "cost_usd": 0.3}]
    unknown = detent_of(CALL, ChatResult(answer=answer, models=("m",)))
    assert unknown["confidence"] is None
