"""The request of each call, from the one that was rendered: the same wherever a policy runs,
so that what is searched is what is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.attempts import Call
from optimizer.core.policy.context import with_tool_results
from optimizer.core.policy.policy import Policy

REFINE_NOTE = (
    "Look at your answer again. Correct what is wrong or missing and give the improved answer only, in the form asked"
    " for first."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """What the calls of a policy start from: ``whole``, and ``fewer`` for the models that are shown fewer examples,
    by name.
    """

    whole: ModelRequest
    fewer: Mapping[str, ModelRequest] = field(default_factory=dict)

    def of(self, model: str) -> ModelRequest:
        return self.fewer.get(model, self.whole)


def bases_of(policy: Policy, rendered: ModelRequest, fewer: Mapping[str, Sequence[Mapping[str, Any]]]) -> Bases:
    """``fewer``: of ``shown_examples.messages_of_fewer``."""
    short = {
        model: request_of_policy(policy, replace(rendered, messages=messages)) for model, messages in fewer.items()
    }
    return Bases(whole=request_of_policy(policy, rendered), fewer=short)


def request_of_policy(policy: Policy, rendered: ModelRequest) -> ModelRequest:
    """What every call of the policy starts from: tool results put back,
    log-probabilities asked for where confidence comes from them.
    """
    messages = with_tool_results(rendered.messages) if policy.context is not None else rendered.messages
    params = dict(rendered.params)
    if policy.needs_confidence and policy.signal.needs_log_probabilities:
        params["logprobs"] = True
    return replace(rendered, messages=messages, params=params)


def request_of_call(
    policy: Policy, base: ModelRequest, call: Call, *, revision: str, model: str | None = None
) -> ModelRequest:
    """``base`` (the call's own of ``Bases``) as this call sends it.

    Args:
        revision: of the model that is asked.
        model: the model asked in the call's place, a fallback of it; None: the call's own.
    """
    messages: list[dict[str, Any]] = [dict(message) for message in base.messages]
    if call.instruction is not None:
        messages = _with_instruction(messages, call.instruction)
    if call.note is not None:
        shown = [{"role": "assistant", "content": call.earlier}] if call.earlier else []
        messages += [*shown, {"role": "user", "content": call.note}]
    request = replace(base, model=model or call.model, revision=revision, messages=messages)
    if (
        call.draw and request.params.get("temperature") != 0
    ):  # at temperature 0 it says the same again, for nothing where it is journaled
        request = replace(request, sample=f"{request.sample}:again-{call.draw}")
    if call.purpose != "sample":
        return request
    # A draw of its own: at temperature 0 it would say the same again.
    temperature = request.params.get("temperature") or policy.signal.sample_temperature
    return replace(request, params={**request.params, "temperature": temperature}, sample=f"{request.sample}:second")


def _with_instruction(messages: Sequence[Mapping[str, Any]], instruction: str) -> list[dict[str, Any]]:
    """Behind the first system message, since many models take one only; a prompt without any gets one."""
    at = next(
        (i for i, m in enumerate(messages) if m.get("role") == "system" and isinstance(m.get("content"), str)), None
    )
    if at is None:
        return [{"role": "system", "content": instruction}, *(dict(m) for m in messages)]
    return [
        {**m, "content": f"{m['content']}\n\n{instruction}"} if i == at else dict(m) for i, m in enumerate(messages)
    ]
