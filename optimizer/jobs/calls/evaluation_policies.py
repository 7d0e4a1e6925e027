"""Policies carried out for an evaluation, without a waiting user: what one tier answers, and what the whole of it would
answer, call by call, with the requests that are served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from math import fsum
from typing import Any

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.calibration import Calibration
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.golden import example_of
from optimizer.core.family.rendering import clip_inputs, render
from optimizer.core.family.variant import Message, Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, answer_for_predictors, assess, own_score, without_judgement
from optimizer.core.policy.attempts import Attempt, Call, Judge, Reply, total_cost_usd
from optimizer.core.policy.nearest import ShownExamples
from optimizer.core.policy.policy import Bases, Policy, messages_of_fewer, parse_policy, request_of_call
from optimizer.core.policy.steps import steps, with_sample
from optimizer.jobs.calls.ask_judge import JudgeAttempt, gate_judge
from optimizer.jobs.calls.blocking import run_beside
from optimizer.jobs.calls.evaluation_calls import EvaluationCalls
from optimizer.jobs.calls.evaluation_judge import EvaluationJudge
from optimizer.jobs.calls.execute_policy import NO_JUDGE, Execution, PolicyRequest, Score, student_reply
from optimizer.jobs.calls.shelves import Shelves

# A model's name, and its request once its revision is known.
Complete = Callable[[str, Callable[[str], ModelRequest]], Awaitable[ModelAnswer]]


class TierNotDue(Exception):
    """A tier is wanted whose turn has not come."""


class EvaluationPolicies:
    """The policies of one evaluation's variants, and what their tiers answered so far. Thread-safe."""

    def __init__(
        self,
        family: Family,
        scorer: Scorer,
        calls: EvaluationCalls,
        judge: EvaluationJudge,
        calibration: Callable[[], Calibration | None] = lambda: None,
        shelves: Shelves | None = None,
    ) -> None:
        self._family, self._scorer, self._calls, self._judge = family, scorer, calls, judge
        self._students = shelves.students if shelves is not None else None
        self._examples = shelves.examples if shelves is not None else None
        self._calibration = cache(calibration)  # one for all answers, or they could not be compared
        self._read: dict[str, Policy] = {}  # by variant
        # Request key -> the tier's answer in the journal; None: there was none.
        self._looked_up: dict[str, ModelAnswer | None] = {}
        # Request key -> the tier's answer, from before the later tiers were due.
        self._of_tiers: dict[str, ModelAnswer] = {}

    def of(self, variant: Variant) -> Policy | None:
        """Read once for all examples; None where a request is one call of one model. Raises InvalidInput."""
        if not variant.policy:
            return None
        policy = self._read.get(variant.id)
        if policy is None:
            policy = self._read[variant.id] = parse_policy(variant.policy)
        return None if policy.is_plain else policy

    def wanted(self, variant: Variant, example: Example, policy: Policy, rendered: ModelRequest) -> PolicyRequest:
        row = example_of(example.id)
        students = self._students.answering(self._family.name, policy, row) if self._students else {}
        return PolicyRequest(
            policy=policy,
            rendered=rendered,
            fewer=messages_of_fewer(
                policy.examples, self._shown(variant, example), lambda fewer: self._rendered(fewer, example)
            ),
            situation=Situation(output=self._family.output, input=example.input),
            students=students,
            passed_over=self._students.passed_over(policy, students) if self._students else frozenset(),
        )

    def asked_tiers(self, policy: Policy) -> tuple[str, ...]:
        """The policy's tiers that are models; empty without a cascade."""
        if policy.cascade is None:
            return ()
        others = self._students.students_among(policy) if self._students else policy.cascade.students
        return tuple(tier for tier in policy.cascade.models if tier not in others)

    def messages(self, variant: Variant, example: Example) -> list[Message]:
        """What a model is sent. Raises InvalidInput where there is nothing to send."""
        return self._rendered(self._shown(variant, example).variant, example)

    def _shown(self, variant: Variant, example: Example) -> ShownExamples:
        if self._examples is None:
            return ShownExamples(variant=variant)
        shown = self._examples.shown(self._family.name, variant, example.input, apart=example)
        if shown.is_missing:
            raise InvalidInput(
                f"The list of examples that {variant.id} names is gone, so that what it would show cannot be measured."
                f" A study of strategy nearest makes a new one: detent study run {self._family.name} --strategy nearest"
            )
        return shown

    def _rendered(self, shown: Variant, example: Example) -> list[Message]:
        return render(shown, example.input, declared=self._family.inputs)

    def look_up(self, tier: str, wanted: Iterable[PolicyRequest]) -> int:
        """Reads at once what the tier's journal holds of these; gives the calls worth having in flight at it."""
        opened = self._calls.model(tier)
        keys = set[str]()  # of all that ``answers_of_tier`` asks
        for request in wanted:
            with suppress(InvalidInput):  # a call that cannot be made has none
                base, calls = request.bases.of(tier), _calls_of_tier(request.policy, tier)
                keys |= {request_of_call(request.policy, base, call, revision=opened.revision).key for call in calls}
        self._looked_up |= {**dict.fromkeys(keys), **opened.known(keys)}
        return opened.concurrency

    async def tier_answer(
        self, variant: Variant, tier: str, example: Example, wanted: PolicyRequest
    ) -> dict[str, Any] | None:
        """A tier's entry of ``TierRecords.from_rows``; None where it failed or its answer has no score."""
        try:
            attempt, *others = await answers_of_tier(wanted, tier, self._completes(variant))
            if attempt.answer is None:
                return None
            case = (example.expected, attempt.text, example.input)
            judgement = await self._judge.judgement(*case, counts_for=variant.id)
            # a metric may compute for long, or ask a model itself: not in the loop that all calls wait for
            scored = await run_beside(partial(self._scorer.score, judgement=judgement), *case)
        except InvalidInput:
            return None
        if (score := scored.value) is None:
            return None
        usd = total_cost_usd([attempt, *others])
        measured = {"score": score, "cost_usd": usd, "latency_ms": attempt.latency_ms, "confidence": attempt.confidence}
        return {
            **measured,
            "own_usd": attempt.cost_usd,
            "text": attempt.text,
            "read": answer_for_predictors(wanted.situation, attempt.answer),
        }

    async def tier_text(self, variant: Variant, tier: str, wanted: PolicyRequest) -> str | None:
        """What a tier answers; None where it failed."""
        try:
            attempt, *_ = await answers_of_tier(wanted, tier, self._completes(variant))
        except InvalidInput:
            return None
        return None if attempt.answer is None else attempt.text

    async def executed(
        self, variant: Variant, example: Example, policy: Policy, rendered: ModelRequest, up_to: int | None
    ) -> Execution | InvalidInput | TierNotDue:
        """The policy carried out, up to the tier of that number; None: all of it.

        BudgetExhausted and StudyStopped pass through.
        """
        score = judge = None
        wanted = self.wanted(variant, example, policy, rendered)
        try:
            if policy.own_scorer is not None:
                score = partial(own_score, self._scorer.judge_of(policy.own_scorer), wanted.situation)
            if policy.asks_judge:
                calibration = await asyncio.to_thread(self._calibration)
                inputs = clip_inputs(self._family, self._family.declared_inputs(example.input))
                shown = replace(wanted.situation, input=inputs)
                judge = gate_judge(self._family, policy, shown, calibration, partial(self._judge.member, variant.id))
        except InvalidInput as fault:
            return fault
        later = policy.cascade.models[up_to + 1 :] if up_to is not None and policy.cascade is not None else None
        try:
            return await run_policy(wanted, self._completes(variant, later), score=score, judge=judge)
        except TierNotDue as wanted_too_early:
            return wanted_too_early

    def _completes(self, variant: Variant, later: Sequence[str] | None = None) -> Complete:
        """Args:
        later: tiers that may not be asked yet; what the others answer is remembered for the next time.
        """

        async def complete(model: str, request_for_revision: Callable[[str], ModelRequest]) -> ModelAnswer:
            opened = await self._calls.opened(model)
            own = request_for_revision(opened.revision)
            if (remembered := self._of_tiers.get(own.key)) is not None:
                return remembered
            keys_known = self._looked_up.get(own.key)
            if keys_known is None and model in (later or ()):
                raise TierNotDue
            answer = keys_known or await opened.complete(own, looked_up=own.key in self._looked_up)
            self._calls.count(variant.id, own.key, answer)
            if own.key in self._calls.asked:  # asked by this study: its latency counts
                answer = replace(answer, from_journal=False)
            if later is not None:
                self._of_tiers[own.key] = answer
            return answer

        return complete


async def run_policy(
    wanted: PolicyRequest, complete: Complete, *, score: Score | None = None, judge: JudgeAttempt | None = None
) -> Execution:
    """As ``execute_policy``, but one call after the other, without deadline and audit.

    ``latency_ms`` is what a user would have waited: calls that are made at the same time count as the longest of them.

    Args:
        complete: asks one model, and only this one; its ModelFailed is an attempt that failed. Other errors end the
            run.
        score: the gate's own function, where it names one.
        judge: of the family, where gate or validator ask it; its errors end the run.
    """
    policy = wanted.policy
    bases = wanted.bases
    failures: list[ModelFailed] = []
    past: list[Attempt] = []
    waited: list[float] = []
    machine = steps(wanted.plan)
    try:
        ask = next(machine)
        while True:
            if isinstance(ask, Judge):
                judged: list[Attempt] = []
                scored = (
                    await judge(ask, judged.append) if judge is not None else without_judgement(policy, ask, NO_JUDGE)
                )
                past = [*(scored if attempt is ask.attempt else attempt for attempt in past), *judged]
                waited += [attempt.latency_ms for attempt in judged]  # one member after the other
                ask = machine.send([scored])
                continue
            replies = [await _reply(wanted, bases, call, complete, failures, score) for call in ask.calls]
            attempts = assess(policy, wanted.situation, replies)
            past += attempts
            waited.append(max(attempt.latency_ms for attempt in attempts))
            ask = machine.send(attempts)
    except StopIteration as end:
        done = end.value
    missing = failures[-1] if failures else ModelFailed(f"No answer: {done.why}.", kind="unreachable")
    return Execution(
        attempt=done.attempt,
        why=done.why,
        attempts=tuple(past),
        latency_ms=fsum(waited),
        failure=None if done.attempt is not None else missing,
    )


async def answers_of_tier(wanted: PolicyRequest, tier: str, complete: Complete) -> list[Attempt]:
    """One tier's own answer with the confidence on which a cascade decides, and the second sample where two are
    compared.
    """
    bases = wanted.bases
    replies = [await _reply(wanted, bases, call, complete, []) for call in _calls_of_tier(wanted.policy, tier)]
    return assess(wanted.policy, wanted.situation, replies)


def _calls_of_tier(policy: Policy, tier: str) -> Sequence[Call]:
    assert policy.cascade is not None
    return with_sample(policy, Call(model=tier, purpose="answer", tier=policy.cascade.models.index(tier)))


async def _reply(
    wanted: PolicyRequest,
    bases: Bases,
    call: Call,
    complete: Complete,
    failures: list[ModelFailed],
    score: Score | None = None,
) -> Reply:
    """What came of one call; its failure goes to ``failures`` as well."""
    if (student := wanted.students.get(call.model)) is not None:
        return student_reply(call, student, wanted.situation.input)
    policy = wanted.policy
    try:
        answer = await complete(
            call.model, lambda revision: request_of_call(policy, bases.of(call.model), call, revision=revision)
        )
    except ModelFailed as error:
        failures.append(error)
        return Reply(call=call, error=f"{error.kind}: {error.detail}")
    own = None if score is None or call.purpose == "sample" else await run_beside(score, answer.text)
    return Reply(call=call, answer=answer, latency_ms=answer.latency_ms, score=own)
