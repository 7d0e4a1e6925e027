"""Families' last days, from the sums of their minutes (no event is read), and the bars of their traffic in the view box
that ``templates/parts.html`` has for them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from api.dashboard.visitors import PageVisit
from optimizer.core.base.minute_sums import HOUR, floor
from optimizer.core.base.phrasing import count
from optimizer.core.base.values import grouped
from optimizer.core.views.last_day import HOURS, LastDay, last_day

WIDTH, HEIGHT, BAR_WIDTH = 240, 40, 8  # as ``traffic`` in parts.html and dashboard.css have them


@dataclass(frozen=True, slots=True, kw_only=True)
class _HourSums:
    """Rows of the statistics by hour. ``settled``: before it nothing is summed up any more; ``champion_since``: which
    tells a new family from a retired one of its name.
    """

    champion_since: datetime | None
    settled: datetime
    rows: Sequence[Any]


@dataclass(slots=True)
class LastDays:
    """Keeps the sums of hours that are over, which never change: a page reads one hour or two of each family. What was
    kept under a clock that ran ahead is dropped once that is put right.
    """

    _sums: dict[str, _HourSums] = field(default_factory=dict)

    def of(self, visit: PageVisit, families: Collection[str]) -> dict[str, LastDay]:
        """By family; all are asked for at once."""
        if not families:
            return {}
        now = visit.shared.clock.now()
        begin = floor(now, HOUR) - timedelta(hours=HOURS - 1)
        before = {family: self._sums_of(visit, family, begin) for family in families}
        since = max(begin, min(sums.settled for sums in before.values()))
        stats = visit.ask("stats of families", families=",".join(families), since=since)
        settled = max(begin, min(floor(stats.summed_until or begin, HOUR), floor(now, HOUR)))
        new = grouped((row.family, row) for row in stats.items)
        days = {}
        for family, sums in before.items():
            rows = [*(row for row in sums.rows if begin <= row.start < since), *new.get(family, ())]
            self._sums[family] = replace(sums, settled=settled, rows=rows)
            days[family] = last_day(rows, begin)
        return days

    def _sums_of(self, visit: PageVisit, family: str, begin: datetime) -> _HourSums:
        served = visit.shared.serving.now_served.families.get(family)
        since = served.champion.since if served is not None else None
        sums = self._sums.get(family)
        if sums is None or sums.champion_since != since or sums.settled > visit.shared.clock.now():
            return _HourSums(champion_since=since, settled=begin, rows=())
        return sums


def traffic_bars(day: LastDay) -> Markup:
    """One bar an hour, as high as its share of the fullest one; an hour with any request is seen."""
    most, bars = max(day.hours), []
    for place, n in enumerate(day.hours):
        if n:
            x, top = WIDTH // HOURS * place + BAR_WIDTH // 2, HEIGHT - max(2.0, HEIGHT * n / most)
            about = f"{(day.begin.hour + place) % HOURS:02}:00 UTC: {count(n, 'request')}"
            bars.append(f'<path data-x="{x}" d="M{x} {HEIGHT}V{top:.1f}"><title>{about}</title></path>\n')
    return Markup("".join(bars))
