"""By what two judgements may be compared: equal judges, asked in equal words."""

from __future__ import annotations

from typing import Any

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.family.judge_settings import JudgeSettings

PROMPT_VERSION = "1"  # of the words around the rubric, and of how an answer is read: scores under another are others


def judge_identity(judge: JudgeSettings) -> str:
    """``j_`` and 12 hex digits over members, dimensions, weights, reference and the version of the prompt.

    Where a committee draws the line between pass and fail is no part of it: that changes no score.
    """
    return "j_" + digest(canonical_json(_scoring_part(judge)))[:12]


def _scoring_part(judge: JudgeSettings) -> dict[str, Any]:
    return {
        "members": sorted(judge.members),
        "dimensions": dict(judge.dimensions),
        "weights": dict(judge.weight_of),
        "reference": judge.reference,
        "max_tokens": judge.max_tokens,
        "prompt": PROMPT_VERSION,
    }
