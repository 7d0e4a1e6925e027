"""Every champion that a family has had."""

from __future__ import annotations

from optimizer.core.base.answers import Page
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest


def read_history(context: Context, request: FamilyRequest) -> Page[Champion]:
    """Every champion this family has had, oldest first: why, by whom, from when to when."""
    with context.store.read() as tx:
        tenures = context.store.champions.history(tx, request.family)
    if not tenures:
        context.family(request.family)
    return Page(items=tenures)
