"""Whatever number of examples a model is shown, study and gateway send it the same bytes:
the prompt with that many of its first examples.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st

from optimizer.core.family.rendering import render
from optimizer.core.family.variant import FewShot, Message, Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest, request_for
from optimizer.core.policy.nearest import ShownExamples
from optimizer.core.policy.policy import messages_of_fewer, parse_policy
from optimizer.jobs.calls.ask_model import ModelReply
from optimizer.jobs.calls.evaluation_policies import answers_of_tier, run_policy
from optimizer.jobs.calls.execute_policy import PolicyRequest, execute_policy
from tests.stand_ins.scripted_model import ScriptedModel

TIERS = ["m1", "m2", "m3"]
NUMBERS = st.dictionaries(st.sampled_from(TIERS), st.integers(0, 6))
POLICIES = st.fixed_dictionaries(
    {"tiers": st.just(TIERS), "examples": NUMBERS, "accept": st.sampled_from([0.2, 0.9])},
    optional={
        "refine": st.just(0.1),
        "confidence": st.just({"kind": "agreement"}),
        "gate.threshold": st.just(0.99),
        "context.tool_results": st.booleans(),
    },
)


def variant_of(n_examples: int, policy: dict[str, Any]) -> Variant:
    return Variant(
        messages=(
            {"role": "system", "content": "Name it."},
            {"role": "examples"},
            {"role": "user", "content": "Text: {{text}}"},
        ),
        examples=tuple(
            FewShot(id=f"e{n}", input={"text": f"text {n}"}, output=f"label {n}") for n in range(n_examples)
        ),
        model={"name": "m3", "temperature": 0.0},
        policy=policy,
    )


def answer_of(request: ModelRequest) -> ModelAnswer:
    """Depends on every byte that was sent, so that requests that differ lead elsewhere."""
    return ModelAnswer(
        text=request.key[:4],
        input_tokens=1,
        output_tokens=1,
        cost_usd=0.1,
        latency_ms=1.0,
        log_probability=-(int(request.key[:2], 16) / 128),
    )


@settings(deadline=None)
@given(policy=POLICIES, n_examples=st.integers(0, 5))
def test_each_model_is_sent_the_prompt_with_its_own_number_of_examples(policy: dict[str, Any], n_examples: int) -> None:
    variant, parsed = variant_of(n_examples, policy), parse_policy(policy)

    def rendered(shown: Variant) -> list[Message]:
        return render(shown, {"text": "stars"})

    wanted = PolicyRequest(
        policy=parsed,
        rendered=request_for(variant, rendered(variant), revision=""),
        fewer=messages_of_fewer(parsed.examples, ShownExamples(variant=variant), rendered),
    )
    served: list[ModelRequest] = []
    scored: list[ModelRequest] = []

    async def ask(name: str, request_of: Callable[[Any], ModelRequest]) -> ModelReply:
        served.append(request_of(ScriptedModel(name=name)))
        return ModelReply(answer=answer_of(served[-1]), models=(name,))

    async def complete(name: str, request_of: Callable[[str], ModelRequest]) -> ModelAnswer:
        scored.append(request_of("r1"))
        return answer_of(scored[-1])

    one, other = asyncio.run(execute_policy(wanted, ask)), asyncio.run(run_policy(wanted, complete))
    assert (one.attempt.text, one.why) == (other.attempt.text, other.why)
    assert [request.key for request in served] == [request.key for request in scored]
    tiers_asked = {request.model for request in scored if request.sample == "0"}
    asked_alone = []
    for tier in tiers_asked:
        scored.clear()
        asyncio.run(answers_of_tier(wanted, tier, complete))
        asked_alone.append(scored[0].key)
    assert set(asked_alone) <= {request.key for request in served}, (
        "what a search recorded is what a request of that tier is"
    )
    for request in served:
        n = min(policy["examples"].get(request.model, n_examples), n_examples)
        alike = [m["content"] for m in request.messages if str(m["content"]).startswith(("Text: text", "label"))]
        assert alike == [text for k in range(n) for text in (f"Text: text {k}", f"label {k}")]
