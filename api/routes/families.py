"""Families: what is declared, what is served, and how the two differ."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime

from api.access.auth import require
from api.idempotency import kept
from api.routing import Asking, guarded, router
from api.schemas import RenameBody, RestoreBody
from api.services import Services, Shared
from optimizer.core.base.answers import Page, members_of
from optimizer.core.serving.rollout import Champion
from optimizer.core.views.family import FamilySummary, FamilyView, family_file, family_problem, rollout_brief
from optimizer.jobs.families.rename_family import rename_family
from optimizer.jobs.families.retire_family import restore_family, retire_family
from optimizer.jobs.feedback.read_stats import By, FeedbackStats, read_stats
from optimizer.jobs.record_change import ChangeReport
from optimizer.jobs.scheduling.set_schedule import read_schedule
from optimizer.runtime import wiring

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


@routes.get("/v1/families/{family}/history", **guarded("read"))
def history(family: str, shared: Shared) -> Page[Champion]:
    """Every champion this family has had, oldest first: why, by whom, from when to when."""
    reigns = shared.read(lambda tx: shared.store.champions.history(tx, family))
    if not reigns:
        shared.family(family)
    return Page(items=reigns)


@routes.get("/v1/families/{family}/stats", **guarded("read"))
def stats(
    family: str,
    shared: Shared,
    by: Annotated[
        By | None, Query(description="One row per hour or day, or per variant and model of all the time")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Received at or after this time")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Received before this time")] = None,
) -> FeedbackStats:
    """How success, score, errors, latency and cost moved, per variant and model, by when events were received.

    By day it reads whole days of UTC; by hour and by model what is summed up of each minute, two minutes late.
    """
    shared.family(family)
    asked = by or "day"
    return read_stats(family, by=asked, since=since, until=until, store=shared.store, clock=shared.clock)


@routes.delete("/v1/families/{family}", **guarded("operate", "limited"))
def retire(
    family: str,
    shared: Shared,
    caller: Asking,
    request: Request,
    response: Response,
    confirm: Annotated[str | None, Query(max_length=200, description="The family's name")] = None,
    reason: Annotated[str | None, Query(max_length=2000)] = None,
    forget: Annotated[bool, Query(description="Its texts too, for good; role admin")] = False,
) -> ChangeReport:
    """Takes a family out of use: it serves no more, its name is free, its folder is put aside. Safe to repeat.

    Decisions, and which inputs are sealed and how often they were looked at, stay; so do all texts without `forget`.
    """
    if forget:
        require(caller, "admin")
    report = retire_family(
        family, forget=forget, confirm=confirm, reason=reason, actor=caller.actor,
        store=kept(request, shared, response), parts=shared.store,
        clock=shared.clock, folders=wiring.family_folders(shared.settings),
    )  # fmt: skip
    shared.serving.refresh()
    return report


@routes.post("/v1/families/{family}/restore", **guarded("operate", "limited"))
def restore(
    family: str, shared: Shared, request: Request, response: Response, body: RestoreBody | None = None
) -> ChangeReport:
    """Brings back the family that was last retired under this name, with its folder and its champion."""
    report = restore_family(
        family, reason=(body or RestoreBody()).reason, actor=request.state.caller.actor, clock=shared.clock,
        store=kept(request, shared, response), parts=shared.store,
        folders=wiring.family_folders(shared.settings),
    )  # fmt: skip
    shared.serving.refresh()
    return report


@routes.post("/v1/families/{family}/rename", **guarded("operate", "limited"))
def rename(family: str, body: RenameBody, shared: Shared, request: Request, response: Response) -> ChangeReport:
    """Gives a family another name; tokens, events, prompts and chats that name the old one go on finding it."""
    report = rename_family(
        family, body.name, confirm=body.confirm, reason=body.reason, actor=request.state.caller.actor,
        store=kept(request, shared, response), parts=shared.store, clock=shared.clock,
        folders=wiring.family_folders(shared.settings),
    )  # fmt: skip
    shared.serving.refresh()
    return report


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
