"""Reads what studies and runs have spent this month, and what is left of its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optimizer.core.family.family import Family
from optimizer.core.scheduling.monthly_budget import MonthlyLimits, Remainder, RunSpend, left_of, month_of
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.ports import Clock, Store, Transaction

STUDY = "study"


def monthly_left(tx: Transaction, store: Store, clock: Clock, family: str, limits: MonthlyLimits) -> Remainder:
    """What a new study or run of ``family`` may spend this month; real time, UTC.

    Calls of no run count too: of evaluations, of a judge that watches traffic, of drills.
    """
    if limits.family_usd is None and limits.all_usd is None:
        return Remainder()
    return left_of(limits, month_spends(tx, store, month_of(clock.now())), family)


def left_this_month(tx: Transaction, context: Context, family: Family) -> Remainder:
    """As ``monthly_left``, by the limits that are in force."""
    limits = MonthlyLimits(family_usd=family.budget.usd_per_month, all_usd=context.settings.usd_per_month)
    return monthly_left(tx, context.store, context.clock, family.name, limits)


def month_spends(tx: Transaction, store: Store, since: datetime) -> list[RunSpend]:
    """Of every study and run that had not ended before ``since``, when the month began, and of calls of none."""
    others = store.journal.usd_without_a_run(tx, since)
    return [
        *store.studies.spent_since(tx, since),
        *store.runs.spent_since(tx, since),
        *(RunSpend(run="", family=name, cap_usd=None, usd=usd, has_ended=True) for name, usd in others.items()),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedSpend:
    """``kind``: study, or that of a run. ``reserved_usd``: what it may still spend; None: it has no cap in dollars."""

    kind: str
    id: str
    family: str
    spent_usd: float
    cap_usd: float | None
    reserved_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySpend:
    """``cap_usd``: ``budget.usd_per_month`` of its file; None: no limit."""

    family: str
    spent_usd: float
    reserved_usd: float
    cap_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSpending:
    """Of studies, runs and other calls of Detent's own since the month (UTC) began; what chats cost is not in it.

    ``cap_usd``: of all families, the setting ``usd_per_month``; None for a key for named ones, too. ``families``: those
    that spent, reserved or have a cap.
    """

    since: datetime
    spent_usd: float
    reserved_usd: float
    cap_usd: float | None
    unfinished: Sequence[UnfinishedSpend]
    families: Sequence[FamilySpend]

    @property
    def counted_usd(self) -> float:
        """Spent and reserved, which the cap bounds."""
        return self.spent_usd + self.reserved_usd


def read_spending(context: Context, request: Request) -> MonthSpending:
    """What studies, judge runs, comparisons and evaluations spent this month and have reserved, against their caps."""
    store, since = context.store, month_of(context.clock.now())
    with store.read() as tx:
        spends = [spend for spend in month_spends(tx, store, since) if context.access.may_see(spend.family)]
        kinds = {run.id: str(run.kind) for run in store.runs.unfinished(tx)}
    unfinished = [
        UnfinishedSpend(
            kind=kinds.get(spend.run, STUDY),
            id=spend.run,
            family=spend.family,
            spent_usd=spend.usd,
            cap_usd=spend.cap_usd,
            reserved_usd=None if spend.cap_usd is None else spend.counted_usd - spend.usd,
        )
        for spend in spends
        if not spend.has_ended
    ]
    caps = {
        name: family.budget.usd_per_month
        for name, family in context.families().families.items()
        if family.budget.usd_per_month is not None and context.access.may_see(name)
    }
    return MonthSpending(
        since=since,
        spent_usd=sum(spend.usd for spend in spends),
        reserved_usd=sum(one.reserved_usd or 0.0 for one in unfinished),
        cap_usd=context.settings.usd_per_month if context.access.may_see(None) else None,
        unfinished=unfinished,
        families=[
            FamilySpend(
                family=name,
                spent_usd=sum(spend.usd for spend in spends if spend.family == name),
                reserved_usd=sum(one.reserved_usd or 0.0 for one in unfinished if one.family == name),
                cap_usd=caps.get(name),
            )
            for name in sorted({*caps, *(spend.family for spend in spends)})
        ],
    )
