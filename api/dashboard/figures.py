"""The last day of a family in a few figures, from the sums of its minutes (no event is read), and where the bars of
its traffic stand: places in a view box, which ``templates/parts.html`` draws.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from api.dashboard.visitors import PageVisit
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import Interval
from optimizer.core.statistics.interval import wilson_interval

HOURS = 25  # the one that goes on, and the 24 before it
WIDTH, HEIGHT = 240.0, 40.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _HourSums:
    """Rows of the statistics by hour. ``settled``: before it nothing is summed up any more."""

    settled: datetime
    rows: Sequence[Any]


@dataclass(slots=True)
class LastDays:
    """Keeps the sums of hours that are over, which never change: a page reads one hour or two of each family."""

    _sums: dict[str, _HourSums] = field(default_factory=dict)

    def of(self, visit: PageVisit, families: Collection[str]) -> dict[str, LastDay]:
        """By family; all are asked for at once."""
        if not families:
            return {}
        now = visit.shared.clock.now()
        begin = floor(now, HOUR) - timedelta(hours=HOURS - 1)
        before = {family: self._sums.get(family, _HourSums(settled=begin, rows=())) for family in families}
        since = max(begin, min(sums.settled for sums in before.values()))
        stats = visit.ask("stats of families", families=",".join(families), since=since)
        settled = max(begin, min(floor(stats.summed_until or begin, HOUR), floor(now, HOUR)))
        new = defaultdict[str, list[Any]](list)
        for row in stats.items:
            new[row.family].append(row)
        days = {}
        for family, sums in before.items():
            rows = [*(row for row in sums.rows if begin <= row.start < since), *new[family]]
            self._sums[family] = _HourSums(settled=settled, rows=rows)
            days[family] = last_day(rows, begin)
        return days


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBar:
    """``y`` from the top; ``about`` is shown under the pointer."""

    x: float
    y: float
    width: float
    height: float
    about: str


def traffic_bars(hours: Sequence[HourCount]) -> list[TrafficBar]:
    """One bar an hour, as high as its share of the fullest one; an hour with any request is seen."""
    most = max((hour.n_interactions for hour in hours), default=0)
    step = WIDTH / max(1, len(hours))
    bars = []
    for place, hour in enumerate(hours):
        height = max(2.0, HEIGHT * hour.n_interactions / most) if hour.n_interactions else 0.0
        about = f"{hour.start:%H:%M} UTC: {count(hour.n_interactions, 'request')}"
        bars.append(TrafficBar(x=place * step, y=HEIGHT - height, width=step * 0.8, height=height, about=about))
    return bars
