"""What a family's model calls have cost in the running hour, and what follows once that is more than it may."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from api.problems import MoneySpent
from optimizer.config import Settings
from optimizer.core.errors import DetentError
from optimizer.core.family import Family
from optimizer.core.variant import Variant
from optimizer.ports import ModelCatalogue, Store

HOUR = timedelta(hours=1)


class HourlyMoney:
    """Dollars per family since the hour (UTC) began: the larger of what this process has counted and what gateways have put on record.
    What an application says that its own calls cost is no part of it: nobody else could say when the limit is reached.

    Both miss something of the truth (a record that is still being written, another gateway's calls), and neither counts anything
    twice, so the larger is the better one. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour: datetime | None = None
        self._counted: dict[str, float] = {}
        self._recorded: dict[str, float] = {}

    def spent_usd(self, family: str, now: datetime) -> float:
        with self._lock:
            self._turn(now)
            return max(self._counted.get(family, 0.0), self._recorded.get(family, 0.0))

    def add(self, family: str, usd: float, now: datetime) -> None:
        with self._lock:
            self._turn(now)
            # on top of what was on record before this process counted anything
            self._counted[family] = max(self._counted.get(family, 0.0), self._recorded.get(family, 0.0)) + usd

    def read(self, store: Store, families: Sequence[str], now: datetime) -> None:
        """Looks up what is on record for the running hour."""
        start = hour_of(now)
        with store.read() as tx:
            found = {family: store.events.cost_usd(tx, family, start) for family in families}
        with self._lock:
            self._turn(now)
            if self._hour == start:
                self._recorded.update(found)

    def _turn(self, now: datetime) -> None:
        hour = hour_of(now)
        if self._hour is None or hour > self._hour:
            self._hour, self._counted, self._recorded = hour, {}, {}


def money_spent(whose: str, setting: str, limit: float, spent: float, now: datetime) -> MoneySpent:
    """The refusal of a call: who has spent how much, and which setting says that it is too much."""
    wait_s = max(1, math.ceil((hour_of(now) + HOUR - now).total_seconds()))
    return MoneySpent(
        f"{whose} has spent ${spent:.4f} in this hour, and its limit is ${limit:g}. No model was asked. "
        f"Wait {wait_s} s for the next hour, or raise {setting}.",
        limit_usd=limit,
        spent_usd=round(spent, 6),
        retry_after_s=wait_s,
    )


def hour_of(at: datetime) -> datetime:
    """The start of its hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def limited(families: Mapping[str, Family]) -> list[str]:
    """Families that declare a limit."""
    return [name for name, family in families.items() if family.limits.usd_per_hour is not None]


def models_bound(settings: Settings, families: Mapping[str, Family]) -> tuple[float | None, str]:
    """What chats that name a model and no family may cost in an hour, and where that is said; None: no limit.

    Where no setting says it, the least that a family may spend: its limit is no limit where its models can be asked past it.
    """
    if settings.limits.models_usd_per_hour is not None:
        return settings.limits.models_usd_per_hour, "limits.models_usd_per_hour"
    bounds = [(bound, name) for name, family in families.items() if (bound := family.limits.usd_per_hour) is not None]
    if not bounds:
        return None, "limits.models_usd_per_hour"
    least, name = min(bounds)
    return (
        least,
        f"limits.models_usd_per_hour (while it is not set, the least limits.usd_per_hour of a family holds, which is that of {name!r})",
    )


def cheapest_tier(family: Family, variant: Variant, models: ModelCatalogue) -> str:
    """The model of the lowest price among those that this variant may use; among equals, and without prices, the first named."""
    tiers = variant.policy.get("tiers")
    names = [str(name) for name in tiers] if isinstance(tiers, list | tuple) and tiers else list(family.model.tiers)
    return min([*names, str(variant.model["name"])], key=lambda name: _usd_per_mtok(models, name))


def _usd_per_mtok(models: ModelCatalogue, name: str) -> float:
    try:
        price = models.price(name)
    except DetentError:
        return float("inf")
    return float("inf") if price is None else price.input_usd_per_mtok + price.output_usd_per_mtok
