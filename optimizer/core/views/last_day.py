"""The last day of a family in a few figures, from the sums of its hours."""

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
class HourCount:
    start: datetime
    n_interactions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDay:
    """All variants and models together. ``success_interval``, ``score_interval``: 95 %, as if each outcome came from
    another user, the latter at most as wide as it says; ``p95_ms``: the highest of a variant and model in the last hour
    with any, which begins at ``p95_hour``; None: not measured.
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
    hours: Sequence[HourCount]


def last_day(rows: Sequence[Any], begin: datetime) -> LastDay:
    """Args: rows: of the statistics by hour, from ``begin`` on."""

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in rows)

    by_hour = Counter[datetime]()
    for row in rows:
        by_hour[row.start] += row.n_interactions
    n, n_labelled, n_scored = total("n_interactions"), total("n_labelled"), total("n_scored")
    latest = max((row.start for row in rows if row.p95_latency_ms is not None), default=None)
    p95s = [row.p95_latency_ms for row in rows if row.start == latest and row.p95_latency_ms is not None]
    scored = [(row.mean_score, row.n_scored) for row in rows if row.n_scored]
    mean_score = sum(mean * k for mean, k in scored) / n_scored if n_scored else None
    return LastDay(
        n_interactions=n,
        error_share=total("n_errors") / n if n else None,
        success_share=total("n_success") / n_labelled if n_labelled else None,
        success_interval=wilson_interval(int(total("n_success")), n_labelled) if n_labelled else None,
        n_labelled=n_labelled,
        mean_score=mean_score,
        # Of scores in [0, 1] none spread more than those that are 0 or 1, so the interval of a share holds for them.
        score_interval=wilson_interval(min(mean_score * n_scored, n_scored), n_scored)
        if mean_score is not None
        else None,
        p95_ms=max(p95s, default=None),
        p95_hour=latest,
        cost_usd=sum(row.cost_usd for row in rows),
        hours=[
            HourCount(start=start, n_interactions=by_hour[start])
            for start in (begin + timedelta(hours=hour) for hour in range(HOURS))
        ],
    )
