"""A policy carried out without a waiting user.

A study or an evaluation scores the whole of it, call by call, with the requests that are served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from math import fsum

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.assess import assess, without_judgement
from optimizer.core.policy.attempts import Attempt, Call, Judge, Reply
from optimizer.core.policy.policy import Bases, Policy, request_of_call
from optimizer.core.policy.steps import steps, with_sample
from optimizer.jobs.calls.blocking import run_beside
from optimizer.jobs.calls.execute_policy import NO_JUDGE, Execution, PolicyRequest, Score, student_reply
from optimizer.jobs.calls.gate_judge import JudgeAttempt

# A model's name, and its request once its revision is known.
Complete = Callable[[str, Callable[[str], ModelRequest]], Awaitable[ModelAnswer]]


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


def keys_of_tier(wanted: Iterable[PolicyRequest], tier: str, revision: str) -> set[str]:
    """Keys of all that ``answers_of_tier`` asks, so that the journal is read once; calls that cannot be
    made have none.
    """
    keys = set[str]()
    for request in wanted:
        with suppress(InvalidInput):
            base = request.bases.of(tier)
            keys |= {
                request_of_call(request.policy, base, call, revision=revision).key
                for call in _calls_of_tier(request.policy, tier)
            }
    return keys


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
