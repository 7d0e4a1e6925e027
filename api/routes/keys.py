"""Keys of this API: made, listed, rotated and ended by an admin. A secret stands in one answer and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.idempotency import kept
from api.routing import Asking, guarded, router
from api.schemas import KeyBody, RotateBody
from api.services import Shared
from optimizer.core.base.answers import Page
from optimizer.core.serving.access import access_of
from optimizer.jobs.upkeep.manage_keys import (
    KeyReport,
    KeyView,
    create_key,
    key_view,
    revoke_key,
    rotate_key,
    undo_rotation,
)
from optimizer.ports import Store

Name = Annotated[str, Path(min_length=1, max_length=100)]
routes: APIRouter = router("Keys")


@routes.get("/v1/keys", **guarded("admin"))
def keys(shared: Shared) -> Page[KeyView]:
    """All keys, the revoked ones too; never their secrets."""
    return Page(items=[key_view(key) for key in shared.read(shared.store.api_keys.all)])


@routes.post("/v1/keys", status_code=201, **guarded("admin", "limited"))
def create(body: KeyBody, shared: Shared, caller: Asking, request: Request, response: Response) -> KeyReport:
    """Makes a key.

    Its secret is in this answer alone, and not in the one that an Idempotency-Key keeps. From the first key on, every
    request needs one.
    """
    access = access_of(
        body.roles,
        sources=body.sources,
        families=body.families,
        expires_at=body.expires_at,
        limits=body.limits.model_dump() if body.limits is not None else None,
        now=shared.clock.now(),
    )
    known = shared.families.families.keys()
    store = _keeping(request, shared, response)
    report = create_key(
        body.name, access, actor=caller.actor, store=store, clock=shared.clock, families=known,
        close_keyless_from=body.close_keyless_from,
    )  # fmt: skip
    return _answer(report, shared, response)


@routes.post("/v1/keys/{name}/rotate", **guarded("admin", "limited"))
def rotate(
    name: Name, shared: Shared, caller: Asking, request: Request, response: Response, body: RotateBody | None = None
) -> KeyReport:
    """A new secret; the one before it opens for `grace_s` more.

    With `undo` the one before it is the key's again, while it opens.
    """
    given, store = body or RotateBody(), _keeping(request, shared, response)
    if given.undo:
        return _answer(undo_rotation(name, actor=caller.actor, store=store, clock=shared.clock), shared, response)
    grace = timedelta(seconds=given.grace_s)
    return _answer(rotate_key(name, grace=grace, actor=caller.actor, store=store, clock=shared.clock), shared, response)


@routes.post("/v1/keys/{name}/revoke", **guarded("admin", "never-refused"))
def revoke(name: Name, shared: Shared, caller: Asking, request: Request, response: Response) -> KeyReport:
    """Ends a key at once, and for good. Safe to repeat."""
    return _answer(
        revoke_key(name, actor=caller.actor, store=_keeping(request, shared, response), clock=shared.clock),
        shared,
        response,
    )


def _keeping(request: Request, shared: Shared, response: Response) -> Store:
    """A secret stands in no store: the kept answer is without it."""
    return kept(request, shared, response, lambda report: replace(report, secret=None))


def _answer(report: KeyReport, shared: Shared, response: Response) -> KeyReport:
    shared.serving.refresh()
    response.headers["Cache-Control"] = "no-store"
    return report
