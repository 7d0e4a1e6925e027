"""Reads the runs queued outside studies, and how far each is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page, page_read
from optimizer.core.evaluation.run import RunSummary
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyPageRequest


class RunsRequest(FamilyPageRequest):
    ended: Annotated[bool | None, Field(description="Only those that have ended, or have not")] = None
    kind: Annotated[str | None, Field(description="Only those: compare, evaluate, score, check or forget")] = None


def read_runs(context: Context, request: RunsRequest) -> Page[RunSummary]:
    """Judge runs, comparisons and evaluations, the newest first, each with how many of its questions were asked."""
    families = context.access.families
    if request.family is not None:
        context.require_family(request.family)
        families = (request.family,)
    runs = context.store.runs
    with context.store.read() as tx:
        return page_read(
            lambda start, n: runs.latest(tx, families, n, start=start, ended=request.ended, kind=request.kind),
            request.cursor,
            request.limit,
        )
