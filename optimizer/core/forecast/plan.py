"""What a forecast is made for, a rollout's frozen settings as numbers and how far it has come; and what such a plan
needs at the recorded traffic: labelled outcomes, distinct units and hours, per stage and in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isfinite
from typing import Any

from optimizer.core.base.phrasing import signed
from optimizer.core.rollout.evidence_state import whole_day
from optimizer.core.rollout.start import assumed_mean
from optimizer.core.statistics.forecast import RolloutDesign, TrafficRate, assumed_lift, forecast
from optimizer.core.statistics.guardrails import MARGIN
from optimizer.core.statistics.late_labels import LEAST_WINDOWS
from optimizer.core.statistics.outcomes import clip_rate

WIDTH_OF_95 = 2 * 1.959964  # standard errors between the ends of a 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What the candidate is assumed to add to the champion's mean, absolute, at least 0, and its source."""

    value: float = 0.0
    why: str = "no gain is assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPlan:
    """Durations are in hours of the rollout clock."""

    ladder: tuple[float, ...]
    margin: float
    base: float  # the champion's mean, in (0, 1)
    base_why: str
    lift: Lift
    field: str
    source: str
    min_labelled: int  # per stage, both arms
    max_labelled: int
    max_hours: float
    min_duration_hours: float
    whole_hours: (
        float  # the promotion waits for the end of so many hours of assignment, or of a multiple; 0: it does not
    )
    dwell_hours: float  # at least, per stage
    cohort_hours: float
    closing_hours: float  # a stage's last cohort has to end and its feedback window to pass
    error_margin: float
    clock_scale: float = 1.0  # hours of the rollout clock per real hour

    def design(self, stage: int = 0) -> RolloutDesign:
        """From this stage of the ladder on."""
        return RolloutDesign(
            base=self.base,
            lift=self.lift.value,
            margin=self.margin,
            ladder=self.ladder[stage:],
            min_labelled=self.min_labelled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What is still needed, at one level of caution.

    Hours are the rollout clock's; None = cannot be told, or no end.
    """

    labelled: float | None
    units: float | None  # distinct, both arms
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout has come; ``hours`` since its start and since its stage, on the rollout clock."""

    stage: int = 0  # index into the ladder
    labelled: int = 0  # used as evidence, both arms
    labelled_in_stage: int = 0
    grown: Mapping[int, float] = field(
        default_factory=dict
    )  # log evidence by m; infinite once its gate has been passed
    hours: float = 0.0
    stage_hours: float = 0.0
    begun: bool = False
    n_days: int = 0  # whole days that have ended
    stood: bool = False  # the claim of the promotion stood at the end of one


NOT_BEGUN = Progress()


def plan_of(
    settings: Mapping[str, Any], ladder: Sequence[float], lift: Lift, *, clock_scale: float = 1.0
) -> ForecastPlan:
    """``settings``: as frozen with the rollout."""
    metric = settings.get("metric") or {}
    window = settings.get("feedback_window") or {}
    hours = window.get("hours", "auto")
    base, cohort_hours = clip_rate(assumed_mean(settings)), float(settings["cohort_minutes"]) / 60
    return ForecastPlan(
        ladder=tuple(ladder),
        margin=float(settings["margin"]),
        base=base,
        base_why="the champion's mean over 30 days; .5 where it has fewer than 50 labels",
        lift=replace(lift, value=min(lift.value, 1 - base)),
        field=str(metric.get("field", "success")),
        source=str(metric.get("source", "user")),
        min_labelled=int(settings["min_labelled_per_stage"]),
        max_labelled=int(settings["max_labelled"]),
        max_hours=24 * float(settings["max_days"]),
        min_duration_hours=float(settings["min_duration_hours"]),
        whole_hours=whole_day(settings).total_seconds() / 3600 if settings.get("whole_days") else 0.0,
        dwell_hours=float(settings["min_dwell_minutes"]) / 60,
        cohort_hours=cohort_hours,
        closing_hours=float(window.get("floor_hours", 24.0) if hours == "auto" else hours) + cohort_hours,
        error_margin=float((settings.get("guardrails") or {}).get("error_margin", MARGIN["errors"])),
        clock_scale=clock_scale,
    )


def lift_of(confirmation: Mapping[str, Any] | None, *, forced: bool) -> Lift:
    """The lower 80 % bound of the lift on the sealed holdout, at least 0.

    ``forced``: a gate before the start was, or would be, passed by confirmation; then 0, whatever a study says.
    """
    if not confirmation or confirmation.get("lift") is None:
        return Lift(why="no gain is assumed, since no confirmation on the sealed holdout speaks for it")
    if forced:
        return Lift(why="no gain is assumed, since not every gate was met")
    lift, low, high = (float(confirmation[name]) for name in ("lift", "lift_low", "lift_high"))
    return Lift(
        value=assumed_lift(lift, (high - low) / WIDTH_OF_95),
        why=f"the lower 80 % bound of the holdout's lift {signed(lift)}, not below 0",
    )


def needs_of(plan: ForecastPlan, rates: TrafficRate | None, progress: Progress, kappa: float) -> list[Need]:
    """Of each stage to come; ``kappa``: KAPPA_MEAN on average, KAPPA_90 for 90 % of rollouts.

    ``rates`` None: labels alone are told.
    """
    traffic = rates or TrafficRate(units_per_hour=1.0, label_rate=1.0)
    prediction = forecast(
        plan.design(progress.stage), traffic, kappa=kappa, grown=progress.grown, labelled=progress.labelled_in_stage
    )
    needs = []
    for i, stage in enumerate(prediction.stages):
        dwell = max(0.0, plan.dwell_hours - (progress.stage_hours if i == 0 else 0.0))
        hours = max(stage.hours if stage.labelled else 0.0, dwell)
        known = rates is not None
        needs.append(
            Need(labelled=finite(stage.labelled), units=finite(stage.units, known), hours=finite(hours, known))
        )
    return needs


def total_of(plan: ForecastPlan, needs: list[Need], progress: Progress) -> Need:
    """The promotion waits for the minimum duration, and until the day is over in which its evidence is complete."""
    hours = _sum([n.hours for n in needs])
    if hours is not None:
        if plan.whole_hours and not progress.stood:
            closing = (
                plan.cohort_hours + plan.closing_hours
            )  # of the first cohort after the day, which is begun by then
            n_days = max(progress.n_days + 1, ceil((progress.hours + hours - closing) / plan.whole_hours))
            hours = n_days * plan.whole_hours + closing - progress.hours
        hours = max(hours, max(plan.min_duration_hours, LEAST_WINDOWS * plan.closing_hours) - progress.hours)
    return Need(labelled=_sum([n.labelled for n in needs]), units=_sum([n.units for n in needs]), hours=hours)


def _sum(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def finite(value: float, known: bool = True) -> float | None:
    return value if known and isfinite(value) else None
