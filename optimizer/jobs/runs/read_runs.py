"""Reads the runs queued outside studies, and how far each is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Page
from optimizer.core.evaluation.run import RunSummary
from optimizer.jobs.context import Context
from optimizer.jobs.request import Request


class RunsRequest(Request):
    family: Annotated[str | None, Field(max_length=200)] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="How many items a page has at most")] = 100


def read_runs(context: Context, request: RunsRequest) -> Page[RunSummary]:
    """Judge runs, comparisons and evaluations, the newest first, each with how many of its questions were asked."""
    families = context.access.families
    if request.family is not None:
        context.require_family(request.family)
        families = (request.family,)
    with context.store.read() as tx:
        return Page(items=context.store.runs.latest(tx, families, request.limit))
