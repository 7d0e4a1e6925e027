"""Which limits of a rollout its forecast exceeds, and the ways out, as sentences with figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.plan import ForecastPlan, Need, Progress
from optimizer.core.statistics.forecast import TrafficRate, smallest_feasible_margin

Limit = Literal["max_labelled", "max_days", "units"]
NO_LIMIT = TrafficRate(units_per_hour=1e9, label_rate=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitExceeded:
    """``needed`` against ``allowed``: labelled outcomes, days, or distinct units of one stage."""

    limit: Limit
    needed: float | None  # None: no number would do
    allowed: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is still needed at 90 %, in all and per share, beside what the traffic gives."""

    plan: ForecastPlan
    progress: Progress
    shares: Sequence[float]
    needs: Sequence[Need]
    total: Need
    traffic: RecordedTraffic | None
    rates: TrafficRate | None  # None: units or labels are not known, or nothing to rely on

    @property
    def pool(self) -> float:
        """Distinct units that can come into one stage: those known, and the new ones of all the time that is left."""
        if self.traffic is None or self.rates is None:
            return inf
        fresh = self.traffic.fresh_units_per_hour / self.plan.clock_scale
        return self.traffic.n_units + fresh * max(0.0, self.plan.max_hours - self.progress.hours)


def problems_of(outlook: Outlook) -> tuple[LimitExceeded, ...]:
    problems = (_too_many_labels(outlook), _too_long(outlook), _too_few_units(outlook))
    return tuple(problem for problem in problems if problem is not None)


def ways_out(outlook: Outlook, problems: Sequence[LimitExceeded]) -> tuple[str, ...]:
    """What would make it fit, each by itself where it says no otherwise. Nothing here loosens the 5 in 100."""
    if not problems:
        return ()
    ways = [
        _margin(outlook),
        *(_higher_limit(problem) for problem in problems),
        _labels(outlook),
        _denser_outcome(outlook),
        _finer_unit(outlook),
    ]
    return tuple(way for way in ways if way is not None)


def _too_many_labels(outlook: Outlook) -> LimitExceeded | None:
    allowed = outlook.plan.max_labelled
    if outlook.total.labelled is None:
        text = "A gate would never be passed: the candidate is assumed to be worse by the margin or more."
        return LimitExceeded(limit="max_labelled", needed=None, allowed=allowed, text=text)
    needed = outlook.progress.labelled + outlook.total.labelled
    if needed <= allowed:
        return None
    text = f"90 % of such rollouts end within {needed:,.0f} labelled outcomes, and max_labelled is {allowed:,}."
    return LimitExceeded(limit="max_labelled", needed=round(needed, 1), allowed=allowed, text=text)


def _too_long(outlook: Outlook) -> LimitExceeded | None:
    if outlook.rates is None or outlook.total.hours is None:
        return None
    needed = outlook.progress.hours + outlook.total.hours
    if needed <= outlook.plan.max_hours:
        return None
    text = (
        f"90 % of such rollouts end within {needed / 24:,.1f} days, and max_days is {outlook.plan.max_hours / 24:g}:"
        f" {outlook.rates.units_per_hour:,.1f} distinct units come in an hour, and {outlook.rates.label_rate:.1%} of"
        " them give a label."
    )
    return LimitExceeded(limit="max_days", needed=round(needed / 24, 2), allowed=outlook.plan.max_hours / 24, text=text)


def _too_few_units(outlook: Outlook) -> LimitExceeded | None:
    """A unit counts once per stage: where the same units always come back, waiting longer brings no new ones."""
    worst, share = max(zip(outlook.needs, outlook.shares, strict=True), key=lambda pair: pair[0].units or 0.0)
    if outlook.traffic is None or worst.units is None or worst.units <= outlook.pool:
        return None
    text = (
        f"The stage of {share:.0%} takes up to {worst.units:,.0f} distinct units, since a unit counts once per stage;"
        f" about {outlook.pool:,.0f} will come, as {outlook.traffic.n_units:,} came in {outlook.traffic.hours / 24:.1f}"
        f" days, {outlook.traffic.n_late_units:,} of them first in the second half."
    )
    return LimitExceeded(limit="units", needed=round(worst.units, 1), allowed=round(outlook.pool, 1), text=text)


def _margin(outlook: Outlook) -> str | None:
    """From the start of the ladder, since another margin is another rollout."""
    plan = outlook.plan
    smallest = smallest_feasible_margin(
        plan.design(),
        outlook.rates or NO_LIMIT,
        max_labelled=plan.max_labelled,
        max_hours=plan.max_hours - plan.whole_hours,
        max_units=outlook.pool,
    )
    if smallest is None:
        return "no margin up to .2 would be enough by itself"
    return f"a margin of {smallest:g} (now {plan.margin:g})" if smallest > plan.margin else None


def _higher_limit(problem: LimitExceeded) -> str | None:
    if problem.needed is None or problem.limit == "units":
        return None
    value = ceil(problem.needed) if problem.limit == "max_days" else ceil(problem.needed / 100) * 100
    return f"{problem.limit}: {value}"


def _labels(outlook: Outlook) -> str | None:
    """How many of the units would have to give a label for hours and units to fit."""
    if outlook.rates is None or outlook.total.labelled is None:
        return None
    counting = outlook.plan.max_hours - outlook.progress.hours - len(outlook.shares) * outlook.plan.closing_hours
    by_hours = outlook.total.labelled / (outlook.rates.units_per_hour * counting) if counting > 0 else inf
    rate = max(by_hours, *((need.labelled or 0.0) / outlook.pool for need in outlook.needs))
    if rate <= outlook.rates.label_rate:
        return None
    if rate > 1:
        return "more users (a label of every one that comes now would not be enough)"
    return f"more labels: from {rate:.0%} of the units (now {outlook.rates.label_rate:.1%})"


def _denser_outcome(outlook: Outlook) -> str | None:
    """The outcome that most units give, where that is another one than the rollout's metric."""
    plan, traffic = outlook.plan, outlook.traffic
    if traffic is None or not traffic.n_labelled_units:
        return None
    field, source = max(traffic.n_labelled_units, key=lambda one: (traffic.n_labelled_units[one], one))
    rate, now = traffic.label_rate(field, source), traffic.label_rate(plan.field, plan.source)
    if rate <= now:
        return None
    return (
        f"a denser outcome: rollout.metric {{field: {field}, source: {source}}}, which {rate:.1%} of the units give"
        f" (now {now:.1%})"
    )


def _finer_unit(outlook: Outlook) -> str | None:
    traffic = outlook.traffic
    if traffic is None or not traffic.n_units or traffic.n_requests_with_unit < 1.5 * traffic.n_units:
        return None
    each = traffic.n_requests_with_unit / traffic.n_units
    return f"a finer unit, session or conversation instead of user ({each:,.1f} requests came per unit)"
