"""Studies: search for a better variant within a budget. The worker runs them; these routes make, show and stop them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.access.auth import Caller, family_asked
from api.http.pagination import Cursor, Limit, page, slice_of
from api.idempotency import kept
from api.routing import Asking, caller_of, guarded, router
from api.schemas import NominateBody, ReasonBody, StudyBody
from api.services import Services, Shared
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.values import Budget
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import CONFIRM, Study, StudyStatus, unknown_study
from optimizer.jobs.studies.confirm_variant import confirm_variant
from optimizer.jobs.studies.create_study import create_study
from optimizer.jobs.studies.nominate import LookPrice, nominate
from optimizer.jobs.studies.request_stop import request_stop
from optimizer.ports import Transaction
from optimizer.runtime import shapes, wiring

routes: APIRouter = router("Studies")


DRY = {200: "With dry_run: calls, dollars and minutes expected; nothing is spent."}
QUEUED = {202: "A new study, which looks at the sealed holdout once more."}


@routes.get("/v1/studies", **guarded("read", narrows=True))
def studies(
    shared: Shared,
    caller: Asking,
    family: Annotated[str | None, Query(max_length=200)] = None,
    status: Annotated[StudyStatus | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Studies, newest first."""
    asked = family_asked(caller, family)
    found, next_cursor = shared.read(
        lambda tx: shared.store.studies.page(tx, family=asked, status=status, cursor=cursor, limit=limit)
    )
    return page([shapes.study(study) for study in found], next_cursor)


@routes.get("/v1/studies/{id}", **guarded("read", narrows=True))
def study(id: str, shared: Shared, caller: Asking) -> dict[str, Any]:
    """One study: what it searched, what it has spent, what came out of it."""
    return shapes.study(_require(shared.read(lambda tx: shared.store.studies.get(tx, id)), id, caller))


@routes.get("/v1/studies/{id}/trials", **guarded("read", narrows=True))
def trials(id: str, shared: Shared, caller: Asking, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """The variants that the study evaluated, in order. A score of null was not measured; it is not zero."""

    def read(tx: Transaction) -> list[Any]:
        _require(shared.store.studies.get(tx, id), id, caller)
        return shared.store.studies.trials(tx, id)

    shown, next_cursor = slice_of(shared.read(read), cursor, limit)
    return page([shapes.trial(trial) for trial in shown], next_cursor)


@routes.post("/v1/families/{family}/studies", status_code=202, **guarded("operate", "limited", also=DRY))
def create(family: str, body: StudyBody, shared: Shared, request: Request, response: Response) -> dict[str, Any]:
    """Queues a study for the worker: 202 with its Location.

    With `dry_run` it is 200 with calls, dollars and minutes expected, and nothing is spent.

    Strategy `confirm` takes any `variant` to the sealed holdout; with `dry_run` 200 with the price of that look, and
    200 with the study where one has confirmed it. 409 when one is under way, when the budget cannot pay for the
    confirmation (with figures), or when there are too few examples.
    """
    if body.strategy == CONFIRM or body.variant is not None:
        return _confirm(family, body, shared, request, response)
    named = {"space": body.space, "proposer": body.proposer}
    definition = {**body.definition, **{name: value for name, value in named.items() if value is not None}}

    def answer(made: Study) -> dict[str, Any]:
        response.headers["Location"] = f"/v1/studies/{made.id}"
        return shapes.study(made)

    made = create_study(
        shared.family(family),
        strategy=body.strategy,
        aim=body.aim,
        budget=Budget(**body.budget.model_dump()) if body.budget is not None else None,
        seed=body.seed,
        definition=definition,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
        models=wiring.open_models(shared.settings),
        dry_run=body.dry_run,
        usd_per_month=shared.settings.usd_per_month,
    )
    if isinstance(made, CostEstimate):
        response.status_code = 200
        return shapes.estimate(family, made)
    return answer(made)


def _confirm(family: str, body: StudyBody, shared: Services, request: Request, response: Response) -> dict[str, Any]:
    more = sorted(body.model_fields_set - {"strategy", "variant", "aim", "dry_run"})
    if body.strategy != CONFIRM or body.variant is None or more:
        detail = (
            "strategy confirm goes with a variant, an aim and dry_run alone: it searches nothing, and its price is"
            " fixed before"
        )
        raise InvalidInput(
            f"No study was made: {detail}.", [Fault(pointer=f"/{(more or ['variant'])[0]}", detail=detail)]
        )
    asked_at = shared.clock.now()

    def answer(found: Study) -> dict[str, Any]:
        response.status_code = 200 if found.finished_at is not None and found.finished_at < asked_at else 202
        response.headers["Location"] = f"/v1/studies/{found.id}"
        return shapes.study(found)

    found = confirm_variant(
        shared.family(family), body.variant, aim=body.aim or "quality", actor=request.state.caller.actor,
        store=kept(request, shared, response, answer), clock=shared.clock, models=wiring.open_models(shared.settings),
        dry_run=body.dry_run, usd_per_month=shared.settings.usd_per_month,
    )  # fmt: skip
    if isinstance(found, LookPrice):
        response.status_code = 200
        return {"dry_run": True, "price": asdict(found)}
    return answer(found)


@routes.post("/v1/studies/{id}/cancel", **guarded("operate", "limited", narrows=True))
def cancel(
    id: str, shared: Shared, request: Request, response: Response, body: ReasonBody | None = None
) -> dict[str, Any]:
    """Stops the study before its next call; what it found stays. Safe to repeat."""
    _require(shared.read(lambda tx: shared.store.studies.get(tx, id)), id, caller_of(request))
    store = kept(request, shared, response, shapes.study)
    return shapes.study(request_stop(id, actor=request.state.caller.actor, store=store, clock=shared.clock))


@routes.post("/v1/studies/{id}/nominate", **guarded("operate", "limited", narrows=True, also=QUEUED))
def nominate_variant(
    id: str, body: NominateBody, shared: Shared, request: Request, response: Response
) -> dict[str, Any]:
    """Names a variant of this study as candidate for a rollout:
    200 and the study where it has confirmed it for this aim.

    For any other point of its search 202 and a new study, which looks at the sealed holdout once more; with ``dry_run``
    200 and what that would cost.
    """
    with shared.store.read() as tx:
        searched = _require(shared.store.studies.get(tx, id), id, caller_of(request))

    def answer(found: Study) -> dict[str, Any]:
        if found.id != id:
            response.status_code = 202
            response.headers["Location"] = f"/v1/studies/{found.id}"
        return shapes.study(found)

    found = nominate(
        id,
        variant=body.variant,
        aim=body.aim,
        family=shared.family(searched.family),
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
        models=wiring.open_models(shared.settings),
        dry_run=body.dry_run,
        usd_per_month=shared.settings.usd_per_month,
    )
    if isinstance(found, LookPrice):
        return {"dry_run": True, "price": asdict(found)}
    return answer(found)


def _require(found: Study | None, id: str, caller: Caller) -> Study:
    """To a key for other families it does not exist."""
    if found is None or not caller.access.may_see(found.family):
        raise unknown_study(id)
    return found
