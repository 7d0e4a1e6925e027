"""Counts what a family's model calls have cost in this hour, and acts above its limit."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from api.access.answer_lengths import AnswerLengths
from api.http.problems import MoneySpent
from optimizer.core.base.errors import DetentError
from optimizer.core.base.minute_sums import HOUR, floor, seconds_left
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import value_text
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import output_limit, reservation_usd
from optimizer.core.models.language import ModelPrice, ModelRequest
from optimizer.core.policy.context import tool_results
from optimizer.core.policy.policy import Policy
from optimizer.core.policy.steps import most_calls
from optimizer.core.search.answer_bounds import DEFAULT_MAX_TOKENS, judging_cost
from optimizer.host.config import Settings
from optimizer.jobs.calls.ask_model import chain_of
from optimizer.jobs.calls.shelves import is_student
from optimizer.ports import ModelCatalogue, Store

SOON_S = 2  # by then some call under way may have been answered
CLOCK_RAN_AHEAD = timedelta(minutes=1)  # longer than between a look at the clock and the use of what it said


class HourlyMoney:
    """Dollars per family since the hour (UTC) began: the larger of this process's count and the record of all gateways.

    Costs that an application reports for its own calls are no part of it: else the application would decide when the
    limit is reached.

    Both miss something of the truth (a record that is still being written, another gateway's calls), and neither counts
    anything twice, so the larger is the better one. Calls under way count beside it at the most that they may cost, or
    requests that come at once would all find the same money left. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour: datetime | None = None
        self._counted: dict[str, float] = {}
        self._recorded: dict[str, float] = {}
        self._under_way: defaultdict[str, list[float]] = defaultdict(list)

    def require_left(self, family: str, limit: float, now: datetime, *, whose: str, said_by: str) -> None:
        """Raises MoneySpent where what was spent and what is under way reach the limit.

        ``said_by``: the setting that holds it.
        """
        spent = self.spent_usd(family, now)
        with self._lock:
            coming = math.fsum(self._under_way[family])  # the most that calls which have begun and not ended may cost
        if spent + coming < limit:
            return
        wait_s, until, coming_text = seconds_left(now, HOUR), "for the next hour", ""
        if spent < limit:
            wait_s, until, coming_text = (
                SOON_S,
                "until some have been answered",
                f", calls under way may cost ${coming:.4f} more",
            )
        raise MoneySpent(
            f"{whose} has spent ${spent:.4f} in this hour{coming_text}, and its limit is ${limit:g}. No model was"
            f" asked. Wait {wait_s} s {until}, or raise {said_by}.",
            limit_usd=limit,
            spent_usd=round(spent, 6),
            retry_after_s=wait_s,
        )

    @contextmanager
    def under_way(self, family: str, usd: float) -> Iterator[None]:
        """Counts a call at the most that it may cost while the block runs; what it did cost is added beside."""
        with self._lock:
            self._under_way[family].append(usd)
        try:
            yield
        finally:
            with self._lock:
                self._under_way[family].remove(usd)

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
        start = floor(now, HOUR)
        with store.read() as tx:
            spent_usd = {family: store.events.cost_usd(tx, family, start) for family in families}
        with self._lock:
            self._turn(now)
            if self._hour == start:
                self._recorded.update(spent_usd)

    def _turn(self, now: datetime) -> None:
        hour = floor(now, HOUR)
        # Back to an earlier hour where a clock that ran ahead was put right, not for a look right before the hour.
        if self._hour is None or hour > self._hour or self._hour - now >= CLOCK_RAN_AHEAD:
            self._hour, self._counted, self._recorded = hour, {}, {}


def most_usd(
    request: ModelRequest,
    names: Iterable[str],
    models: ModelCatalogue,
    *,
    limit: float,
    said_by: str,
    fallbacks: bool = True,
    lengths: AnswerLengths | None = None,
) -> float:
    """The most that one call of this request may cost whichever of the named models it goes to.

    A provider may bill each attempt that comes to nothing, so all that the call can make count: the model's own, its
    retries, and those of its fallbacks.

    Args:
        fallbacks: False: the call asks the named model alone.
        lengths: by which answers are expected; None: the longest possible ones.
    Raises:
        MoneySpent: one of them has no price, so that no limit could hold its calls.
    """
    most = 0.0
    for name in names:
        chain_usd = 0.0
        for model in chain_of(models, name, fallbacks=fallbacks):
            try:
                price, facts = models.price(model), models.describe(model)
            except DetentError:  # no such model: its call fails by itself, and costs nothing
                continue
            if price is None and model == name:
                raise _no_price(name, limit, said_by)
            tokens = output_limit(request.params, facts.max_output_tokens)
            expected_tokens = lengths.expected(model, tokens) if lengths else tokens
            chain_usd += (1 + facts.retries) * reservation_usd(request, price, expected_tokens)
        most = max(most, chain_usd)
    return most


def most_judging_usd(
    family: Family,
    policy: Policy | None,
    request: ModelRequest,
    input: Mapping[str, Any],
    models: ModelCatalogue,
    *,
    limit: float,
    said_by: str,
) -> float:
    """The most that a policy's judge may cost for one answer, its retries included; 0 where no judge is asked.

    Raises as ``most_usd``.
    """
    if policy is None or not policy.asks_judge or family.judge is None:
        return 0.0
    inputs = {name: value_text(value) for name, value in input.items()}
    inputs |= {f"result {i} of {name}": text for i, (name, text) in enumerate(tool_results(request.messages), 1)}
    most = int(request.params.get("max_tokens") or DEFAULT_MAX_TOKENS)

    n_facts = most_calls(policy) if policy.validator is not None and policy.validator.asks_judge else 0
    n_judgements = policy.most_judgements + n_facts

    def price_of_attempts(name: str) -> ModelPrice | None:
        price, n_attempts = models.price(name), 1 + models.describe(name).retries
        if price is None:
            raise _no_price(name, limit, said_by)
        return price.times(n_attempts)

    try:
        judging = judging_cost(family, inputs, (), most, price_of_attempts, n_gate=n_judgements)
    except MoneySpent:
        raise
    except DetentError:  # no such model: its call fails by itself, and costs nothing
        return 0.0
    return judging.usd.high if judging.usd is not None else 0.0


def _no_price(model: str, limit: float, said_by: str) -> MoneySpent:
    return MoneySpent(
        f"Model {model!r} has no known price, so ${limit:g} an hour could not be held. No model was asked. "
        f"Give it a price in config/models.yaml (0 where it costs nothing), or take the limit out: {said_by}.",
        limit_usd=limit,
    )


def models_bound(settings: Settings, families: Mapping[str, Family]) -> tuple[float | None, str]:
    """What chats that name a model and no family may cost in an hour, and where that is said; None: no limit.

    Where no setting says it, the least that a family may spend: its limit is no limit where its models can be asked
    past it.
    """
    if settings.limits.models_usd_per_hour is not None:
        return settings.limits.models_usd_per_hour, "limits.models_usd_per_hour"
    bounds = [(bound, name) for name, family in families.items() if (bound := family.limits.usd_per_hour) is not None]
    if not bounds:
        return None, "limits.models_usd_per_hour"
    least, name = min(bounds)
    return (
        least,
        (
            "limits.models_usd_per_hour (while it is not set, the least limits.usd_per_hour of a family holds, which"
            f" is that of {name!r})"
        ),
    )


def cheapest_tier(family: Family, variant: Variant, models: ModelCatalogue) -> str:
    """The model of the lowest price among those that this variant may use; of equals, and without prices, the first."""
    tiers = variant.policy.get("tiers")
    names = [str(name) for name in tiers] if isinstance(tiers, list | tuple) and tiers else list(family.model.tiers)
    names = [name for name in (*names, str(variant.model["name"])) if not is_student(models, name)]
    return min(names, key=lambda name: _usd_per_mtok(models, name))


def _usd_per_mtok(models: ModelCatalogue, name: str) -> float:
    try:
        price = models.price(name)
    except DetentError:
        return float("inf")
    return float("inf") if price is None else price.input_usd_per_mtok + price.output_usd_per_mtok
