"""Says that the environment overrides what policy families serve, and stores the resulting Variants for reports."""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.content.core.policy.flags import Flags
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import VariantRecord
from optimizer.jobs.ids import new_id
from optimizer.jobs.outbox.keep_alerts import keep_alerts
from optimizer.ports import Alert, Clock, Store, Transaction

OVERRIDDEN = "environment_override"
ACTOR = "environment"


def keep_environment_override(store: Store, clock: Clock, families: Iterable[Family], flags: Flags) -> list[Alert]:
    """Keeps one alert open per family of kind policy while the environment's flags change its policy;
    returns new ones.
    """
    now = clock.now()

    def keep(tx: Transaction) -> list[Alert]:
        wanted = []
        for family in families:
            champion = (
                store.champions.current(tx, family.name) if flags.knobs and kind_of(family).runs_pipeline else None
            )
            record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
            if record is None:
                continue
            variant = flags.overridden(record.variant)
            note = f"{record.variant.id} with {flags} of the environment"
            if variant.id != record.variant.id:
                store.variants.add(
                    tx,
                    VariantRecord(
                        family=family.name,
                        variant=variant,
                        source="environment",
                        created_at=now,
                        created_by=ACTOR,
                        note=note,
                        parent=record.variant.id,
                    ),
                )
            detail = (
                f"{family.name} serves {variant.id}, which is {note}, to every user. No study searched or "
                "confirmed it; nothing that is reported of it counts for the champion, and a rollout of this family "
                "gathers no evidence. To end it, unset the variables and restart the server."
            )
            wanted.append(
                Alert(
                    id=new_id("al"), kind=OVERRIDDEN, family=family.name, level="warning", opened_at=now, detail=detail
                )
            )
        return keep_alerts(tx, store, OVERRIDDEN, wanted, at=now)

    return store.write(keep)
