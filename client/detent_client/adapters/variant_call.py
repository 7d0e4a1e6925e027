"""How a model is asked for a prompt: by the variant's model, settings, tools and response format. Where a call differs
from them it says nothing about the variant, so the prompt leaves its arm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from detent_client.prompt import Prompt

SETTINGS = (
    "temperature",
    "max_tokens",
    "stop",
    "seed",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "parallel_tool_calls",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantCall:
    """``settings``: some of ``SETTINGS``, by those names. Tools and response format are as OpenAI's chat has them."""

    model: str
    settings: Mapping[str, Any]
    tools: list[dict[str, Any]] | None
    response_format: Mapping[str, Any] | None


def variant_call(
    prompt: Prompt,
    *,
    model: str,
    models: Mapping[str, str] | None = None,
    own: Mapping[str, Any] | None = None,
    lacks: Collection[str] = (),
) -> VariantCall:
    """What to send for a prompt. Where it is not what the variant says, the prompt leaves its arm.

    Args:
        model: asked where the prompt names none, as your own fallback does, or one that is not known here.
        models: the provider's name of a model, by its name on the server (config/models.yaml). A name without an entry
            is known only where it is ``model`` itself: a name that a provider does not know would fail for a user.
        own: what the caller's call says itself, by the names of ``SETTINGS``, ``model``, ``tools`` and
            ``response_format``. It is sent. It is an override where the variant says otherwise; what the variant does
            not say is the same for all variants, and overrides nothing.
        lacks: what of these the package or its API cannot send. It is left out.
    """
    own = own or {}
    formats = {"tools": prompt.tools, "response_format": prompt.response_format}
    said = {name: value for name, value in {**prompt.model, **formats}.items() if name != "name" and value is not None}
    name = prompt.model.get("name")
    known = (models or {}).get(name, model if name == model else None) if name is not None else model
    if known is None:
        prompt.leave_arm(f"no model is known for {name!r}: give the adapter models={{{name!r}: ...}}")
    elif own.get("model", known) != known:
        prompt.leave_arm("the call names a model of its own")
    for setting in said:
        if setting in own:
            if own[setting] != said[setting]:
                prompt.leave_arm(f"the call has its own {setting}")
        elif setting in lacks or setting not in (*SETTINGS, *formats):
            prompt.leave_arm(f"{setting} cannot be sent this way")
    sent = {name: value for name, value in said.items() if name not in lacks} | dict(own)
    return VariantCall(
        model=own.get("model") or known or model,
        settings={name: sent[name] for name in SETTINGS if name in sent},
        tools=sent.get("tools"),
        response_format=sent.get("response_format"),
    )
