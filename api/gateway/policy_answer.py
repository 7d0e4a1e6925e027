"""Answers by a Variant whose policy makes more of a request than one call: a cascade, votes, a gate.

What it may ask is in core/policy/.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from api.gateway.chat_answer import AnsweredCall, ChatResult, storable
from api.gateway.model_side import ModelSide
from api.gateway.reader import Reader
from optimizer.core.base.errors import Busy, DetentError, ModelFailed, NotFound
from optimizer.core.base.values import REFUSED
from optimizer.core.family.family import Family
from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from optimizer.core.policy.assess import Situation, own_score
from optimizer.core.policy.context import tool_results
from optimizer.core.policy.policy import Policy, messages_of_fewer
from optimizer.core.policy.steps import draw_of
from optimizer.core.policy.tier_costs import other_tiers
from optimizer.jobs.calls.ask_judge import JudgeAttempt, JudgeModel, gate_judge
from optimizer.jobs.calls.ask_model import ModelReply, ask_model
from optimizer.jobs.calls.execute_policy import AskOne, Execution, PolicyRequest, Score, Student, execute_policy
from optimizer.ports import LanguageModel

log = structlog.get_logger("gateway")


class PolicyFailed(ModelFailed):
    """No model gave an answer that may be delivered. ``record`` holds what was asked, and paid for all the same."""

    def __init__(self, failure: ModelFailed, record: Mapping[str, Any]) -> None:
        members = {name: value for name, value in failure.members.items() if name != "kind"}
        super().__init__(failure.detail, kind=failure.kind, said=failure.said, **members)
        self.record = record


async def answer_by_policy(side: ModelSide, call: AnsweredCall, reader: Reader, policy: Policy) -> ChatResult:
    """The answer that the policy delivers, with the sums of all its calls.

    Raises:
        PolicyFailed: no answer may be delivered.
        ClientGone: the client left before one could be; its ``record`` holds what was paid, its ``follow_up`` waits
            for calls that are still out.
    """
    definition = call.definition
    situation = Situation(
        output=definition.output if definition is not None else Output(),
        input=call.input,
        tool_results=tool_results(call.request.messages),
    )
    students, passed_over = await _students(side, call, policy)
    request = PolicyRequest(
        policy=policy,
        rendered=call.request,
        fewer=messages_of_fewer(policy.examples, call.shown, call.rendered),
        situation=situation,
        draw=draw_of(call.id),
        students=students,
        passed_over=passed_over,
    )
    ask, ask_later = _asking(side, call, reader), _asking(side, call, None)
    score = (
        None
        if policy.own_scorer is None or definition is None
        else _score(side, policy.own_scorer, definition, situation)
    )
    try:
        executed = await execute_policy(
            request, ask, ask_later=ask_later, score=score, judge=await _judge(side, call, reader, policy, situation)
        )
    except Busy as error:
        raise ModelFailed.unsent(error) from error
    if executed.interrupted is not None:
        executed.interrupted.record = _sums(executed)  # type: ignore[attr-defined]
        executed.interrupted.follow_up = executed.follow_up  # type: ignore[attr-defined]
        raise executed.interrupted
    if executed.attempt is None:
        assert executed.failure is not None
        raise PolicyFailed(executed.failure, _sums(executed)) from executed.failure
    attempt, tokens = executed.attempt, executed.tokens()
    assert attempt.answer is not None
    tier = policy.cascade.models[attempt.call.tier] if policy.cascade and attempt.call.tier is not None else None
    others = other_tiers(policy, request.bases, executed.attempts, attempt, lambda name: _price(side, name))
    would_cost = {other["tier"]: other["cost_usd"] for other in others if not other["asked"]}
    refused = {REFUSED: True} if attempt.refused else {}
    return ChatResult(
        answer=replace(
            attempt.answer,
            cost_usd=executed.cost_usd,
            is_priced=executed.known_usd is not None,
            input_tokens=tokens["input_tokens"],
            output_tokens=tokens["output_tokens"],
        ),
        models=executed.models,
        model=attempt.answered_by or attempt.call.model,
        confidence=attempt.confidence,
        parts=_parts(executed),
        tags={**({"not_asked": would_cost} if would_cost else {}), **refused},
        more={"why": executed.why, **({"tier": tier, "others": others} if tier is not None else {}), **refused},
        follow_up=executed.follow_up,
    )


def _price(side: ModelSide, model: str) -> ModelPrice | None:
    try:
        return side.models.price(model)
    except NotFound:  # the file no longer has it
        return None


async def _students(
    side: ModelSide, call: AnsweredCall, policy: Policy
) -> tuple[Mapping[str, Student], frozenset[str]]:
    """The students that answer as tiers, and the tiers that are passed over.

    A request that follows on others, or brings tools, is more than a student reads, and one that asks for JSON of a
    family that has none wants what it does not write. One that the store does not give at once is passed over: an
    answer does not wait for it.
    """
    shelf, params = side.shelf, call.request.params
    if shelf is None or policy.cascade is None:
        return {}, frozenset()
    students: dict[str, Student] = {}
    answers_json = call.variant.response_format or (call.definition and call.definition.output.parser == "json")
    wants_json = not answers_json and (params.get("response_format") or {}).get("type", "text") != "text"
    if policy.cascade.students and not (call.follows_on or params.get("tools") or wants_json):
        try:
            students = await asyncio.to_thread(shelf.answering, call.family, policy)
        except DetentError as error:
            log.error("a student could not be read; its tier is passed over", family=call.family, error=error.detail)
    return students, shelf.passed_over(policy, students)


def _asking(side: ModelSide, call: AnsweredCall, reader: Reader | None, *, fallbacks: bool = True) -> AskOne:
    models = side.models.for_request(call.family, reader, call.spending, call.actor)

    def ask(name: str, request_of: Callable[[LanguageModel], ModelRequest]) -> Awaitable[ModelReply]:
        if reader is not None:
            reader.check()  # raises where the client has gone, before another call costs money
        return side.calls.start(lambda: ask_model(models, name, request_of, fallbacks=fallbacks))

    return ask


async def _judge(
    side: ModelSide, call: AnsweredCall, reader: Reader, policy: Policy, situation: Situation
) -> JudgeAttempt | None:
    """The judge; None where the policy asks none, or there is none."""
    family = call.definition
    if not policy.asks_judge or family is None or family.judge is None:
        return None
    ask = _asking(side, call, reader, fallbacks=False)  # another model's scores are another judge's

    async def opened(name: str) -> JudgeModel:
        return _PolicyMember(name, ask)

    return gate_judge(family, policy, situation, await side.calibrations.of(family), opened)


@dataclass(frozen=True, slots=True)
class _PolicyMember:
    """A model of the judge behind the gateway's guards."""

    name: str
    ask: AskOne
    revision: str = ""  # the model's own is known once it is asked

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Raises ModelFailed, also for too many calls at once: the answer is then delivered unjudged, and says so."""
        try:
            outcome = await self.ask(
                self.name, lambda model: replace(request, model=model.name, revision=model.revision)
            )
        except Busy as error:
            raise ModelFailed.unsent(error) from error
        return outcome.answer


def _score(side: ModelSide, dotted: str, family: Family, situation: Situation) -> Score | None:
    """The user's own function on a text; it is loaded where it first runs, beside the event loop.

    One that the file does not name gives no score.
    """
    judge_of = side.judge_of
    return None if judge_of is None else lambda text: own_score(judge_of(dotted, family), situation, text)


def _sums(executed: Execution) -> dict[str, Any]:
    return {"cost_usd": executed.known_usd, **executed.tokens(), "parts": _parts(executed)}


def _parts(executed: Execution) -> list[dict[str, Any]]:
    """Texts without what no database keeps."""
    return [
        {name: storable(value) if isinstance(value, str) else value for name, value in part.items()}
        for part in executed.parts()
    ]
