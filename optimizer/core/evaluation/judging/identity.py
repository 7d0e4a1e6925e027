"""By what two judgements may be compared: equal judges, asked in equal words."""

from __future__ import annotations

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.family import Family
from optimizer.core.family.judge_settings import JudgeSettings

PROMPT_VERSION = "1"  # of the words around the rubric, and of how an answer is read: scores under another are others


def judge_of(family: Family) -> JudgeSettings:
    """The family's judge; raises InvalidInput where it has none."""
    if family.judge is None:
        raise InvalidInput(
            f"Family {family.name!r} has no judge. Name the model that judges in its family.yaml: judge:"
            " {model: ...}."
        )
    return family.judge


def judge_identity(family: Family) -> str:
    """``j_`` and 12 hex digits over all that a judgement of this family's answers rests on: members and which models
    these are, dimensions, weights, reference, the family's description, and the version of the prompt.

    Where a committee draws the line between pass and fail is no part of it: that changes no score. Raises as
    ``judge_of``.
    """
    judge = judge_of(family)
    content = {
        "members": sorted(judge.members),
        "dimensions": dict(judge.dimensions),
        "weights": dict(judge.weight_of),
        "reference": judge.reference,
        "max_tokens": judge.max_tokens,
        "task": family.description,
        "prompt": PROMPT_VERSION,
        "models": dict(family.judges),
    }
    return "j_" + digest(canonical_json(content))[:12]
