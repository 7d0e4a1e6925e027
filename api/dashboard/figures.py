"""Families' last days, from the sums of their minutes (no event is read), and where the bars of their traffic stand:
places in a view box, which ``templates/parts.html`` draws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from api.dashboard.visitors import PageVisit
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.base.phrasing import count
from optimizer.core.views.last_day import HOURS, HourCount, LastDay, last_day

WIDTH, HEIGHT = 240.0, 40.0


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
