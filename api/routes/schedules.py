"""Whether and when studies of a family start by themselves: off until a person switches it on here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from api.http.problems import PreconditionRequired
from api.idempotency import kept
from api.routing import guarded, router
from api.schemas import ScheduleBody
from api.services import Shared
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.etags import check_preconditions
from optimizer.core.scheduling.schedule import ScheduleInForce, ScheduleView
from optimizer.jobs.scheduling.set_schedule import ScheduleReport, read_schedule, set_schedule, unset_schedule

routes: APIRouter = router("Studies")

IfMatch = Annotated[str | None, Header(description="The ETag of GET; * for whatever holds now")]


@routes.get("/v1/families/{family}/schedule", **guarded("read"))
def schedule(family: str, shared: Shared, response: Response) -> ScheduleView:
    """Whether studies of a family start by themselves (`on`), whether they may look at the holdout,
    when, and who switched that on.
    """
    found = read_schedule(shared.family(family), store=shared.store, clock=shared.clock)
    response.headers["ETag"] = _tag(found)
    return found


@routes.put("/v1/families/{family}/schedule", **guarded("operate", "limited"))
def put(
    family: str, body: ScheduleBody, shared: Shared, request: Request, response: Response, if_match: IfMatch = None
) -> ScheduleReport:
    """Switches on that studies start by themselves, at the family file's times or at others, until DELETE.

    Needs If-Match: 428 without, 412 where it changed since.
    """
    declared = shared.family(family)
    if if_match is None:
        raise PreconditionRequired(
            f"PUT replaces the schedule of {family} and needs If-Match, so that no change is overwritten unseen. "
            "Send the ETag that GET answers here, or If-Match: * for whatever holds now."
        )
    if body.on is None and "cron" not in body.model_fields_set:
        fault = Fault(
            pointer="/cron", detail='nothing is said; send {"on": true} for the file\'s times, or a cron line'
        )
        raise InvalidInput(f"The schedule of {family} was not changed: {fault.detail}.", [fault])
    _refuse_lost_words(family, body)
    answer = _answering(response)
    common: dict[str, Any] = {
        "reason": body.reason, "actor": request.state.caller.actor, "store": kept(request, shared, response, answer),
        "clock": shared.clock, "check": _check(if_match),
    }  # fmt: skip
    if not body.switched_on:
        return answer(unset_schedule(declared, **common))
    of_file = "cron" not in body.model_fields_set
    return answer(
        set_schedule(
            declared,
            cron=body.cron,
            from_file=of_file,
            holdout=body.holdout,
            strategy=body.strategy,
            aim=body.aim,
            **common,
        )
    )


@routes.delete("/v1/families/{family}/schedule", **guarded("operate", "limited"))
def delete(
    family: str,
    shared: Shared,
    request: Request,
    response: Response,
    reason: Annotated[str, Query(max_length=2000)] = "",
    if_match: IfMatch = None,
) -> ScheduleReport:
    """No study of the family starts by itself any more. Safe to repeat; an If-Match that does not fit is 412."""
    answer = _answering(response)
    report = unset_schedule(
        shared.family(family),
        reason=reason,
        actor=request.state.caller.actor,
        store=kept(request, shared, response, answer),
        clock=shared.clock,
        check=_check(if_match),
    )
    return answer(report)


def _refuse_lost_words(family: str, body: ScheduleBody) -> None:
    """Raises InvalidInput where the body switches off and says what would hold while on:
    that would be forgotten unseen.
    """
    if body.switched_on:
        return
    said = [name for name in ("cron", "strategy", "aim", "holdout") if getattr(body, name)]
    if said:
        detail = 'holds only while studies start by themselves, and "on" is false; leave it out, or send "on": true'
        faults = [Fault(pointer=f"/{name}", detail=detail) for name in said]
        raise InvalidInput(f"The schedule of {family} was not changed: {', '.join(said)} {detail}.", faults)


def _check(if_match: str | None) -> Callable[[ScheduleInForce], None]:
    return lambda before: check_preconditions(_tag(before), if_match=if_match, if_none_match=None)


def _answering(response: Response) -> Callable[[ScheduleReport], ScheduleReport]:
    def answer(report: ScheduleReport) -> ScheduleReport:
        response.headers["ETag"] = _tag(report.schedule)
        return report

    return answer


def _tag(found: ScheduleInForce) -> str:
    return f'"{found.version}"'
