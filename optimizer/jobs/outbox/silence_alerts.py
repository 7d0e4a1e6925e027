"""Silences a rule, a kind of alert or a family for a while: what is raised is listed and logged, and sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from optimizer.core.base.answers import Text
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import did_you_mean, when
from optimizer.core.rollout.alert_causes import BROKEN
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, checked_reason
from optimizer.jobs.request import Name, Reason, Request
from optimizer.ports import AlertSilence, Transaction

LONGEST = timedelta(days=7)


class SilenceRequest(Request):
    name: Annotated[Name, Field(description="A rule, a kind of alert, or a family")]
    family: Annotated[Name | None, Field(description="Of a rule or kind: in this family alone")] = None
    minutes: Annotated[int, Field(ge=1, le=LONGEST // timedelta(minutes=1), description="For how long")]
    reason: Reason = ""


class EndSilenceRequest(Request):
    name: Name
    family: Name | None = None
    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceReport(Change):
    """What is silent now. ``until`` is None where a silence ended."""

    rule: str
    family: str | None
    why: Text[str]
    until: datetime | None


def silence_alerts(context: Context, request: SilenceRequest) -> SilenceReport:
    """Sends no message of what a rule, a kind of alert or a family raises until a time. It is listed and logged all the
    same, and what clears meanwhile is never sent. Said again, the new time holds.

    Raises InvalidInput where no rule, alert or family has that name.
    """
    store, why = context.store, checked_reason(request.reason)

    def change(tx: Transaction) -> SilenceReport:
        rule, family = _meant(tx, context, request.name, request.family)
        at = context.clock.now()
        until = at + timedelta(minutes=request.minutes)
        silence = AlertSilence(rule=rule, family=family, until=until, reason=why, by=context.actor, since=at)
        store.alerts.silence(tx, silence)
        _record(tx, context, "alerts.silence", silence, why)
        return SilenceReport(
            rule=rule,
            family=family or None,
            what=f"{_scope_text(rule, family)} sends no message until {when(until)}; `detent alerts rules` shows it",
            why=why,
            until=until,
            undo=f"{_command(request.name, rule, family)} --end",
            next="detent alerts rules",
        )

    return store.write(change)


def end_silence(context: Context, request: EndSilenceRequest) -> SilenceReport:
    """Ends a silence before its time: what is still open sends its message within five minutes. Safe to repeat."""
    store, why = context.store, checked_reason(request.reason)

    def change(tx: Transaction) -> SilenceReport:
        rule, family = _meant(tx, context, request.name, request.family)
        has_ended = store.alerts.end_silence(tx, rule, family)
        if has_ended:
            at = context.clock.now()
            silence = AlertSilence(rule=rule, family=family, until=at, reason=why, by=context.actor, since=at)
            _record(tx, context, "alerts.end_silence", silence, why)
        scope = _scope_text(rule, family)
        return SilenceReport(
            rule=rule,
            family=family or None,
            what=f"the silence of {scope} has ended" if has_ended else f"{scope} is not silent",
            why=why,
            until=None,
            undo=f"{_command(request.name, rule, family)} --for 1h" if has_ended else None,
            next="detent alerts list",
            changed=has_ended,
        )

    return store.write(change)


def _meant(tx: Transaction, context: Context, name: str, family: str | None) -> tuple[str, str]:
    """(rule or kind, family), each "" for any."""
    families = context.families()
    of_alerts = {alert.family for alert in context.store.alerts.all(tx, open_only=True) if alert.family is not None}
    known = {*families.families, *families.problems, *of_alerts}
    if family is not None and family not in known:
        raise InvalidInput(f"There is no family {family!r}{did_you_mean(family, known) or '.'}")
    rules = {rule.name for rule in context.alert_rules()}
    kinds = context.store.alerts.kinds(tx) - {BROKEN}  # which is every rule's: whoever means one names it
    if name in known and name in rules | kinds:
        raise InvalidInput(
            f"{name!r} is a family, and a rule or kind of alert, too: nobody knows which is meant. Rename the rule."
        )
    if name in known and family is None:
        context.require_family(name)
        return "", name
    if name not in rules | kinds:
        raise InvalidInput(
            f"No rule, kind of alert or family is called {name!r}{did_you_mean(name, known | rules | kinds) or '.'} See"
            " them with: detent alerts rules, detent alerts list."
        )
    context.require_family(family)
    return name, family or ""


def _command(name: str, rule: str, family: str) -> str:
    return f"detent alerts silence {name}" + (f" --family {family}" if rule and family else "")


def _record(tx: Transaction, context: Context, action: str, silence: AlertSilence, why: str) -> None:
    context.store.audit.add(
        tx,
        at=silence.since,
        actor=context.actor,
        action=action,
        family=silence.family or None,
        subject=silence.rule or silence.family,
        detail={"why": why, "until": silence.until.isoformat()},
    )


def _scope_text(rule: str, family: str) -> str:
    if not rule:
        return f"family {family}"
    return f"{rule} in {family}" if family else rule
