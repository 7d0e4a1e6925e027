"""Rollouts: start one, look at it, and the operator's acts.

Every act answers with what it did, why, and how to take it back.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.access.auth import Caller
from api.http.pagination import Cursor, Limit, page, slice_of
from api.routing import Asking, guarded, router
from api.services import Services, Shared
from optimizer.core.base.errors import NotFound
from optimizer.core.serving.rollout import Rollout, unknown_rollout
from optimizer.jobs.rollouts.forecast_rollout import forecast_active
from optimizer.jobs.rollouts.rollout_view import rollout_view
from optimizer.ports import Transaction
from optimizer.runtime import shapes

routes: APIRouter = router("Rollouts")


@routes.get("/v1/families/{family}/rollout", **guarded("read"))
def current(family: str, shared: Shared, response: Response) -> dict[str, Any]:
    """The active rollout of a family, else its last one,
    with both arms as they stand and the evidence against its thresholds.
    """

    def read(tx: Transaction) -> dict[str, Any]:
        rollout = shared.store.rollouts.active(tx, family) or shared.store.rollouts.latest(tx, family)
        if rollout is None:
            shared.family(family)
            raise NotFound(
                f"Family {family!r} has had no rollout yet. Start one: detent rollout start {family} VARIANT.",
                family=family,
            )
        response.headers["ETag"] = _tag(rollout)
        return _with_evidence(tx, shared, rollout)

    return shared.read(read)


@routes.get("/v1/rollouts/{id}", **guarded("read", narrows=True))
def rollout(id: str, shared: Shared, caller: Asking, response: Response) -> dict[str, Any]:
    """One rollout with both arms as they stand and the evidence against its thresholds. Its ETag is its version."""

    def read(tx: Transaction) -> dict[str, Any]:
        found = _require(shared.store.rollouts.get(tx, id), id, caller)
        response.headers["ETag"] = _tag(found)
        return _with_evidence(tx, shared, found)

    return shared.read(read)


@routes.get("/v1/rollouts/{id}/decisions", **guarded("read", narrows=True))
def decisions(id: str, shared: Shared, caller: Asking, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """The rollout's hash chain, oldest first. `detent rollout verify` replays it."""

    def read(tx: Transaction) -> list[Any]:
        _require(shared.store.rollouts.get(tx, id), id, caller)
        return shared.store.rollouts.decisions(tx, id)

    shown, next_cursor = slice_of(shared.read(read), cursor, limit)
    return page([shapes.decision(decision) for decision in shown], next_cursor)


@routes.get("/v1/rollouts/{id}/forecast", **guarded("read", narrows=True))
def forecast(id: str, shared: Shared, caller: Asking) -> dict[str, Any]:
    """What a rollout still needs until its promotion: labelled outcomes, distinct units and hours per stage,
    on average and in nine of ten.

    `verdict` is `fits`, `exceeds` (with `problems` and `ways_out`), `cannot_tell` (with what is `missing`) or `ended`.
    What is not known is null.
    """
    _require(shared.read(lambda tx: shared.store.rollouts.get(tx, id)), id, caller)
    return {"rollout": id, **shapes.forecast(forecast_active(id, store=shared.store, clock=shared.clock))}


def _with_evidence(tx: Transaction, shared: Services, found: Rollout) -> dict[str, Any]:
    exposed = shared.store.exposures.totals(tx, found.family, found.id)
    return {
        **shapes.rollout(found),
        "arms": shared.store.events.arm_summary(tx, found.family, found.id),
        "exposures": exposed,
        "evidence": shapes.rollout_view(rollout_view(tx, shared.store, shared.clock, found)),
    }


def _tag(found: Rollout) -> str:
    return f'"{found.version}"'


def _require(found: Rollout | None, id: str, caller: Caller) -> Rollout:
    """To a key for other families it does not exist."""
    if found is None or not caller.access.may_see(found.family):
        raise unknown_rollout(id)
    return found
