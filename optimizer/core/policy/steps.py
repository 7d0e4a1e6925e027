"""Runs a policy as a machine that says what is asked next and when an answer is delivered, and does nothing itself.

``steps(plan)`` yields an Ask or, where gate or validator ask the family's judge, a Judge; it is sent the resulting
Attempts, and returns a PolicyOutcome. Its order: votes or cascade, with the validator inside; then the gate.
``most_calls`` bounds the calls of one request.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy.attempts import Ask, Attempt, Call, Judge, PolicyOutcome, Purpose, best, rank, worth
from optimizer.core.policy.policy import REFINE_NOTE, Policy, request_of_call, request_of_policy
from optimizer.core.policy.tiers import stands
from optimizer.core.policy.validator import ask_again
from optimizer.core.policy.votes import agreement_of

REFUSAL = "This answers only what it is sure of, and it is not sure of this."
Steps = Generator[Ask | Judge, Sequence[Attempt], PolicyOutcome]
_Inner = Generator[Ask | Judge, Sequence[Attempt], tuple[Attempt | None, str]]
_One = Generator[Ask | Judge, Sequence[Attempt], Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlan:
    """A policy for one request.

    ``predicted`` holds a confidence for each tier, known before any call; None where there is none.
    """

    policy: Policy
    model: str  # the Variant's own, asked where no tiers are named
    output: Output
    predicted: tuple[float | None, ...] = ()
    passed_over: frozenset[str] = frozenset()  # tiers that are not asked: students that cannot answer this

    @property
    def tiers(self) -> tuple[str, ...]:
        return self.policy.cascade.models if self.policy.cascade is not None else (self.model,)


def steps(plan: PolicyPlan) -> Steps:
    """Ends after at most ``most_calls(policy)`` calls, whatever comes back."""
    machine = _Machine(plan)
    chosen, why = yield from (machine.vote() if plan.policy.votes is not None else machine.climb())
    if chosen is not None:
        chosen, why = yield from machine.pass_gate(chosen, why)
    if chosen is not None and chosen.unchecked is not None:
        why = f"{why}; factual errors not measured: {chosen.unchecked}"
    return PolicyOutcome(attempt=chosen, why=why)


def audit(plan: PolicyPlan, attempts: Sequence[Attempt]) -> Ask | None:
    """Every tier that has not answered plainly yet, for a record of all; None where nothing is missing."""
    cascade = plan.policy.cascade
    if cascade is None:
        return None
    plain = [
        attempt for attempt in attempts if attempt.call.purpose in ("answer", "vote") and attempt.answer is not None
    ]
    # A fallback's answer is not the tier's own.
    known = {attempt.call.model for attempt in plain if attempt.answered_by in (None, attempt.call.model)}
    calls = [
        call
        for tier, model in enumerate(cascade.models)
        if model not in known and model not in plan.passed_over
        for call in with_sample(plan.policy, Call(model=model, purpose="audit", tier=tier))
    ]
    return Ask(calls=tuple(calls)) if calls else None


def is_audited(plan: PolicyPlan, draw: float) -> bool:
    """``draw`` in [0, 1), independent of the request: below the audited share."""
    return plan.policy.cascade is not None and draw < plan.policy.cascade.audit_share


def draw_of(id: str) -> float:
    """A number in [0, 1) from a request's random id: the same at every call."""
    return int.from_bytes(sha256(id.encode()).digest()[:4], "big") / 2**32


def most_calls(policy: Policy) -> int:
    """The most calls for one request, without the audit's and the judge's; the judge gets ``policy.most_judgements``
    answers.
    """
    n_tiers = len(policy.cascade.models) - len(policy.cascade.students) if policy.cascade is not None else 1
    per_answer = 2 if policy.needs_confidence and policy.signal.kind == "agreement" else 1
    n_votes, n_answers = (len(policy.votes.models), 1) if policy.votes is not None else (0, n_tiers)
    return n_votes + n_answers * per_answer + most_longer_calls(policy)


def most_longer_calls(policy: Policy) -> int:
    """The most of these calls that send more than the request: an answer with a note on it, or an instruction."""
    is_mended = policy.validator is not None and policy.validator.then == "retry"
    n_gate = policy.gate.retries if policy.gate is not None else 0
    if policy.votes is not None or policy.cascade is None:
        return is_mended + n_gate
    cascade = policy.cascade
    n_refined = int(cascade.refine is not None)  # the answer goes out afterwards
    return is_mended * (len(cascade.models) - len(cascade.students)) + n_refined + n_gate


def longest_request(policy: Policy, rendered: ModelRequest, answer_bytes: int) -> ModelRequest:
    """No shorter than what any of these calls sends, where the earlier answer has at most so many bytes."""
    longest = Call(
        model=rendered.model,
        purpose="retry",
        instruction="".join(policy.gate.prompts) if policy.gate is not None else None,
        earlier="x" * answer_bytes,
        note=REFINE_NOTE + (ask_again(policy.validator.issues) if policy.validator is not None else ""),
    )
    return request_of_call(policy, request_of_policy(policy, rendered), longest, revision="")


class _Machine:
    def __init__(self, plan: PolicyPlan) -> None:
        self.plan = plan
        self.policy = plan.policy
        self.past: list[Attempt] = []

    # --- one answer ---------------------------------------------------------------------------------------------------

    def ask(self, *calls: Call) -> Generator[Ask | Judge, Sequence[Attempt], Sequence[Attempt]]:
        attempts = yield Ask(calls=calls)
        self.past += attempts
        return attempts

    def answer(self, model: str, tier: int | None) -> _One:
        """A model's own answer; with ``validate.then: retry`` the better of two, the second of which
        knows the issues. A student would repeat its answer.
        """
        attempts = yield from self.ask(*with_sample(self.policy, Call(model=model, purpose="answer", tier=tier)))
        return (yield from self.mended((yield from self.checked(attempts[0]))))

    def mended(self, attempt: Attempt) -> _One:
        validator = self.policy.validator
        is_mended = (
            validator is not None and validator.then == "retry" and not self.policy.is_student(attempt.call.model)
        )
        if not is_mended or not attempt.issues:
            return attempt
        return (yield from self.improved(attempt, "retry", ask_again(attempt.issues)))

    def improved(self, attempt: Attempt, purpose: Purpose, note: str) -> _One:
        call = attempt.call
        again = Call(model=call.model, purpose=purpose, tier=call.tier, earlier=attempt.text, note=note)
        (second,) = yield from self.ask(again)
        second = yield from self.checked(second)
        return second if second.answer is not None and rank(second) >= rank(attempt) else attempt

    # --- cascade ------------------------------------------------------------------------------------------------------

    def climb(self) -> _Inner:
        """Tier after tier until one is sure enough; the last one's answer is taken as it is."""
        models, cascade = self.plan.tiers, self.policy.cascade
        last = len(models) - 1
        for tier, model in enumerate(models):
            predicted = self.plan.predicted[tier] if tier < min(last, len(self.plan.predicted)) else None
            skip = None if cascade is None else cascade.skip
            if model in self.plan.passed_over or (skip is not None and predicted is not None and predicted < skip):
                continue
            attempt = yield from self.answer(model, tier if cascade is not None else None)
            if attempt.answer is None:
                continue
            if tier == last or cascade is None:
                break
            accept, sure = cascade.accept[tier], attempt.confidence
            if cascade.refuse and self.policy.is_student(model) and (attempt.blocking or not stands(sure, accept)):
                how = "knows nothing of it" if sure is None else f"is sure to {sure:.3f}, {accept:.3f} asked for"
                # What goes out in place of an answer: no text, and OpenAI's word for it.
                assert attempt.answer is not None
                answer = replace(attempt.answer, text="", raw_message={"content": None, "refusal": REFUSAL})
                return replace(attempt, answer=answer, refused=True), f"refused: {model}, which answers alone, {how}"
            if attempt.blocking:
                continue
            if stands(sure, accept):
                return attempt, f"{model} is sure enough: {sure:.3f}, {accept:.3f} asked for"
            if sure is not None and cascade.refine is not None and sure >= cascade.refine and not _calls_tools(attempt):
                refined = yield from self.improved(attempt, "refine", REFINE_NOTE)
                return refined, f"{model} was asked once more, being sure to {sure:.3f}, {accept:.3f} asked for"
        chosen = best(self.past)
        if chosen is None:
            return None, "no model gave an answer"
        if cascade is None:
            return chosen, "the only model asked"
        strongest = len(cascade.models) - 1
        if any(attempt.call.tier == strongest and attempt.answer is not None for attempt in self.past):
            return (
                chosen,
                "the last tier's answer" if chosen.call.tier == strongest else "the last tier's answer had issues",
            )
        if not cascade.fall_back:
            return None, "the last tier failed, and fall_back is off"
        return chosen, "the stronger tiers failed; the best answer before them"

    # --- votes --------------------------------------------------------------------------------------------------------

    def vote(self) -> _Inner:
        votes = self.policy.votes
        assert votes is not None
        calls = [Call(model=model, purpose="vote", tier=self._tier_of(model)) for model in votes.models]
        attempts = []
        for attempt in (yield from self.ask(*calls)):
            attempts.append((yield from self.checked(attempt)))
        agreed = agreement_of(
            self.plan.output,
            [None if attempt.answer is None or attempt.blocking else attempt.text for attempt in attempts],
        )
        if agreed.members and agreed.share >= votes.agreement:
            why = f"{len(agreed.members)} of {len(attempts)} agree"
            best = max(
                (attempts[i] for i in agreed.members),
                key=lambda one: (worth(one), -1.0 if one.confidence is None else one.confidence),
            )
            return best, why
        return (yield from self._strong_one(attempts, agreed.share))

    def _strong_one(self, attempts: Sequence[Attempt], share: float) -> _Inner:
        """The last tier, or without tiers the last of those that voted; where it failed, the best of the others."""
        why = f"the votes agree to {share:.2f} only; the strong model's answer"
        model = self.plan.tiers[-1] if self.policy.cascade is not None else attempts[-1].call.model
        strong = next((attempt for attempt in attempts if attempt.call.model == model), None)
        if strong is None:
            strong = yield from self.answer(model, self._tier_of(model))
        elif strong.answer is not None:
            strong = yield from self.mended(strong)
        if strong.answer is not None and not strong.blocking:
            return strong, why
        others = best(self.past)
        if others is None:
            return None, "no model gave an answer"
        if others is strong:
            return strong, why
        if strong.answer is None and self.policy.cascade is not None and not self.policy.cascade.fall_back:
            return None, "the strong model failed, and fall_back is off"
        return others, "the votes do not agree and the strong model failed; the best of the others"

    def _tier_of(self, model: str) -> int | None:
        cascade = self.policy.cascade
        return cascade.models.index(model) if cascade is not None and model in cascade.models else None

    # --- gate ---------------------------------------------------------------------------------------------------------

    def pass_gate(self, chosen: Attempt, why: str) -> _Inner:
        """Asks again while the best score is below the threshold, each time with a stronger instruction."""
        gate = self.policy.gate
        if gate is None or _calls_tools(chosen):
            return chosen, why
        chosen = yield from self.judged(chosen)
        n, instructions = 0, list[str]()
        while n < gate.retries and chosen.score is not None and chosen.score < gate.threshold:
            call = chosen.call
            instruction = gate.prompt(n)
            again = Call(
                model=call.model,
                purpose="gate",
                tier=call.tier,
                instruction=instruction,
                earlier=chosen.text,
                draw=instructions.count(instruction),
            )
            instructions.append(instruction)
            (second,) = yield from self.ask(again)
            second = yield from self.judged((yield from self.checked(second)))
            chosen = max(chosen, second, key=rank)  # of equals the earlier one
            n += 1
        if chosen.score is None:
            return chosen, f"{why}; no score for the gate" + (f": {chosen.unscored}" if chosen.unscored else "")
        return chosen, f"{why}; score {chosen.score:.3f} of {gate.threshold:g}" + (f" after {n} more" if n else "")

    def judged(self, attempt: Attempt) -> _One:
        """The attempt with the judge's score, where the gate asks the judge."""
        return (yield from self._put_to_judge(attempt, "score", self.policy.is_judged))

    def checked(self, attempt: Attempt) -> _One:
        """The attempt with what the judge finds of its facts, where the validator asks the judge."""
        validator = self.policy.validator
        return (yield from self._put_to_judge(attempt, "facts", validator is not None and validator.asks_judge))

    def _put_to_judge(self, attempt: Attempt, about: Literal["score", "facts"], is_asked: bool) -> _One:
        if not is_asked or attempt.answer is None or attempt.is_guess or _calls_tools(attempt):
            return attempt
        (judged,) = yield Judge(attempt=attempt, about=about)
        self.past = [judged if one is attempt else one for one in self.past]
        return judged


def with_sample(policy: Policy, call: Call) -> tuple[Call, ...]:
    """The call, and where confidence is the agreement of two samples, the second one beside it."""
    if not policy.needs_confidence or policy.signal.kind != "agreement" or policy.is_student(call.model):
        return (call,)
    return call, Call(model=call.model, purpose="sample", tier=call.tier)


def _calls_tools(attempt: Attempt) -> bool:
    return attempt.answer is not None and bool((attempt.answer.raw_message or {}).get("tool_calls"))
