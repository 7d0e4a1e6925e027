"""What starts a study by itself: a champion that got worse, much bad feedback, or the time; and what prevents the
start.

Values in, a Trigger out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import fsum
from typing import Literal

from optimizer.core.base.answers import Text
from optimizer.core.base.minute_sums import Histogram, quantile
from optimizer.core.base.phrasing import count, when
from optimizer.core.dataset.examples import more_for_holdout
from optimizer.core.family.cron import MOST_COUNTED, count_fires, next_fire
from optimizer.core.family.family import Family
from optimizer.core.family.settings import FeedbackTrigger
from optimizer.core.feedback.traffic_sums import PLACES, VALUE, TrafficSum, summed_by
from optimizer.core.search.study import FigureChange, FiredEvidence, Study, Trigger, TriggerEvidence, TriggerKind
from optimizer.core.serving.assignment import Holdback
from optimizer.core.serving.rollout import Freeze, Rollout

State = Literal["fires", "quiet", "cannot_tell", "off"]
KINDS: tuple[TriggerKind, ...] = (
    "degradation",
    "feedback",
    "student",
    "schedule",
)  # the first that fires gives a study its name
EVIDENCE_KINDS: tuple[TriggerKind, ...] = ("degradation", "feedback", "student")
WINDOW_HOURS = 6.0  # of what counts as now, for degradation
STUDENT_HOURS = 7 * 24.0  # after a study that evidence started, in which a student starts no other
REFERENCE_DAYS = 7.0  # before the window: whole weeks, since days of the week differ
MIN_UNITS = 50  # with outcomes, in each of both windows
MIN_REQUESTS = 100  # with a latency, in each of both windows


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitMean:
    """The mean over units, each with the mean of what it reported; ``mean`` is None where there is no unit.

    ``share`` of the units, drawn at random, were read. Below 1, ``n`` is estimated, and ``mean`` is that of these.
    """

    n: int = 0
    mean: float | None = None
    share: float = 1.0

    @property
    def text(self) -> str:
        """How many units, such as "about 4,096 units"."""
        return f"{'about ' if self.share < 1 else ''}{count(self.n, 'unit')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOutcomes:
    """What users reported of one variant in one window. Every unit counts once in each figure, however often it
    reported.
    """

    all: UnitMean = field(default_factory=UnitMean)  # scores, and successes as 0 or 1 where no score came with them
    success: Mapping[str, UnitMean] = field(default_factory=dict)  # by source
    score: Mapping[str, UnitMean] = field(default_factory=dict)  # by source


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What was received of one variant in [since, until)."""

    since: datetime
    until: datetime
    outcomes: RecentOutcomes = field(default_factory=RecentOutcomes)
    latency_ms: Histogram = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one trigger says now. ``reason`` is a sentence without its full stop."""

    kind: TriggerKind
    state: State
    reason: Text[str]
    evidence: TriggerEvidence = field(default_factory=TriggerEvidence)


def recent_outcomes(sums: Sequence[TrafficSum]) -> RecentOutcomes:
    """The outcomes from the sums of one variant's feedback."""
    by_source = {source: source_sums for (source,), source_sums in summed_by(sums, "source").items()}
    means = {
        field: {source: _mean(source_sums, place) for source, source_sums in by_source.items()}
        for field, place in PLACES.items()
    }
    return RecentOutcomes(
        all=_mean(summed_by(sums).get(()), VALUE),
        **{field: {source: mean for source, mean in of.items() if mean.n} for field, of in means.items()},
    )


def _mean(sums: TrafficSum | None, place: int) -> UnitMean:
    own = [outcomes for outcomes in sums.units.values() if outcomes and outcomes[place]] if sums is not None else []
    if sums is None or not own:
        return UnitMean()
    return UnitMean(
        n=len(own) << sums.level,
        mean=fsum(outcomes[place + 1] / outcomes[place] for outcomes in own) / len(own),
        share=sums.share,
    )


def first_to_fire(looks: Iterable[Look]) -> Trigger | None:
    """The first Trigger that fires; its reason names the others. None when none fires."""
    firing = sorted((look for look in looks if look.state == "fires"), key=lambda look: KINDS.index(look.kind))
    if not firing:
        return None
    reason = "; and ".join(look.reason for look in firing)
    evidence = FiredEvidence()
    for look in firing:
        evidence[look.kind] = look.evidence
    return Trigger(kind=firing[0].kind, reason=reason, evidence=evidence)


def look_at_schedule(cron: str | None, *, since: datetime, now: datetime) -> Look:
    """Whether a time of the schedule lies in (since, now]. However many passed meanwhile, they make one study, which
    says so.
    """
    if cron is None:
        return Look(kind="schedule", state="off", reason="no schedule")
    due = next_fire(cron, min(since, now))
    if due is None or due > now:
        at = f"next at {when(due)} ({cron})" if due is not None else f"{cron} never comes"
        return Look(kind="schedule", state="quiet", reason=at, evidence={"cron": cron})
    n = count_fires(cron, min(since, now), now)
    later = f"{n - 1:,} or more later times" if n >= MOST_COUNTED else count(n - 1, "later time")
    missed = f"; {later} passed before it could start, and this study stands for all of them" if n > 1 else ""
    return Look(
        kind="schedule",
        state="fires",
        reason=f"scheduled for {when(due)} ({cron}){missed}",
        evidence={"cron": cron, "due_at": due.isoformat(), "n_missed": n - 1},
    )


def look_at_feedback(rule: FeedbackTrigger | None, window: Window) -> Look:
    """Enough units with feedback, and bad on average."""
    if rule is None:
        return Look(kind="feedback", state="off", reason="switched off")
    outcomes = window.outcomes.all
    evidence = TriggerEvidence(
        since=window.since.isoformat(),
        until=window.until.isoformat(),
        n=outcomes.n,
        mean=outcomes.mean,
        share=outcomes.share,
    )
    seen = f"{outcomes.text} with feedback since {when(window.since)}"
    if outcomes.n < rule.count or outcomes.mean is None:
        return Look(kind="feedback", state="cannot_tell", reason=f"{seen}, {rule.count} are needed", evidence=evidence)
    state: State = "fires" if outcomes.mean < rule.mean_below else "quiet"
    side = "below" if state == "fires" else "not below"
    return Look(
        kind="feedback",
        state=state,
        reason=f"{seen}, on average {outcomes.mean:.3f}, {side} {rule.mean_below:g}",
        evidence=evidence,
    )


def look_at_degradation(threshold: float | None, recent: Window, reference: Window) -> Look:
    """(success drop + quality drop + relative latency rise) / 3 against the same variant's own past.

    Success and score are compared within one source, the one with most units now; latency is the median of all
    requests. What got better counts as 0: it makes up for nothing. So does what too few reported, and the sentence says
    which that is.
    """
    if threshold is None:
        return Look(kind="degradation", state="off", reason="switched off")
    parts = {
        "success": _drop("success", recent.outcomes.success, reference.outcomes.success),
        "score": _drop("score", recent.outcomes.score, reference.outcomes.score),
        "latency": _rise(recent.latency_ms, reference.latency_ms),
    }
    evidence = TriggerEvidence(
        since=recent.since.isoformat(),
        until=recent.until.isoformat(),
        reference_since=reference.since.isoformat(),
        success=parts["success"],
        score=parts["score"],
        latency=parts["latency"],
    )
    measured = [part for part in parts.values() if part is not None]
    if not measured:
        needed = (
            f"{MIN_UNITS} units with outcomes or {MIN_REQUESTS} requests are needed since {when(recent.since)}, and as"
            " many before"
        )
        return Look(kind="degradation", state="cannot_tell", reason=needed, evidence=evidence)
    index = sum(max(0.0, part["change"]) for part in measured) / len(parts)
    evidence["index"] = round(index, 6)
    state: State = "fires" if round(index, 9) >= threshold else "quiet"
    side = "at or above" if state == "fires" else "below"
    unknown = [name for name, part in parts.items() if part is None]
    without = f"; too little is known of {' and '.join(unknown)}, counted as no change" if unknown else ""
    changes = ", ".join(part["text"] for part in measured)
    reason = f"degradation {index:.3f}, {side} {threshold:g}, since {when(recent.since)}: {changes}{without}"
    return Look(kind="degradation", state=state, reason=reason, evidence=evidence)


def look_at_students(findings: Mapping[str, Sequence[str]], *, is_on: bool) -> Look:
    """Whether a student that serves is bypassed, or asked other things than it was taught on: a study teaches another.

    Args:
        findings: by student that serves, what speaks against it, as sentences without their full stop.
    """
    if not is_on or not findings:
        return Look(kind="student", state="off", reason="switched off" if not is_on else "no student serves")
    against = [f"the student {id}: {sentence}" for id, sentences in findings.items() for sentence in sentences]
    if not against:
        return Look(kind="student", state="quiet", reason=f"nothing speaks against {' and '.join(findings)}")
    return Look(kind="student", state="fires", reason="; and ".join(against))


def unless_answered(look: Look, answered: Study | None, window: timedelta, now: datetime) -> Look:
    """The look; quiet where a study has answered its evidence already, until its window is all new."""
    if look.state == "off" or answered is None or now >= (again_at := answered.created_at + window):
        return look
    reason = (
        f"answered by study {answered.id} at {when(answered.created_at)}; looked at again from {when(again_at)}, when"
        " its window holds only what came after"
    )
    evidence = TriggerEvidence(study=answered.id, again_at=again_at.isoformat())
    return replace(look, state="quiet", reason=reason, evidence=evidence)


def _drop(name: str, recent: Mapping[str, UnitMean], reference: Mapping[str, UnitMean]) -> FigureChange | None:
    """The drop, in the source with most units now that has enough of them in both windows: sources do not compare."""
    common = [source for source in recent if min(recent[source].n, reference.get(source, UnitMean()).n) >= MIN_UNITS]
    if not common:
        return None
    source = max(sorted(common), key=lambda each: recent[each].n)
    now, before = recent[source], reference[source]
    assert now.mean is not None
    assert before.mean is not None
    text = f"{name} by {source} {before.mean:.3f} > {now.mean:.3f} ({before.text} > {now.text})"
    return FigureChange(text=text, change=before.mean - now.mean, before=before.mean, now=now.mean)


def _rise(recent: Histogram, reference: Histogram) -> FigureChange | None:
    if min(sum(recent.values()), sum(reference.values())) < MIN_REQUESTS:
        return None
    before, now = quantile(reference, 0.5), quantile(recent, 0.5)
    if not before or now is None:
        return None
    return FigureChange(
        text=f"median latency {before:.0f} ms > {now:.0f} ms", change=now / before - 1, before=before, now=now
    )


def sentences(looks: Sequence[Look]) -> list[str]:
    """One line per trigger, for a person."""
    words = {"fires": "fires", "quiet": "quiet", "cannot_tell": "cannot tell", "off": "off"}
    return [f"{look.kind}: {words[look.state]}" + ("" if look.state == "off" else f", {look.reason}") for look in looks]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Why no study starts, without a full stop. ``needs_person``: waiting alone changes nothing, so an alert opens."""

    reason: Text[str]
    needs_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What of a family is exposed, or about to be.

    Args:
        freeze: which serves its champion only.
        rollout: its active one. It decides first: whatever was found meanwhile would have to be compared anew.
        holdback: the one under way. A rollout would end it, and with it the guardrail that takes the promotion back.
        nominated: the study whose candidate waits for its rollout; another search would meet the same obstacle.
    """

    freeze: Freeze | None
    rollout: Rollout | None
    holdback: Holdback | None
    nominated: Study | None


def kept_from_starting(
    family: Family, exposure: Exposure, *, unfinished: Sequence[Study], max_studies: int, n_holdout: int
) -> Guard | None:
    """The first guard that says no, the one that needs a person before all others; None when a study may start.

    Args:
        unfinished: the studies of all families that are queued, running or confirming.
        n_holdout: the family's sealed examples.
    """
    n, needed = n_holdout, family.rollout.gates.n
    if n < needed:
        return Guard(
            reason=(
                f"{family.name} has {n} holdout examples and rollout.gates.n asks for {needed}, so nothing that a study"
                f" finds could pass its gates. Import about {more_for_holdout(needed - n)} more (detent"
                f" import FILE --family {family.name}), lower rollout.gates.n, or let nothing start by itself: detent"
                f" family schedule {family.name} --off"
            ),
            needs_person=True,
        )
    own = next((study for study in unfinished if study.family == family.name), None)
    if own is not None:
        return Guard(reason=f"study {own.id} of {family.name} is {own.status}, and a family has one at a time")
    if exposure.freeze is not None:
        return Guard(reason=exposure.freeze.sentence)
    if (rollout := exposure.rollout) is not None:
        return Guard(reason=f"rollout {rollout.id} of {rollout.candidate} is {rollout.status}, and decides first")
    if (holdback := exposure.holdback) is not None:
        return Guard(
            reason=(
                f"the promotion by rollout {holdback.rollout} is watched in its holdback until {when(holdback.until)}"
            )
        )
    if (nominated := exposure.nominated) is not None:
        return Guard(reason=f"candidate {nominated.winner} of study {nominated.id} waits for its rollout")
    if len(unfinished) >= max_studies:
        return Guard(reason=f"{len(unfinished)} studies are under way, and max_studies allows {max_studies} at once")
    return None
