"""Serves another champion at once: the one before, an earlier one by name, or any variant past every gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from optimizer.core.base.errors import Conflict, Fault, InvalidInput, NotFound, Refused
from optimizer.core.base.phrasing import on_date, when
from optimizer.core.rollout.evidence_state import begin, from_text
from optimizer.core.rollout.next_action import ACTOR
from optimizer.core.rollout.verification import ROLLBACK
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.serving import champion
from optimizer.core.serving.rollout import FALLEN, Champion, Rollout
from optimizer.core.views.rollout_evidence import difference_of, gates_of
from optimizer.jobs.context import Context
from optimizer.jobs.families.check_models import require_models
from optimizer.jobs.record_change import (
    ChangeReport,
    Succession,
    checked_reason,
    describe_tenure,
    list_draft,
    log_head,
    models_asked,
    replace_champion,
    require_variant,
)
from optimizer.jobs.request import FamilyRequest, Name, Reason
from optimizer.jobs.rollouts.rollout_view import comparisons
from optimizer.ports import Alert, Clock, ServedModels, Store, Transaction

LOOKED_AT = 100  # of a family's newest rollouts


class ChampionRollbackRequest(FamilyRequest):
    reason: Reason = ""
    expect: Annotated[
        str | None,
        Field(
            description="The variant that must be champion now; else 409 and nothing happens. Sent again within ten"
            " minutes, nothing happens either, and `changed` is false"
        ),
    ] = None
    to: Annotated[
        Name | None, Field(description="The earlier champion to go back to; default: the one before this one")
    ] = None
    dry_run: Annotated[bool, Field(description="Say what would be champion, and change nothing")] = False


def roll_back_champion(context: Context, request: ChampionRollbackRequest) -> ChangeReport:
    """The champion before this one serves again, at once; an active rollout ends in the same transaction.

    Sent again within ten minutes it changes nothing: going further back names the variant (`to`). Where the server does
    not know its model, `warning` says so, and `shown_worse` where users have found it worse.
    """
    served = context.served_models()
    return return_to_earlier(request, actor=context.actor, store=context.store, clock=context.clock, served=served)


def shown_worse(
    tx: Transaction, store: Store, family: str, variant: str, *, instead_of: str | None, is_sized: bool = False
) -> str | None:
    """The sentence that users have found this variant worse: in its newest rollout that evidence ended, in the week
    after that, or in the rollout by which ``instead_of`` took its place; None without such evidence.

    Args:
        is_sized: with the difference in points, for which all blocks of the rollout are read.
    """
    if (fall := fall_of(tx, store, family, variant, is_sized=is_sized)) is not None:
        return f"{fall}."
    won = store.rollouts.last_against(tx, family, candidate=instead_of, champion=variant) if instead_of else None
    stored = store.blocks.state(tx, won.id) if won is not None and won.outcome == "promoted" else None
    if won is None or stored is None:
        return None
    try:
        state = from_text(stored.state).state
    except ValueError:  # a brake goes on: what cannot be read warns of nothing
        return None
    if not any(gate.name == "sup" and gate.passed for gate in gates_of(state.quality, state.whole_days)):
        return None
    size = _size(tx, store, won, 1, is_sized)
    return f"{instead_of} took its place{on_date(won.ended_at)}, and users found it better{size} ({won.id})."


def fall_of(
    tx: Transaction, store: Store, family: str, variant: str, *, against: str | None = None, is_sized: bool = False
) -> str | None:
    """That evidence ended this variant's newest rollout, or took it back in the week after: a later attempt that ended
    without evidence hides no verdict, a later promotion does.

    Args:
        against: only rollouts against this champion count.
    """
    rollouts, _ = store.rollouts.page(tx, family=family, cursor=None, limit=LOOKED_AT)
    ended = (r for r in rollouts if r.candidate == variant and r.outcome in (*FALLEN, "promoted"))
    own = next((rollout for rollout in ended if against in (None, rollout.champion)), None)
    if own is None:
        return None
    if own.outcome in FALLEN:
        by_users = f"users found it worse{_size(tx, store, own, -1, is_sized)}"
        why = "a guardrail took it back" if own.outcome == "guardrail" else by_users
        return f"{variant} lost a rollout{on_date(own.ended_at)} against {own.champion}: {why} ({own.id})"
    after = champion.after_promotion(store.champions.history(tx, family), own.id)
    if after is None or after.by != ACTOR or after.rollout is not None:  # the tick promotes the next one, too
        return None
    return f"{variant} was taken back on {when(after.since)} after its promotion, by itself: {after.why} ({own.id})"


def _size(tx: Transaction, store: Store, rollout: Rollout, sign: int, is_wanted: bool) -> str:
    """`` by 3.1 points``; "" where the estimate has another sign than what was shown, or nobody wants it."""
    if not is_wanted:
        return ""
    blocks = comparisons(store.blocks.of_rollout(tx, rollout.id, kind="quality"))
    points = 100 * sign * (difference_of(begin(rollout.settings).quality, blocks).observed or 0.0)
    return f" by {points:.1f} points" if points > 0 else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """Why the tick goes back by itself (``core/rollout/verification.holdback_evidence``), and the alert
    that says so.
    """

    evidence: Mapping[str, Any]
    alert: Alert


def return_to_earlier(
    request: ChampionRollbackRequest,
    *,
    actor: str,
    store: Store,
    clock: Clock,
    grounds: Grounds | None = None,
    served: ServedModels | None = None,
    tx: Transaction | None = None,
) -> ChangeReport:
    """Ends an active rollout and lets the tenure before serve again, in one transaction.

    Asked again within ten minutes it changes nothing; later it goes further back, or is refused.

    Args:
        grounds: None where a person asks.
        served: a model that is not known here refuses nothing: the report warns of it.
        tx: the caller's, whose commit it waits for; the log then has no head of a rollout that ends.
    Raises:
        NotFound: the family has no champion.
        Conflict: there is no champion before, ``to`` was never champion, or ``expect`` (the variant to be replaced) is
            not champion.
    """
    family, to, expect, dry_run = request.family, request.to, request.expect, request.dry_run
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> ChangeReport:
        report = fall_back(tx)
        if grounds is None:
            serves = report.becomes or (report.champion.variant if report.champion is not None else "")
            worse = shown_worse(tx, store, family, serves, instead_of=report.instead_of, is_sized=dry_run)
            report = replace(report, shown_worse=worse)
        cannot = "It would serve, and could not answer" if dry_run else "It serves, and it cannot answer"
        try:
            require_models(report.models, served or ServedModels(), cannot=cannot)
        except (NotFound, Conflict) as unknown:
            return replace(report, warning=unknown.detail)
        return report

    def fall_back(tx: Transaction) -> ChangeReport:
        history = store.champions.history(tx, family)
        if not history:
            raise no_champion(family)
        at, before = clock.now(), champion.current_of(history)
        if champion.is_said_again(history, expect=expect, to=to, at=at):
            return _said_again(tx, store, history, why, dry_run)
        on_record = f"champion rollback: {why}"
        there = _past_forgotten(tx, store, history, to)
        tenure = champion.fall_back(history, expect=expect, to=there, at=at, by=actor, why=on_record)
        if dry_run:
            active = store.rollouts.active(tx, tenure.family)
            ends = f"; rollout {active.id} would end" if active is not None else ""
            return ChangeReport(
                family=tenure.family,
                what=f"{describe_tenure(tx, store, tenure)} would be champion again,"
                f" instead of {describe_tenure(tx, store, before)}{ends}",
                why=why,
                next=f"detent champion rollback {tenure.family} --to {tenure.variant}",
                changed=False,
                champion=before,
                models=models_asked(tx, store, tenure),
                becomes=tenure.variant,
                instead_of=before.variant,
                dry_run=True,
            )
        evidence = grounds.evidence if grounds is not None else None
        by = Succession(action=ROLLBACK, says="is champion again", undo=_undo(before), evidence=evidence)
        report = replace_champion(tx, store, clock, tenure, before=before, by=by, why=why)
        if grounds is not None:
            store.alerts.open(tx, grounds.alert)
        return report

    if tx is not None:
        return change(tx)
    if dry_run:
        with store.read() as tx:
            return change(tx)
    report = store.write(change)
    log_head(report.decision)
    return report


def _said_again(tx: Transaction, store: Store, history: Sequence[Champion], why: str, dry_run: bool) -> ChangeReport:
    """Says what was done, by whom, and how to go further back; that names the variant, so that nobody goes there by
    mistake.
    """
    current, ended, below = (
        champion.current_of(history),
        champion.taken_back(history),
        champion.beneath(history),
    )
    since = f"since {when(current.since)}, by {current.by}"
    instead = f" instead of {ended.variant}" if ended is not None else ""
    return ChangeReport(
        family=current.family,
        what=f"{describe_tenure(tx, store, current)} is champion{instead} already, {since}; nothing changed",
        why=why,
        undo=_undo(ended) if ended is not None else None,
        next=f"to go further back: detent champion rollback {below.family} --to {below.variant}" if below else None,
        changed=False,
        champion=current,
        models=models_asked(tx, store, current),
        instead_of=ended.variant if ended is not None else None,
        dry_run=dry_run,
    )


def _past_forgotten(tx: Transaction, store: Store, history: Sequence[Champion], to: str | None) -> str | None:
    """``to``; where it is None and the text of the champion below was forgotten with a person, the first one further
    down that is still there.

    Raises Conflict where there is none, or where the text of ``to`` was forgotten.
    """

    def is_there(variant: str) -> bool:
        return store.variants.get(tx, history[0].family, variant) is not None

    below = champion.beneath(history)
    aim = to if to is not None else below.variant if below is not None else None
    if aim is None or is_there(aim) or all(tenure.variant != aim for tenure in history):
        return to
    further = champion.first_beneath(history, is_there) if to is None else None
    if further is None:
        family = history[0].family
        raise Conflict(
            f"The text of {aim} was forgotten with a person whom it quoted, so it cannot serve again. To serve another"
            f" variant now: detent champion set {family} VARIANT --reason WHY --confirm {family}.",
            champion=champion.current_of(history).variant,
        )
    return further.variant


def no_champion(family: str) -> NotFound:
    return NotFound(f"Family {family!r} has no champion. See the families with: detent family list.", family=family)


def _undo(before: Champion) -> str:
    return f"detent champion set {before.family} {before.variant} --reason WHY --confirm {before.family}"


class ChampionSetRequest(FamilyRequest):
    variant: Name
    reason: Annotated[Reason, Field(description="Needed: it is all that the record will hold about the change")] = ""
    confirm: Annotated[
        str | None, Field(description="The family's name; without it 409: no gate is asked, and every user is served")
    ] = None
    expect: Annotated[Name | None, Field(description="The variant to be replaced; 409 where it is not champion")] = None


def set_champion(context: Context, request: ChampionSetRequest) -> ChangeReport:
    """A variant serves every user at once, past every gate and recorded as forced; for an emergency.

    An active rollout ends in the same transaction, nobody is held back, and a frozen family takes it too: a freeze
    serves champions only, and this says which. Safe to repeat. A variant whose model the server does not know is
    refused; where users have found it worse, the refusal and `shown_worse` say so.

    Raises:
        InvalidInput: no reason was given.
        NotFound: the family has no champion, or no such variant, or config/models.yaml no model that it asks.
        Conflict: the running gateway does not know a model that it asks, or ``expect`` is not champion.
        Refused: ``confirm`` is not the family's name.
    """
    store, clock, served = context.store, context.clock, context.served_models()
    family, variant = request.family, request.variant
    if not request.reason.strip():
        detail = "say why: it is all that the record will hold about this change"
        raise InvalidInput(
            f"Cannot serve {variant} at once without a reason: {detail}. By command: --reason WHY.",
            [Fault(pointer="/reason", detail=detail)],
        )
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> ChangeReport:
        current = store.champions.current(tx, family)
        if current is None:
            raise no_champion(family)
        record = require_variant(tx, store, family, variant)
        if current.variant == variant:
            return ChangeReport(
                family=family,
                what=f"{describe_tenure(tx, store, current)} is champion already, since {when(current.since)}",
                why=why,
                changed=False,
                champion=current,
                models=models_asked(tx, store, current),
            )
        if request.expect not in (None, current.variant):
            raise Conflict(
                f"{variant} was meant to replace {request.expect}, and {current.variant} is champion of {family} since"
                f" {when(current.since)}. Look at it, and say it again if it is still meant.",
                expect=request.expect,
                champion=current.variant,
            )
        require_models(models_of(record.variant, {}), served, cannot=f"Cannot serve {variant} of {family} at once")
        worse = shown_worse(tx, store, family, variant, instead_of=current.variant)
        if request.confirm != family:
            raise Refused(
                f"Cannot serve {variant} of {family} at once: every user would get it, and no evidence is asked for."
                f"{f' {worse}' if worse else ''} Confirm with the family's name (detent champion set {family} {variant}"
                f" --reason WHY --confirm {family}), or go by a rollout: detent rollout start {family} {variant}.",
                confirm=family,
                variant=variant,
            )
        list_draft(tx, store, record)
        tenure = champion.next_tenure(
            current, variant=variant, at=clock.now(), by=context.actor, why=f"served now: {why}", forced=True
        )
        report = replace_champion(
            tx,
            store,
            clock,
            tenure,
            before=current,
            by=Succession(
                action="champion.set", says="is champion from now on", undo=f"detent champion rollback {family}"
            ),
            why=why,
        )
        return replace(report, shown_worse=worse)

    report = store.write(change)
    log_head(report.decision)
    return report
