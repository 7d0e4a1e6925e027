"""Families: what is declared, what is served, and how the two differ."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AwareDatetime

from api.access.auth import require
from api.http.etags import check_preconditions, etag_of
from api.http.pagination import page
from api.idempotency import kept
from api.prompt import ServedFamily, to_json
from api.routing import Asking, guarded, router
from api.schemas import ChampionRollbackBody, ChampionSetBody, OverrideBody, RenameBody, RestoreBody
from api.services import Services, Shared
from optimizer.core.base.answers import Page
from optimizer.core.family.family import Family
from optimizer.core.serving.assignment import unit_hmac
from optimizer.core.serving.rollout import Champion
from optimizer.jobs.families.rename_family import rename_family
from optimizer.jobs.families.retire_family import restore_family, retire_family
from optimizer.jobs.feedback.read_stats import By, FeedbackStats, read_stats
from optimizer.jobs.record_change import ChangeReport
from optimizer.jobs.rollouts.put_override import put_override
from optimizer.jobs.rollouts.roll_back_champion import roll_back_champion
from optimizer.jobs.rollouts.set_champion import set_champion
from optimizer.jobs.scheduling.set_schedule import read_schedule
from optimizer.runtime import wiring

routes: APIRouter = router("Families")


@routes.get("/v1/families", **guarded("read", narrows=True))
def families(shared: Shared, caller: Asking) -> dict[str, Any]:
    """Every family with what it serves; `degraded` ones serve their last good version
    because their file cannot be used.
    """
    names = sorted(
        shared.serving.now_served.families.keys() | shared.families.families.keys() | shared.families.problems.keys()
    )
    return page([_summary(shared, name) for name in names if caller.access.may_see(name)])


@routes.get("/v1/families/{family}", **guarded("read"))
def family(family: str, shared: Shared) -> dict[str, Any]:
    """One family: its definition as the file has it, its champion, its rollout, the schedule in force,
    and what is wrong with the file if anything is.
    """
    definition = shared.families.families.get(family)
    summary = _summary(shared, family)
    if definition is None:
        return {**summary, "definition": None, "schedule": None}
    schedule = read_schedule(definition, store=shared.store, clock=shared.clock)
    return {**summary, "definition": definition.model_dump(mode="json", by_alias=True), "schedule": schedule}


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


@routes.post("/v1/families/{family}/champion/rollback", **guarded("operate", "never-refused"))
def champion_rollback(
    family: str, shared: Shared, request: Request, response: Response, body: ChampionRollbackBody | None = None
) -> ChangeReport:
    """The champion before this one serves again, at once; an active rollout ends in the same transaction.

    Sent again within ten minutes it changes nothing: going further back names the variant (`to`). Where the server does
    not know its model, `warning` says so.
    """
    body = body or ChampionRollbackBody()
    report = roll_back_champion(
        family, actor=request.state.caller.actor, reason=body.reason, expect=body.expect, to=body.to,
        dry_run=body.dry_run, store=kept(request, shared, response), clock=shared.clock,
        **wiring.served_models(shared.settings),
    )  # fmt: skip
    shared.serving.refresh()
    return report


@routes.post("/v1/families/{family}/champion/set", **guarded("operate", "never-refused"))
def champion_set(
    family: str, body: ChampionSetBody, shared: Shared, request: Request, response: Response
) -> ChangeReport:
    """A variant serves every user at once, past every gate and recorded as forced; for an emergency.

    An active rollout ends in the same transaction, nobody is held back, and a frozen family takes it too. Safe to
    repeat. A variant whose model the server does not know is refused.
    """
    report = set_champion(
        family, body.variant, actor=request.state.caller.actor, reason=body.reason, confirm=body.confirm,
        store=kept(request, shared, response), clock=shared.clock,
        **wiring.served_models(shared.settings),
    )  # fmt: skip
    shared.serving.refresh()
    return report


@routes.put("/v1/families/{family}/overrides/{unit:path}", **guarded("operate", "limited"))
def override(
    family: str,
    unit: Annotated[str, Path(min_length=1, max_length=512)],
    body: OverrideBody,
    shared: Shared,
    request: Request,
    response: Response,
    if_match: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Serves one unit a named variant until a time, for testing, counted in no arm of a rollout.

    A time that is over ends the override.
    """
    shared.serving.now_served.family(family)
    now = shared.clock.now()
    until = body.until or now + timedelta(days=1)
    hashed = unit_hmac(shared.secrets.unit_key, unit)
    known = next(
        (row for row in shared.read(lambda tx: shared.store.overrides.active(tx, now)) if row[:2] == (family, hashed)),
        None,
    )
    current = _override_tag(known[2], known[3]) if known is not None else None
    check_preconditions(current, if_match=if_match, if_none_match=if_none_match)
    response.headers["ETag"] = _override_tag(body.variant, until)
    answer = {"family": family, "unit": unit, "variant": body.variant, "until": until}
    put_override(
        family, unit, variant=body.variant, until=until, actor=request.state.caller.actor, clock=shared.clock,
        store=kept(request, shared, response, lambda _: answer), unit_key=shared.secrets.unit_key,
    )  # fmt: skip
    shared.serving.refresh()
    return answer


def _override_tag(variant: str, until: datetime) -> str:
    return etag_of(to_json([variant, until.timestamp()]))


def _summary(shared: Services, name: str) -> dict[str, Any]:
    definition = shared.families.families.get(name)
    problem = shared.families.problems.get(name)
    served = shared.serving.now_served.families.get(name)
    if definition is None and problem is None and served is None:
        shared.serving.now_served.family(name)
    return {
        "name": name,
        "description": definition.description if definition else "",
        "kind": definition.kind if definition else None,
        "champion": served.champion if served else None,
        "rollout": _rollout(served) if served else None,
        "overridden": served.override_shape() if served else None,
        "degraded": problem is not None,
        "problem": {"detail": problem.detail, **problem.members} if problem is not None else None,
        "file": _file_state(definition, served) if definition is not None and served is not None else None,
    }


def _rollout(served: ServedFamily) -> dict[str, Any] | None:
    rollout = served.rollout
    if rollout is None:
        return None
    return {
        "id": rollout.id,
        "status": rollout.status,
        "candidate": rollout.candidate,
        "stage": rollout.stage,
        "share": rollout.share,
        "held": rollout.held,
        "lease_expires_at": rollout.lease_expires_at,
    }


def _file_state(definition: Family, served: ServedFamily) -> dict[str, Any] | None:
    """How the file's version relates to the champion: served, edited and not served yet,
    or left behind by a promotion.
    """
    if definition.prompt.current not in definition.prompt.versions:
        return None  # a policy family without a prompt of its own
    variant = definition.variant().id
    base = {"version": definition.prompt.current, "variant": variant}
    name = definition.name
    if variant == served.champion.variant:
        return {**base, "state": "served", "commands": []}
    if variant in served.reigned:
        return {**base, "state": "left behind", "commands": [f"detent variant export {name} --format yaml"]}
    return {
        **base,
        "state": "edited, not served",
        "commands": [
            f"detent variant diff {name} {variant}",
            f"detent study confirm {name} {variant} --dry-run",
            f"detent rollout start {name} {variant}",
            f"detent family adopt {name} --confirm {name}",
        ],
    }
