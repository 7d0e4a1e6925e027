"""Calls that a policy makes for one request, and what came of each: the parts of an interaction.

Confidence in an answer, in [0, 1], comes from the model's own log-probabilities, from the agreement of two samples, or
from a learned predictor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, fsum
from typing import Any, Literal, get_args

from optimizer.core.base.errors import Fault
from optimizer.core.base.knob import is_number
from optimizer.core.family.settings import Output
from optimizer.core.models.language import ModelAnswer
from optimizer.core.policy.votes import similarity
from optimizer.core.predictor.attach import AttachedPredictors, read_predicted

Purpose = Literal["answer", "sample", "vote", "refine", "retry", "gate", "judge", "audit"]

FACTUAL = "factual_errors"  # the issue that a judge may look for
NEVER_DELIVERED: tuple[Purpose, ...] = ("sample", "audit", "judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call to make: its model, its purpose, and how its request differs from the rendered one (``policy.py``).

    ``tier`` counts from 0; None for a model that is no tier.
    """

    model: str
    purpose: Purpose
    tier: int | None = None
    instruction: str | None = None  # goes behind the system message
    earlier: str | None = None  # the answer that this one is to be better than …
    note: str | None = None  # … and what the model is told about that answer; None: it is not shown
    draw: int = 0  # how many calls had the same request before; each is a draw of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Calls to be made at the same time."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """An answer for the family's judge. The result is this attempt with its ``score``, or with its ``facts``."""

    attempt: Attempt
    about: Literal["score", "facts"] = "score"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came of a call: an answer, or an error in words.

    ``answered_by`` names the fallback that answered in the model's place.
    """

    call: Call
    answer: ModelAnswer | None = None
    error: str | None = None
    latency_ms: float = 0.0
    answered_by: str | None = None
    score: float | None = None  # the score of the gate's own function, where it names one
    sureness: float | None = None  # of a student, which says by itself how sure it is
    unknown: float | None = None  # of a student: the share of the request's words that it does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Reply):
    """A reply with what it is worth. ``blocking`` says that an issue was found which the policy acts on."""

    confidence: float | None = None
    issues: tuple[str, ...] = ()
    at_least: float | None = None  # what its score would be if what was not measured were an issue
    unscored: str | None = None  # why a judge gave no score
    unchecked: str | None = None  # why a judge did not say whether there are factual errors
    blocking: bool = False
    refused: bool = False  # a student's that is not sure enough, so that what goes out says that there is no answer
    is_guess: bool = False  # a student's without a confidence, which is never delivered

    @property
    def cost_usd(self) -> float:
        return 0.0 if self.answer is None else self.answer.cost_usd

    @property
    def text(self) -> str:
        return "" if self.answer is None else self.answer.text


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome:
    """The attempt that goes out and why; None where no model gave an answer that may go out."""

    attempt: Attempt | None
    why: str


def rank(attempt: Attempt) -> tuple[float, ...]:
    """Larger is better: answered, without issues, of the strongest tier, then by score and confidence.

    A failed call ranks lowest.
    """
    return (
        float(attempt.answer is not None),
        float(-len(attempt.issues) if attempt.blocking else 0),
        float(-1 if attempt.call.tier is None else attempt.call.tier),
        worth(attempt),
        -1.0 if attempt.confidence is None else attempt.confidence,
    )


def worth(attempt: Attempt) -> float:
    """Its score, or the least that it would be; below all scores where nothing is known of it."""
    known = attempt.at_least if attempt.score is None else attempt.score
    return -1.0 if known is None else known


def best(attempts: Sequence[Attempt]) -> Attempt | None:
    """The best of the answers, the earlier of equals; second samples, audits, a judge's replies and guesses are
    never delivered.
    """
    answered = [
        attempt
        for attempt in attempts
        if attempt.answer is not None and attempt.call.purpose not in NEVER_DELIVERED and not attempt.is_guess
    ]
    return max(answered, key=rank, default=None)


def total_cost_usd(attempts: Sequence[Attempt]) -> float:
    return fsum(attempt.cost_usd for attempt in attempts)


def known_usd_of(attempts: Sequence[Attempt]) -> float | None:
    """None where a model that answered has no known price."""
    is_known = all(attempt.answer is None or attempt.answer.is_priced for attempt in attempts)
    return total_cost_usd(attempts) if is_known else None


def part_of(attempt: Attempt, *, is_answer: bool = False) -> dict[str, Any]:
    """The attempt as a part of its interaction: plain values, those that are not known left out.

    ``is_answer`` says that it went out: its text is the interaction's output, not repeated here. The others' texts are
    kept, so that each tier's answer can be scored later.
    """
    answer = attempt.answer
    part: Mapping[str, Any] = {
        "tier": attempt.call.tier,
        "model": attempt.answered_by or attempt.call.model,
        "purpose": attempt.call.purpose,
        "confidence": attempt.confidence,
        "unknown": attempt.unknown,
        "score": attempt.score,
        "issues": list(attempt.issues) or None,
        "unmeasured": [FACTUAL] if attempt.unchecked is not None else None,
        "cost_usd": None if answer is None else answer.known_usd,
        "latency_ms": attempt.latency_ms,
        "input_tokens": None if answer is None else answer.input_tokens,
        "output_tokens": None if answer is None else answer.output_tokens,
        "error": attempt.error,
        "output": None if answer is None or is_answer else answer.text,
        "taken": True if is_answer else None,
    }
    return {name: value for name, value in part.items() if value is not None}


SignalKind = Literal["log_probability", "agreement", "predictor"]
KINDS: tuple[SignalKind, ...] = get_args(SignalKind)
SAMPLE_TEMPERATURE = 0.7  # for the second sample, where the signal names none


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """``sample_temperature`` is of the second sample (agreement), ``predicted`` holds what was learned (predictor)."""

    kind: SignalKind = "log_probability"
    sample_temperature: float = SAMPLE_TEMPERATURE
    predicted: AttachedPredictors = field(default_factory=AttachedPredictors)

    @property
    def needs_log_probabilities(self) -> bool:
        return self.kind == "log_probability" or (self.kind == "predictor" and self.predicted.reads_log_probabilities)


def read_signal(value: Mapping[str, Any], faults: list[Fault]) -> Signal:
    """The knob ``confidence`` as a Signal; what is wrong goes to ``faults``."""
    kind = value.get("kind")
    data = {name: part for name, part in value.items() if name != "kind"}
    if kind not in KINDS:
        faults.append(
            Fault(pointer="/confidence/kind", detail=f"there is no confidence of kind {kind!r}; use {', '.join(KINDS)}")
        )
        return Signal()
    known = {"log_probability": (), "agreement": ("temperature",)}.get(kind)
    if known is not None:
        for name in sorted(set(data) - set(known)):
            faults.append(
                Fault(
                    pointer=f"/confidence/{name}", detail=f"a confidence of kind {kind} has no {name!r}; leave it out"
                )
            )
    if kind == "predictor":
        return Signal(kind=kind, predicted=read_predicted(data, faults))
    temperature = data.get("temperature", SAMPLE_TEMPERATURE)
    if kind == "agreement" and not (is_number(temperature) and 0 < temperature <= 2):
        detail = f"the second sample is drawn at a temperature above 0 and up to 2, not {temperature!r}"
        faults.append(Fault(pointer="/confidence/temperature", detail=detail))
        return Signal(kind=kind)
    return Signal(kind=kind, sample_temperature=float(temperature) if kind == "agreement" else SAMPLE_TEMPERATURE)


def confidence_of(
    signal: Signal,
    answer: ModelAnswer,
    *,
    model: str,
    input: Mapping[str, Any],
    output: Output,
    other: str | None = None,
    issues: Mapping[str, bool] | None = None,
) -> float | None:
    """The confidence in an answer; None where it cannot be measured.

    That is so without log-probabilities, a second sample, or a predictor for this model.

    Args:
        other: another answer's text, of the same model to the same request.
        issues: what the checks looked for, for a predictor: True where it was found.
    """
    if signal.kind == "log_probability":
        return None if answer.log_probability is None else min(1.0, exp(answer.log_probability))
    if signal.kind == "agreement":
        return None if other is None else similarity(output, answer.text, other)
    return signal.predicted.confidence_after(model, input, answer, other=other, issues=issues or {})
