"""Which limits of a rollout its forecast exceeds, and the ways out, as sentences with figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from optimizer.core.forecast_plan import Need, Plan, Progress
from optimizer.core.statistics.forecast import Traffic, smallest_feasible_margin
from optimizer.core.traffic import RecordedTraffic

Limit = Literal["max_labelled", "max_days", "units"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``needed`` against ``allowed``, in labelled outcomes, days or distinct units; ``text`` says it with the ways out."""

    limit: Limit
    needed: float | None  # None: no number would do
    allowed: float
    text: str


def problems_of(
    plan: Plan,
    progress: Progress,
    shares: Sequence[float],
    needs: Sequence[Need],
    total: Need,
    *,
    traffic: RecordedTraffic | None,
    rates: Traffic | None,
) -> tuple[Problem, ...]:
    """Args: ``needs`` and ``total`` at 90 %, from ``progress`` on; ``rates`` None where units or labels are not known."""
    ways = _Ways(plan=plan, progress=progress, shares=shares, total=total, traffic=traffic, rates=rates)
    found = [_too_many_labels(plan, progress, total, ways)]
    if rates is not None:
        found += [_too_long(plan, progress, total, ways), _too_few_units(plan, progress, shares, needs, ways)]
    return tuple(p for p in found if p is not None)


def _too_many_labels(plan: Plan, progress: Progress, total: Need, ways: _Ways) -> Problem | None:
    if total.labelled is None:
        text = "A gate would never be passed: the candidate is assumed to be worse by the margin or more."
        return Problem(limit="max_labelled", needed=None, allowed=plan.max_labelled, text=text)
    needed = progress.labelled + total.labelled
    if needed <= plan.max_labelled:
        return None
    text = (
        f"90 % of such rollouts end within {needed:,.0f} labelled outcomes, and max_labelled is {plan.max_labelled:,}. "
        f"Ways out: {ways.text(f'max_labelled: {_up(needed, 100):,}')}."
    )
    return Problem(limit="max_labelled", needed=round(needed, 1), allowed=plan.max_labelled, text=text)


def _too_long(plan: Plan, progress: Progress, total: Need, ways: _Ways) -> Problem | None:
    if total.hours is None or progress.hours + total.hours <= plan.max_hours:
        return None
    days, allowed = (progress.hours + total.hours) / 24, plan.max_hours / 24
    assert ways.rates is not None
    text = (
        f"90 % of such rollouts end within {days:,.1f} days at {ways.rates.units_per_hour:,.1f} distinct units an hour, of which "
        f"{ways.rates.label_rate:.1%} give a label, and max_days is {allowed:g}. Ways out: {ways.text(f'max_days: {ceil(days)}')}."
    )
    return Problem(limit="max_days", needed=round(days, 2), allowed=allowed, text=text)


def _too_few_units(plan: Plan, progress: Progress, shares: Sequence[float], needs: Sequence[Need], ways: _Ways) -> Problem | None:
    """A unit counts once per stage: where the same units always come back, waiting longer brings no new ones."""
    assert ways.traffic is not None
    fresh = ways.traffic.fresh_units_per_hour / plan.clock_scale
    pool = ways.traffic.n_units + fresh * max(0.0, plan.max_hours - progress.hours)
    worst = max(zip(needs, shares, strict=True), key=lambda pair: pair[0].units or 0.0)
    needed, share = worst[0].units, worst[1]
    if needed is None or needed <= pool:
        return None
    text = (
        f"The stage of {share:.0%} takes up to {needed:,.0f} distinct units, since a unit counts once per stage, and only {ways.traffic.n_units:,} "
        f"came in {ways.traffic.hours / 24:.1f} days, about {24 * fresh:,.1f} a day of them new. Ways out: {ways.text(None)}."
    )
    return Problem(limit="units", needed=round(needed, 1), allowed=round(pool, 1), text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ways:
    plan: Plan
    progress: Progress
    shares: Sequence[float]
    total: Need
    traffic: RecordedTraffic | None
    rates: Traffic | None

    def text(self, limit: str | None) -> str:
        found = [self._margin(), limit, self._labels(), self._finer_unit()]
        ways = "; ".join(way for way in found if way is not None)
        return f"it is fixed while it runs; in a new rollout: {ways}" if self.progress.begun else ways

    def _margin(self) -> str | None:
        """From the start, since another margin is another rollout."""
        smallest = smallest_feasible_margin(
            base=self.plan.base, lift=self.plan.lift.value, ladder=self.plan.ladder,
            traffic=self.rates or Traffic(units_per_hour=1e9, label_rate=1.0), max_labelled=self.plan.max_labelled,
            max_hours=self.plan.max_hours, min_labelled=self.plan.min_labelled,
        )  # fmt: skip
        if smallest is None:
            return "no margin up to .2 would be enough by itself"
        return f"a margin of {smallest:g} (now {self.plan.margin:g})" if smallest > self.plan.margin else None

    def _labels(self) -> str | None:
        """How many of the units would have to give a label for the hours to fit."""
        if self.rates is None or self.total.labelled is None:
            return None
        counting = self.plan.max_hours - self.progress.hours - len(self.shares) * self.plan.closing_hours
        rate = self.total.labelled / (self.rates.units_per_hour * counting) if counting > 0 else 2.0
        if rate <= self.rates.label_rate:
            return None
        return (
            f"more labels: {rate:.0%} of the units (now {self.rates.label_rate:.1%})"
            if rate <= 1
            else "more users (labels of all would not be enough)"
        )

    def _finer_unit(self) -> str | None:
        if self.traffic is None or self.traffic.n_requests_with_unit < 1.5 * self.traffic.n_units:
            return None
        each = self.traffic.n_requests_with_unit / self.traffic.n_units
        return f"a finer unit, session or conversation instead of user ({each:.1f} requests came per unit)"


def _up(value: float, step: int) -> int:
    return ceil(value / step) * step
