"""Recommends the thresholds of a cascade from what production recorded, audits included. Changes nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import Policy, parse_policy
from optimizer.core.search.cascade.figures import AuditCount, CascadeAdvice
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest
from optimizer.ports import Clock, Store

if TYPE_CHECKING:
    from optimizer.core.search.cascade.production import Production, ServedRequest

MOST_RECORDS = 20_000
MAX_HOURS = 90 * 24
THRESHOLDS = ("accept", "accept.2", "accept.3", "refine", "skip", "audit_share", "fall_back", "deadline_s")


class RecommendThresholdsRequest(FamilyRequest):
    hours: Annotated[float, Field(gt=0, le=MAX_HOURS, description="So many hours back; default 720")] = 30 * 24


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRecommendation:
    """Advice, and what stands behind it.

    ``variants``: those whose requests were read; they differ from the champion in thresholds alone, so their tiers give
    the same answers. ``n_older``: requests of the range that were not read, all received before ``oldest_at``.
    ``n_records``: those of ``n_read`` that are records. ``next``: the command that follows.
    """

    family: str
    champion: str
    variants: Sequence[str]
    hours: float
    n_read: int
    n_older: int
    oldest_at: datetime | None
    n_records: int
    references: Mapping[str, int]
    left_out: Mapping[str, int]
    audits: AuditCount
    advice: CascadeAdvice
    next: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequests:
    """What was read: the champion with its ``policy``, and the requests, the newest first.

    ``n_older``: of the range, but not read.
    """

    champion: str
    policy: Policy
    requests: Sequence[ServedRequest]
    n_older: int


def recommend_cascade(context: Context, request: RecommendThresholdsRequest) -> CascadeRecommendation:
    """What production says of the thresholds of the champion's cascade, and the cheapest ones that are safe on audited
    requests: as `detent thresholds recommend`.

    It is read by a process of its own, one at a time.

    Raises: as ``served_requests``.
    """
    from optimizer.core.search.cascade.advice import advise

    family = context.family(request.family)
    served = served_requests(family, store=context.store, clock=context.clock, hours=request.hours)
    production = production_of(served, family, context.scorer_for(family))
    read = [request_served.interaction for request_served in served.requests]
    answer = CascadeRecommendation(
        family=family.name,
        champion=served.champion,
        variants=sorted({str(interaction.arm.variant) for interaction in read}),
        hours=request.hours,
        n_read=len(read),
        n_older=served.n_older,
        oldest_at=read[-1].received_at if read else None,
        n_records=len(production.records),
        references=production.references,
        left_out=production.left_out,
        audits=production.counted,
        advice=advise(production, served.policy, explicit_margin=family.rollout.margin),
    )
    return replace(answer, next=_next_command(answer))


def _next_command(answer: CascadeRecommendation) -> str:
    """What makes a candidate of it, or gets nearer to one."""
    advice = answer.advice
    if advice.verdict == "change" and advice.policy is not None:
        knobs = " ".join(
            f"--policy {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in advice.policy.items()
        )
        return f"detent variant create {answer.family} --from champion {knobs}"
    if advice.verdict == "cannot_tell" and answer.audits.complete == 0 and advice.requests_missing is None:
        return f"detent variant create {answer.family} --from champion --policy audit_share=0.02"
    if advice.requests_missing is not None:
        return (
            f"detent thresholds recommend {answer.family} --hours {answer.hours:g}, once some"
            f" {advice.requests_missing:,} more requests were served"
        )
    return f"detent study run {answer.family} --strategy replay --aim cost --dry-run"


def served_requests(family: Family, *, store: Store, clock: Clock, hours: float) -> RecordedRequests:
    """Requests that the champion's cascade answered, or variants that differ from it in thresholds alone.

    The newest ``MOST_RECORDS`` of them.

    Args:
        hours: how far back requests count, in (0, 2160].
    Raises:
        InvalidInput: the champion has no cascade that could be replayed.
        Conflict: the family has no champion yet.
    """
    from optimizer.core.search.cascade.production import ServedRequest  # it needs numpy

    since = clock.now() - timedelta(hours=hours)
    with store.read() as tx:
        tenure = store.champions.current(tx, family.name)
        champion = store.variants.get(tx, family.name, tenure.variant) if tenure is not None else None
        if champion is None:
            raise Conflict(
                f"Family {family.name!r} has no champion yet, so nothing of it was served. Start the server or the"
                " worker once."
            )
        policy = parse_policy(champion.variant.policy)
        if policy.cascade is None:
            raise InvalidInput(
                f"The champion of family {family.name!r} has no cascade, so no request has asked its tiers in turn. A"
                f" study finds the thresholds of one: detent study run {family.name} --strategy replay --aim cost"
                " --dry-run."
            )
        if policy.votes is not None:
            raise InvalidInput(
                f"The champion of family {family.name!r} lets its models vote before it asks the last tier, and"
                " thresholds of accept play no part in that. Take votes.models out of a variant's policy to use a"
                " cascade's thresholds."
            )
        same = _answers(champion.variant)
        alike = {
            r.variant.id: r.variant for r in store.variants.of_family(tx, family.name) if _answers(r.variant) == same
        }
        read = store.events.made_of_parts(tx, family.name, alike, since=since, limit=MOST_RECORDS)
        n = len(read) if len(read) < MOST_RECORDS else store.events.n_made_of_parts(tx, family.name, alike, since=since)
        ids = [interaction.id for interaction in read]
        later = store.events.later_parts(tx, family.name, ids)
        expected = store.events.corrections(tx, family.name, ids)
    policies = {id: parse_policy(alike[id].policy) for id in {str(interaction.arm.variant) for interaction in read}}
    requests = [
        ServedRequest(
            interaction=interaction,
            policy=policies[str(interaction.arm.variant)],
            later=later[interaction.id].parts if interaction.id in later else (),
            expected=expected.get(interaction.id),
        )
        for interaction in read
    ]
    return RecordedRequests(champion=champion.variant.id, policy=policy, requests=requests, n_older=n - len(read))


def production_of(served: RecordedRequests, family: Family, scorer: Scorer) -> Production:
    """The requests as records, scored by the family's own scorer."""
    from optimizer.core.search.cascade.production import read_production

    def score(expected: Mapping[str, Any], text: str, input: Mapping[str, Any] | None) -> float | None:
        try:
            return scorer.score(expected, text, input).value
        except InvalidInput:  # a correction of a time when the family's output had another name
            return None

    assert served.policy.cascade is not None
    return read_production(served.requests, tiers=served.policy.cascade.models, output=family.output, score=score)


def _answers(variant: Variant) -> bytes:
    """Equal for variants whose tiers give the same answers, as sure of them: they differ in thresholds alone."""
    content = variant.content()
    policy = {name: value for name, value in variant.policy.items() if name not in THRESHOLDS and value is not None}
    return canonical_json({**content, "policy": policy})
