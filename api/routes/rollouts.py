"""Rollouts: start one, look at it, and the operator's acts.

Every act answers with what it did, why, and how to take it back.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from api.access.auth import Caller
from api.http.pagination import Cursor, Limit, page, slice_of
from api.http.problems import PreconditionFailed
from api.idempotency import kept
from api.routing import Asking, caller_of, guarded, router
from api.schemas import ActBody, RolloutBody
from api.services import Services, Shared
from optimizer.core.base.errors import NotFound
from optimizer.core.rollout.transitions import BRAKES, OPERATOR_ACTS, OperatorAct
from optimizer.core.serving.rollout import Rollout, unknown_rollout
from optimizer.jobs.record_change import RolloutChange
from optimizer.jobs.rollouts.forecast_rollout import forecast_active
from optimizer.jobs.rollouts.operate_rollout import operate
from optimizer.jobs.rollouts.rollout_view import rollout_view
from optimizer.jobs.rollouts.start_rollout import Start, start_rollout
from optimizer.ports import Transaction
from optimizer.runtime import shapes
from optimizer.runtime.use_cases import Change

routes: APIRouter = router("Rollouts")


DRY = {200: "With dry_run: what would happen; nothing is made."}


@routes.post("/v1/families/{family}/rollouts", status_code=201, **guarded("operate", "limited", also=DRY))
def start(family: str, body: RolloutBody, shared: Shared, request: Request, response: Response) -> dict[str, Any]:
    """Starts a rollout against the champion. With `dry_run` nothing is made, and 200 says what would happen.

    A gate that is not met is 409 `gate-not-met` naming it, unless `confirm` is the family's name:
    then it starts as forced.
    """

    def answer(started: Start) -> dict[str, Any]:
        if started.dry_run:
            response.status_code = 200
        else:
            response.headers["Location"] = f"/v1/rollouts/{started.rollout.id}"
        return shapes.started(started)

    started = start_rollout(
        shared.family(family),
        body.variant,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, lambda result: answer(result[0])),
        clock=shared.clock,
        confirm=body.confirm,
        aim=body.aim,
        ladder=body.ladder,
        margin=body.margin,
        dry_run=body.dry_run,
        study=body.study,
        reason=body.reason or None,
    )
    if not started.dry_run:
        shared.serving.refresh()
    return answer(started)


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


def _act_route(act: OperatorAct) -> None:
    change: Change = "never-refused" if act in BRAKES else "limited"

    def route(
        id: str,
        shared: Shared,
        request: Request,
        response: Response,
        body: ActBody | None = None,
        if_match: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        given = body or ActBody()

        def answer(report: RolloutChange) -> dict[str, Any]:
            if report.rollout is not None:
                response.headers["ETag"] = _tag(report.rollout)
            return shapes.change(report)

        _require(shared.read(lambda tx: shared.store.rollouts.get(tx, id)), id, caller_of(request))
        report = operate(
            id,
            act,
            actor=request.state.caller.actor,
            reason=given.reason,
            confirm=given.confirm,
            if_version=None if act in BRAKES else _version(if_match),
            store=kept(request, shared, response, answer),
            clock=shared.clock,
        )
        shared.serving.refresh()
        return answer(report)

    route.__doc__ = DOCS[act]
    routes.post(f"/v1/rollouts/{{id}}/{act}", name=act, **guarded("operate", change, narrows=True))(route)


DOCS: dict[OperatorAct, str] = {
    "approve": "Lets the rollout begin with the worker's next tick.",
    "reject": "Ends a rollout that has not been served yet.",
    "advance": (
        "The next share of the ladder. Past a gate that has not passed it needs `confirm` = the family's name, recorded"
        " as forced."
    ),
    "hold": "No advance until resumed; guardrails and rollback go on acting. Safe to repeat.",
    "resume": "Takes a hold back.",
    "promote": (
        "The candidate becomes champion. Past a gate that has not passed it needs `confirm` = the family's name,"
        " recorded as forced."
    ),
    "rollback": "Every user gets the champion again, at once, and the rollout ends.",
}
for _act in OPERATOR_ACTS:
    _act_route(_act)


def _version(if_match: str | None) -> int | None:
    """The version that If-Match names; None where any will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not (tag.isascii() and tag.isdigit() and len(tag) < 10):
        raise PreconditionFailed(
            f"If-Match asked for {if_match}, and no rollout has such a tag. Send the ETag of the rollout as it came."
        )
    return int(tag)


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
