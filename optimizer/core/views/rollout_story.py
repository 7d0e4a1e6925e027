"""A Rollout told from its blocks: how evidence, means and guardrails came to be what they are. Pure, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.base.phrasing import count, span, when
from optimizer.core.base.texts import Text
from optimizer.core.rollout.blocks import comparison_of
from optimizer.core.rollout.evidence_state import EvidenceState, begin
from optimizer.core.rollout.verification import BlockStep
from optimizer.core.serving.rollout import Decision, Rollout, percent
from optimizer.core.statistics.guardrails import GuardrailKind
from optimizer.core.statistics.interval import Running, running_intervals
from optimizer.core.statistics.outcomes import Block, Sums
from optimizer.core.views.rollout_evidence import arm_sums, gates_of
from optimizer.core.views.rollout_status import ForecastView
from optimizer.core.views.variant import named


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """After one quality block that was used: what was known with ``labelled`` outcomes of both arms."""

    at: datetime  # real time at which the block closed
    stage: int
    labelled: int
    log_e: Mapping[str, float]  # by game, as ``gates_of`` reads it after this block; not latched
    candidate_mean: float | None
    champion_mean: float | None
    difference: Running


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailPoint:
    at: datetime
    log_e: float
    n_candidate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMeans:
    candidate: float | None
    champion: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStory:
    quality: tuple[QualityPoint, ...]
    guardrails: Mapping[GuardrailKind, tuple[GuardrailPoint, ...]]
    stages: Mapping[int, StageMeans]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """``problems``: what does not fit in the chains of blocks and decisions, as sentences;
    none where the record is whole.
    """

    rollout: Rollout
    view: ForecastView
    decisions: tuple[Decision, ...]
    history: RolloutStory
    problems: Text[tuple[str, ...]]
    made_at: datetime


def history_of(rollout: Rollout, folded: Iterable[BlockStep]) -> RolloutStory:
    """What ``evidence.fold`` gives, told; no block is kept but the few that compare outcomes."""
    counted: list[tuple[datetime, EvidenceState, Sums, Sums]] = []  # after each block that the gate used
    guardrails: dict[GuardrailKind, list[GuardrailPoint]] = {}
    compared: list[Block] = []
    candidate, champion = Sums(), Sums()
    for one in folded:
        if one.block.kind == "guardrails":
            for metric, guardrail in one.after.guardrails.items():
                if metric not in one.before.guardrails or guardrail.n_blocks > one.before.guardrails[metric].n_blocks:
                    guardrails.setdefault(metric, []).append(
                        GuardrailPoint(
                            at=one.block.closed_at, log_e=guardrail.evidence.log_e, n_candidate=guardrail.n_candidate
                        )
                    )
        comparison = comparison_of(one.block.content, "outcomes") if one.block.kind == "quality" else None
        if comparison is None:
            continue
        compared.append(comparison)
        candidate, champion = candidate + comparison.candidate.sums, champion + comparison.champion.sums
        if one.after.quality.labelled > one.before.quality.labelled:
            counted.append((one.block.closed_at, one.after, candidate, champion))
    running = running_intervals(begin(rollout.settings).quality, tuple(compared))
    points = tuple(
        QualityPoint(
            at=at,
            stage=state.quality.stage,
            labelled=state.quality.labelled,
            log_e={one.name: one.log_e_now for one in gates_of(state.quality, state.whole_days)},
            candidate_mean=candidate.mean,
            champion_mean=champion.mean,
            difference=difference,
        )
        for (at, state, candidate, champion), difference in zip(counted, running, strict=True)
    )
    stages = {}
    for stage in sorted({b.stage for b in compared}):
        own = [b for b in compared if b.stage == stage]
        stages[stage] = StageMeans(candidate=arm_sums("candidate", own).mean, champion=arm_sums("champion", own).mean)
    return RolloutStory(
        quality=points, guardrails={kind: tuple(own) for kind, own in guardrails.items()}, stages=stages
    )


def headline(rollout: Rollout, view: ForecastView, decisions: Sequence[Decision]) -> str:
    """One sentence: what became of the candidate, or how it stands."""
    candidate, family = named(rollout.candidate, view.versions), rollout.family
    if not rollout.stage_history:
        stands = rollout.status if rollout.is_active else f"over ({rollout.outcome})"
        return f"{candidate} was never served to users of {family}; the rollout is {stands}: {rollout.reason}."
    took = f"after {span(view.hours.running)} and {count(_labelled(rollout, view, decisions), 'labelled outcome')}"
    top = percent(rollout.stage_history[-1]["share"])
    if rollout.outcome == "promoted":
        became = f"{candidate} became the champion of {family} {took}, {_how(decisions)}."
        after = view.followed_by
        if after is None:
            return became
        follower = named(after.variant, view.versions)
        return f"{became} {follower} followed it at {when(after.since)}: {after.why.rstrip('.')}."
    if not rollout.is_active:
        why = f"{rollout.reason}. {named(rollout.champion, view.versions)} serves every user."
        return f"{candidate} was taken back at {top} of {family} {took}: {why}"
    held_text = ", held" if rollout.held else ""
    return f"{candidate} is served to {top} of the units of {family}{held_text}, {took}."


def _labelled(rollout: Rollout, view: ForecastView, decisions: Sequence[Decision]) -> int:
    """Outcomes used; of a promoted rollout those of its promotion, since later blocks are the holdback's."""
    if rollout.outcome != "promoted":
        return view.labels.used
    evidence = [
        decision_evidence for d in decisions if (decision_evidence := d.content["inputs"].get("evidence")) is not None
    ]
    return int(evidence[-1]["labelled"]) if evidence else 0


def _how(decisions: Sequence[Decision]) -> str:
    forced = [d.kind for d in decisions if d.forced]
    if not forced:
        return "on evidence alone"
    if forced == ["start"]:
        return "every step on evidence; its start was forced by a person"
    return f"forced by a person in {len(forced)} of its decisions ({', '.join(forced)})"
