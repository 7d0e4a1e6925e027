"""What a cascade's other tiers cost one request, or would have cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from typing_extensions import TypedDict

from optimizer.core.models.budget import BYTES_PER_TOKEN, prompt_bytes
from optimizer.core.models.language import ModelPrice
from optimizer.core.policy.attempts import Attempt, Call, best, known_usd_of
from optimizer.core.policy.policy import Bases, Policy
from optimizer.core.policy.steps import with_sample


class TierCost(TypedDict):
    """Dollars that were paid where the tier was ``asked``, else those that its calls would have cost; null where its
    model has no known price. ``confidence``: how sure it was of its answer; null where it was not asked or cannot say.
    """

    tier: str
    asked: bool
    confidence: float | None
    cost_usd: float | None


def other_tiers(
    policy: Policy,
    bases: Bases,
    attempts: Sequence[Attempt],
    chosen: Attempt,
    price_of: Callable[[str], ModelPrice | None],
) -> list[TierCost]:
    """All tiers but that of ``chosen``, the answer that goes out, in their order.

    A tier that was not asked is priced by what was measured of this request: tokens for each byte of the prompts that
    were sent, and the answer's own length. Where no model was asked, four bytes are a token.
    """
    if policy.cascade is None:
        return []
    sent = [
        (attempt.answer.input_tokens, prompt_bytes(bases.of(attempt.call.model).messages, {}))
        for attempt in attempts
        if attempt.answer is not None and attempt.answer.input_tokens and attempt.call.purpose == "answer"
    ]
    n_bytes = sum(of_prompt for _, of_prompt in sent)
    per_byte = sum(tokens for tokens, _ in sent) / n_bytes if n_bytes else 1 / BYTES_PER_TOKEN
    answer = chosen.answer
    n_output = (answer.output_tokens if answer is not None else 0) or len(chosen.text.encode()) / BYTES_PER_TOKEN

    def cost(tier: int, model: str) -> TierCost:
        own = [attempt for attempt in attempts if attempt.call.tier == tier]
        if own or policy.is_student(model):
            answered = best(own)
            confidence = None if answered is None else answered.confidence
            return TierCost(tier=model, asked=bool(own), confidence=confidence, cost_usd=known_usd_of(own))
        price, n_calls = price_of(model), len(with_sample(policy, Call(model=model, purpose="answer", tier=tier)))
        n_input = per_byte * prompt_bytes(bases.of(model).messages, {})
        each = None if price is None else price.of(round(n_input), round(n_output))
        return TierCost(tier=model, asked=False, confidence=None, cost_usd=None if each is None else n_calls * each)

    return [cost(tier, model) for tier, model in enumerate(policy.cascade.models) if tier != chosen.call.tier]
