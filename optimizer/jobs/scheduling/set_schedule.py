"""Switches on and off that a family's studies start by themselves, when, and whether they may look at the holdout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.answers import Text, check_preconditions, members_of
from optimizer.core.base.errors import Fault, InvalidInput, PreconditionRequired
from optimizer.core.base.values import Aim
from optimizer.core.family.family import Family
from optimizer.core.scheduling.schedule import (
    ScheduleInForce,
    ScheduleView,
    StoredSchedule,
    check_stored,
    command_for,
    in_force,
)
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, checked_reason
from optimizer.jobs.request import EntityTags, FamilyRequest, Name, Reason
from optimizer.jobs.scheduling.look_at_triggers import next_scheduled, watermark_name
from optimizer.ports import Clock, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleReport(Change):
    """What a change of schedule did."""

    family: str
    why: Text[str]
    schedule: ScheduleView

    @property
    def version(self) -> str:
        return self.schedule.version


class ScheduleRequest(FamilyRequest):
    """That studies of a family start by themselves, when, and whether they may look at the sealed holdout."""

    on: Annotated[bool | None, Field(description="Default: whether `cron` names a time; false is as DELETE")] = None
    cron: Annotated[
        str | None, Field(max_length=200, description="Five fields in UTC; left out: the file's; null: at no time")
    ] = None
    holdout: Annotated[bool, Field(description="Whether such a study may look at the sealed holdout")] = False
    strategy: Annotated[Name | None, Field(description="Default: the file's")] = None
    aim: Annotated[Aim | None, Field(description="Default: the file's")] = None
    reason: Reason = ""
    if_match: Annotated[EntityTags, Field(description="The ETag of GET; * for whatever holds now")] = None

    @property
    def switched_on(self) -> bool:
        return self.cron is not None if self.on is None else self.on


class UnsetScheduleRequest(FamilyRequest):
    reason: Reason = ""
    if_match: Annotated[EntityTags, Field(description="The ETag of GET; * for whatever holds now")] = None


def read_family_schedule(context: Context, request: FamilyRequest) -> ScheduleView:
    """Whether studies of a family start by themselves (`on`), whether they may look at the holdout,
    when, and who switched that on.
    """
    family, store = context.family(request.family), context.store
    with store.read() as tx:
        return schedule_view(in_force(family, store.schedules.get(tx, family.name)), context.clock)


def put_schedule(context: Context, request: ScheduleRequest) -> ScheduleReport:
    """Switches on that studies start by themselves, at the family file's times or at others, until DELETE.

    Needs If-Match: 428 without, 412 where it changed since.
    """
    family = context.family(request.family)
    if request.if_match is None:
        raise PreconditionRequired(
            f"PUT replaces the schedule of {family.name} and needs If-Match, so that no change is overwritten unseen. "
            "Send the ETag that GET answers here, or If-Match: * for whatever holds now."
        )
    of_file = "cron" not in request.model_fields_set
    if request.on is None and of_file:
        fault = Fault(
            pointer="/cron", detail='nothing is said; send {"on": true} for the file\'s times, or a cron line'
        )
        raise InvalidInput(f"The schedule of {family.name} was not changed: {fault.detail}.", [fault])
    # What is named for while it is on would be lost where the request switches off.
    if not request.switched_on:
        members = [name for name in ("cron", "strategy", "aim", "holdout") if getattr(request, name)]
        if members:
            detail = 'holds only while studies start by themselves, and "on" is false; leave it out, or send "on": true'
            faults = [Fault(pointer=f"/{name}", detail=detail) for name in members]
            raise InvalidInput(
                f"The schedule of {request.family} was not changed: {', '.join(members)} {detail}.", faults
            )
    reason = checked_reason(request.reason)
    if not request.switched_on:
        return _change(context, family, None, reason, request.if_match)
    wanted = StoredSchedule(
        family=family.name,
        cron=request.cron,
        from_file=of_file,
        holdout=request.holdout,
        strategy=request.strategy,
        aim=request.aim,
        reason=reason,
        by=context.actor,
        since=context.clock.now(),
    )
    check_stored(family, wanted)
    return _change(context, family, wanted, reason, request.if_match)


def delete_schedule(context: Context, request: UnsetScheduleRequest) -> ScheduleReport:
    """No study of the family starts by itself any more. Safe to repeat; an If-Match that does not fit is 412."""
    return _change(context, context.family(request.family), None, checked_reason(request.reason), request.if_match)


def schedule_view(schedule: ScheduleInForce, clock: Clock) -> ScheduleView:
    return ScheduleView(**members_of(schedule), next_study_at=next_scheduled(schedule, clock))


def _change(
    context: Context, family: Family, wanted: StoredSchedule | None, why: str, if_match: str | None
) -> ScheduleReport:
    """Lets studies start by themselves as ``wanted`` says, or no more. Times before the change start none."""
    store, clock = context.store, context.clock

    def change(tx: Transaction) -> ScheduleReport:
        earlier = store.schedules.get(tx, family.name)
        before, after = in_force(family, earlier), in_force(family, wanted)
        check_preconditions(f'"{before.version}"', if_match=if_match, if_none_match=None)
        if wanted is None:
            what = "nothing starts by itself any more"
            if not store.schedules.remove(tx, family.name):
                return _report("nothing starts by itself already", why, after, clock, changed=False)
        else:
            what = f"studies start by themselves: {after.allows}"
            if (
                earlier is not None
                and replace(wanted, reason=earlier.reason, by=earlier.by, since=earlier.since) == earlier
            ):
                return _report(f"so it is already: {before.text}", earlier.reason, before, clock, changed=False)
            store.schedules.put(tx, wanted)
        if (after.on, after.cron) != (before.on, before.cron):  # those that passed before the change are over
            store.minute_stats.set_watermark(tx, watermark_name(family.name), clock.rollout_now())
        action = "schedule.set" if after.on else "schedule.unset"
        detail: dict[str, Any] = {"why": why, "before": _shown(before), "after": _shown(after)}
        store.audit.add(
            tx,
            at=clock.now(),
            actor=context.actor,
            action=action,
            family=family.name,
            subject=family.name,
            detail=detail,
        )
        return _report(what, why, after, clock, undo=command_for(family.name, earlier))

    return store.write(change)


def _shown(schedule: ScheduleInForce) -> dict[str, Any]:
    return {
        "on": schedule.on,
        "holdout": schedule.holdout,
        "cron": schedule.cron,
        "strategy": schedule.strategy,
        "aim": schedule.aim,
        "source": schedule.source,
    }


def _report(
    what: str, why: str, schedule: ScheduleInForce, clock: Clock, *, undo: str | None = None, changed: bool = True
) -> ScheduleReport:
    then, view = f"detent family show {schedule.family}", schedule_view(schedule, clock)
    return ScheduleReport(
        family=schedule.family, what=what, why=why, schedule=view, undo=undo, next=then, changed=changed
    )
