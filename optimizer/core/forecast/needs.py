"""What a plan needs at the recorded traffic: labelled outcomes, distinct units and hours, per stage and in all."""

from __future__ import annotations

from math import ceil, isfinite

from optimizer.core.forecast.plan import ForecastPlan, Need, Progress
from optimizer.core.statistics.forecast import TrafficRate, forecast
from optimizer.core.statistics.late_labels import LEAST_WINDOWS


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
