"""Replies as Attempts: what was found in each answer, how sure it is, how the gate scores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.evaluation.scoring import Judge
from optimizer.core.family.rendering import parse_output, value_text
from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.answer_checks import MATERIAL_WORDS, CheckedAnswer, holds_facts
from optimizer.core.policy.attempts import FACTUAL, Attempt, Judge as AskJudge, Reply, confidence_of
from optimizer.core.policy.policy import Policy
from optimizer.core.policy.validator import CHECKS, issues_in
from optimizer.core.predictor.attach import ReadAnswer, read_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a request is beside its messages: how its answer is read, what the application sent, what tools found."""

    output: Output = field(default_factory=Output)
    input: Mapping[str, Any] = field(default_factory=dict)
    tool_results: Sequence[tuple[str, str]] = ()


def own_score(judge: Judge, situation: Situation, text: str) -> float | None:
    """The score of a gate's own function, in [0, 1].

    0 for a text that cannot be read, None where the function raises or leaves the range. It never sees an expected
    output, in a study as in the service.
    """
    parsed = parse_output(situation.output, text)
    if parsed.error is not None:
        return 0.0
    try:
        value = float(judge({"input": dict(situation.input), "expected": {}}, parsed.value))
    except Exception:  # the user's code failed: this answer has no score, and may be delivered
        return None
    return value if 0.0 <= value <= 1.0 else None


def assess(policy: Policy, situation: Situation, replies: Sequence[Reply]) -> list[Attempt]:
    """One Attempt per reply to the calls of one Ask, in order."""
    samples = {
        reply.call.model: reply.answer.text
        for reply in replies
        if reply.call.purpose == "sample" and reply.answer is not None
    }
    return [_assessed(policy, situation, reply, samples.get(reply.call.model)) for reply in replies]


def _assessed(policy: Policy, situation: Situation, reply: Reply, sample: str | None) -> Attempt:
    call, answer, validator = reply.call, reply.answer, policy.validator
    plain = Attempt(
        call=call,
        answer=answer,
        error=reply.error,
        latency_ms=reply.latency_ms,
        answered_by=reply.answered_by,
        unknown=reply.unknown,
    )
    if answer is None or call.purpose == "sample":
        return plain
    answered = checked_answer(situation, answer)
    issues = issues_in(answered, validator.read) if validator is not None else ()
    confidence, labels = reply.sureness, situation.output.labels
    # A student may have learned a label that the family has no more.
    if (
        confidence is not None
        and labels
        and answer.text not in labels
        and parse_output(situation.output, answer.text).error
    ):
        confidence = None
    if policy.needs_confidence and not policy.is_student(call.model):
        confidence = confidence_of(
            policy.signal,
            answer,
            model=reply.answered_by or call.model,
            input=situation.input,
            output=situation.output,
            other=sample if sample is not None else call.earlier,
            issues=_looked_for(answered) if policy.signal.kind == "predictor" else None,
        )
    return replace(
        plain,
        confidence=confidence,
        issues=issues,
        score=_score(policy, reply, confidence, answered),
        blocking=validator is not None and validator.then != "flag" and bool(issues),
        is_guess=confidence is None and policy.is_student(call.model),
    )


def answer_for_predictors(situation: Situation, answer: ModelAnswer) -> ReadAnswer:
    """The part of a plain answer that predictors are trained on."""
    return read_answer(situation.input, answer, other=None, issues=_looked_for(checked_answer(situation, answer)))


def checked_answer(situation: Situation, answer: ModelAnswer) -> CheckedAnswer:
    return CheckedAnswer(
        text=answer.text,
        finish_reason=answer.finish_reason,
        tool_calls=bool((answer.raw_message or {}).get("tool_calls")),
        output=situation.output,
        input=situation.input,
        tool_results=situation.tool_results,
    )


def _looked_for(answered: CheckedAnswer) -> dict[str, bool]:
    """All checks: a predictor was trained on what it names, whatever the validator of this policy names."""
    issues = issues_in(answered)
    return {issue: issue in issues for issue in CHECKS}


def _score(policy: Policy, reply: Reply, confidence: float | None, answered: CheckedAnswer) -> float | None:
    """The score in [0, 1]; None without a gate, and where it cannot be measured."""
    if policy.gate is None:
        return None
    if policy.gate.scorer == "confidence":
        return confidence
    if policy.gate.scorer != "checks":
        return reply.score
    if not answered.tool_calls and parse_output(answered.output, answered.text).error is not None:
        return 0.0
    named = policy.validator.read if policy.validator is not None else tuple(CHECKS)
    return _share(issues_in(answered, named), len(named))


def _share(issues: Sequence[str], n_looked_for: int) -> float | None:
    return 1.0 - len(issues) / n_looked_for if n_looked_for else None


def with_facts(policy: Policy, attempt: Attempt, has_errors: bool | None, why: str = "") -> Attempt:
    """The attempt with what a judge found of its facts; None: it could not be measured, and ``why`` says why.

    That is no issue, and no check that was passed either.
    """
    validator = policy.validator
    assert validator is not None  # it asked
    if has_errors is None:
        # The other checks' verdict counts only where the gate asks again whatever the facts are.
        attempt = replace(attempt, unchecked=why)
        gate, issues = policy.gate, attempt.issues
        if gate is None or gate.scorer != "checks":
            return attempt
        if attempt.score != _share(issues, len(validator.read)):
            return attempt  # it cannot be read, which scores 0
        n_named = len(validator.issues)
        at_least, at_most = 1.0 - (len(issues) + 1) / n_named, 1.0 - len(issues) / n_named
        return replace(attempt, score=attempt.score if at_most < gate.threshold else None, at_least=at_least)
    issues = (*attempt.issues, FACTUAL) if has_errors else attempt.issues
    is_scored = policy.gate is not None and policy.gate.scorer == "checks"
    return replace(
        attempt,
        issues=issues,
        blocking=validator.then != "flag" and bool(issues),
        score=_share(issues, len(validator.issues)) if is_scored else attempt.score,
    )


def without_judgement(policy: Policy, question: AskJudge, why: str) -> Attempt:
    """What was to be judged, without a judge."""
    if question.about == "facts":
        return with_facts(policy, question.attempt, None, why)
    return replace(question.attempt, unscored=why)


def facts_material(answered: CheckedAnswer) -> dict[str, str]:
    """What an answer's facts are checked against, by name.

    Empty without a tool's result that tells something and without an input of some length.
    """
    results = [(name, text) for name, text in answered.tool_results if holds_facts(text)]
    if not results and not any(len(text.split()) >= MATERIAL_WORDS for text in answered.inputs):
        return {}
    tools = {f"result {i + 1} of {name}": text for i, (name, text) in enumerate(results)}
    return {**{name: value_text(value) for name, value in answered.input.items()}, **tools}
