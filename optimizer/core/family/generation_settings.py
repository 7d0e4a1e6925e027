"""What a Variant may say of a call beside its messages.

This list is the only one: what is not in it never reaches a provider.

Addresses, headers and keys stand in config/models.yaml alone, since a call carries the provider's key to wherever its
arguments say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import Knob

MAX_OUTPUT_TOKENS = 1_000_000  # of an answer: more than any model writes, and what a study reserves rests on it

SETTINGS: tuple[Knob, ...] = (
    Knob(
        name="temperature",
        kind="number",
        low=0,
        high=2,
        meaning="How freely tokens are drawn; 0: always the likeliest.",
    ),
    Knob(name="max_tokens", kind="integer", low=1, high=MAX_OUTPUT_TOKENS, meaning="Length of an answer at most."),
    Knob(name="stop", kind="list", meaning="Texts at which an answer ends."),
    Knob(name="seed", kind="integer", meaning="Where a provider can repeat its draws."),
    Knob(
        name="top_p", kind="share", meaning="Only the likeliest tokens that together have this probability are drawn."
    ),
    Knob(name="top_k", kind="integer", low=-1, meaning="Only so many of the likeliest tokens are drawn."),
    Knob(name="min_p", kind="share", meaning="Tokens less likely than this share of the likeliest are not drawn."),
    Knob(
        name="frequency_penalty",
        kind="number",
        low=-2,
        high=2,
        meaning="Against tokens by how often they stand in the answer.",
    ),
    Knob(
        name="presence_penalty",
        kind="number",
        low=-2,
        high=2,
        meaning="Against tokens that stand in the answer at all.",
    ),
    Knob(
        name="repetition_penalty",
        kind="number",
        low=0,
        high=10,
        meaning="Against repeated tokens, as vLLM and llama.cpp have it.",
    ),
    Knob(name="logit_bias", kind="data", meaning="Likelihood added by token id."),
    Knob(name="reasoning_effort", kind="text", meaning="How long a reasoning model thinks, such as low."),
    Knob(name="verbosity", kind="text", meaning="How much a model writes, such as low."),
    Knob(name="parallel_tool_calls", kind="flag", meaning="Whether one answer may call several tools."),
)
_BY_NAME: Mapping[str, Knob] = {setting.name: setting for setting in SETTINGS}
NAME = "name"  # of the model, in config/models.yaml


def model_faults(model: Mapping[str, Any], pointer: str = "/model") -> list[Fault]:
    """What may not stand among a Variant's model settings, each with its pointer;
    a setting that is null counts as absent.
    """
    return [
        Fault(pointer=pointer + pointer_of([name]), detail=detail)
        for name, value in model.items()
        if (detail := setting_fault(name, value)) is not None
    ]


def setting_fault(name: str, value: Any) -> str | None:
    """Why this is no setting of a Variant's model, as a sentence; None where it is one."""
    if name == NAME:
        return (
            None
            if isinstance(value, str) and value.strip()
            else f"a model is named by a text of config/models.yaml, not {value!r:.80}"
        )
    setting = _BY_NAME.get(name)
    if setting is None:
        allowed = ", ".join((NAME, *_BY_NAME))
        return (
            f"{name!r:.80} is no generation setting; allowed are {allowed}. Addresses, headers and keys stand in"
            " config/models.yaml alone"
        )
    if value is None:
        return None
    detail = setting.fault(value)
    if detail is None and name == "stop" and not all(isinstance(text, str) and text for text in value):
        detail = "stop is a list of texts"
    if detail is None and name == "logit_bias" and not all(isinstance(bias, int | float) for bias in value.values()):
        detail = "logit_bias gives each token id a number"
    return detail


def only_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model's name and its generation settings; anything else that an older store still holds is left out,
    and what fits no setting.
    """
    return {name: value for name, value in model.items() if setting_fault(name, value) is None}
