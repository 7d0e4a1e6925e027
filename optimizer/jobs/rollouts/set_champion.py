"""Serves a variant at once because a person says so: for a night on which there is no time for a rollout."""

from __future__ import annotations

from collections.abc import Collection

from optimizer.core.base.errors import Fault, InvalidInput, NotFound, Refused
from optimizer.core.base.phrasing import when
from optimizer.core.serving import champion
from optimizer.jobs.families.check_models import require_models
from optimizer.jobs.record_change import (
    ChangeReport,
    asked_by,
    checked_reason,
    described,
    log_head,
    models_asked,
    replace_champion,
)
from optimizer.jobs.rollouts.roll_back_champion import no_champion
from optimizer.ports import Clock, ModelCatalogue, Store, Transaction

SET = "champion.set"


def set_champion(
    family: str,
    variant: str,
    *,
    actor: str,
    reason: str | None,
    confirm: str | None,
    store: Store,
    clock: Clock,
    models: ModelCatalogue | None,
    loaded: Collection[str] | None,
) -> ChangeReport:
    """Ends an active rollout and lets ``variant`` reign, recorded as forced, in one transaction.

    No gate is asked, no unit is held back on the champion before, and a frozen family takes it too: a freeze serves
    champions only, and this says which. Safe to repeat.

    Args:
        models, loaded: as for ``require_models``.
    Raises:
        InvalidInput: no reason was given.
        NotFound: the family has no champion, or no such variant, or config/models.yaml no model that it asks.
        Conflict: the running gateway does not know a model that it asks.
        Refused: ``confirm`` is not the family's name.
    """
    if not (reason or "").strip():
        detail = "say why: it is all that the record will hold about this change"
        raise InvalidInput(
            f"Cannot serve {variant} at once without a reason: {detail}. By command: --reason WHY.",
            [Fault(pointer="/reason", detail=detail)],
        )
    why = checked_reason(reason)

    def change(tx: Transaction) -> ChangeReport:
        current = store.champions.current(tx, family)
        if current is None:
            raise no_champion(family)
        record = store.variants.get(tx, family, variant)
        if record is None:
            raise NotFound(
                f"Family {family!r} has no variant {variant!r}. See them with: detent variant list {family}.",
                family=family,
                variant=variant,
            )
        if current.variant == variant:
            return ChangeReport(
                family=family, what=f"{described(tx, store, current)} is champion already, since {when(current.since)}",
                why=why, changed=False, champion=current, models=models_asked(tx, store, current),
            )  # fmt: skip
        require_models(asked_by(record.variant), models, loaded, cannot=f"Cannot serve {variant} of {family} at once")
        if confirm != family:
            raise Refused(
                f"Cannot serve {variant} of {family} at once: every user would get it, and no evidence is asked for."
                f" Confirm with the family's name (detent champion set {family} {variant} --reason WHY --confirm"
                f" {family}), or go by a rollout: detent rollout start {family} {variant}.",
                confirm=family,
                variant=variant,
            )
        reign = champion.succeed(
            current, variant=variant, at=clock.now(), by=actor, why=f"served now: {why}", forced=True
        )
        return replace_champion(
            tx, store, clock, reign, before=current, action=SET, says="is champion from now on", why=why,
            undo=f"detent champion rollback {family}",
        )  # fmt: skip

    report = store.write(change)
    log_head(report.decision)
    return report
