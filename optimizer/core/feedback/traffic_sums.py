"""Traffic of a minute, an hour, a quarter of a day or a day as sums that add up over a window, and which of them cover
it.

A unit counts once in a window, and counts of units do not add up. So each sum keeps its units: all of them up to
``MOST_UNITS``, beyond that those with the smallest hashes. A hash does not depend on when a unit comes, so the same
units are drawn in every stretch, each with all that it reported: adaptive sampling (Flajolet 1990, Computing 43,
391-400).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from optimizer.core.base.minute_sums import Cover, Stretch, ceiling, floor, whole_stretches

LENGTHS = (1440, 360, 60, 1)  # minutes: whole days, quarters of days, hours and minutes of UTC
# Only the ends of a window need short sums: older windows begin and end with events, of less than a day or an hour.
READ_FOR = {1440: timedelta.max, 360: timedelta(days=32), 60: timedelta(days=32), 1: timedelta(days=8)}
KEPT_FOR = {length: 2 * READ_FOR[length] for length in LENGTHS[1:]}  # a clock may go back
MOST_UNITS = 1024
NO_UNIT = "-"  # ends the name in place of a unit, for an outcome without one
ALL = "g"  # a limit above every hash
# Of one unit: number and sum of each of PLACES; None where it reported none.
UnitOutcomes = list[float] | None
PLACES = {"success": 0, "score": 2}
VALUE = 4  # the place of scores, and of successes as 1 or 0 where no score came with them


@dataclass(slots=True, kw_only=True)
class TrafficSum:
    """Events of one family, variant and source, received in the ``minutes`` from ``start`` on.

    ``source`` is "" for interactions, ``variant`` "" where the event names none. The counts are of all events.
    ``units`` has a share of 2 ** -level of the units, by hash; a unit's report is None where it was neither success nor
    score.
    """

    family: str
    start: datetime
    minutes: int
    variant: str = ""
    source: str = ""
    n: int = 0
    n_with_unit: int = 0
    n_success: int = 0  # events with ``success``
    success_sum: int = 0
    n_score: int = 0
    score_sum: float = 0.0
    level: int = 0
    units: dict[str, UnitOutcomes] = field(default_factory=dict)

    def add_event(self, id: str, unit: str | None, *, success: bool | None = None, score: float | None = None) -> None:
        """Adds an event. Of an interaction only the unit is stored; one without a unit is only counted."""
        self.n += 1
        self.n_with_unit += unit is not None
        value = score if score is not None else success
        if success is not None:
            self.n_success += 1
            self.success_sum += success
        if score is not None:
            self.n_score += 1
            self.score_sum += score
        if unit is None and value is None:
            return
        outcomes: UnitOutcomes = None
        if value is not None:  # whole numbers as such: they are shorter in the store
            outcomes = [int(success is not None), int(success or 0), int(score is not None), score or 0, 1, value + 0]
        name = hash_of(unit) if unit is not None else hash_of(id) + NO_UNIT
        if not self.level or name < limit_of(self.level):
            self.units[name] = _added(self.units.get(name), outcomes)
            if len(self.units) > MOST_UNITS:
                self.thin()

    def add(self, other: TrafficSum) -> None:
        """A sum of another stretch, or of another variant or source where those do not matter."""
        self.n += other.n
        self.n_with_unit += other.n_with_unit
        self.n_success += other.n_success
        self.success_sum += other.success_sum
        self.n_score += other.n_score
        self.score_sum += other.score_sum
        if other.level > self.level:
            self._raise_to(other.level)
        units, added = self.units, other.units
        if other.level < self.level:
            limit = limit_of(self.level)
            added = {name: outcomes for name, outcomes in added.items() if name < limit}
        # a page adds up tens of thousands of units, and few are in both
        both = {name: _added(units[name], added[name]) for name in units.keys() & added.keys()}
        units.update(added)
        units.update(both)

    def thin(self) -> None:
        """Leaves at most as many units as are stored."""
        while len(self.units) > MOST_UNITS:
            self._raise_to(self.level + 1)

    @property
    def share(self) -> float:
        """The share of the units that are stored, in (0, 1]."""
        return 2.0**-self.level

    def _raise_to(self, level: int) -> None:
        self.level, limit = level, limit_of(level)
        self.units = {name: outcomes for name, outcomes in self.units.items() if name < limit}


def _added(known: UnitOutcomes | None, added: UnitOutcomes) -> UnitOutcomes:
    return [a + b for a, b in zip(known, added, strict=True)] if known and added else known or added


def summed_by(sums: Iterable[TrafficSum], *names: Literal["variant", "source"]) -> dict[tuple[str, ...], TrafficSum]:
    """The sums of one family's stretches, added up by these keys in their order; without keys all in one, ().

    Units are not thinned further, and the given sums stay as they are.
    """
    sums_by_key: dict[tuple[str, ...], TrafficSum] = {}
    # the thinnest first, so that units that do not stay are not added
    for traffic_sum in sorted(sums, key=lambda traffic_sum: -traffic_sum.level):
        key = tuple(getattr(traffic_sum, name) for name in names)
        if key not in sums_by_key:
            of = dict(zip(names, key, strict=True))
            sums_by_key[key] = TrafficSum(
                family=traffic_sum.family, start=traffic_sum.start, minutes=traffic_sum.minutes, **of
            )
        sums_by_key[key].add(traffic_sum)
    return dict(sorted(sums_by_key.items()))


def of_stretches(sums: Iterable[TrafficSum], minutes: int) -> list[TrafficSum]:
    """Sums of shorter stretches as those of longer ones, each with at most as many units as are stored."""
    by_key: dict[tuple[str, datetime, str, str], TrafficSum] = {}
    for traffic_sum in sums:
        key = (traffic_sum.family, floor(traffic_sum.start, minutes), traffic_sum.variant, traffic_sum.source)
        if key not in by_key:
            by_key[key] = TrafficSum(family=key[0], start=key[1], minutes=minutes, variant=key[2], source=key[3])
        by_key[key].add(traffic_sum)
    for traffic_sum in by_key.values():
        traffic_sum.thin()
    return list(by_key.values())


def cover(since: datetime, until: datetime, stored: Stretch | None) -> Cover:
    """``stored``: of which stretch there are sums, in whole minutes; the longest that fit are taken. Of the rest the
    events have to be read.
    """
    if since >= until:
        return Cover(sums=(), rest=())
    first, last = (ceiling(max(since, stored[0]), 1), floor(min(until, stored[1]), 1)) if stored else (until, until)
    if first >= last:
        return Cover(sums=(), rest=((since, until),))
    whole = list(whole_stretches(first, last, LENGTHS))
    old = (
        [(length, stretch) for length, stretch in whole if stored[1] - stretch[0] > READ_FOR[length]] if stored else []
    )
    edges = ((since, first), (last, until), *(stretch for _, stretch in old))
    return Cover(
        sums=tuple(stretch_sum for stretch_sum in whole if stretch_sum not in old),
        rest=tuple(edge for edge in edges if edge[0] < edge[1]),
    )


@lru_cache(maxsize=4096)
def hash_of(unit: str) -> str:
    """64 bits in 16 hexadecimal digits: evenly spread, whatever units are named like."""
    return blake2b(unit.encode(), digest_size=8).hexdigest()


def limit_of(level: int) -> str:
    """The limit below which a share of 2 ** -level of all hashes lies."""
    return f"{1 << 64 - level:016x}" if level else ALL
