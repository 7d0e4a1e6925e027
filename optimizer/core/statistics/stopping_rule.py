"""What follows from the evidence after each closed block.

In this order: invalid, roll back by a guardrail, inconclusive where labels come later in one arm, roll back for harm,
advance or promote, inconclusive where a limit is spent, wait. Where labels come later in one arm, only the guardrails
can be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Literal

from optimizer.core.base.phrasing import count
from optimizer.core.statistics.outcomes import threshold
from optimizer.core.statistics.quality_gate import (
    ALPHA_ROLL,
    ALPHA_ROLL_DAYS,
    ALPHA_ROLL_HOURS,
    ALPHA_SHIP,
    WholeDays,
    margin_needed,
)

Action = Literal["invalid", "roll_back", "advance", "promote", "inconclusive", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPosition:
    """Where a rollout stands when the stopping rule is asked. Times are compared before, so the rule needs no clock."""

    ladder: tuple[float, ...]
    stage: int  # index into ladder
    peaks: Mapping[str, float]  # latched log e-values of the quality gate: ship3, ship2, ship1, roll
    whole: WholeDays | None = None  # None: the rollout does not wait for whole days
    whole_name: str = "day"  # or "week"
    labelled_in_stage: int
    min_labelled: int = 200
    dwell_over: bool = True
    min_duration_over: bool = True
    held: bool = False  # by a person, or by the tick during a shared incident: no step, everything else goes on
    sample_ratio_alarm: bool = False
    guardrail_alarm: str | None = None  # the sentence of the guardrail that alarmed
    labels_later: str | None = None  # the sentence that says so where labels come later in one arm
    budget_spent: str | None = None  # the sentence on the limit in time that was reached
    max_labelled: int | None = None  # labelled outcomes in all, after which the rollout no longer waits for evidence
    labelled: int = 0  # in all
    waits_for: tuple[str, ...] = ()  # sentences on what else the next step needs


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingVerdict:
    """What the stopping rule says. Only ``promote`` ships."""

    action: Action
    reason: str
    missing: tuple[str, ...] = ()  # what stands between here and the next step


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmEvidence:
    """Evidence that the candidate is worse, from one hypothesis of the quality gate at its level."""

    game: Literal["roll", "roll2"]
    log_e: float
    alpha: float

    @property
    def proven(self) -> bool:
        return self.log_e >= threshold(self.alpha)

    @property
    def reason(self) -> str:
        worse = "worse" if self.game == "roll" else "worse by more than two margins"
        return f"the candidate is {worse}: evidence {e_value_text(self.log_e)}, {1 / self.alpha:.1f} suffices"


def harm_evidence(peaks: Mapping[str, float], at_days: float | None, *, alpha_roll: float = ALPHA_ROLL) -> HarmEvidence:
    """The evidence that is nearer to a rollback.

    "Not worse" is judged where whole days end, "at most two margins worse" at every look.

    Args:
        at_days: the peak of roll at the ends of whole days; None where the rollout does not wait for them.
    """
    if at_days is None:
        return HarmEvidence(game="roll", log_e=peaks["roll"], alpha=alpha_roll)
    days = HarmEvidence(game="roll", log_e=at_days, alpha=ALPHA_ROLL_DAYS)
    hours = HarmEvidence(game="roll2", log_e=peaks["roll2"], alpha=ALPHA_ROLL_HOURS)
    return hours if hours.proven and not days.proven else days


def stopping_rule(
    standing: RolloutPosition, *, alpha_ship: float = ALPHA_SHIP, alpha_roll: float = ALPHA_ROLL
) -> StoppingVerdict:
    """What follows, from the gravest finding to none.

    Missing evidence never advances a rollout: it waits, and ends inconclusive when a limit is spent.
    """
    if standing.sample_ratio_alarm:
        reason = "the arms' sizes do not fit the shares they were given, so no comparison between them is valid"
        return StoppingVerdict(action="invalid", reason=reason)
    if standing.guardrail_alarm is not None:
        return StoppingVerdict(action="roll_back", reason=standing.guardrail_alarm)
    if standing.labels_later is not None:
        return StoppingVerdict(action="inconclusive", reason=standing.labels_later)
    whole = standing.whole
    harm = harm_evidence(standing.peaks, None if whole is None else whole.peak("roll"), alpha_roll=alpha_roll)
    if harm.proven:
        return StoppingVerdict(action="roll_back", reason=harm.reason)
    missing = _missing(standing, alpha_ship)
    if not missing:
        if standing.stage == len(standing.ladder) - 1:
            return StoppingVerdict(action="promote", reason="not worse than the champion by the margin, at every gate")
        m = margin_needed(standing.ladder[standing.stage], is_last=False)
        return StoppingVerdict(action="advance", reason=f"not worse by {m} margin{'s' if m > 1 else ''}")
    limit_spent = standing.budget_spent or _labels_spent(standing, alpha_ship)
    if limit_spent is not None:
        reason = f"{limit_spent}; still missing: {'; '.join(missing)}"
        return StoppingVerdict(action="inconclusive", reason=reason, missing=missing)
    return StoppingVerdict(action="wait", reason="; ".join(missing), missing=missing)


def e_value_text(log_e: float) -> str:
    """An e-value as people write it: 0.31, 41.2, 1,569; from a million on as a power of ten."""
    if log_e >= log(1e6):
        return f"10^{int(log_e / log(10) + 1e-9)}"
    return f"{exp(log_e):.3g}" if log_e < log(99.95) else f"{exp(log_e):,.0f}"


def _labels_spent(standing: RolloutPosition, alpha: float) -> str | None:
    """The sentence that the allowed labels are used up; None while they may go on.

    They end a rollout only where evidence is missing, and the stage has had its chance to give it. While only time is
    missing, the stage's first cohorts mature, or a day is not over, a busy family may go beyond the limit.
    """
    used = standing.labelled if standing.whole is None else round(standing.whole.labelled)
    if standing.max_labelled is None or used < standing.max_labelled:
        return None
    m = margin_needed(standing.ladder[standing.stage], is_last=standing.stage == len(standing.ladder) - 1)
    only_time = standing.peaks[f"ship{m}"] >= threshold(alpha) and _days_without_claim(standing, alpha) is None
    if only_time or standing.labelled_in_stage < standing.min_labelled:
        return None
    until = "" if standing.whole is None else f" until the last {standing.whole_name} ended, a burst counted as less,"
    return f"{used} labelled outcomes were used{until} and {standing.max_labelled} are allowed"


def _missing(standing: RolloutPosition, alpha: float) -> tuple[str, ...]:
    is_last = standing.stage == len(standing.ladder) - 1
    m = margin_needed(standing.ladder[standing.stage], is_last=is_last)
    peak = standing.peaks[f"ship{m}"]
    margins = "the margin" if m == 1 else f"{m} margins"
    reasons = []
    if standing.held:
        reasons.append("the rollout is held")
    if peak < threshold(alpha):
        reasons.append(f"evidence against worse by {margins} is {e_value_text(peak)}, {1 / alpha:.0f} is needed")
    if standing.labelled_in_stage < standing.min_labelled:
        reasons.append(
            f"{count(standing.labelled_in_stage, 'labelled outcome')} in this stage, {standing.min_labelled} are needed"
        )
    if not standing.dwell_over:
        reasons.append("the stage's minimum time is not over")
    if is_last and not standing.min_duration_over:
        reasons.append("the rollout's minimum duration is not over")
    days = _days_without_claim(standing, alpha)
    if peak >= threshold(alpha) and days is not None:
        so_far = (
            f"at the ends of {count(days.n, standing.whole_name)} it was {e_value_text(days.peak('ship1'))} at most"
        )
        until = f"; the next one ends {days.ends_at:%Y-%m-%d %H:%M} UTC" if days.ends_at is not None else ""
        reasons.append(
            f"evidence against worse by the margin has to be {1 / alpha:.0f} at the end of a whole"
            f" {standing.whole_name} of assignment: {so_far if days.n else 'none has ended'}{until} and is counted"
            " once its feedback window is over"
        )
    return (*reasons, *standing.waits_for)


def _days_without_claim(standing: RolloutPosition, alpha: float) -> WholeDays | None:
    """The whole days where the promotion still waits for one at whose end its evidence stands; else None."""
    is_last, whole = standing.stage == len(standing.ladder) - 1, standing.whole
    return whole if is_last and whole is not None and whole.peak("ship1") < threshold(alpha) else None
