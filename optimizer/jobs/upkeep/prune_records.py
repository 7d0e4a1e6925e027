"""Deletes what is older than its retention, in small batches, so that other writers wait only briefly.

Sums, blocks and decisions stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Annotated

from pydantic import Field

from optimizer.jobs.context import Context
from optimizer.jobs.request import Request
from optimizer.jobs.upkeep.read_retention import Retention, UnprunedFamily, retentions
from optimizer.ports import Clock, Store

BATCH = 500  # rows per transaction
BATCHES = 40  # of one request: it answers within seconds, and says whether more is due
ACTOR = "worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCount:
    """How many rows of one kind (and family) went, or would. ``held_by`` says why older ones stay; "" where none do."""

    rows: str
    family: str | None
    n: int
    before: datetime
    retain_days: int
    held_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """``left_alone``: families of which everything stays; ``more``: it was ended before everything due had gone."""

    dry_run: bool = False
    items: Sequence[PruneCount]
    left_alone: Sequence[UnprunedFamily] = ()
    more: bool = False


class PruneRequest(Request):
    dry_run: Annotated[bool, Field(description="Says what would go and deletes nothing")] = False


def prune(context: Context, request: PruneRequest) -> PruneReport:
    """Deletes texts and records that are older than their retention, up to 20,000 rows; `more` says whether to ask
    again.

    No undo.
    """
    files, store, clock = context.families(), context.store, context.clock
    retained, unpruned = retentions(
        store,
        clock,
        {**files.retired(), **files.families},
        files.problems,
        pipeline_days=context.settings.pipeline_retain_days,
    )
    batches = count(1)
    report = (
        what_would_go(store, retained)
        if request.dry_run
        else prune_records(store, clock, retained, actor=context.actor, pause=lambda: next(batches) >= BATCHES)
    )
    return replace(report, left_alone=unpruned)


def what_would_go(store: Store, retained: Sequence[Retention]) -> PruneReport:
    """What ``prune_records`` would delete now; deletes nothing."""
    with store.read() as tx:
        return PruneReport(items=[_pruned(retention, retention.count(tx)) for retention in retained], dry_run=True)


def prune_records(
    store: Store,
    clock: Clock,
    retained: Sequence[Retention],
    *,
    actor: str = ACTOR,
    pause: Callable[[], bool] = lambda: False,
    batch: int = BATCH,
) -> PruneReport:
    """Deletes what is due. It cannot be undone, but from a backup; the audit says what went.

    A run that is killed has deleted whole batches, and the next one goes on.

    Args:
        pause: called after every full batch; True ends the pruning, which goes on at the next call.
    """
    pruned: list[PruneCount] = []
    for retention in retained:
        n, more = 0, True
        while more:
            n_pruned = retention.prune(batch)
            n, more = n + n_pruned, n_pruned == batch
            if more and pause():
                break
        pruned.append(_recorded_count(store, clock, actor, _pruned(retention, n)))
        if more:
            return PruneReport(items=pruned, more=True)
    return PruneReport(items=pruned)


def _pruned(retention: Retention, n: int) -> PruneCount:
    until = retention.cut
    return PruneCount(
        rows=retention.rows,
        family=retention.family or None,
        n=n,
        before=until.before,
        retain_days=retention.days,
        held_by=until.held_by,
    )


def _recorded_count(store: Store, clock: Clock, actor: str, pruned: PruneCount) -> PruneCount:
    """The same; the audit says what went, where something did."""
    if pruned.n:
        detail = {
            "n": pruned.n,
            "before": pruned.before.isoformat(),
            "retain_days": pruned.retain_days,
            "undo": "none, but from a backup",
        }
        store.write(
            lambda tx: store.audit.add(
                tx,
                at=clock.now(),
                actor=actor,
                action="prune",
                family=pruned.family,
                subject=pruned.rows,
                detail=detail,
            )
        )
    return pruned
