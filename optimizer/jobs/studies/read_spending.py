"""Reads what this month's studies have left of the monthly limits."""

from __future__ import annotations

from optimizer.core.scheduling.monthly_budget import Left, MonthlyLimits, left_of, month_of
from optimizer.ports import Clock, Store, Transaction


def monthly_left(tx: Transaction, store: Store, clock: Clock, family: str, limits: MonthlyLimits) -> Left:
    """What a new study of ``family`` may spend this month; real time, UTC."""
    if limits.family_usd is None and limits.all_usd is None:
        return Left()
    return left_of(limits, store.studies.spent_since(tx, month_of(clock.now())), family)
