"""POST /v1/chat/completions: a unit's prompt filled in, one model call, OpenAI's answer, and the interaction on record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter, time
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from api import services
from api.auth import require
from api.model_threads import ClientGone, ModelThreads
from api.problems import ModelTimedOut
from api.routes.serving import Served, serve, unit_of
from api.routing import guarded, router
from api.services import Services
from optimizer.core.assignment import Choice, unit_hmac, verify_token
from optimizer.core.chat import pass_through, read_turn
from optimizer.core.errors import Fault, InvalidInput, ModelFailed, NotFound, NotYet
from optimizer.core.freezes import require_unfrozen
from optimizer.core.language import ModelRequest, request_for
from optimizer.core.rendering import clip_inputs, render
from optimizer.core.variant import Variant
from optimizer.jobs.ask_model import Asked, ask_model
from optimizer.jobs.ids import new_id
from optimizer.jobs.ingest_feedback import aingest
from optimizer.ports import LanguageModel

RECORD_WAIT_S = 0.25  # an answer waits no longer than this for its interaction to be on disk
MAX_ERROR_CHARS = 1000

if TYPE_CHECKING:
    from optimizer.adapters.language_models import Models

log = structlog.get_logger("gateway")
routes: APIRouter = router("Models")


@dataclass(kw_only=True)
class ModelSide:
    """What the gateway has beside the services that every process has."""

    models: Models
    threads: ModelThreads = field(default_factory=ModelThreads)
    recording: set[asyncio.Task[None]] = field(default_factory=set)


class DetentFields(BaseModel):
    """What OpenAI's request has no word for; `extra_body` of the openai package."""

    model_config = ConfigDict(extra="forbid")

    variables: dict[str, Any] | None = None
    unit: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    variant: Annotated[str, Field(description="Answer with this variant, counted in no arm; needs role operate")] | None = None


class ChatBody(BaseModel):
    """OpenAI's request. Settings such as `temperature` are the Variant's own: what a request says of them is not used."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: Annotated[str, Field(description="The name of a family")]
    messages: list[dict[str, Any]]
    stream: bool | None = None
    n: int | None = None
    user: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    detent: DetentFields = DetentFields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request on its way: what is served, what goes to the model, and under which id it will be on record."""

    id: str
    served: Served
    variant: Variant
    request: ModelRequest
    input: Mapping[str, Any]
    sticky: bool


@routes.post("/v1/chat/completions", **guarded("read"))
async def chat_completions(body: ChatBody, request: Request) -> Response:
    """OpenAI's request and answer; `model` is a family. The answer's id is the interaction's, for feedback."""
    shared, side = services.of(request), of(request)
    if body.stream:
        raise NotYet("Streaming comes with a later version. Send the request without `stream: true`.")
    if body.n not in (None, 1):
        raise InvalidInput(
            f"One answer per request is given, and n is {body.n}. Send the request again for another answer.",
            [Fault(pointer="/n", detail="must be 1")],
        )
    call = await _prepare(body, request, shared)
    started = perf_counter()
    try:
        asked = await side.threads.run(
            lambda: ask_model(side.models, call.request.model, lambda model: _for_model(call.request, model)), request
        )
    except ModelFailed as error:
        latency_ms = (perf_counter() - started) * 1000
        await _record(shared, side, request, call, {"error": f"{error.kind}: {error.detail}"[:MAX_ERROR_CHARS], "latency_ms": latency_ms})
        raise _for_client(error, call) from error
    except ClientGone:
        return Response(status_code=499)  # nobody reads it
    latency_ms = (perf_counter() - started) * 1000
    answer = asked.answer
    report = {
        "output": answer.text,
        "latency_ms": latency_ms,
        "cost_usd": answer.cost_usd,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "model": asked.models[-1],
    }
    if len(asked.models) > 1:
        report["tags"] = {"models_asked": ",".join(asked.models)}
    await _record(shared, side, request, call, report)
    return JSONResponse(_completion(call, asked), headers={"X-Detent-Assignment": call.served.token, "Cache-Control": "no-store"})


@routes.get("/v1/models", **guarded("read"))
async def list_models(request: Request) -> dict[str, Any]:
    """The families, as OpenAI lists models."""
    served = services.of(request).serving.now_served.families
    families = {
        name: family for name, family in served.items() if family.variants[family.champion.variant].messages
    }  # a policy is no model
    created = {name: int(family.champion.since.timestamp()) for name, family in families.items()}
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": created[name], "owned_by": "detent"} for name in sorted(families)],
    }


def of(request: Request) -> ModelSide:
    side: ModelSide = request.app.state.model_side
    return side


async def _prepare(body: ChatBody, request: Request, shared: Services) -> Call:
    unit = body.user or body.detent.unit or unit_of(request)
    family = shared.serving.now_served.family(body.model)
    if body.detent.variant is not None:
        require(request.state.caller, "operate")
        served, variant = await asyncio.to_thread(_as_told, shared, body.model, body.detent.variant, unit)
    else:
        served = serve(shared, body.model, unit)
        variant = served.family.variants[served.choice.variant]
    definition = family.definition
    if not variant.messages:
        raise InvalidInput(
            f"Family {body.model!r} is a policy and calls no model. POST /v1/families/{body.model}/render with a record as variables decides about it.",
            [Fault(pointer="/model", detail="a family of kind prompt is needed")],
        )
    declared = list(definition.inputs) if definition is not None else list(variant.variables)
    turn = read_turn(body.model, declared, body.messages, body.detent.variables)
    variables = clip_inputs(definition, turn.variables) if definition is not None else dict(turn.variables)
    messages = [*render(variant, variables, turn.history, declared=declared), *turn.after]
    id = new_id("in")
    request_now = request_for(variant, messages, revision="")
    asked = {"tools": body.tools, "tool_choice": body.tool_choice, "response_format": body.response_format}
    params = {**request_now.params, **pass_through(variant, asked)}
    # Above temperature 0 every request is a draw of its own, also for a model that is seeded.
    sample = id if params.get("temperature") else "0"
    return Call(
        id=id,
        served=served,
        variant=variant,
        request=replace(request_now, params=params, sample=sample),
        input=variables,
        sticky=unit is not None,
    )


def _as_told(shared: Services, name: str, variant_id: str, unit: str | None) -> tuple[Served, Variant]:
    """A named variant, for tests: it stands in no arm and is not counted."""
    family = shared.serving.now_served.family(name)
    record = shared.read(lambda tx: shared.store.variants.get(tx, name, variant_id))
    if record is None:
        raise NotFound(f"Family {name!r} has no variant {variant_id!r}. `detent variant list {name}` shows those that exist.", family=name)
    is_champion = variant_id == family.champion.variant
    if not is_champion and family.freeze is not None:
        require_unfrozen([family.freeze], name, f"answer with {variant_id}")
    choice = Choice(variant=variant_id, role="champion" if is_champion else "candidate", counted=False)
    hashed = unit_hmac(shared.secrets.unit_key, unit) if unit is not None else None
    token = family.token(choice, hashed, now=shared.clock.now(), rollout_now=shared.clock.rollout_now(), keys=shared.serving.token_keys)
    return Served(family=family, choice=choice, token=token), record.variant


def _for_model(request: ModelRequest, model: LanguageModel) -> ModelRequest:
    return replace(request, model=model.name, revision=model.revision)


def _for_client(error: ModelFailed, call: Call) -> ModelFailed:
    """504 for a model that was too slow, 502 for all else; the interaction is on record either way."""
    failure = ModelTimedOut if error.kind == "timeout" else ModelFailed
    members = {name: value for name, value in error.members.items() if name not in ("kind", "sent")}
    return failure(error.detail, kind=error.kind, **{**members, "interaction": call.id, "assignment": call.served.token})


def _completion(call: Call, asked: Asked) -> dict[str, Any]:
    answer, choice = asked.answer, call.served.choice
    message = {"role": "assistant", "content": answer.text or None, **(answer.raw_message or {})}
    message.setdefault("refusal", None)
    return {
        "id": call.id,
        "object": "chat.completion",
        "created": int(time()),
        "model": call.served.family.name,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
        "detent": {
            "assignment": call.served.token,
            "family": call.served.family.name,
            "variant": choice.variant,
            "role": choice.role,
            "tiers": list(asked.models),
            "confidence": None,
            "cost_usd": answer.cost_usd,
            "sticky": call.sticky,
        },
    }


async def _record(shared: Services, side: ModelSide, request: Request, call: Call, report: Mapping[str, Any]) -> None:
    """Puts the interaction on disk. A store that is slow or away delays the answer by RECORD_WAIT_S at most; the rest goes on behind it."""
    event = {"id": call.id, "assignment": call.served.token, "input": dict(call.input), **report}
    task = asyncio.create_task(_ingest(shared, event, request.state.caller.actor))
    side.recording.add(task)
    task.add_done_callback(side.recording.discard)
    await asyncio.wait({task}, timeout=RECORD_WAIT_S)


async def _ingest(shared: Services, event: Mapping[str, Any], actor: str) -> None:
    keys, now = shared.serving.token_keys, shared.clock.now()
    try:
        result = await aingest(
            [event],
            store=shared.store,
            clock=shared.clock,
            families=shared.families.families,
            verify=lambda token: verify_token(token, keys, now),
            hmac_unit=lambda unit: unit_hmac(shared.secrets.unit_key, unit),
            actor=actor,
        )
    except Exception as error:
        # The user has the answer by now; what is lost is its record, and that must be seen.
        log.error("interaction not recorded", interaction=event["id"], error=str(error), exc_info=error)
        return
    for rejected in result["rejected"]:
        log.error("interaction rejected", interaction=event["id"], type=rejected["type"], detail=rejected["detail"])
