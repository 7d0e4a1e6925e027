"""What a page says before an act: what follows, the way back, what speaks against it, which name has to be typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from secrets import token_urlsafe
from typing import Any, Literal
from urllib.parse import quote

from api.dashboard.visitors import PageVisit
from optimizer.core.base.answers import shown
from optimizer.core.base.errors import Conflict, GateNotMet, NotFound
from optimizer.core.base.phrasing import count, dollars, span
from optimizer.core.base.values import Budget
from optimizer.core.evaluation.gates import missed_gates
from optimizer.core.serving.rollout import Rollout, percent, scope_text
from optimizer.core.views.variant import VariantDiff


@dataclass(frozen=True, slots=True, kw_only=True)
class ActConfirmation:
    """``family``: whose act it is; None: of all. ``back``: the page that the act is about, from the server's first one;
    ``hidden``: members that the form carries on, such as the version that was looked at; ``gate``: why the gate has
    not passed, where the act goes past it; None with a ``confirm``: the act asks none. ``warning``: what speaks against
    it; ``details``: what else is known, by title, for who asks.
    """

    family: str | None
    subject: str
    consequence: str
    undo: str
    back: str
    hidden: Mapping[str, str]
    gate: str | None = None
    confirm: str | None = None  # what has to be typed to go past the gate, or without one
    warning: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    nonce: str = field(default_factory=lambda: token_urlsafe(12))  # of the form: what it asks for is done once
    start: RolloutStart | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStart:
    """What somebody approves. ``reason``: the starter's; ``gates``: those that had not passed, as sentences; ``diff``:
    of the candidate's text and settings against the champion's; None where the visitor may not read texts, or one was
    forgotten.
    """

    by: str
    forced: bool
    reason: str | None
    gates: tuple[str, ...]
    diff: VariantDiff | None


def family_page(family: str) -> str:
    return f"dashboard/families/{family}"


def variant_page(family: str, variant: str) -> str:
    return f"{family_page(family)}/variants/{variant}"


def run_page(run: Any) -> str:
    return f"dashboard/runs/{run.kind}/{run.id}"


def cap_text(budget: Budget) -> str:
    """The hard cap of a run: ``at most 15 calls and $0.02``."""
    calls = [count(budget.calls, "call")] if budget.calls is not None else []
    usd = [dollars(budget.usd)] if budget.usd is not None else []
    return f"at most {' and '.join([*calls, *usd])}"


SET_AGAIN = "Set as champion again"
NO_TIME = "How long that takes cannot be told yet."
PROMISED = "Of candidates that are worse by the margin or more, at most 5 in 100 are promoted by mistake."


def of_rollout(
    consequence: str, undo: str, *, asks_gate: Literal["advance", "promote"] | None = None, tells_start: bool = False
) -> Callable[[PageVisit, Mapping[str, str]], ActConfirmation]:
    """Of an act on a rollout; ``consequence`` may name its candidate, champion, first and next share."""

    def confirmation(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
        rollout = visit.ask("rollout", id=members.get("id", ""))
        step = visit.ask("next share", id=rollout.id, act=asks_gate) if asks_gate else None
        if step is not None and not step.gate_passed and step.confirm is None:
            raise Conflict(shown(step.reason), offers=step.offers)
        following = step.next_share if step is not None else None
        return ActConfirmation(
            family=rollout.family,
            subject=f"Rollout {rollout.id} of {rollout.family}",
            consequence=consequence.format(
                candidate=rollout.candidate,
                champion=rollout.champion,
                first=percent(rollout.ladder[0]),
                now=percent(rollout.share or 0.0),
                next=percent(following) if following is not None else "all",
            ),
            undo=undo,
            back=family_page(rollout.family),
            hidden={"id": rollout.id, "version": str(rollout.version)},
            gate=shown(step.reason) if step is not None and step.confirm is not None else None,
            confirm=step.confirm if step is not None else None,
            start=start_of(visit, rollout) if tells_start else None,
        )

    return confirmation


def start_of(visit: PageVisit, rollout: Rollout) -> RolloutStart:
    decisions = {one.kind: one for one in visit.ask("decisions", id=rollout.id, limit=3).items}
    started, validated = decisions.get("start"), decisions.get("validate")
    recorded = validated.content["inputs"]["gates"] if validated is not None and validated.content else ()
    diff = None
    if visit.visitor.may("diff", rollout.family):
        with suppress(NotFound):  # a text may have been forgotten with a person
            diff = visit.ask("diff", family=rollout.family, variant=rollout.candidate, against=rollout.champion)
    return RolloutStart(
        by=rollout.created_by,
        forced=rollout.forced,
        reason=started.reason if started is not None else None,
        gates=tuple(f"{gate['name']}: {shown(gate['reason'])}" for gate in missed_gates(recorded)),
        diff=diff,
    )


def of_champion(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    """Raises Conflict where there is no champion before, or somebody else has just taken this one back."""
    family = members.get("family", "")
    foreseen = visit.ask("champion_rollback", family=family, dry_run=True)
    present = foreseen.champion.variant if foreseen.champion is not None else ""
    if foreseen.instead_of != present:  # who asks again within minutes means the step that was taken
        raise Conflict(f"{foreseen.what}. To go further back, press “{SET_AGAIN}” beside an earlier champion.")
    return ActConfirmation(
        family=family,
        subject=f"The champion of {family}",
        consequence=f"{foreseen.what}. Every user gets it at once.",
        undo=f"On the family's page, Champions: “{SET_AGAIN}” beside {present}.",
        back=family_page(family),
        hidden={"family": family, "expect": present},
        confirm=family if foreseen.shown_worse else None,
        warning=" ".join(filter(None, (foreseen.shown_worse, foreseen.warning))) or None,
    )


def of_former_champion(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    """Raises Conflict where the variant is champion now, never was, was forgotten with a person or could not answer."""
    family, variant = members.get("family", ""), members.get("variant", "")
    if all(tenure.variant != variant for tenure in visit.ask("history", family=family).items):
        raise Conflict(f"{variant} has never been champion of {family}. On its page, a rollout of it is started.")
    foreseen = visit.ask("champion_rollback", family=family, to=variant, dry_run=True)
    if foreseen.becomes is None:
        raise Conflict(f"{variant} is champion of {family} now.")
    if foreseen.warning is not None:
        raise Conflict(foreseen.warning)
    return ActConfirmation(
        family=family,
        subject=f"{variant} of {family}",
        consequence=f"{variant} becomes champion in the place of {foreseen.instead_of}: every user gets it at once, and"
        " a rollout that is under way ends.",
        undo="On the family's page, What serves: “Take back the champion”.",
        back=family_page(family),
        hidden={"family": family, "variant": variant, "expect": foreseen.instead_of},
        confirm=family,
        warning=foreseen.shown_worse,
    )


def family_in(visit: PageVisit, members: Mapping[str, str]) -> str:
    """The family of an act that may concern all of them, ""; raises NotFound where there is none that the visitor may
    see.
    """
    family = members.get("family", "")
    if family:
        visit.ask("family", family=family)
    return family


def of_freeze(consequence: str, undo: str) -> Callable[[PageVisit, Mapping[str, str]], ActConfirmation]:
    def confirmation(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
        family = family_in(visit, members)
        return ActConfirmation(
            family=family or None,
            subject=f"The family {family}" if family else "Every family",
            consequence=consequence.format(scope=scope_text(family)),
            undo=undo,
            back=family_page(family) if family else "dashboard",
            hidden={"family": family} if family else {},
        )

    return confirmation


def of_study(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    study = visit.ask("study", id=members.get("id", ""))
    return ActConfirmation(
        family=study.family,
        subject=f"Study {study.id} of {study.family}",
        consequence="The study ends after the calls under way. What was answered is kept; nothing is nominated.",
        undo="Start another study; answers of this one are not asked for again.",
        back=f"dashboard/studies/{study.id}",
        hidden={"id": study.id},
    )


def of_evaluation(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    family, variant = members.get("family", ""), members.get("variant", "")
    foreseen = visit.ask("evaluate variant", family=family, variant=variant, dry_run=True)
    n = sum(suite.n for suite in foreseen.suites)
    usd = "the price is not known" if foreseen.usd is None else f"{dollars(foreseen.usd.expected)} expected"
    return ActConfirmation(
        family=family,
        subject=f"{foreseen.variant} of {family}",
        consequence=f"A model answers {count(n, 'dev example')} with it, and the answers are scored: {usd}, and"
        f" {cap_text(foreseen.budget)}. Nothing is served by it.",
        undo="Cancel it on its page; what was answered is kept.",
        back=variant_page(family, foreseen.variant),
        hidden={"family": family, "variant": foreseen.variant},
    )


def of_start(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    family, variant = members.get("family", ""), members.get("variant", "")
    foreseen = visit.ask("start", family=family, variant=variant, dry_run=True)
    if foreseen.hindrance:
        raise Conflict(f"Nothing would start: {foreseen.hindrance}")
    gates = [f"{gate['name']}: {shown(gate['reason'])}" for gate in missed_gates(foreseen.gates)]
    hours = foreseen.forecast.expected.hours if foreseen.forecast.expected is not None else None
    how_long = f"That takes about {span(hours)} at this traffic." if hours is not None else NO_TIME
    return ActConfirmation(
        family=family,
        subject=f"{variant} of {family}",
        consequence=f"It waits until somebody presses Approve. Then {percent(foreseen.ladder[0])} of the users get it,"
        f" and it goes on by itself as far as their answers speak for it. {how_long}",
        undo="Reject it before it is approved, or roll it back after: every user gets the champion again, at once.",
        back=variant_page(family, variant),
        hidden={"family": family, "variant": variant},
        gate="; ".join(gates) or None,
        confirm=family if gates else None,
        details={
            "The plan": f"A rollout of {foreseen.plan}.",
            "How long": foreseen.forecast.summary,
            "What is promised": f"{PROMISED} {foreseen.forecast.holds}",
        },
    )


def of_offer(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    family, id = members.get("family", ""), members.get("interactions", "")
    interaction = visit.ask("interaction", family=family, id=id)
    if interaction.sealed:
        raise Conflict("The sealed holdout asks the same, so this request makes no example.")
    return ActConfirmation(
        family=family,
        subject=f"Request {interaction.id} of {family}",
        consequence="A person is asked, under Reviews, what should have been answered. Once that is said, it is an"
        " example: studies learn from it, compare on it, or keep it sealed, as a draw decides.",
        undo="Keep it back, in its review.",
        back=f"dashboard/requests/{quote(family, safe='')}/{quote(interaction.id, safe='')}",
        hidden={"family": family, "interactions": interaction.id},
    )


def of_run(use_case: str, what: str) -> Callable[[PageVisit, Mapping[str, str]], ActConfirmation]:
    def confirmation(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
        run = visit.ask(use_case, id=members.get("id", ""))
        return ActConfirmation(
            family=run.family,
            subject=f"{what} {run.id} of {run.family}",
            consequence="It ends before its next call. What was answered is kept.",
            undo="Ask for it anew; answers that were kept are not paid for again.",
            back=run_page(run),
            hidden={"id": run.id},
        )

    return confirmation


def of_silence(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    """Of one rule, in the alert's family where it has one, or of a family. One whose file is gone may alert still."""
    name, family = members.get("name", ""), members.get("family", "")
    if family and not visit.ask("alerts", family=family, limit=1).items:
        family_in(visit, members)
    is_of_family = not family and name in visit.family_names()
    where = f" of {family}" if family else ""
    return ActConfirmation(
        family=name if is_of_family else family or None,
        subject=f"Alerts of {name}" if is_of_family else f"Alerts by {name}{where}",
        consequence="For an hour they send no message and do not stand on the first page. They stay on the page of"
        " alerts, and what gates and guardrails do goes on.",
        undo="By itself after that time, or “End the silence” beside the alert.",
        back="dashboard/alerts",
        hidden={"name": name, "minutes": "60", **({"family": family} if family else {})},
    )


def of_silence_ended(visit: PageVisit, members: Mapping[str, str]) -> ActConfirmation:
    silence = of_silence(visit, members)
    return replace(
        silence,
        consequence="What is still open sends its message within five minutes, and stands on the first page again.",
        undo="“Silence for an hour” beside the alert.",
        hidden={name: value for name, value in silence.hidden.items() if name != "minutes"},
    )


def require_name(confirmation: ActConfirmation, typed: str) -> None:
    """Raises GateNotMet where the confirmation asks for the family's name and something else was typed."""
    name = confirmation.confirm
    if name is not None and typed != name:
        wrong = (
            f"You typed “{typed[:100]}”, and the family's name is {name}"
            if typed
            else f"The family's name, {name}, is missing"
        )
        raise GateNotMet(f"{wrong}. Nothing has happened.")
