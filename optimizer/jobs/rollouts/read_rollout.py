"""Answers reads of a rollout: where it stands, who is served what, its record, and what it still needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from optimizer.core.base.answers import ActOffer, Page, Text, members_of, page_of
from optimizer.core.base.errors import Conflict, GateNotMet, NotFound, Refused
from optimizer.core.base.phrasing import count
from optimizer.core.family.family import Family
from optimizer.core.forecast.forecast import RolloutForecast
from optimizer.core.forecast.outcomes import OutcomeForecast
from optimizer.core.rollout.transitions import possible
from optimizer.core.scheduling.schedule import in_force
from optimizer.core.search.study import Study
from optimizer.core.serving.assignment import is_served
from optimizer.core.serving.rollout import Decision, Freeze, Rollout, is_frozen, ladder_text, visible
from optimizer.core.views.rollout_evidence import evidence_text
from optimizer.core.views.rollout_status import (
    ArmTotals,
    FamilyRollout,
    LoggedDecision,
    RolloutLog,
    RolloutWithEvidence,
)
from optimizer.core.views.rollout_story import headline_of, rollout_standing
from optimizer.jobs.context import Context
from optimizer.jobs.request import (
    FamilyPageRequest,
    FamilyRequest,
    ItemPageRequest,
    ItemRequest,
    Name,
)
from optimizer.jobs.rollouts.forecast_rollout import forecast_active, forecast_family, forecast_outcomes
from optimizer.jobs.rollouts.operate_rollout import GOING_ON, transition_now
from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast
from optimizer.jobs.studies.read_studies import last_nomination
from optimizer.ports import Store, Transaction

READS = 3  # at most; a rollout that changes more often meanwhile is shown without a forecast


class ArmsRequest(FamilyRequest):
    rollout: Annotated[Name | None, Field(description="Only of this rollout; default: everything")] = None


class ForecastRequest(FamilyRequest):
    variant: Annotated[
        Name | None,
        Field(description="A candidate; default: what runs now, else the last study's winner, else an equal one"),
    ] = None
    ladder: Annotated[list[float] | None, Field(max_length=50, description="Shares of units; default: the file's")] = (
        None
    )
    margin: Annotated[float | None, Field(description="Default: the file's")] = None


class NextShareRequest(ItemRequest):
    act: Annotated[Literal["advance", "promote"], Field(description="Of which act it is")] = "advance"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveForecast(RolloutForecast):
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyForecast(RolloutForecast):
    """The forecast of a family's rollout.

    ``rollout``: the active one; None: as if ``variant`` started now. ``outcomes``: where the file makes signals an
    outcome, a forecast for each of them and for thumbs, for an equal candidate.
    """

    family: str
    rollout: str | None
    variant: str | None
    outcomes: tuple[OutcomeForecast, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NextShare:
    """What advancing, or promoting, would do now; ``next_share`` is None where the promotion comes next.

    ``gate_passed``: it would be done; ``reason``: what the evidence says, or why it would be refused. ``confirm``: the
    family's name, where that goes past the refusal; None where it is not needed, or nothing goes past.
    """

    rollout: str
    share: float | None
    next_share: float | None
    gate_passed: bool
    reason: Text[str]
    freeze: Freeze | None  # neither evidence nor a confirmation goes past it
    confirm: str | None = None
    offers: Sequence[ActOffer] = ()
    dry_run: bool = True


def read_current_rollout(context: Context, request: FamilyRequest) -> RolloutWithEvidence:
    """The active rollout of a family, else its last one,
    with both arms as they stand and the evidence against its thresholds.
    """
    with context.store.read() as tx:
        return _with_evidence(tx, context, _require_current(tx, context, request.family))


def read_rollout(context: Context, request: ItemRequest) -> RolloutWithEvidence:
    """One rollout with both arms as they stand and the evidence against its thresholds. Its ETag is its version."""
    with context.store.read() as tx:
        rollout = visible(context.store.rollouts.get(tx, request.id), request.id, context.access)
        return _with_evidence(tx, context, rollout)


def read_rollouts(context: Context, request: FamilyPageRequest) -> Page[Rollout]:
    """Rollouts of all families or of one, those that ended too, newest first."""
    family, store = context.family_asked(request.family), context.store
    with store.read() as tx:
        rollouts, next_cursor = store.rollouts.page(tx, family=family, cursor=request.cursor, limit=request.limit)
    return Page(items=rollouts, next_cursor=next_cursor)


def read_decisions(context: Context, request: ItemPageRequest) -> Page[Decision]:
    """The rollout's hash chain, oldest first. `detent rollout verify` replays it."""
    with context.store.read() as tx:
        visible(context.store.rollouts.get(tx, request.id), request.id, context.access)
        return page_of(context.store.rollouts.decisions(tx, request.id), request.cursor, request.limit)


def read_forecast(context: Context, request: ItemRequest) -> ActiveForecast:
    """What a rollout still needs until its promotion: labelled outcomes, distinct units and hours per stage,
    on average and in nine of ten.

    `verdict` is `fits`, `exceeds` (with `problems` and `ways_out`), `cannot_tell` (with what is `missing`) or `ended`.
    What is not known is null.
    """
    with context.store.read() as tx:
        visible(context.store.rollouts.get(tx, request.id), request.id, context.access)
    forecast = forecast_active(request.id, store=context.store, clock=context.clock)
    return ActiveForecast(**members_of(forecast), rollout=request.id)


def read_family_forecast(context: Context, request: ForecastRequest) -> FamilyForecast:
    """How many labelled outcomes, users and hours a rollout takes: the one that runs, else as if it started now.

    A variant, a ladder or a margin that is named is tried instead. Nothing is written.
    """
    family, store = context.family(request.family), context.store
    with store.read() as tx:
        active = store.rollouts.active(tx, family.name)
        variant = request.variant or last_nomination(tx, store, family.name)
    if active is not None and (request.variant, request.ladder, request.margin) == (None, None, None):
        forecast, of, variant = (
            forecast_active(active.id, store=store, clock=context.clock),
            active.id,
            active.candidate,
        )
    else:
        of = None
        forecast = forecast_family(
            family, variant, store=store, clock=context.clock, ladder=request.ladder, margin=request.margin
        )
        if active is not None:
            running = (
                f"This is of a rollout that would start now. Rollout {active.id}, which runs, keeps its own margin"
                f" {active.settings['margin']:g} and ladder {ladder_text(active.ladder)} > 100 %; what it still needs:"
                f" detent rollout forecast {family.name}."
            )
            forecast = replace(forecast, warnings=(running, *forecast.warnings))
    return FamilyForecast(
        **members_of(forecast),
        family=family.name,
        rollout=of,
        variant=variant,
        outcomes=forecast_outcomes(family, store=store, clock=context.clock),
    )


def read_next_share(context: Context, request: NextShareRequest) -> NextShare:
    """Which share comes next, and whether the rollout would go on now, by the evidence alone or only past it; changes
    nothing.
    """
    store, passed, confirm = context.store, False, None
    offers: Sequence[ActOffer] = ()
    with store.read() as tx:
        rollout = visible(store.rollouts.get(tx, request.id), request.id, context.access)
        freeze = is_frozen(store.freezes.all(tx), rollout.family)
        try:
            step = transition_now(tx, context, rollout, request.act, reason="", confirm=None)
            passed, reason = True, str((step.request.evidence or {})["reason"])
        except GateNotMet as refused:
            reason, confirm = str(refused.members["gates"][0]["reason"]), rollout.family
        except (Conflict, Refused) as refused:
            reason, offers = refused.detail, refused.members.get("offers", ())
    return NextShare(
        rollout=rollout.id,
        share=rollout.share,
        next_share=rollout.ladder[rollout.stage + 1] if rollout.stage + 1 < len(rollout.ladder) else None,
        gate_passed=passed,
        reason=reason,
        freeze=freeze,
        confirm=confirm,
        offers=offers,
    )


def read_arms(context: Context, request: ArmsRequest) -> Page[ArmTotals]:
    """Interactions, labels and means of each variant and role, of all time or of one rollout."""
    family, store = request.family, context.store
    context.family(family)
    with store.read() as tx:
        if request.rollout is not None:
            rollout = store.rollouts.get(tx, request.rollout)
            present = store.family_names.former(tx).get(family, family)
            if rollout is None or rollout.family != present:
                raise NotFound(
                    f"{family} has no rollout {request.rollout!r}. Its last one: detent rollout status {family}.",
                    rollout=request.rollout,
                )
        return Page(items=store.events.arm_summary(tx, family, request.rollout))


def read_rollout_log(context: Context, request: FamilyRequest) -> RolloutLog:
    """Every decision of the family's latest rollout, oldest first, with the evidence that it turned on."""
    with context.store.read() as tx:
        rollout = _require_current(tx, context, request.family)
        decisions = context.store.rollouts.decisions(tx, rollout.id)
    items = [
        LoggedDecision(
            **members_of(decision),
            evidence=evidence_text(rollout, decision),
            blocks=evidence["blocks"] if (evidence := decision.content["inputs"].get("evidence")) is not None else None,
        )
        for decision in decisions
    ]
    return RolloutLog(rollout=rollout, items=items)


def read_rollout_status(context: Context, request: FamilyRequest) -> FamilyRollout:
    """Who is served what, and why it goes no further: ladder, evidence against its thresholds, both arms, what it waits
    for, the way back.
    """
    for _ in range(READS):  # once more where the rollout changed while its forecast was made
        status = _status(context, request.family)
        if status.evidence is None or not status.is_active or status.evidence.forecast is not None:
            break
    return status


def _status(context: Context, family: str) -> FamilyRollout:
    store, clock = context.store, context.clock
    with store.read() as tx:
        champion = store.champions.current(tx, family)
        rollout = store.rollouts.active(tx, family) or store.rollouts.latest(tx, family)
        declared = context.families().families.get(family)
        if champion is None and rollout is None and declared is None:
            context.family(family)
        arms = store.events.arm_summary(tx, family, rollout.id) if rollout else []
        _, ticked_at = store.serving_version.read(tx)
        freeze = is_frozen(store.freezes.all(tx), family)
        by_itself = by_itself_line(tx, store, declared) if declared is not None else None
        decision = store.rollouts.last_decision(tx, rollout.id) if rollout else None
        plain_view = rollout_view(tx, store, clock, rollout) if rollout else None
    evidence = None
    if rollout is not None and plain_view is not None:
        evidence = with_forecast(plain_view, rollout, store=store, clock=clock)
    now, standing = clock.now(), rollout_standing(rollout, evidence, champion)
    # A promotion that was taken back is not undone again: that would bring back the champion before the one before.
    if rollout is None:
        undo = None
    elif rollout.is_active:
        undo = f"detent rollout rollback {family}"
    else:
        is_champion = champion is not None and champion.rollout == rollout.id
        undo = f"detent champion rollback {family}" if rollout.outcome == "promoted" and is_champion else None
    return FamilyRollout(
        family=family,
        at=now,
        headline=headline_of(standing, family),
        standing=standing,
        freeze=freeze,
        holdback=evidence.holdback if evidence is not None else None,
        champion=champion,
        rollout=rollout,
        share=rollout.share if rollout else None,
        is_active=rollout.is_active if rollout else False,
        served=is_served(rollout, now) and freeze is None,
        arms=arms,
        by_itself=by_itself,
        last_tick_at=ticked_at,
        last_decision=decision,
        evidence=evidence,
        undo=undo,
        next=_next(family, rollout, now) if freeze is None else f"it is frozen; when it may go on: {freeze.undo}",
        possible=[
            act for act in (possible(rollout) if rollout is not None else ()) if freeze is None or act not in GOING_ON
        ],
    )


def by_itself_line(tx: Transaction, store: Store, family: Family) -> str:
    """The family's study that started by itself and runs now; else whether one may start."""
    running = [s for s in store.studies.unfinished(tx) if s.family == family.name and s.trigger is not None]
    return _running(running[0]) if running else in_force(family, store.schedules.get(tx, family.name)).text


def _with_evidence(tx: Transaction, context: Context, rollout: Rollout) -> RolloutWithEvidence:
    store = context.store
    return RolloutWithEvidence(
        **members_of(rollout),
        arms=store.events.arm_summary(tx, rollout.family, rollout.id),
        exposures=store.exposures.totals(tx, rollout.family, rollout.id),
        evidence=rollout_view(tx, store, context.clock, rollout),
    )


def _require_current(tx: Transaction, context: Context, family: str) -> Rollout:
    rollout = context.store.rollouts.active(tx, family) or context.store.rollouts.latest(tx, family)
    if rollout is None:
        context.family(family)
        raise NotFound(
            f"Family {family!r} has had no rollout yet. Start one: detent rollout start {family} VARIANT.",
            family=family,
        )
    return rollout


def _next(family: str, rollout: Rollout | None, now: datetime) -> str:
    """The command that goes on from here."""
    if rollout is None or not rollout.is_active:
        return f"find a candidate: detent study run {family} --dry-run"
    if rollout.held:
        return f"it is held; go on with: detent rollout resume {family}"
    if rollout.status in ("pending", "validating"):
        return f"a person approves: detent rollout approve {family} (or: detent rollout reject {family})"
    if rollout.status == "approved":
        return "the worker's next tick serves the first share; `detent serve` runs one"
    if not is_served(rollout, now):
        return "start the worker (`detent serve`); the stage resumes with its next tick"
    verb = "advance" if rollout.stage + 1 < len(rollout.ladder) else "promote"
    return (
        f"nothing: it moves by itself on evidence (detent rollout {verb} {family} --confirm {family} goes past it,"
        " recorded as forced)"
    )


def _running(study: Study) -> str:
    assert study.trigger is not None
    calls = count(study.spend.n_calls, "call")
    return (
        f"study {study.id} is {study.status}, {calls} so far ({study.trigger.kind}: {study.trigger.reason}); to stop"
        f" it: detent study cancel {study.id}"
    )
