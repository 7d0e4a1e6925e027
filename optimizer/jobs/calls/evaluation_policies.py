"""Policies carried out for an evaluation: what one tier answers, and what the whole of it would answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.calibration import Calibration
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import clip_inputs, render
from optimizer.core.family.variant import Message, Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, answer_for_predictors, own_score
from optimizer.core.policy.attempts import total_cost_usd
from optimizer.core.policy.nearest import ShownExamples
from optimizer.core.policy.policy import Policy, messages_of_fewer, parse_policy
from optimizer.jobs.calls.blocking import run_beside
from optimizer.jobs.calls.evaluation_calls import EvaluationCalls
from optimizer.jobs.calls.evaluation_judge import EvaluationJudge
from optimizer.jobs.calls.example_shelf import Shelves
from optimizer.jobs.calls.execute_policy import Execution, PolicyRequest
from optimizer.jobs.calls.gate_judge import gate_judge
from optimizer.jobs.calls.run_policy import Complete, answers_of_tier, keys_of_tier, run_policy


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
        self._of_tiers: dict[
            str, ModelAnswer
        ] = {}  # request key -> the tier's answer, from before the later tiers were due

    def of(self, variant: Variant) -> Policy | None:
        """Read once for all examples; None where a request is one call of one model. Raises InvalidInput."""
        if not variant.policy:
            return None
        policy = self._read.get(variant.id)
        if policy is None:
            policy = self._read[variant.id] = parse_policy(variant.policy)
        return None if policy.is_plain else policy

    def wanted(self, variant: Variant, example: Example, policy: Policy, rendered: ModelRequest) -> PolicyRequest:
        students = self._students.answering(self._family.name, policy, example.id) if self._students else {}
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
        keys = keys_of_tier(wanted, tier, opened.revision)
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
        score = None
        wanted = self.wanted(variant, example, policy, rendered)
        if policy.own_scorer is not None:
            try:
                score = partial(own_score, self._scorer.judge_of(policy.own_scorer), wanted.situation)
            except InvalidInput as fault:
                return fault
        judge = None
        if policy.asks_judge:
            try:
                calibration = await asyncio.to_thread(self._calibration)
                inputs = clip_inputs(self._family, self._family.declared_inputs(example.input))
                shown = replace(wanted.situation, input=inputs)
                judge = gate_judge(
                    self._family, wanted.policy, shown, calibration, partial(self._judge.member, variant.id)
                )
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
