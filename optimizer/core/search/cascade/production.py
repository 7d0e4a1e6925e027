"""Requests that a cascade served, as records that can be replayed: each tier's answer, confidence, cost and score.

A tier's answer is scored against the expected output where feedback brought one, else against the strongest tier's
answer. Then the score is agreement with that, and unknown unless the strongest tier was asked. Texts come in, and
numbers go out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import fsum, nan
from typing import Any

import numpy as np

from optimizer.core.family.rendering import parse_output
from optimizer.core.family.settings import Output
from optimizer.core.feedback.events import Interaction
from optimizer.core.policy.policy import Policy
from optimizer.core.policy.steps import draw_of
from optimizer.core.policy.tiers import Tiers
from optimizer.core.search.cascade.exploration import Audits, kept_share
from optimizer.core.search.cascade.figures import AuditCount
from optimizer.core.search.cascade.records import TierRecords

Part = Mapping[str, Any]
# (expected, text, input) -> [0, 1], or not measured.
Score = Callable[[Mapping[str, Any], str, Mapping[str, Any] | None], float | None]
FAILED = "the request failed, or its client went"
NO_TEXT = "texts are not kept (privacy)"
NOT_SCORED = "the scorer could not measure an answer"
UNDRAWN = "asked all tiers without being drawn for it"
PASSED_OVER = (
    "a student's tier was passed over (earlier turns, tools, another format, a bypass); the figures are of the others"
)
OF_A_TIER = ("answer", "vote", "audit")
ASKED_BY_AUDIT = ("audit", "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """``policy``: the one that served it. ``later``: the calls after its answer. ``expected``: a correction from
    feedback.
    """

    interaction: Interaction
    policy: Policy
    later: Sequence[Part] = ()
    expected: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Production:
    """``references``: records by the reference of their scores. ``left_out``: requests by why they are no record."""

    records: TierRecords
    audits: Audits
    counted: AuditCount
    references: Mapping[str, int]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _TierAnswer:
    text: str
    cost_usd: float
    latency_ms: float | None
    confidence: float | None
    score: float = nan  # not known


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecordedRequest:
    """One request on its way to a record."""

    answers: dict[int, _TierAnswer]
    asked_up_to: int
    scored_up_to: int
    drawn: bool
    complete: bool
    reference: str
    share: float
    later: Sequence[Part] = field(default_factory=tuple)


def read_production(
    requests: Sequence[ServedRequest], *, tiers: Sequence[str], output: Output, score: Score
) -> Production:
    """Records of the requests, in their order, with how much of each is known.

    The weight of an audited record takes lost audits into account: of those drawn and needed, the share that is
    complete. A failed tier is one that was not asked.

    Args:
        tiers: the chain of every request's policy.
        score: the family's own; None where it could not measure.
    """
    left_out: Counter[str] = Counter()
    read = []
    for request in requests:
        answered = _read(request, len(tiers), output, score)
        if isinstance(answered, str):
            left_out[answered] += 1
        else:
            read.append(answered)
    last = len(tiers) - 1
    asked_up_to, scored = (
        np.array([getattr(one, name) for one in read], dtype=np.intp) for name in ("asked_up_to", "scored_up_to")
    )
    complete = np.array([one.complete for one in read], dtype=bool)
    audited = np.array([one.drawn for one in read], dtype=bool) & (asked_up_to < last)
    share = np.array([one.share for one in read]) * kept_share(audited, complete)
    counted = [one for one, of_audit in zip(read, audited, strict=True) if of_audit]
    missing = [one for one in counted if not one.complete]
    return Production(
        records=TierRecords.from_rows(
            [{"tiers": {tiers[at]: asdict(answer) for at, answer in one.answers.items()}} for one in read], tiers
        ),
        audits=Audits(asked_up_to=asked_up_to, scored_up_to=scored, audited=audited & complete, share=share),
        counted=AuditCount(
            drawn=len(counted),
            complete=len(counted) - len(missing),
            failed=sum(bool(one.later) for one in missing),
            lost=sum(not one.later for one in missing),
            paid_usd=fsum(
                float(part.get("cost_usd") or 0.0)
                for one in read
                for part in one.later
                if part.get("purpose") in ASKED_BY_AUDIT
            ),
        ),
        references=dict(Counter(one.reference for one in read)),
        left_out=dict(left_out),
    )


def _read(request: ServedRequest, n_tiers: int, output: Output, score: Score) -> _RecordedRequest | str:
    """The request with the scores that can be known, or why it is no record."""
    one, cascade = request.interaction, request.policy.cascade
    assert cascade is not None
    if one.error is not None or one.parts is None:
        return FAILED
    if _passes_over(one.parts, cascade):
        return PASSED_OVER
    first = _answers(one.parts, n_tiers, request.policy, one.output)
    if first is None:
        return NO_TEXT
    is_audited = draw_of(one.id) < cascade.audit_share
    if not is_audited and any(part.get("purpose") == "audit" for part in (*one.parts, *request.later)):
        return UNDRAWN
    # Later parts may be lost, so an answer that came late counts for audited requests only.
    late = (_answers(request.later, n_tiers, request.policy, None) or {}) if is_audited else {}
    answers = {**late, **first}
    asked_up_to = next(at for at in range(n_tiers + 1) if at not in first) - 1
    strongest = answers.get(n_tiers - 1)
    expected, reference, is_read = request.expected, "expected", True
    if expected is None and strongest is not None:
        parsed = parse_output(output, strongest.text)
        expected, reference = {output.field: parsed.value}, "strongest"
        is_read = parsed.error is None
    unscored = _RecordedRequest(
        answers=answers,
        asked_up_to=asked_up_to,
        scored_up_to=-1,
        drawn=is_audited,
        complete=False,
        reference="none",
        share=cascade.audit_share,
        later=request.later if is_audited else (),
    )
    if expected is None:
        return unscored
    scored = {}
    for at, answer in answers.items():
        value = score(expected, answer.text, one.input) if is_read else 0.0  # nothing agrees with what cannot be read
        if value is None:
            return NOT_SCORED
        scored[at] = replace(answer, score=value)
    return replace(
        unscored,
        answers=scored,
        scored_up_to=asked_up_to if reference == "expected" or asked_up_to == n_tiers - 1 else -1,
        complete=len(scored) == n_tiers,
        reference=reference,
    )


def _passes_over(parts: Sequence[Part], cascade: Tiers) -> bool:
    """Whether a tier before one that was tried was not: no audit asks it either, so no threshold can be replayed.

    With ``skip`` that is what the policy chose, and the audit asks it.
    """
    tried = {part["tier"] for part in parts if part.get("purpose") in OF_A_TIER and part.get("tier") is not None}
    return cascade.skip is None and len(tried) <= max(tried, default=-1)


def _answers(parts: Sequence[Part], n_tiers: int, policy: Policy, output: str | None) -> dict[int, _TierAnswer] | None:
    """By tier the first plain answer, with the price of its second sample; None where a text was not stored."""
    answers: dict[int, _TierAnswer] = {}
    assert policy.cascade is not None
    models = policy.cascade.models
    blocks = policy.validator is not None and policy.validator.then != "flag"
    for part in parts:
        tier = part.get("tier")
        if part.get("purpose") not in OF_A_TIER or tier is None or not 0 <= tier < n_tiers or tier in answers:
            continue
        # A fallback model answered, which says nothing of this tier.
        if part.get("error") is not None or part.get("model") != models[tier]:
            continue
        text = output if part.get("taken") else part.get("output")
        if text is None:
            return None
        samples = [one for one in parts if one.get("tier") == tier and one.get("purpose") == "sample"]
        answers[tier] = _TierAnswer(
            text=text,
            cost_usd=fsum(float(one.get("cost_usd") or 0.0) for one in (part, *samples)),
            latency_ms=part.get("latency_ms"),
            confidence=None if blocks and part.get("issues") else part.get("confidence"),
        )
    return answers
