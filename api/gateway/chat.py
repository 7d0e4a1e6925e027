"""POST /v1/chat/completions: fills in a unit's prompt, answers by a model, whole or as a stream, records the
interaction.

A chat may name a model of config/models.yaml and no family: the request goes to that model unchanged. It has no prompt,
no variant and no arm. It is recorded as no family's, counts for none, and none of its texts is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import services
from api.access.auth import require, require_family
from api.access.key_limits import KeySpending
from api.access.limits import count_one
from api.answers import ModelNames
from api.gateway.chat_answer import AnsweredCall, ChatResult, StreamShape, completion, json_bytes
from api.gateway.chat_body import read_chat, sent_on
from api.gateway.event_stream import EventStream
from api.gateway.hourly_money import cheapest_tier, models_bound, most_judging_usd, most_usd
from api.gateway.model_side import ModelSide, of
from api.gateway.policy_answer import answer_by_policy
from api.gateway.reader import ClientGone, Reader
from api.gateway.settling import begin
from api.hot.application import HotRoute
from api.http.bodies import StrictRequest
from api.http.problems import KeyLimitReached, ModelPaused, ModelTimedOut, MoneySpent
from api.routing import Asking, guarded, router
from api.schemas import ChatBody
from api.served import ServedChoice, decide, unit_of
from api.services import Services
from optimizer.core.base.canonical import texts_in
from optimizer.core.base.errors import Busy, DetentError, Fault, InvalidInput, ModelFailed, NotFound
from optimizer.core.family.rendering import limit_inputs, render
from optimizer.core.family.variant import SETTINGS, Message, Variant, model_faults
from optimizer.core.feedback.events import NO_FAMILY
from optimizer.core.models.budget import output_limit
from optimizer.core.models.injection import injection_signs
from optimizer.core.models.language import ModelRequest, request_for
from optimizer.core.models.wire import pass_through, read_turn
from optimizer.core.policy.nearest import ShownExamples, nearest_of
from optimizer.core.policy.policy import messages_of_fewer, request_of_policy
from optimizer.core.policy.steps import longest_request, most_calls, most_longer_calls
from optimizer.core.search.answer_bounds import DEFAULT_MAX_TOKENS, OUTPUT_BYTES_PER_TOKEN
from optimizer.core.serving.assignment import Choice
from optimizer.core.serving.rollout import require_unfrozen
from optimizer.jobs.calls.ask_model import ask_model
from optimizer.jobs.ids import new_id

GONE_CHECK_S = 0.25
PATH = "/v1/chat/completions"
NONE = Variant(messages=({"role": "user", "content": ""},))  # of a model by its own name: no messages and no policy

routes: APIRouter = router("Models")


@routes.post(PATH, **guarded("serve", narrows=True))
async def chat_completions(body: ChatBody, request: StrictRequest) -> Response:
    """OpenAI's request and answer; `model` is a family, or a model of config/models.yaml.

    The answer's id is the interaction's, for feedback.
    """
    shared, side = services.of(request), of(request)
    if body.n not in (None, 1):
        raise InvalidInput(
            f"One answer per request is given, and n is {body.n}. Send the request again for another answer.",
            [Fault(pointer="/n", detail="must be 1")],
        )
    unit = body.user or body.detent.unit or unit_of(request)
    call = (
        _of_model(body, request, unit, shared, side)
        if _names_a_model(body.model, shared, side)
        else _within_limits(await _prepare(body, request, unit, shared, side), shared, side)
    )
    if side.user_windows is not None and unit is not None:
        # As the same name under two keys may be two people's.
        sender = f"{request.state.caller.actor} {shared.hmac_unit(unit)}"
        count_one(side.user_windows, sender, request.state.headers)
    headers = {"X-Detent-Assignment": call.token} if call.token is not None else {}
    reader = Reader(shared.settings.limits.stalled_seconds)
    settled = await begin(shared, side, call, reader, lambda: _start(side, call, reader, streaming=bool(body.stream)))
    if call.served is not None:
        family, choice = call.served.family.name, call.served.choice
        shared.exposures.count(family, choice, call.truncated, is_nearest=call.shown.is_nearest)
    try:
        if not body.stream:
            return Response(
                json_bytes(completion(call, await _while_waited_for(settled, request, reader))),
                headers={**headers, "Cache-Control": "no-store"},
                media_type="application/json",
            )
        await _first_piece(settled, request, reader)
    except ModelFailed as error:
        raise for_client(error, call) from error
    except ClientGone:
        return Response(status_code=499)  # the client has gone
    return EventStream(
        StreamShape(call, usage=body.stream_options is not None and body.stream_options.include_usage),
        reader,
        settled,
        lambda error: for_client(error, call),
        headers,
    )


async def _plain(request: StrictRequest, shared: Services) -> Response:
    return await chat_completions(read_chat(await request.declared_json()), request)


HOT = [HotRoute(path=PATH, role="serve", handler=_plain)]


@routes.get("/v1/models", **guarded("serve", narrows=True))
async def list_models(request: Request, caller: Asking) -> ModelNames:
    """The families, as OpenAI lists models."""
    families = {
        name: family
        for name, family in services.of(request).serving.now_served.families.items()
        if family.variants[family.champion.variant].messages and caller.access.may_see(name)  # a policy is no model
    }
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": int(family.champion.since.timestamp()),
                "owned_by": "detent",
            }
            for name, family in sorted(families.items())
        ],
    }


async def _prepare(
    body: ChatBody, request: StrictRequest, unit: str | None, shared: Services, side: ModelSide
) -> AnsweredCall:
    require_family(request.state.caller, body.model)
    passed_through = sent_on(body)
    family = shared.serving.now_served.family(body.model)
    if body.detent.variant is not None:
        require(request.state.caller, "operate")
        served, variant = await asyncio.to_thread(_as_told, shared, body.model, body.detent.variant, unit)
    else:
        served = decide(shared, family, unit, shared.clock.now(), by_chat=True)
        variant = served.family.variants[served.choice.variant]
    definition = family.definition
    if not variant.messages:
        raise InvalidInput(
            f"Family {body.model!r} is a policy and calls no model. POST /v1/families/{body.model}/render with a record"
            " as variables decides about it.",
            [Fault(pointer="/model", detail="a family of kind prompt is needed")],
        )
    declared = list(definition.inputs) if definition is not None else list(variant.variables)
    turn = read_turn(body.model, declared, body.messages, body.detent.variables)
    variables, truncated = limit_inputs(definition, turn.variables)

    shown = ShownExamples(variant=variant)
    if nearest_of(variant.policy) is not None:
        # The store is read once, and a look-up computes.
        shown = await asyncio.to_thread(shared.examples.served, body.model, variant, variables)

    def rendered(some: Variant) -> list[Message]:
        return [*render(some, variables, turn.history, declared=declared), *turn.after]

    texts = [m.get("content") for m in (*turn.history, *turn.after) if m.get("role") in ("user", "tool")]
    id = new_id("in")
    request_now = request_for(variant, rendered(shown.variant), revision="")
    params = {**request_now.params, **pass_through(variant, passed_through)}
    # Above temperature 0 every request is a draw of its own, even for a model with a seed.
    sample = id if params.get("temperature") else "0"
    return AnsweredCall(
        id=id,
        served=served,
        variant=variant,
        shown=shown,
        request=replace(request_now, params=params, sample=sample),
        input=variables,
        rendered=rendered,
        sticky=unit is not None,
        follows_on=bool(turn.history or turn.after),
        actor=request.state.caller.actor,
        spending=KeySpending.of(request.state.caller, shared.store, shared.clock, side.lengths),
        injection=injection_signs(texts_in([*variables.values(), *texts])),
        truncated=truncated,
    )


def _as_told(shared: Services, name: str, variant_id: str, unit: str | None) -> tuple[ServedChoice, Variant]:
    """A named variant, for tests: it is in no arm and not counted."""
    family = shared.serving.now_served.family(name)
    record = shared.read(lambda tx: shared.store.variants.get(tx, name, variant_id))
    if record is None:
        raise NotFound(
            f"Family {name!r} has no variant {variant_id!r}. `detent variant list {name}` shows those that exist.",
            family=name,
        )
    is_champion = variant_id == family.champion.variant
    if not is_champion and family.freeze is not None:
        require_unfrozen([family.freeze], name, f"answer with {variant_id}")
    choice = Choice(variant=variant_id, role="champion" if is_champion else "candidate", counted=False)
    hashed = shared.hmac_unit(unit) if unit is not None else None
    token = family.token(
        choice, hashed, now=shared.clock.now(), rollout_now=shared.clock.rollout_now(), keys=shared.serving.token_keys
    )
    return ServedChoice(family=family, choice=choice, token=token), record.variant


def _within_limits(call: AnsweredCall, shared: Services, side: ModelSide) -> AnsweredCall:
    """The call as the family's money for this hour allows it. Raises MoneySpent where it allows nothing any more."""
    definition = call.definition
    if definition is None or definition.limits.usd_per_hour is None:
        return call
    limit, said_by = definition.limits.usd_per_hour, "limits.usd_per_hour in its family.yaml"
    policy = side.policies.of(call.variant.id, call.variant)
    try:
        side.money.require_left(
            definition.name, limit, shared.clock.now(), whose=f"Family {definition.name!r}", said_by=said_by
        )
    except MoneySpent:
        if definition.limits.above != "cheapest":
            raise
        cheapest = cheapest_tier(definition, call.variant, side.catalogue)
        fewer = messages_of_fewer(policy.examples, call.shown, call.rendered) if policy is not None else {}
        messages = fewer.get(cheapest, call.request.messages)
        call, policy = (
            replace(call, cheapest_only=True, request=replace(call.request, model=cheapest, messages=messages)),
            None,
        )
    names = {call.request.model} | (policy.models if policy is not None else set())
    most_of = partial(
        most_usd,
        names=names,
        models=side.catalogue,
        limit=limit,
        said_by=said_by,
        fallbacks=not call.cheapest_only,
        lengths=side.lengths,
    )
    if policy is None:
        return replace(call, may_cost_usd=most_of(call.request))
    longer_usd = 0.0
    if n_longer := most_longer_calls(policy):
        most_tokens = output_limit(call.request.params, DEFAULT_MAX_TOKENS) or 0
        if side.lengths is not None:
            most_tokens = max(side.lengths.expected(name, most_tokens) or 0 for name in names)
        longer_usd = n_longer * most_of(longest_request(policy, call.request, most_tokens * OUTPUT_BYTES_PER_TOKEN))
    answers_usd = (most_calls(policy) - n_longer) * most_of(request_of_policy(policy, call.request))
    judging_usd = most_judging_usd(
        definition, policy, call.request, call.input, side.catalogue, limit=limit, said_by=said_by
    )
    return replace(call, may_cost_usd=answers_usd + longer_usd + judging_usd)


def _start(side: ModelSide, call: AnsweredCall, reader: Reader, *, streaming: bool) -> asyncio.Future[ChatResult]:
    """A variant with a policy is answered as that says, and streamed once it is decided; any other by one
    model call.
    """
    policy = None if call.cheapest_only else side.policies.of(call.variant.id, call.variant)
    if policy is not None:
        return asyncio.ensure_future(answer_by_policy(side, call, reader, policy))
    return side.calls.start(lambda: answer(side, call, reader, streaming=streaming))


async def answer(side: ModelSide, call: AnsweredCall, reader: Reader, *, streaming: bool) -> ChatResult:
    """Makes the answer. Pieces go to ``reader`` where the client streams; a whole answer needs none."""
    outcome = await ask_model(
        side.models.for_request(call.family, reader, call.spending, call.actor),
        call.request.model,
        lambda model: replace(call.request, model=model.name, revision=model.revision),
        sink=reader if streaming else None,
        fallbacks=not call.cheapest_only,
    )
    return ChatResult(
        answer=outcome.answer, models=outcome.models, tags={"limited": "usd_per_hour"} if call.cheapest_only else {}
    )


async def _while_waited_for(settled: asyncio.Task[ChatResult], request: Request, reader: Reader) -> ChatResult:
    """A call under way is finished though its client goes: it is paid for and recorded. One not begun is dropped."""
    while True:
        done, _ = await asyncio.wait({settled}, timeout=GONE_CHECK_S)
        if done:
            return settled.result()
        if not reader.has_left and await request.is_disconnected():
            reader.leave()


async def _first_piece(settled: asyncio.Task[ChatResult], request: Request, reader: Reader) -> None:
    """Waits until there is something to send, so that a call that fails before is answered with a problem's status."""
    settled.add_done_callback(lambda _: reader.woken.set())
    while not reader.begun and not settled.done():
        try:
            async with asyncio.timeout(GONE_CHECK_S):
                await reader.woken.wait()
        except TimeoutError:
            if await request.is_disconnected():
                reader.leave()
        if reader.has_left:
            await asyncio.wait({settled})
    if settled.done() and not reader.begun:
        settled.result()


def for_client(error: ModelFailed, call: AnsweredCall) -> DetentError:
    """504 for a model that was too slow, 503 for one that was not asked, 502 for all else; only busy ones are
    unrecorded.
    """
    members = {name: value for name, value in error.members.items() if name not in ("kind", "sent")}
    if error.kind == "busy":
        return Busy(error.detail, **members)
    if error.kind == "limit":
        return KeyLimitReached(error.detail, **members)
    failure = {"timeout": ModelTimedOut, "paused": ModelPaused}.get(error.kind, ModelFailed)
    ids = {"interaction": call.id} | ({"assignment": call.token} if call.token is not None else {})
    return failure(error.detail, kind=error.kind, **{**members, **ids})


def _names_a_model(name: str, shared: Services, side: ModelSide) -> bool:
    """Whether a chat's ``model`` is one of config/models.yaml. A family of that name wins, even one that cannot be
    served.
    """
    served, files = shared.serving.now_served, shared.families
    is_family = name in served.families or name in files.families or name in files.problems
    return served.version is not None and not is_family and side.catalogue.knows(name)


def _of_model(
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
