"""What an evaluation asks for one pair of Variant and Example, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from optimizer.core.base.errors import InvalidInput, ModelFailed
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.judgement import Judgement
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.core.policy.policy import Policy
from optimizer.jobs.calls.evaluation_policies import TierNotDue
from optimizer.jobs.calls.execute_policy import Execution

Answered = ModelAnswer | Execution | ModelFailed | InvalidInput | TierNotDue


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One pair with what is asked for it, or why nothing can be."""

    variant: Variant
    example: Example
    request: ModelRequest | InvalidInput
    key: str = ""  # of the request; empty where a policy decides what is asked
    policy: Policy | None = None  # that asks more than one call, or may


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a question, and the judge's judgement of it where one was made."""

    answer: Answered
    judgement: Judgement | None = None


def text_of(answer: Answered) -> str | None:
    """What would be given out; None where nothing would."""
    if isinstance(answer, Execution):
        return None if answer.attempt is None else answer.attempt.text
    return answer.text if isinstance(answer, ModelAnswer) else None


def grouped(questions: Iterable[Question], by: Callable[[Question], str]) -> dict[str, list[Question]]:
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(by(question), []).append(question)
    return groups


def model_of(question: Question) -> str:
    return str(question.variant.model["name"])


def n_tiers(question: Question) -> int:
    return (
        len(question.policy.cascade.models)
        if question.policy is not None and question.policy.cascade is not None
        else 1
    )
