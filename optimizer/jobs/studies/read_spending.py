"""Reads what is left of the monthly limits."""

from __future__ import annotations

from optimizer.core.scheduling.monthly_budget import MonthlyLimits, Remainder, RunSpend, left_of, month_of
from optimizer.ports import Clock, Store, Transaction


def monthly_left(tx: Transaction, store: Store, clock: Clock, family: str, limits: MonthlyLimits) -> Remainder:
    """What a new study or run of ``family`` may spend this month; real time, UTC.

    Calls of no run count too: of evaluations, of a judge that watches traffic, of drills.
    """
    if limits.family_usd is None and limits.all_usd is None:
        return Remainder()
    since = month_of(clock.now())
    others = store.journal.usd_without_a_run(tx, since)
    return left_of(
        limits,
        [
            *store.studies.spent_since(tx, since),
            *store.runs.spent_since(tx, since),
            *(RunSpend(run="", family=name, cap_usd=None, usd=usd, has_ended=True) for name, usd in others.items()),
        ],
        family,
    )
