"""Serves a variant at once because a person says so, in an emergency that leaves no time for a rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from optimizer.core.base.errors import Conflict, Fault, InvalidInput, Refused
from optimizer.core.base.phrasing import when
from optimizer.core.search.answer_bounds import models_of
from optimizer.core.serving import champion
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
from optimizer.jobs.rollouts.roll_back_champion import no_champion, shown_worse
from optimizer.ports import Transaction

SET = "champion.set"


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
            by=Succession(action=SET, says="is champion from now on", undo=f"detent champion rollback {family}"),
            why=why,
        )
        return replace(report, shown_worse=worse)

    report = store.write(change)
    log_head(report.decision)
    return report
