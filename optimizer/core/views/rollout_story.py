"""A Rollout told from its blocks: how evidence, means and guardrails came to be what they are, for the report; and
where a Rollout, a home or a champion stands, in one sentence,
as ``10 %: needs about 400 more labelled users before 25 %``.

Pure; nothing here decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor, log10

from optimizer.core.base.answers import ActOffer, Text, shown
from optimizer.core.base.phrasing import count, on_date, span, when
from optimizer.core.forecast.forecast import RolloutForecast
from optimizer.core.rollout.blocks import comparison_of
from optimizer.core.rollout.evidence_state import EvidenceState, begin
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.rollout.switch_watch import PERIOD, SwitchWatch
from optimizer.core.rollout.verification import BlockStep
from optimizer.core.serving.assignment import HOLDBACK_SHARE, Holdback
from optimizer.core.serving.rollout import (
    Champion,
    Decision,
    Freeze,
    Rollout,
    RolloutOutcome,
    percent,
    unfreeze_command,
)
from optimizer.core.statistics.guardrails import GuardrailKind
from optimizer.core.statistics.interval import Running, running_intervals
from optimizer.core.statistics.outcomes import Block, Sums
from optimizer.core.views.rollout_evidence import arm_sums, gates_of
from optimizer.core.views.rollout_status import EvidenceView, ForecastView, Labels, NextStep, RolloutStanding
from optimizer.core.views.variant import variant_name


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """After one quality block that was used: what was known with ``labelled`` outcomes of both arms."""

    at: datetime  # real time at which the block closed
    stage: int
    labelled: int
    log_e: Mapping[str, float]  # by hypothesis, as ``gates_of`` reads it after this block; it may fall again
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
    """What ``verification.fold`` gives, told; no block is kept but the few that compare outcomes."""
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
    candidate, family = variant_name(rollout.candidate, view.versions), rollout.family
    if not rollout.stage_history:
        stands = rollout.status if rollout.is_active else f"over ({rollout.outcome})"
        return f"{candidate} was never served to users of {family}; the rollout is {stands}: {shown(rollout.reason)}."
    took = f"after {span(view.hours.running)} and {count(_labelled(rollout, view, decisions), 'labelled outcome')}"
    top = percent(rollout.stage_history[-1]["share"])
    if rollout.outcome == "promoted":
        forced = [d.kind for d in decisions if d.forced]
        if not forced:
            how = "on evidence alone"
        elif forced == ["start"]:
            how = "every step on evidence; its start was forced by a person"
        else:
            how = f"forced by a person in {len(forced)} of its decisions ({', '.join(forced)})"
        became = f"{candidate} became the champion of {family} {took}, {how}."
        after = view.followed_by
        if after is None:
            return became
        follower = variant_name(after.variant, view.versions)
        return f"{became} {follower} followed it at {when(after.since)}: {shown(after.why).rstrip('.')}."
    if not rollout.is_active:
        why = f"{shown(rollout.reason)}. {variant_name(rollout.champion, view.versions)} serves every user."
        return f"{candidate} was taken back at {top} of {family} {took}: {why}"
    held_text = ", held" if rollout.held else ""
    return f"{candidate} is served to {top} of the users of {family}{held_text}, {took}."


def _labelled(rollout: Rollout, view: ForecastView, decisions: Sequence[Decision]) -> int:
    """Outcomes used; of a promoted rollout those of its promotion, since later blocks are the holdback's."""
    if rollout.outcome != "promoted":
        return view.labels.used
    evidence = [
        decision_evidence for d in decisions if (decision_evidence := d.content["inputs"].get("evidence")) is not None
    ]
    return int(evidence[-1]["labelled"]) if evidence else 0


ENDED: dict[RolloutOutcome, str] = {
    "promoted": "The candidate was promoted",
    "worse": "The candidate was worse and is taken back",
    "guardrail": "A guardrail took the candidate back",
    "inconclusive": "The rollout ended without enough evidence",
    "invalid": "The rollout ended because its two groups of users did not fit their shares",
    "cancelled": "A person ended the rollout",
    "champion_changed": "Another champion was set, which ended the rollout",
}
NO_ROLLOUT = "No rollout: every user gets the champion"
WAITS_FOR_A_PERSON = ("pending", "validating")


def needs_a_person(rollout: Rollout) -> bool:
    """To approve it, or to let it go on; a hold of its own the worker ends by itself."""
    return rollout.status in WAITS_FOR_A_PERSON or (rollout.held and rollout.held_by != ACTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveStanding:
    """What the sentence about an active rollout rests on; its members are those of RolloutView and ForecastView.
    ``gate``: of its gates the one that the next step asks.
    """

    freeze: Freeze | None
    served: bool
    waits_for: tuple[str, ...]
    next_step: NextStep | None
    labels: Labels
    gate: EvidenceView | None = None
    forecast: RolloutForecast | None = None


def rollout_standing(
    rollout: Rollout | None, seen: ForecastView | None, champion: Champion | None = None
) -> RolloutStanding:
    """Args:
    rollout: the active one of the family, else its last; None where it had none.
    seen: what is known of it; with its forecast where the sentence is to name how many users are still needed on
        average.
    champion: the family's present one, which may be a candidate that was taken back.
    """
    if rollout is None or seen is None:
        return RolloutStanding(text=NO_ROLLOUT)
    if not rollout.is_active:
        return RolloutStanding(text=_ended(rollout, seen, champion))
    return standing_of_active(
        rollout,
        ActiveStanding(
            freeze=seen.freeze,
            served=seen.served,
            waits_for=seen.waits_for,
            next_step=seen.next_step,
            labels=seen.labels,
            forecast=seen.forecast,
        ),
    )


def ending_of(rollout: Rollout, by: str | None = None) -> str:
    """When and how it ended, as ``ended on 2026-11-30 08:40:11 UTC, by ann: a person ended the rollout``."""
    ending, actor = _ending(rollout), f", by {by}" if by is not None else ""
    return f"ended{on_date(rollout.ended_at)}{actor}: {ending[0].lower()}{ending[1:]}"


def _ending(rollout: Rollout) -> str:
    return ENDED[rollout.outcome] if rollout.outcome is not None else "The rollout has ended"


def _ended(rollout: Rollout, seen: ForecastView, champion: Champion | None) -> str:
    if rollout.outcome != "promoted":
        ending = _ending(rollout)
        if champion is not None and champion.variant == rollout.candidate:
            return f"{ending}; since {when(champion.since)} it is champion all the same"
        return f"{ending}: every user gets the champion"
    candidate = variant_name(rollout.candidate, seen.versions)
    if (after := seen.followed_by) is not None:
        if champion is not None and champion.variant == rollout.candidate:
            return f"Promoted; {candidate} is champion again since {when(champion.since)}"
        name = variant_name(after.variant, seen.versions)
        is_back = after.variant == rollout.champion and champion is not None and champion.since == after.since
        return f"Promoted; {name} {'serves again since' if is_back else 'followed it on'} {when(after.since)}"
    if seen.holdback is not None:
        return f"Promoted: {candidate} is the champion, and a few users stay on the one before to compare"
    return f"Promoted: {candidate} is the champion"


def standing_of_active(rollout: Rollout, seen: ActiveStanding) -> RolloutStanding:
    """As ``rollout_standing``, for an active rollout."""
    if rollout.status in WAITS_FOR_A_PERSON:
        return RolloutStanding(text="Every user gets the champion", until=ActOffer(act="approve", target=rollout.id))
    first = percent(rollout.share if rollout.share is not None else rollout.ladder[0])
    if seen.freeze is not None:
        unfreeze = ActOffer(act="unfreeze", target=seen.freeze.scope)
        return RolloutStanding(text=f"{first}, frozen: every user gets the champion", until=unfreeze)
    if rollout.share is None:
        return RolloutStanding(text=f"Approved: the worker's next look gives the candidate {first} of the users")
    if not seen.served:
        away = "but no worker watches: every user gets the champion until one does (detent serve)"
        return RolloutStanding(text=f"{first}, {away}")
    if rollout.held and rollout.held_by == ACTOR:
        return RolloutStanding(text=f"{first}, held by the worker until its alert is over")
    if rollout.held:
        return RolloutStanding(
            text=f"{first}, held by {rollout.held_by or 'a person'}: it goes no further",
            until=ActOffer(act="resume", target=rollout.id),
        )
    return RolloutStanding(text=f"{first}: {_needs(seen)}")


def headline_of(standing: RolloutStanding, family: str) -> str:
    """The sentence for a terminal, with the command that ends what it says."""
    offer = standing.until
    if offer is None:
        return standing.text
    if offer["act"] == "approve":
        return f"Waits for a person: detent rollout approve {family}; until then every user gets the champion"
    command = unfreeze_command(offer["target"]) if offer["act"] == "unfreeze" else f"detent rollout resume {family}"
    return f"{standing.text} until {command}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeHealth:
    """What a whole home is like.

    Args:
        runs: the API and the worker are alive.
        tick_fault: how a worker that is alive does not tick.
        is_starting: what supervises them is, and starts them.
        rollouts: how many are active.
        n_waiting: of these, that wait for a person to approve them or let them go on.
        alerts: the levels of the open ones that speak for themselves: info, warning, critical.
        n_quiet: open ones that are grave, and silenced.
        n_faulty: families whose file is refused, or names an unknown model.
        bad_models: config/models.yaml cannot be used, and the last good one is gone by.
        not_ready: why the server that runs cannot serve or keep what is sent.
        n_refused: programs that were refused for want of a valid key in the last hour.
        frozen: families that are; None stands for all.
    """

    runs: bool
    rollouts: int
    alerts: Collection[str]
    n_faulty: int
    is_starting: bool = False
    tick_fault: str | None = None
    n_waiting: int = 0
    n_quiet: int = 0
    not_ready: str | None = None
    bad_models: bool = False
    n_refused: int = 0
    frozen: Sequence[str | None] = ()


def home_headline(home: HomeHealth) -> str:
    """One sentence about a whole home: what is wrong comes first."""
    grave = sum(level != "info" for level in home.alerts)
    way_on = "yet (detent serve is starting it)" if home.is_starting else "here (detent serve starts it)"
    wrong = [
        *([f"nothing watches {way_on}"] if not home.runs else []),
        *([f"{home.tick_fault} (detent runbook the-worker-is-dead)"] if home.tick_fault else []),
        *([f"the server is not ready ({home.not_ready.rstrip('.')})"] if home.not_ready else []),
        *([f"{count(grave, 'alert')} open (below)"] if grave else []),
        *([f"{count(home.n_quiet, 'alert')} silenced"] if home.n_quiet else []),
        *([f"{count(home.n_faulty, 'family file')} at fault (detent family validate)"] if home.n_faulty else []),
        *(["the models file is refused (below)"] if home.bad_models else []),
        *([f"{count(home.n_refused, 'program')} refused for want of a valid key (below)"] if home.n_refused else []),
        *(["every family is frozen"] if None in home.frozen else [f"family {name} is frozen" for name in home.frozen]),
    ]
    rollouts = f"{count(home.rollouts, 'rollout') if home.rollouts else 'no rollout'} under way"
    if home.n_waiting:
        rollouts += f", {count(home.n_waiting, 'waits', 'wait')} for a person"
    text = "; ".join([*(wrong or ([] if home.n_waiting else ["all is well"])), rollouts])
    return f"{text[0].upper()}{text[1:]}"


def _needs(seen: ActiveStanding) -> str:
    """What the next step needs; users first, since only they come by themselves."""
    step = seen.next_step
    target = "the promotion" if step is None or step.act == "promote" else percent(step.share)
    if not seen.waits_for:
        return f"every gate has passed; the worker's next look goes on to {target}"
    # The users that are missing, of the present stage, on average; None where something else is.
    stages = seen.forecast.stages if seen.forecast is not None else ()
    need = stages[0].expected if stages else None
    least = max(0, seen.labels.needed_in_stage - seen.labels.in_stage)
    users = None
    if need is None or need.labelled is None:
        users = "needs more labelled users" if least else None  # how many, only a forecast knows
    elif ceil(need.labelled) >= 1:
        how_long = f" (about {span(need.hours)} at this traffic)" if need.hours else ""
        users = f"needs about {count(rounded_up(need.labelled), 'more labelled user')}{how_long}"
    return f"waits before {target}: {seen.waits_for[0]}" if users is None else f"{users} before {target}"


def rounded_up(n: float) -> int:
    """To two digits that count, upwards: 12.1 is 13, 398.2 is 400, 1,234 is 1,300. ``n`` is above 0."""
    unit = max(1, 10 ** (floor(log10(n)) - 1))
    return int(ceil(n / unit) * unit)


def watch_in_words(
    champion: Champion, *, holdback: Holdback | None, switch: SwitchWatch | None, now: datetime
) -> str | None:
    """The sentence on the week after a switch; None where nobody is held back and no switch is watched.

    Args:
        champion: its present tenure.
        holdback: of its promotion or adoption, over or not.
        switch: of this tenure; None before the first outcome, and for a champion that evidence spoke for.
    """
    current = holdback if holdback is not None and now < holdback.until else None
    is_watched = champion.forced and champion.seq > 1 and now < champion.since + PERIOD
    if current is None and not is_watched:
        return None
    parts = [f"{champion.variant} serves since {when(champion.since)}{' by force' if champion.forced else ''}"]
    if current is not None:
        parts.append(f"{HOLDBACK_SHARE:.0%} of the users keep {current.variant} until {when(current.until)} to compare")
    if is_watched:
        until = champion.since + PERIOD
        if switch is None:
            watched = f"watched until {when(until)}, from its first outcome on"
        elif switch.alarm is not None:
            watched = "it does worse, and an alert tells how much"
        elif not switch.comparisons:
            watched = "there is nothing to compare it with, so only its errors, latency and cost are watched"
        else:
            before = f" with {switch.reference.text}" if switch.reference is not None else " with those users"
            watched = f"its outcomes are compared{before} until {when(until)}, and an alert tells when they are worse"
        parts.append(watched)
    return f"{'; '.join(parts)} (back: detent champion rollback {champion.family})"
