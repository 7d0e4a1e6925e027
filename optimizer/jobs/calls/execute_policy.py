"""Carries a policy out for a user who waits: makes its calls, in parallel where it says so, until an answer may go out.

``core/policy/steps.py`` decides; this module has time, waiting and faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

from optimizer.core.base.errors import Busy, ModelFailed
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import Situation, assess, without_judgement
from optimizer.core.policy.attempts import (
    Ask,
    Attempt,
    Call,
    Judge,
    PolicyOutcome,
    Reply,
    best,
    known_usd_of,
    part_of,
    total_cost_usd,
)
from optimizer.core.policy.policy import Bases, Policy, request_of_call, request_of_policy
from optimizer.core.policy.steps import PolicyPlan, audit, is_audited, steps
from optimizer.core.predictor.teaching import StudentAnswer
from optimizer.jobs.calls.ask_judge import JudgeAttempt
from optimizer.jobs.calls.ask_model import ModelReply
from optimizer.ports import LanguageModel

AskOne = Callable[[str, Callable[[LanguageModel], ModelRequest]], Awaitable[ModelReply]]
Score = Callable[[str], float | None]
Student = Callable[[Mapping[str, Any]], StudentAnswer]  # of a request's inputs
NO_JUDGE = "the family has no judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRequest:
    """One request as it was rendered, and what it is beside its messages.

    ``draw`` in [0, 1) decides whether it is audited. ``fewer`` holds the messages for models that are shown fewer
    examples.
    """

    policy: Policy
    rendered: ModelRequest
    fewer: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    situation: Situation = field(default_factory=Situation)
    draw: float = 1.0
    students: Mapping[str, Student] = field(default_factory=dict)  # by tier, those that answer as it
    passed_over: frozenset[str] = frozenset()

    @property
    def bases(self) -> Bases:
        short = {
            model: request_of_policy(self.policy, replace(self.rendered, messages=messages))
            for model, messages in self.fewer.items()
        }
        return Bases(whole=request_of_policy(self.policy, self.rendered), fewer=short)

    @property
    def plan(self) -> PolicyPlan:
        predicted: tuple[float | None, ...] = ()
        cascade, learned = self.policy.cascade, self.policy.signal.predicted
        if cascade is not None and cascade.skip is not None:
            predicted = tuple(learned.confidence_before(model, self.situation.input) for model in cascade.models[:-1])
        return PolicyPlan(
            policy=self.policy,
            model=self.rendered.model,
            output=self.situation.output,
            predicted=predicted,
            passed_over=self.passed_over,
        )


def student_reply(call: Call, student: Student, input: Mapping[str, Any]) -> Reply:
    """What a student answers, which takes no call and no money.

    Where it knows nothing of the input, its label is a guess without a confidence, which never goes out.
    """
    started = perf_counter()
    own = student(input)
    latency_ms = (perf_counter() - started) * 1000
    answer = ModelAnswer(text=own.label, input_tokens=0, output_tokens=0, cost_usd=0.0, latency_ms=latency_ms)
    return Reply(call=call, answer=answer, latency_ms=latency_ms, sureness=own.confidence or None, unknown=own.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """``attempt`` goes out; None: ``failure`` says why nothing does.

    ``attempts`` are all that were made until then, in order.

    ``latency_ms`` is what the user waited. ``follow_up`` waits for what was still in work and makes the audit's calls;
    it returns their attempts. None where there is nothing to follow. ``interrupted`` is what ended it besides a model's
    failure, such as a client that went.
    """

    attempt: Attempt | None
    why: str
    attempts: tuple[Attempt, ...]
    latency_ms: float
    failure: ModelFailed | None = None
    interrupted: BaseException | None = None
    follow_up: Callable[[], Awaitable[list[Attempt]]] | None = None

    @property
    def cost_usd(self) -> float:
        return total_cost_usd(self.attempts)

    @property
    def known_usd(self) -> float | None:
        return known_usd_of(self.attempts)

    @property
    def models(self) -> tuple[str, ...]:
        """The models asked for an answer, in the order they were first asked."""
        answering = (attempt for attempt in self.attempts if attempt.call.purpose != "judge")
        return tuple(dict.fromkeys(attempt.answered_by or attempt.call.model for attempt in answering))

    def parts(self) -> list[dict[str, Any]]:
        """The calls for the record, in the order in which they were made."""
        return [part_of(attempt, is_answer=attempt is self.attempt) for attempt in self.attempts]

    def tokens(self) -> Mapping[str, int]:
        answers = [attempt.answer for attempt in self.attempts if attempt.answer is not None]
        return {
            "input_tokens": sum(a.input_tokens for a in answers),
            "output_tokens": sum(a.output_tokens for a in answers),
        }


async def execute_policy(
    wanted: PolicyRequest,
    ask: AskOne,
    *,
    ask_later: AskOne | None = None,
    score: Score | None = None,
    judge: JudgeAttempt | None = None,
) -> Execution:
    """Runs a policy to its end, with at most ``most_calls(policy)`` calls and the judge's; none begins after
    ``deadline_s``.

    Args:
        ask: a model by name, with its retries and fallbacks. Its ModelFailed is an attempt that failed.
        ask_later: the same for calls after the answer is out; None: ``ask``.
        score: the gate's own function, where it names one; it runs beside the event loop.
        judge: of the family, where gate or validator ask it; None: no answer has a score.
    Raises:
        Whatever else ``ask`` raises with its first calls; later errors are in ``interrupted``.
    """
    return await _PolicyRun(wanted, ask, ask_later or ask, score, judge).run()


class _PolicyRun:
    def __init__(
        self,
        wanted: PolicyRequest,
        ask: AskOne,
        ask_later: AskOne,
        score: Score | None,
        judge: JudgeAttempt | None,
    ) -> None:
        self._of, self._ask, self._ask_later, self._judge = wanted, ask, ask_later, judge
        policy = wanted.policy
        self._score = score if policy.own_scorer is not None else None
        self._plan = wanted.plan
        self._bases = wanted.bases
        self._started = perf_counter()
        self._past: list[Attempt] = []
        self._pending: list[asyncio.Task[Reply]] = []
        self._judging: asyncio.Task[Attempt] | None = None  # when the time was over
        self._judge_calls: list[Attempt] = []  # of the judging under way
        self._failure: ModelFailed | None = None
        self._interrupted: BaseException | None = None

    async def run(self) -> Execution:
        machine = steps(self._plan)
        try:
            wanted = next(machine)
            while True:
                attempts = await (self._judged(wanted) if isinstance(wanted, Judge) else self._attempts(wanted))
                if attempts is None:
                    why = (
                        "the request was ended"
                        if self._interrupted is not None
                        else f"{self._of.policy.deadline_s:g} s are over"
                    )
                    return self._executed(PolicyOutcome(attempt=best(self._past), why=f"{why}; the best answer so far"))
                wanted = machine.send(attempts)
        except StopIteration as end:
            return self._executed(end.value)

    async def _attempts(self, wanted: Ask) -> list[Attempt] | None:
        """What came of an Ask; None where the time is over, or the request, and what there is has to do."""
        left_s = self._of.policy.deadline_s - (perf_counter() - self._started)
        if left_s <= 0 and best(self._past) is not None:
            return None
        calls = [asyncio.ensure_future(self._reply(call, self._ask)) for call in wanted.calls]
        try:
            await asyncio.wait(calls, timeout=max(left_s, 0.001))
            over = not all(call.done() for call in calls)
            if over and best([*self._past, *self._assessed([c for c in calls if c.done()])]) is None:
                # There is no answer yet: a late one is better than none, and models have timeouts.
                await asyncio.wait(calls)
                over = False
        except asyncio.CancelledError:
            for call in calls:
                call.cancel()
            raise
        done = self._assessed([call for call in calls if call.done()])
        self._past += done
        self._pending = [call for call in calls if not call.done()]
        return None if over or self._interrupted is not None else done

    async def _judged(self, question: Judge) -> list[Attempt] | None:
        """The attempt as judged; None where the time is over before, or the request."""
        attempt = question.attempt
        if self._judge is None:
            return [without_judgement(self._of.policy, question, NO_JUDGE)]
        left_s = self._of.policy.deadline_s - (perf_counter() - self._started)
        if left_s <= 0:
            return None
        self._judge_calls = []
        judging = asyncio.ensure_future(self._judge(question, self._judge_calls.append))
        try:
            await asyncio.wait([judging], timeout=left_s)
        except asyncio.CancelledError:
            judging.cancel()
            raise
        self._past += self._judge_calls
        if not judging.done():
            self._judging = judging
            return None
        if (error := judging.exception()) is not None:
            self._interrupted = error
            return None
        scored = judging.result()
        self._past = [scored if one is attempt else one for one in self._past]
        return [scored]

    def _assessed(self, calls: Sequence[asyncio.Task[Reply]]) -> list[Attempt]:
        replies = []
        for call in calls:
            if call.cancelled():
                continue
            error = call.exception()
            if error is None:
                replies.append(call.result())
            else:
                self._interrupted = error
        return assess(self._of.policy, self._of.situation, replies)

    async def _reply(self, call: Call, ask: AskOne) -> Reply:
        if (student := self._of.students.get(call.model)) is not None:
            return await asyncio.to_thread(student_reply, call, student, self._of.situation.input)
        policy, base = self._of.policy, self._bases.of(call.model)
        started = perf_counter()
        try:
            outcome = await ask(
                call.model, lambda model: request_of_call(policy, base, call, revision=model.revision, model=model.name)
            )
        except ModelFailed as error:
            self._failure = error
            return Reply(call=call, error=f"{error.kind}: {error.detail}", latency_ms=(perf_counter() - started) * 1000)
        except Busy as error:
            if not self._past:
                raise
            self._failure = ModelFailed.unsent(error)
            return Reply(call=call, error=f"busy: {error.detail}", latency_ms=(perf_counter() - started) * 1000)
        answered_by = outcome.models[-1] if outcome.models and outcome.models[-1] != call.model else None
        reply = Reply(
            call=call, answer=outcome.answer, latency_ms=(perf_counter() - started) * 1000, answered_by=answered_by
        )
        if self._score is None or call.purpose in ("sample", "audit"):
            return reply
        try:
            score = await asyncio.to_thread(self._score, outcome.answer.text)
        except Exception:  # the user's code failed: this answer has no score, and is delivered
            score = None
        return replace(reply, score=score)

    def _executed(self, done: PolicyOutcome) -> Execution:
        if self._interrupted is not None and not self._past:
            raise self._interrupted
        failure = (
            None
            if done.attempt is not None
            else self._failure or ModelFailed(f"No answer: {done.why}.", kind="unreachable")
        )
        return Execution(
            attempt=done.attempt,
            why=done.why,
            attempts=tuple(self._past),
            latency_ms=(perf_counter() - self._started) * 1000,
            failure=failure,
            interrupted=self._interrupted,
            follow_up=self._follow_up
            if self._pending or self._judging or self._audit(self._past) is not None
            else None,
        )

    def _audit(self, past: Sequence[Attempt]) -> Ask | None:
        return audit(self._plan, past) if self._interrupted is None and is_audited(self._plan, self._of.draw) else None

    async def _follow_up(self) -> list[Attempt]:
        late: list[Attempt] = []
        if self._judging is not None:
            n_recorded = len(self._judge_calls)
            await asyncio.wait([self._judging])
            self._judging.exception()  # too late to matter: the answer is out
            late += self._judge_calls[n_recorded:]
        if self._pending:
            await asyncio.wait(self._pending)
            late += self._assessed_later(self._pending)
        missing = self._audit([*self._past, *late])
        if missing is None:
            return late
        calls = [asyncio.ensure_future(self._reply(call, self._ask_later)) for call in missing.calls]
        await asyncio.wait(calls)
        return late + self._assessed_later(calls)

    def _assessed_later(self, calls: Sequence[asyncio.Task[Reply]]) -> list[Attempt]:
        """Leaves out failures besides the models' (a full queue, an end): these calls asked no model."""
        replies = [call.result() for call in calls if not call.cancelled() and call.exception() is None]
        return assess(self._of.policy, self._of.situation, replies)
