"""The last day of a family in a few figures, from the sums of its hours; what it cost, from those of its days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from optimizer.core.base.values import Interval
from optimizer.core.statistics.interval import wilson_interval

HOURS = 24  # the one that goes on, and the 23 before it


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDay:
    """All variants and models together. ``success_interval``, ``score_interval``: 95 %, as if each outcome came from
    another user, the latter at most as wide as it says; ``p95_ms``: the highest of a variant and model in the last hour
    with any, which begins at ``p95_hour``; None: not measured. ``hours``: requests by hour, from ``begin`` on.
    """

    n_interactions: int
    error_share: float | None
    success_share: float | None
    success_interval: Interval | None
    n_labelled: int
    mean_score: float | None
    score_interval: Interval | None
    p95_ms: float | None
    p95_hour: datetime | None
    cost_usd: float
    begin: datetime
    hours: Sequence[int]


def last_day(rows: Sequence[Any], begin: datetime) -> LastDay:
    """Args: rows: of the statistics by hour, from ``begin`` on."""
    by_hour = Counter[int]()  # the last hour may be over by now, and the next one begun
    for row in rows:
        by_hour[(row.start - begin) // timedelta(hours=1)] += row.n_interactions
    n, n_labelled = by_hour.total(), sum(row.n_labelled for row in rows)
    n_success = sum(row.n_success for row in rows)
    n_scored = sum(row.n_scored for row in rows)
    score_sum = sum(row.mean_score * row.n_scored for row in rows if row.n_scored)
    latest = max((row.start for row in rows if row.p95_latency_ms is not None), default=None)
    p95s = [row.p95_latency_ms for row in rows if row.start == latest and row.p95_latency_ms is not None]
    return LastDay(
        n_interactions=n,
        error_share=sum(row.n_errors for row in rows) / n if n else None,
        success_share=n_success / n_labelled if n_labelled else None,
        success_interval=wilson_interval(int(n_success), n_labelled) if n_labelled else None,
        n_labelled=n_labelled,
        mean_score=score_sum / n_scored if n_scored else None,
        # Of scores in [0, 1] none spread more than those that are 0 or 1, so the interval of a share holds for them.
        score_interval=wilson_interval(min(score_sum, n_scored), n_scored) if n_scored else None,
        p95_ms=max(p95s, default=None),
        p95_hour=latest,
        cost_usd=sum(row.cost_usd for row in rows),
        begin=begin,
        hours=[by_hour[hour] for hour in range(HOURS)],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingCost:
    """Of all variants and models together. ``last_day``: the start of the last one with any request, and what that one
    cost; None without any.
    """

    n_interactions: int
    cost_usd: float
    last_day: datetime | None
    last_day_usd: float


def serving_cost(rows: Sequence[Any]) -> ServingCost:
    """Args: rows: of the statistics by day."""
    last = max((row.start for row in rows if row.n_interactions), default=None)
    return ServingCost(
        n_interactions=sum(row.n_interactions for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        last_day=last,
        last_day_usd=sum(row.cost_usd for row in rows if row.start == last),
    )
