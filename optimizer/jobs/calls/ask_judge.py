"""Asks a family's judge for its judgement of one answer: each member once, and once more where it cannot be read.

``gate_judge`` is the judge as a policy asks it: how people would rate an answer, or whether its facts are wrong. It
also reports the calls that this took.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from optimizer.core.base.errors import ModelFailed
from optimizer.core.evaluation.judging.bias import Pair, pair_messages, read_better
from optimizer.core.evaluation.judging.calibration import Calibration, judge_identity, judge_of, why_uncalibrated
from optimizer.core.evaluation.judging.judgement import Judgement, MemberScore, opinion_of
from optimizer.core.evaluation.judging.rubric import (
    Claims,
    JudgeCase,
    asked_again,
    facts_messages,
    judge_messages,
    read_facts,
    read_scores,
)
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import expected_text, parse_output
from optimizer.core.family.settings import JudgeSettings
from optimizer.core.models.injection import injection_signs
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, checked_answer, facts_material, with_facts, without_judgement
from optimizer.core.policy.attempts import Attempt, Call, Judge
from optimizer.core.policy.policy import Policy
from optimizer.core.search.answer_bounds import ASKS

T = TypeVar("T")
JUDGE = "judge"  # the purpose of its calls
MOST_KNOWN = 8  # a question with so many unreadable answers in the journal is not asked again
Keep = Callable[[Attempt], None]
JudgeAttempt = Callable[[Judge, Keep], Awaitable[Attempt]]


class JudgeModel(Protocol):
    """A model behind whatever keeps its calls: the journal and a budget, or the gateway's guards."""

    @property
    def revision(self) -> str: ...
    async def complete(self, request: ModelRequest, /) -> ModelAnswer: ...


OpenJudge = Callable[[str], Awaitable[JudgeModel]]  # a name of config/models.yaml -> the model


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedMember:
    """A member of the judge, with something else done beside each of its calls."""

    revision: str
    complete: Callable[[ModelRequest], Coroutine[Any, Any, ModelAnswer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReply(Generic[T]):
    """``value`` None: it could not be measured, and ``why`` says why."""

    value: T | None
    cost_usd: float
    why: str = ""


def judged_answer(family: Family, input: Mapping[str, Any], expected: Mapping[str, Any], text: str) -> JudgeCase:
    """An answer as its judge sees it: with the expected output where there is one and the family shows it."""
    assert family.judge is not None
    shown = family.judge.reference and expected.get(family.output.field) not in (None, "")
    return JudgeCase(
        task=family.description,
        input=family.declared_inputs(input),
        answer=text,
        reference=expected_text(family.output, expected) if shown else None,
    )


async def ask_judge(judge: JudgeSettings, judged: JudgeCase, open_judge: OpenJudge) -> Judgement:
    """The members one after the other, at temperature 0.

    A member whose call failed, or whose answer could not be read twice, has no score, and so has the judgement, which
    a later study or run may ask for again; what ends a study (BudgetExhausted, StudyStopped) passes through.
    """
    opinions, cost_usd = list[MemberScore](), 0.0
    for name in judge.members:
        opinion, usd = await _opinion(judge, judged, name, await open_judge(name))
        opinions.append(opinion)
        cost_usd += usd
    return Judgement(opinions=tuple(opinions), signs=tuple(injection_signs([judged.answer])), cost_usd=cost_usd)


def judge_request(
    judge: JudgeSettings, name: str, revision: str, messages: Sequence[Mapping[str, Any]]
) -> ModelRequest:
    params = {"temperature": 0.0, "max_tokens": judge.max_tokens}
    return ModelRequest(model=name, revision=revision, messages=[dict(message) for message in messages], params=params)


async def ask_pair(judge: JudgeSettings, pair: Pair, name: str, open_judge: OpenJudge) -> float | None:
    """What the first answer of a pair wins before one member: 1, .5 or 0; None where that could not be measured."""
    model = await open_judge(name)
    request = judge_request(judge, name, model.revision, pair_messages(judge, pair))
    return (await _ask(model, request, lambda text: read_better(pair, text))).value


async def ask_facts(judge: JudgeSettings, claims: Claims, open_judge: OpenJudge) -> JudgeReply[bool]:
    """Whether an answer has a factual error: more than half of the members say so.

    It is not measured unless all replies could be read.
    """
    verdicts, cost_usd = list[bool](), 0.0
    for name in judge.members:
        model = await open_judge(name)
        request = judge_request(judge, name, model.revision, facts_messages(claims))
        reply = await _ask(model, request, lambda text: read_facts(claims, text))
        cost_usd += reply.cost_usd
        if reply.value is None:
            return JudgeReply(value=None, cost_usd=cost_usd, why=f"{name}: {reply.why}")
        verdicts.append(reply.value)
    return JudgeReply(value=2 * sum(verdicts) > len(verdicts), cost_usd=cost_usd)


async def ask_member(judge: JudgeSettings, judged: JudgeCase, name: str, open_judge: OpenJudge) -> MemberScore:
    """The opinion of one member alone."""
    return (await _opinion(judge, judged, name, await open_judge(name)))[0]


async def _opinion(judge: JudgeSettings, judged: JudgeCase, name: str, model: JudgeModel) -> tuple[MemberScore, float]:
    request = judge_request(judge, name, model.revision, judge_messages(judge, judged))
    reply = await _ask(model, request, lambda text: read_scores(judge, judged, text))
    if reply.value is None:
        return MemberScore(model=name, error=reply.why), reply.cost_usd
    return opinion_of(judge, name, reply.value), reply.cost_usd


async def _ask(model: JudgeModel, request: ModelRequest, read: Callable[[str], T]) -> JudgeReply[T]:
    """Asks, and once more where the reply cannot be read.

    An unreadable reply of an earlier study or run is ignored: otherwise the journal would repeat it for thirty days.
    """
    cost_usd, why, n_asked, n_known = 0.0, "", 0, 0
    try:
        while n_asked < ASKS and n_known < MOST_KNOWN:
            answer = await model.complete(request)
            cost_usd += answer.cost_usd
            n_asked, n_known = n_asked + (not answer.from_journal), n_known + answer.from_journal
            try:
                return JudgeReply(value=read(answer.text), cost_usd=cost_usd)
            except ValueError as unreadable:
                why = str(unreadable)
            request = replace(request, messages=asked_again(request.messages, why))
    except ModelFailed as failure:
        return JudgeReply(value=None, cost_usd=cost_usd, why=failure.detail)
    times = "twice" if n_asked + n_known == ASKS else f"{n_asked + n_known} times"
    return JudgeReply(value=None, cost_usd=cost_usd, why=f"its answer could not be read {times}: {why}")


def gate_judge(
    family: Family, policy: Policy, situation: Situation, calibration: Calibration | None, open_judge: OpenJudge
) -> JudgeAttempt:
    """Judges attempts at one request.

    The result is a function: (what is asked of which attempt, where each call goes once it has ended) -> the attempt
    with its score or its factual errors, or with the reason why it has none, which is never a pass. A text that cannot
    be read as the family's output scores 0, unasked, and its facts are not measured. The judge sees no expected output,
    in a study as in the service. A judge whose scores people's ratings do not support is not asked.

    Args:
        calibration: the latest of this very judge; None: there is none.
        open_judge: records its calls. Errors of its models other than ModelFailed pass through: a busy store is no
            judge that failed, and its study goes on later.
    Raises:
        InvalidInput: the family has no judge.
    """
    judge, why = judge_of(family), why_uncalibrated(judge_identity(family), calibration)

    async def judged(question: Judge, keep: Keep) -> Attempt:
        attempt = question.attempt
        if why is not None:
            return without_judgement(policy, question, f"{why}; it does not decide")
        assert calibration is not None  # else the judge is uncalibrated

        async def opened(name: str) -> JudgeModel:
            member, call = await open_judge(name), Call(model=name, purpose="judge", tier=attempt.call.tier)

            async def recorded(request: ModelRequest) -> ModelAnswer:
                try:
                    answer = await member.complete(request)
                except ModelFailed as error:
                    keep(Attempt(call=call, error=f"{error.kind}: {error.detail}"))
                    raise
                keep(Attempt(call=call, answer=answer, latency_ms=answer.latency_ms))
                return answer

            return WatchedMember(revision=member.revision, complete=recorded)

        is_readable = parse_output(family.output, attempt.text).error is None
        if question.about == "facts":
            assert attempt.answer is not None  # else nothing is asked
            if not is_readable:
                return without_judgement(policy, question, "the answer cannot be read")
            material = facts_material(checked_answer(situation, attempt.answer))
            if not material or not attempt.text.strip():
                return with_facts(policy, attempt, False)
            facts = await ask_facts(judge, Claims(material=material, answer=attempt.text), opened)
            return with_facts(policy, attempt, facts.value, facts.why)
        if not is_readable:
            return replace(attempt, score=0.0)
        judgement = await ask_judge(judge, judged_answer(family, situation.input, {}, attempt.text), opened)
        if judgement.score is None:
            return replace(attempt, unscored=judgement.error)
        return replace(attempt, score=min(1.0, max(0.0, calibration.mapped(judgement.score))))

    return judged
