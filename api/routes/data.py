"""What is kept for a time only: deleting it now in place of waiting for the worker's daily round."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from fastapi import APIRouter, Request

from api.routing import caller_of, guarded, router
from api.schemas import PruneBody
from api.services import Shared
from optimizer.jobs.upkeep.prune_records import PruneReport, prune_records, what_would_go
from optimizer.jobs.upkeep.read_retention import retentions

BATCHES = 40  # of one request: it answers within seconds, and says whether more is due

routes: APIRouter = router("Operations")


@routes.post("/v1/data/prune", **guarded("admin", "limited", keyed=False))
def prune(shared: Shared, request: Request, body: PruneBody | None = None) -> PruneReport:
    """Deletes texts and records that are older than their retention, up to 20,000 rows;
    `more` says whether to ask again.

    No undo.
    """
    files = shared.families
    days = shared.settings.pipeline_retain_days
    kept, unpruned = retentions(
        shared.store, shared.clock, {**files.retired(), **files.families}, files.problems, pipeline_days=days
    )
    if body is not None and body.dry_run:
        return replace(what_would_go(shared.store, kept), left_alone=unpruned)
    done = count(1)
    report = prune_records(
        shared.store, shared.clock, kept, actor=caller_of(request).actor, pause=lambda: next(done) >= BATCHES
    )
    return replace(report, left_alone=unpruned)
