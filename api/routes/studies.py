"""Studies: search for a better variant within a budget. The worker runs them; these routes make, show and stop them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from api import shapes
from api.pagination import Cursor, Limit, page, slice_of
from api.routing import guarded, router
from api.services import Shared
from optimizer.core.errors import NotFound
from optimizer.core.study import Study
from optimizer.ports import Transaction

StatusFilter = Literal["queued", "running", "confirming", "finished", "cancelled", "failed"]

routes: APIRouter = router("Studies")


@routes.get("/v1/studies", **guarded("read"))
def studies(
    shared: Shared,
    family: Annotated[str | None, Query(max_length=200)] = None,
    status: Annotated[StatusFilter | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Studies, newest first."""
    found, next_cursor = shared.read(lambda tx: shared.store.studies.page(tx, family=family, status=status, cursor=cursor, limit=limit))
    return page([shapes.study(study) for study in found], next_cursor)


@routes.get("/v1/studies/{id}", **guarded("read"))
def study(id: str, shared: Shared) -> dict[str, Any]:
    """One study: what it searched, what it has spent, what came out of it."""
    return shapes.study(_require(shared.read(lambda tx: shared.store.studies.get(tx, id)), id))


@routes.get("/v1/studies/{id}/trials", **guarded("read"))
def trials(id: str, shared: Shared, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """The variants that the study evaluated, in order. A score of null was not measured; it is not zero."""

    def read(tx: Transaction) -> list[Any]:
        _require(shared.store.studies.get(tx, id), id)
        return shared.store.studies.trials(tx, id)

    shown, next_cursor = slice_of(shared.read(read), cursor, limit)
    return page([shapes.trial(trial) for trial in shown], next_cursor)


def _require(found: Study | None, id: str) -> Study:
    if found is None:
        raise NotFound(f"There is no study {id!r}. See them with: detent study list.", study=id)
    return found
