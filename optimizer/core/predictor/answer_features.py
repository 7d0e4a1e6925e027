"""Features of a cheap answer that predict the confidence in it. What was not measured is None, never zero."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from optimizer.core.base.word_lists import HEDGES, NUMBER, WORD

READ_CHARS = 8_000
LIMIT = 1e-9  # a confidence of 1 as a provider rounds it becomes 1 - 1e-9: its logit stays finite
FEATURES: Sequence[str] = (
    "answer.log_words",
    "answer.log_chars",
    "answer.log_probability_mean",
    "answer.log_probability_min",
    "answer.confidence_logit",
    "answer.confidence_given",
    "answer.agreement",
    "answer.refusal",
    "answer.hedges",
    "answer.log_numbers",
    "answer.ends",
)
_REFUSAL = re.compile(
    r"\b(?:could(?: not|n[’']t) (?:find|locate|determine|answer)|can(?:not|[’']t)"
    r" (?:find|answer|help|provide|determine|assist)"
    r"|(?:un|not )able to (?:find|answer|help|provide|determine|assist)|do(?: not|n[’']t) (?:know|have"
    r" (?:any|access|enough|information))"
    r"|no (?:information|results?|data) (?:was|were|is|are|found|available)|not (?:found|available|enough"
    r" information)|as an ai\b|i(?:[’']m| am) sorry)",
    re.I,
)


def answer_features(
    text: str,
    *,
    log_probability: float | None = None,
    log_probability_min: float | None = None,
    second: str | None = None,
    issues: Mapping[str, bool] | None = None,
    confidence: float | None = None,
) -> dict[str, float | None]:
    """Every name of FEATURES and one ``issue.NAME`` for each issue that was checked.

    Args:
        log_probability: mean of the answer's tokens, <= 0; ``log_probability_min`` the least.
        second: another sample for the same request; ``answer.agreement`` is the overlap of both.
        issues: what the validator looked for, by name: True where it was found, False where not; a name left out was
            not looked for.
        confidence: a recorded confidence in [0, 1], such as the probability of the answer's token.
    """
    read = text[:READ_CHARS]
    words = [word.lower() for word in WORD.findall(read)]
    values: tuple[float | None, ...] = (
        math.log1p(len(words)),
        math.log1p(len(text)),
        log_probability,
        log_probability_min,
        None if confidence is None else logit(confidence),
        float(confidence is not None),
        None if second is None else agreement(text, second),
        float(bool(_REFUSAL.search(read))),
        sum(word in HEDGES for word in words) / max(1, len(words)),
        math.log1p(len(NUMBER.findall(read))),
        float(read.rstrip()[-1:] in {".", "!", "?", '"', ")", "]", "}", "`"}),
    )
    flags = {f"issue.{name}": float(present) for name, present in (issues or {}).items()}
    return dict(zip(FEATURES, values, strict=True)) | flags


def agreement(one: str, other: str) -> float:
    """How far two answers agree, in [0, 1]: F1 of their words and numbers, as SQuAD counts it.

    Two empty answers agree.
    """
    texts = (text[:READ_CHARS] for text in (one, other))
    one_tokens, right = (Counter([*map(str.lower, WORD.findall(text)), *NUMBER.findall(text)]) for text in texts)
    total = one_tokens.total() + right.total()
    return 2 * (one_tokens & right).total() / total if total else 1.0


def logit(probability: float) -> float:
    """ln(p / (1 - p)) with p kept within [1e-9, 1 - 1e-9]."""
    clipped = min(max(probability, LIMIT), 1 - LIMIT)
    return math.log(clipped / (1 - clipped))
