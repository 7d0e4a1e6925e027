"""Limits on what studies, judge runs and evaluations spend in a calendar month (UTC), per family and in all.

Every run's own cap stays within them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from optimizer.core.base.errors import BudgetTooSmall
from optimizer.core.base.values import Budget

SPENDERS = "studies, judge runs and evaluations"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpend:
    """What one study or judge run has spent, and may still spend while it has not ended."""

    run: str
    family: str
    cap_usd: float | None
    usd: float
    has_ended: bool

    @property
    def counted_usd(self) -> float:
        """A running one counts with its whole cap, or infinity without one: it may still need all of it."""
        return self.usd if self.has_ended else max(self.usd, math.inf if self.cap_usd is None else self.cap_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyLimits:
    """Dollars per calendar month; None = no limit."""

    family_usd: float | None = None
    all_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remainder:
    """What is left of this month's limits.

    ``usd`` None: nothing limits it. ``text`` says which limit it is and what has been spent.
    """

    usd: float | None = None
    text: str = ""


def month_of(at: datetime) -> datetime:
    """The first moment of its month."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def left_of(limits: MonthlyLimits, spends: Iterable[RunSpend], family: str) -> Remainder:
    """What the tighter of both limits leaves to a new run of ``family``; never below 0.

    Args:
        spends: of the studies and judge runs that had not ended before this month. One that began last month
            counts in full in both: rather too little is spent than too much.
    """
    all_spends = list(spends)
    each = [
        (limit, counted, whose)
        for limit, counted, whose in (
            (
                limits.family_usd,
                [s for s in all_spends if s.family == family],
                f"of {family} (budget.usd_per_month of its file)",
            ),
            (limits.all_usd, all_spends, "of all families (setting usd_per_month)"),
        )
        if limit is not None
    ]
    if not each:
        return Remainder()
    limit, counted, whose = min(each, key=lambda row: row[0] - sum(spend.counted_usd for spend in row[1]))
    used = sum(spend.counted_usd for spend in counted)
    if math.isinf(used):
        endless = ", ".join(s.run for s in counted if math.isinf(s.counted_usd))
        text = (
            f"the {SPENDERS} {whose} have ${limit:g} this month, and {endless} began without a cap in dollars and may"
            " need all of it until it ends"
        )
        return Remainder(usd=0.0, text=text)
    return Remainder(
        usd=max(0.0, _dollars(limit - used)),
        text=f"the {SPENDERS} {whose} have used or reserved ${used:.4f} of this month's ${limit:g}",
    )


def under(remainder: Remainder, budget: Budget) -> Budget:
    """The budget as it may be spent: a run without a cap in dollars gets what is left.

    Raises BudgetTooSmall for a higher cap.
    """
    if remainder.usd is None:
        return budget
    if budget.usd is None:
        return replace(budget, usd=remainder.usd)
    if _dollars(budget.usd) > remainder.usd:
        raise BudgetTooSmall(
            f"A budget of ${budget.usd:g} would pass a monthly limit: {remainder.text}, so ${remainder.usd:.4f} is"
            " left. Give no more than that, wait for the next month, or raise the limit.",
            left_usd=remainder.usd,
            given_usd=budget.usd,
        )
    return budget


def _dollars(amount: float) -> float:
    return round(amount, 9)  # sums of floats
