"""The readable picture of a rollout: ladder, evidence, arms, lease, what it waits for,
what comes next and how to take it back.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from optimizer.cli.feedback import ARM_COLUMNS, arm_row
from optimizer.cli.output import percent, table, when
from optimizer.cli.rollout.evidence_picture import print_alerts, print_evidence, print_progress
from optimizer.cli.session import Session
from optimizer.core.serving.assignment import HOLDBACK_SHARE, leased
from optimizer.core.serving.freezes import is_frozen
from optimizer.core.serving.rollout import Champion, Decision, Rollout

if TYPE_CHECKING:
    from rich.console import Console

READS = 3  # at most; a rollout that moves more often is shown without a forecast
LOG_COLUMNS = {
    "seq": "#",
    "at": "At",
    "kind": "Decision",
    "actor": "By",
    "evidence": "Evidence",
    "blocks": "Blocks",
    "reason": "Why",
}


def log_row(rollout: Rollout, decision: Decision) -> dict[str, Any]:
    """One decision for people: the evidence that it turned on, and how many blocks that rests on."""
    from optimizer.core.views.rollout_evidence import evidence_text

    evidence = decision.content["inputs"].get("evidence")
    return {
        "seq": decision.seq,
        "at": when(decision.at),
        "kind": decision.kind + (" (forced)" if decision.forced else ""),
        "actor": decision.actor,
        "evidence": evidence_text(rollout, decision),
        "blocks": None if evidence is None else evidence["blocks"],
        "reason": decision.reason,
    }


def picture_values(session: Session, family: str) -> dict[str, Any]:
    """Everything the picture shows, as plain data; read again where the rollout moved while its forecast was made."""
    for _ in range(READS):
        values = _read_picture(session, family)
        if not values["is_active"] or values["evidence"].forecast is not None:
            break
    return values


def _read_picture(session: Session, family: str) -> dict[str, Any]:
    from optimizer.cli.service.by_itself import by_itself_line
    from optimizer.core.views.rollout_headline import rollout_headline
    from optimizer.jobs.rollouts.rollout_view import rollout_view, with_forecast

    store = session.store
    with store.read() as tx:
        champion = store.champions.current(tx, family)
        rollout = store.rollouts.active(tx, family) or store.rollouts.latest(tx, family)
        arms = store.events.arm_summary(tx, family, rollout.id) if rollout else []
        _, ticked_at = store.serving_version.read(tx)
        freeze = is_frozen(store.freezes.all(tx), family)
        declared = session.families.families.get(family)
        by_itself = by_itself_line(tx, store, declared) if declared is not None else None
        decision = store.rollouts.last_decision(tx, rollout.id) if rollout else None
        seen = rollout_view(tx, store, session.clock, rollout) if rollout else None
    if rollout is not None and seen is not None:
        seen = with_forecast(seen, rollout, store=store, clock=session.clock)
    now = session.clock.now()
    return {
        "family": family,
        "headline": rollout_headline(rollout, seen),
        "freeze": freeze,
        "holdback": seen.holdback if seen is not None else None,
        "champion": champion,
        "rollout": rollout,
        "share": rollout.share if rollout else None,
        "is_active": rollout.is_active if rollout else False,
        "served": _is_served(rollout, now) and freeze is None,
        "arms": arms,
        "by_itself": by_itself,
        "last_tick_at": ticked_at,
        "last_decision": decision,
        "evidence": seen,
        "undo": _undo(family, rollout, champion),
        "next": _next(family, rollout, now) if freeze is None else f"it is frozen; when it may go on: {freeze.undo}",
    }


def picture(out: Console, values: dict[str, Any], now: datetime) -> None:
    """Print it."""
    champion, rollout = values["champion"], values["rollout"]
    out.print(f"{values['headline']}.", style="bold", markup=False)
    out.print(f"Family    {values['family']}", markup=False)
    if champion is not None:
        out.print(f"Champion  {champion.variant} since {when(champion.since)}: {champion.why}", markup=False)
    if values["freeze"] is not None:
        out.print(f"Frozen    {values['freeze'].text}", style="yellow", markup=False)
    if values["holdback"] is not None:
        held = values["holdback"]
        out.print(
            f"Holdback  {percent(HOLDBACK_SHARE)} of units stay on {held.variant} until {when(held.until)}",
            markup=False,
        )
    if rollout is None:
        out.print("Rollout   none yet", markup=False)
    else:
        _print_rollout(out, rollout, now, frozen=values["freeze"] is not None)
        decision = values["last_decision"]
        if decision is not None:
            out.print(
                f"Last      {decision.kind} by {decision.actor} at {when(decision.at)}: {decision.reason}", markup=False
            )
        if rollout.stage_history:
            _print_evidence(out, rollout, values)
    if values["by_itself"] is not None:
        out.print(f"By itself {values['by_itself']}", markup=False)
    out.print(f"Next      {values['next']}", markup=False)
    if values["undo"] is not None:
        out.print(f"Undo      {values['undo']}", markup=False)


def ladder(rollout: Rollout) -> str:
    """``10 % > [25 %] > 50 % > 100 %`` with the present share in brackets."""
    steps = [percent(s) for s in rollout.ladder] + ["100 %"]
    place = len(steps) - 1 if rollout.status == "deployed" else rollout.stage if rollout.is_active else -1
    shown = " > ".join(f"[{step}]" if i == place else step for i, step in enumerate(steps))
    return f"{shown}; ended at {steps[rollout.stage]}" if rollout.status == "rolled_back" else shown


def _print_rollout(out: Console, rollout: Rollout, now: datetime, *, frozen: bool) -> None:
    flags = [
        text
        for text, on in (
            ("held", rollout.held),
            ("forced", rollout.forced),
            ("simulated clock", rollout.simulated_clock),
        )
        if on
    ]
    state = (
        rollout.status
        + (f" ({rollout.outcome})" if rollout.outcome else "")
        + (f", {', '.join(flags)}" if flags else "")
    )
    out.print(f"Rollout   {rollout.id}: {state}", markup=False)
    out.print(f"Candidate {rollout.candidate} against {rollout.champion}, aim {rollout.aim}", markup=False)
    out.print(f"Ladder    {ladder(rollout)}", markup=False)
    if rollout.status == "deploying" and not frozen:
        expires = rollout.lease_expires_at
        if _is_served(rollout, now) and expires is not None:
            out.print(
                f"Lease     good for {max(0, (expires - now).total_seconds()):.0f} s; the worker renews it",
                markup=False,
            )
        else:
            out.print(
                f"Lease     ran out at {when(expires)}: every user gets the champion until a worker ticks",
                style="yellow",
                markup=False,
            )
    if rollout.reason:
        out.print(f"Reason    {rollout.reason}", markup=False)


def _print_evidence(out: Console, rollout: Rollout, values: dict[str, Any]) -> None:
    seen = values["evidence"]
    if seen.followed_by is not None:
        after = seen.followed_by
        out.print(
            f"Since     {after.variant} reigns from {when(after.since)} on, by {after.by}: {after.why}",
            style="yellow",
            markup=False,
        )
    out.print("")
    print_evidence(out, seen)
    out.print("")
    out.print("Reported  by every user in this rollout, matured or not", markup=False)
    table([arm_row(r) for r in values["arms"]], ARM_COLUMNS, empty="Nothing was reported for this rollout yet.")(out)
    out.print("")
    if rollout.status == "deploying":
        print_progress(out, seen)
    print_alerts(out, seen)


def _undo(family: str, rollout: Rollout | None, champion: Champion | None) -> str | None:
    """A promotion that was taken back already is not undone again:
    that would bring back the champion before the one before.
    """
    if rollout is None:
        return None
    if rollout.is_active:
        return f"detent rollout rollback {family}"
    reigns = champion is not None and champion.rollout == rollout.id
    return f"detent champion rollback {family}" if rollout.outcome == "promoted" and reigns else None


def _is_served(rollout: Rollout | None, now: datetime) -> bool:
    """Whether the candidate is served right now: a stage, and a lease that has not run out."""
    return rollout is not None and rollout.share is not None and leased(rollout, now)


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
    if not _is_served(rollout, now):
        return "start the worker (`detent serve`); the stage resumes with its next tick"
    verb = "advance" if rollout.stage + 1 < len(rollout.ladder) else "promote"
    return (
        f"nothing: it moves by itself on evidence (detent rollout {verb} {family} --confirm {family} goes past it,"
        " recorded as forced)"
    )
