"""Families: what is declared, what is served, and how the two differ."""

from __future__ import annotations

from fastapi import APIRouter

from api.routing import Asking, guarded, router
from api.services import Services, Shared
from optimizer.core.base.answers import Page, members_of
from optimizer.core.views.family import FamilySummary, FamilyView, family_file, family_problem, rollout_brief
from optimizer.jobs.scheduling.set_schedule import read_schedule

routes: APIRouter = router("Families")


@routes.get("/v1/families", **guarded("read", narrows=True))
def families(shared: Shared, caller: Asking) -> Page[FamilySummary]:
    """Every family with what it serves; `degraded` ones serve their last good version
    because their file cannot be used.
    """
    names = sorted(
        shared.serving.now_served.families.keys() | shared.families.families.keys() | shared.families.problems.keys()
    )
    return Page(items=[_summary(shared, name) for name in names if caller.access.may_see(name)])


@routes.get("/v1/families/{family}", **guarded("read"))
def family(family: str, shared: Shared) -> FamilyView:
    """One family: its definition as the file has it, its champion, its rollout, the schedule in force,
    and what is wrong with the file if anything is.
    """
    definition = shared.families.families.get(family)
    summary = members_of(_summary(shared, family))
    if definition is None:
        return FamilyView(**summary, definition=None, schedule=None)
    schedule = read_schedule(definition, store=shared.store, clock=shared.clock)
    return FamilyView(**summary, definition=definition, schedule=schedule)


def _summary(shared: Services, name: str) -> FamilySummary:
    definition = shared.families.families.get(name)
    problem = shared.families.problems.get(name)
    served = shared.serving.now_served.families.get(name)
    if definition is None and problem is None and served is None:
        shared.serving.now_served.family(name)
    return FamilySummary(
        name=name,
        description=definition.description if definition else "",
        kind=definition.kind if definition else None,
        champion=served.champion if served else None,
        rollout=rollout_brief(served.rollout) if served and served.rollout else None,
        overridden=served.override_view() if served else None,
        degraded=problem is not None,
        problem=family_problem(problem) if problem is not None else None,
        file=family_file(definition, served.champion.variant, served.reigned) if definition and served else None,
    )
