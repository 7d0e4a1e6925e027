"""What a family has learned, entry by entry, and a person's word on an entry."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response

from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import ReasonBody
from api.services import Services, Shared
from optimizer.jobs.families.change_playbook import (
    EntryReport,
    PlaybookView,
    read_playbook,
    restore_entry,
    retire_entry,
)

routes: APIRouter = router("Playbooks")


@routes.get("/v1/families/{family}/playbook", **guarded("read-texts"))
def playbook(family: str, shared: Shared) -> PlaybookView:
    """Every entry with its evidence and counts, those that are merged or retired too, and the section that the active
    ones make.
    """
    shared.family(family)
    return read_playbook(family, store=shared.store)


@routes.post("/v1/families/{family}/playbook/{entry}/retire", **guarded("operate", "limited"))
def retire(
    family: str, entry: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> EntryReport:
    """No later section shows an active entry, and no study takes it up again. Safe to repeat."""
    return _change(retire_entry, family, entry, body, shared, request, response)


@routes.post("/v1/families/{family}/playbook/{entry}/restore", **guarded("operate", "limited"))
def restore(
    family: str, entry: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> EntryReport:
    """A retired or merged entry is active again; the next study tries it. Safe to repeat."""
    return _change(restore_entry, family, entry, body, shared, request, response)


def _change(
    act: Callable[..., EntryReport],
    family: str,
    entry: str,
    body: ReasonBody | None,
    shared: Services,
    request: Request,
    response: Response,
) -> EntryReport:
    shared.family(family)
    return act(
        family,
        entry,
        reason=body.reason if body is not None else None,
        actor=request.state.caller.actor,
        store=kept(request, shared, response),
        clock=shared.clock,
    )
