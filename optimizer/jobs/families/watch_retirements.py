"""Warns of models that their provider retires, as long before as a search and a rollout with another one take."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Literal

from optimizer.core.base.errors import NotFound
from optimizer.core.family.family import Family, kind_of
from optimizer.core.models.settings import ModelSettings
from optimizer.core.policy.policy import parse_policy
from optimizer.jobs.families.check_models import named_models
from optimizer.jobs.ids import new_id
from optimizer.ports import Alert, Clock, ModelCatalogue, Store, Transaction

ALERT = "model_retires"
AHEAD = timedelta(days=60)
CRITICAL = timedelta(days=10)


def watch_retirements(store: Store, clock: Clock, families: Iterable[Family], models: ModelCatalogue) -> None:
    """Opens ``model_retires`` for each family and model whose day is near; critical in the last ten days.

    Of the models that its file, its champion and the candidate of its rollout ask, as tiers and votes, too, and of
    those that stand in for one of them. It closes where none is such a model any more, or the day is no longer near.
    """

    def look(tx: Transaction) -> None:
        now, near = clock.now(), dict[tuple[str, str], tuple[date, str]]()
        for family in families:
            names = {name for _, name in named_models(family)} | _of_variants(tx, store, family)
            known = {name: facts for name in names if (facts := _facts(models, name)) is not None}
            stands_in = {other: name for name, facts in known.items() for other in facts.fallbacks}
            for name in names | stands_in.keys():
                facts = _facts(models, name)
                day = facts.retires_on if facts is not None else None
                if day is not None and day - now.date() <= AHEAD:
                    near[family.name, name] = day, "" if name in names else stands_in[name]
        for alert in store.alerts.all(tx, open_only=True, kind=ALERT):
            day, _ = near.get((alert.family or "", alert.subject), (None, ""))
            if day is None or alert.level != _level(day, now.date()):
                store.alerts.close(tx, ALERT, alert.family, alert.subject, now)
        for (family_name, name), (day, for_model) in near.items():
            store.alerts.open(
                tx,
                Alert(
                    id=new_id("al"),
                    kind=ALERT,
                    level=_level(day, now.date()),
                    family=family_name,
                    subject=name,
                    opened_at=now,
                    detail=f"The provider retires {name} on {day}, and {_what_to_do(family_name, for_model)}",
                ),
            )

    store.write(look)


def _of_variants(tx: Transaction, store: Store, family: Family) -> set[str]:
    """The models that the champion and the candidate of a rollout ask."""
    champion, rollout = store.champions.current(tx, family.name), store.rollouts.active(tx, family.name)
    served = [champion.variant] if champion is not None else []
    served += [rollout.candidate] if rollout is not None else []
    names: set[str] = set()
    for id in served if kind_of(family).asks_models else ():
        record = store.variants.get(tx, family.name, id)
        if record is not None:
            own = record.variant.model.get("name")
            names |= parse_policy(record.variant.policy).models | ({str(own)} if own is not None else set())
    return names


def _facts(models: ModelCatalogue, name: str) -> ModelSettings | None:
    try:
        return models.describe(name)
    except NotFound:  # told as a fault of the family
        return None


def _what_to_do(family: str, for_model: str) -> str:
    """``for_model``: the one for which it stands in; "": it is asked itself."""
    if for_model:
        return (
            f"{family} asks it where {for_model} fails. Name another one under fallbacks of {for_model} in"
            " config/models.yaml."
        )
    return (
        f"{family} asks it. A rollout takes days, so begin now: detent study run {family} --move-to NEW --dry-run. NEW"
        " is its successor's name in config/models.yaml."
    )


def _level(day: date, today: date) -> Literal["warning", "critical"]:
    return "critical" if day - today <= CRITICAL else "warning"
