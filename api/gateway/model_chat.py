"""A chat that names a model of config/models.yaml and no family: the request goes to that model unchanged.

It has no prompt, no variant and no arm. It is recorded as no family's, counts for none, and none of its texts is
stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from api.access.auth import require_family
from api.access.key_limits import KeySpending
from api.gateway.chat_answer import AnsweredCall
from api.gateway.chat_body import sent_on
from api.gateway.hourly_money import models_bound, most_usd
from api.gateway.model_side import ModelSide
from api.http.bodies import StrictRequest
from api.schemas import ChatBody
from api.services import Services
from optimizer.core.base.canonical import texts_in
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.family.variant import SETTINGS, Variant, model_faults
from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.models.injection import injection_signs
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.nearest import ShownExamples
from optimizer.core.search.answer_bounds import DEFAULT_MAX_TOKENS
from optimizer.jobs.ids import new_id

NONE = Variant(messages=({"role": "user", "content": ""},))  # without messages and policy


def names_a_model(name: str, shared: Services, side: ModelSide) -> bool:
    """Whether a chat's ``model`` is one of config/models.yaml. A family of that name wins, even one that cannot be
    served.
    """
    served, files = shared.serving.now_served, shared.families
    is_family = name in served.families or name in files.families or name in files.problems
    return served.version is not None and not is_family and side.catalogue.knows(name)


def of_model(
    body: ChatBody, request: StrictRequest, unit: str | None, shared: Services, side: ModelSide
) -> AnsweredCall:
    """Raises NotAuthorised for a key for named families, InvalidInput for settings that are none,
    MoneySpent where the hour's money is gone.
    """
    caller = request.state.caller
    for family in (body.model, None):  # for a key for named families this is just another foreign family
        require_family(caller, family)
    for field in ("variables", "variant"):
        if getattr(body.detent, field) is not None:
            raise InvalidInput(
                f"{body.model!r} is a model and no family, so it has no {field}. Leave it out, or name a family as"
                " model.",
                [Fault(pointer=f"/detent/{field}", detail="is for a family")],
            )
    passed_on = sent_on(body)
    if not body.messages:
        raise InvalidInput(
            "A model needs something to answer.", [Fault(pointer="/messages", detail="a message is needed")]
        )
    messages = list(body.messages)
    params = {**_settings(body), **{name: value for name, value in passed_on.items() if value is not None}}
    model_request = ModelRequest(model=body.model, revision="", messages=messages, params=params)
    may_cost_usd = 0.0  # where nothing limits it
    limit, said_by = models_bound(shared.settings, shared.families.families)
    if limit is not None:
        whose = "Chat with models by their own names"
        side.money.require_left(NO_FAMILY, limit, shared.clock.now(), whose=whose, said_by=said_by)
        may_cost_usd = most_usd(
            model_request, [body.model], side.catalogue, limit=limit, said_by=said_by, lengths=side.lengths
        )
    id = new_id("in")
    return AnsweredCall(
        id=id,
        served=None,
        variant=NONE,
        shown=ShownExamples(variant=NONE),
        request=model_request if model_request.temperature == 0 else replace(model_request, sample=id),
        input={},
        rendered=lambda shown: messages,
        sticky=False,
        actor=caller.actor,
        spending=KeySpending.of(caller, shared.store, shared.clock, side.lengths),
        injection=injection_signs(texts_in([m.get("content") for m in messages if m.get("role") in ("user", "tool")])),
        unit=unit,
        may_cost_usd=may_cost_usd,
    )


def _settings(body: ChatBody) -> dict[str, Any]:
    """The generation settings that the request names; other members of OpenAI's request are not sent on."""
    members = {**(body.model_extra or {})}
    if members.get("max_completion_tokens") is not None:
        members["max_tokens"] = members["max_completion_tokens"]
    if isinstance(members.get("stop"), str):
        members["stop"] = [members["stop"]]
    settings = {setting.name: members[setting.name] for setting in SETTINGS if members.get(setting.name) is not None}
    if faults := model_faults(settings, ""):
        raise InvalidInput(
            "This request cannot be sent on: " + "; ".join(fault.detail for fault in faults) + ".", faults
        )
    return {"max_tokens": DEFAULT_MAX_TOKENS, **settings}
