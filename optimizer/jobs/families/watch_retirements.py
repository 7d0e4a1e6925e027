"""Warns of models that their provider retires, as long before as a search and a rollout with another one take."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Literal

from optimizer.core.base.errors import NotFound
from optimizer.core.family.family import Family
from optimizer.jobs.families.check_models import named_models
from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, ModelCatalogue, Store, Transaction

ALERT = "model_retires"
AHEAD = timedelta(days=60)
CRITICAL = timedelta(days=10)


def watch_retirements(store: Store, clock: Clock, families: Iterable[Family], models: ModelCatalogue) -> None:
    """Opens ``model_retires`` for each family and model whose day is near; critical in the last ten days.

    It closes where neither the family's file nor its champion names the model any more, or the day is no longer near.
    """

    def look(tx: Transaction) -> None:
        now, near = clock.now(), dict[tuple[str, str], date]()
        for family in families:
            # The models that the file names, and the champion's.
            names = {name for _, name in named_models(family)}
            champion = store.champions.current(tx, family.name)
            record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
            served = record.variant.model.get("name") if record is not None else None
            for name in names | ({str(served)} if served is not None else set()):
                try:
                    day = models.describe(name).retires_on
                except NotFound:  # told as a fault of the family
                    day = None
                if day is not None and day - now.date() <= AHEAD:
                    near[family.name, name] = day
        for alert in store.alerts.all(tx, open_only=True, kind=ALERT):
            day = near.get((alert.family or "", alert.subject))
            if day is None or alert.level != _level(day, now.date()):
                store.alerts.close(tx, ALERT, alert.family, alert.subject, now)
        for (family_name, name), day in near.items():
            store.alerts.open(
                tx,
                Alert(
                    id=new_id("al"),
                    kind=ALERT,
                    level=_level(day, now.date()),
                    family=family_name,
                    subject=name,
                    opened_at=now,
                    detail=(
                        f"The provider retires {name} on {day}, and {family_name} asks it. A rollout takes days, so"
                        f" begin now: detent study run {family_name} --move-to NEW --dry-run. NEW is its successor's"
                        " name in config/models.yaml."
                    ),
                ),
            )

    store.write(look)


def _level(day: date, today: date) -> Literal["warning", "critical"]:
    return "critical" if day - today <= CRITICAL else "warning"
