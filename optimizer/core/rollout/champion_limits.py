"""Absolute limits for a champion, from its first fifty requests on: errors, latency, cost, and silence.

Silence is of requests, or of outcomes. All figures come from the sums of full minutes, so no baseline is needed. An
alarm is raised only where chance does not explain the figure, and cleared only well inside the limit: a champion
exactly at its limit raises nothing, and one that crosses it back and forth is reported once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from operator import attrgetter
from typing import Literal

from optimizer.core.base.minute_sums import WIDTH, MinuteSums, edge, merge
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.statistics.interval import wilson_interval

ENOUGH = 50  # requests that a figure needs
# The least length of the window of a figure, and the least number of its requests.
TO_RAISE = (timedelta(minutes=5), ENOUGH)
TO_CLEAR = (timedelta(minutes=15), 150)  # the same for a figure whose alarm is open
LOOK_BACK = timedelta(hours=24)
Z = 3.09  # one-sided: a champion exactly at its limit raises a false alarm at one look in a thousand
SLOWER = 0.05  # the share of requests that may be slower than the p95
STEADY_HOUR = timedelta(hours=1)  # before outcomes stop; outcomes are fewer than requests, so they get longer
STEADY_MINUTES = 10  # before a silence; each has to hold a request
MISSED = 14.0  # requests that were to be expected; that none comes by chance happens once in a million times
USUAL_PAUSES = 3  # a pause that a day had so often is usual
LimitedFigure = Literal["errors", "latency", "cost", "silence", "outcomes"]
Level = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionLimits:
    """The limits of each figure; None: the figure is not watched."""

    error_share: float | None = 0.10
    p95_latency_ms: float | None = 5000.0
    cost_usd_per_call: float | None = 0.05
    silence_minutes: int | None = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCrossing:
    """A figure beyond its limit, as an alert tells it."""

    figure: LimitedFigure
    level: Level
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RequestWindow:
    """The newest minutes that together hold enough requests of a figure."""

    rows: Sequence[MinuteSums]
    since: datetime
    until: datetime

    def total(self, of: Callable[[MinuteSums], float]) -> float:
        return sum(of(row) for row in self.rows)

    @property
    def text(self) -> str:
        return f"{self.since:%H:%M} to {self.until:%H:%M} UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class _LimitFigure:
    """``beyond``: chance does not explain the figure. ``inside``: far enough within the limit to clear the alarm."""

    beyond: bool
    inside: bool
    text: str


def limits_crossed(
    rows: Sequence[MinuteSums], until: datetime, limits: ChampionLimits, before: Collection[LimitedFigure]
) -> list[LimitCrossing]:
    """The alarms on errors, latency and cost that should be open now.

    Fewer than 50 requests in 24 hours are too few to judge: no alarm is raised then, and an open one stays open until
    no request is left.

    Args:
        rows: the champion's interactions by minute, of its tenure and up to 24 hours before ``until``, in any order.
        until: the minutes before it are summed up.
        before: the figures whose alarms are open.
    """
    crossings, newest_first = [], sorted(rows, key=attrgetter("minute"), reverse=True)
    figures: Mapping[LimitedFigure, tuple[float | None, Callable[[MinuteSums], int], _Read]] = {
        "errors": (limits.error_share, _n, _errors),
        "latency": (limits.p95_latency_ms, _n_latency, _latency),
        "cost": (limits.cost_usd_per_call, _n_cost, _cost),
    }
    for figure, (limit, n_of, read) in figures.items():
        rows_with_figure = [row for row in newest_first if n_of(row)]
        if limit is None or not rows_with_figure:
            continue
        is_open = figure in before
        window = _newest(rows_with_figure, until, n_of, *(TO_CLEAR if is_open else TO_RAISE))
        reading = read(window, limit) if window is not None else None
        if reading is None:
            if is_open:
                crossings.append(
                    LimitCrossing(figure=figure, level=_LEVELS[figure], detail=_TOO_FEW.format(figure=figure))
                )
        elif reading.beyond or (is_open and not reading.inside):
            crossings.append(LimitCrossing(figure=figure, level=_LEVELS[figure], detail=reading.text))
    return crossings


def silence_alarm(requests: Mapping[datetime, int], until: datetime, limits: ChampionLimits) -> LimitCrossing | None:
    """The alarm that requests have stopped though they came steadily; None where they go on, or the pause is usual.

    Steady means at least 50 requests in the ten minutes before the pause, with some in each minute. A pause is usual
    where the day before had three that were as long. A silence of a whole day raises nothing any more.

    Args:
        requests: how many of the family came by minute, of all variants, up to 24 hours before ``until``.
    """
    active = sorted(minute for minute, n in requests.items() if n)
    if limits.silence_minutes is None or not active:
        return None
    last_active, one_minute = active[-1], timedelta(minutes=1)
    steady = [requests.get(last_active - back * one_minute, 0) for back in range(STEADY_MINUTES)]
    silent = until - last_active - one_minute
    per_minute = sum(steady) / STEADY_MINUTES
    if min(steady) == 0 or sum(steady) < ENOUGH or per_minute * (silent / one_minute) < MISSED:
        return None
    pauses = sorted((later - earlier - one_minute for earlier, later in pairwise(active)), reverse=True)
    usual = pauses[USUAL_PAUSES - 1] if len(pauses) >= USUAL_PAUSES else timedelta()
    if silent < limits.silence_minutes * one_minute or silent <= usual:
        return None
    detail = (
        f"no request has come since {last_active + one_minute:%H:%M} UTC, after {per_minute:.0f} a minute. It clears"
        " when requests come again, or after a day"
    )
    return LimitCrossing(figure="silence", level=_LEVELS["silence"], detail=detail)


def outcomes_alarm(
    requests: Mapping[datetime, int], outcomes: Mapping[datetime, int], until: datetime, limits: ChampionLimits
) -> LimitCrossing | None:
    """The alarm that outcomes of one source have stopped though requests go on; None where that is not so, or is usual.

    They came steadily where one hour had at least 50 outcomes in ten or more of its minutes. A stretch without outcomes
    is usual where the day before had three with as many requests. After a whole day the alarm ends.

    Args:
        requests: how many of the family came by minute, of all variants, up to 24 hours before ``until``.
        outcomes: how many one source reported, in the same time.
    """
    if not have_stopped(outcomes, until, limits):
        return None
    active = sorted(minute for minute, n in outcomes.items() if n)
    last_active, one_minute = active[-1], timedelta(minutes=1)
    n_steady = sum(n for minute, n in outcomes.items() if minute > last_active - STEADY_HOUR)
    share = min(
        1.0,
        n_steady
        / max(1, sum(n for minute, n in requests.items() if last_active - STEADY_HOUR < minute <= last_active)),
    )
    stretches = dict.fromkeys(active, 0)  # requests after each minute with outcomes, until the next such minute
    for minute, n in requests.items():
        place = bisect_right(active, minute) - 1
        if place >= 0 and minute != active[place] and minute < until:
            stretches[active[place]] += n
    n_asked = stretches.pop(last_active)
    usual = sorted(stretches.values(), reverse=True)[USUAL_PAUSES - 1 : USUAL_PAUSES]
    if n_asked * share < MISSED or n_asked <= sum(usual):
        return None
    detail = (
        f"no outcome has come since {last_active + one_minute:%H:%M} UTC, though {count(n_asked, 'request')} have, of"
        f" which {share:.0%} had one in the hour before. Look whether the application still sends feedback. It clears"
        " when outcomes come again, or after a day"
    )
    return LimitCrossing(figure="outcomes", level=_LEVELS["outcomes"], detail=detail)


def have_stopped(outcomes: Mapping[datetime, int], until: datetime, limits: ChampionLimits) -> bool:
    """Whether outcomes came steadily until they stopped, as ``outcomes_alarm`` has it; requests then say the rest."""
    active = {minute: n for minute, n in outcomes.items() if n}
    if limits.silence_minutes is None or not active:
        return False
    last_active, one_minute = max(active), timedelta(minutes=1)
    steady = [n for minute, n in active.items() if minute > last_active - STEADY_HOUR]
    paused = until - last_active - one_minute >= limits.silence_minutes * one_minute
    return paused and len(steady) >= STEADY_MINUTES and sum(steady) >= ENOUGH


def is_enough(rows: Iterable[MinuteSums], of_day: tuple[int, int, int], *, is_open: bool) -> bool:
    """Whether the newest minutes, a quarter of an hour at least, say as much of every figure as the day does.

    Args:
        of_day: how many requests it has, how many with a latency, how many with a cost.
    """
    rows, enough = list(rows), TO_CLEAR[1] if is_open else ENOUGH
    sums = [sum(of(row) for row in rows) for of in (_n, _n_latency, _n_cost)]
    return all(n >= min(enough, most) for n, most in zip(sums, of_day, strict=True))


_n, _n_latency, _n_cost = attrgetter("n"), attrgetter("n_latency"), attrgetter("n_cost")


def _newest(
    rows: Sequence[MinuteSums], until: datetime, n_of: Callable[[MinuteSums], int], at_least: timedelta, enough: int
) -> _RequestWindow | None:
    """The newest of ``rows`` (newest first): at least ``at_least`` long, and longer until they hold ``enough``.

    None where all rows hold fewer than fifty.
    """
    newest: list[MinuteSums] = []
    n, since = 0, until - at_least
    for row in rows:
        if n >= enough and row.minute < since and row.minute != newest[-1].minute:
            break
        newest.append(row)
        n += n_of(row)
    return _RequestWindow(rows=newest, since=newest[-1].minute, until=until) if n >= ENOUGH else None


def _errors(window: _RequestWindow, limit: float) -> _LimitFigure:
    n, failed = int(window.total(_n)), int(window.total(lambda row: row.n_errors))
    text = (
        f"{failed:,} of {count(n, 'request')} failed ({failed / n:.0%}, {window.text}), and {limit:.0%} is the limit. "
        f"It clears at {limit / 2:.1%} or less"
    )
    return _share(failed, n, limit, text)


def _latency(window: _RequestWindow, limit: float) -> _LimitFigure:
    n = int(window.total(_n_latency))
    # Only requests in buckets that begin at the limit or later are surely above it.
    histogram = merge(row.latency_histogram for row in window.rows)
    slower = sum(k for bucket, k in histogram.items() if edge(bucket) / WIDTH >= limit)
    text = (
        f"{slower / n:.0%} of {count(n, 'request')} took longer than {limit:,.0f} ms ({window.text}); with that as its"
        f" p95 {SLOWER:.0%} may. It clears at {SLOWER / 2:.1%} or less"
    )
    return _share(slower, n, SLOWER, text)


def _cost(window: _RequestWindow, limit: float) -> _LimitFigure:
    n, mean = int(window.total(_n_cost)), window.total(lambda row: row.cost_sum_usd) / window.total(_n_cost)
    histogram = merge(row.cost_histogram for row in window.rows)
    squares = sum(k * (edge(bucket) - mean) ** 2 for bucket, k in histogram.items()) / n
    text = (
        f"a request costs {dollars(mean)} on average of {n:,} ({window.text}), and {dollars(limit)} is the limit. "
        f"It clears at {dollars(0.8 * limit)} or less"
    )
    return _LimitFigure(beyond=mean - Z * sqrt(squares / n) > limit, inside=mean <= 0.8 * limit, text=text)


def _share(k: int, n: int, limit: float, text: str) -> _LimitFigure:
    return _LimitFigure(beyond=wilson_interval(k, n, z=Z).lower > limit, inside=k <= limit / 2 * n, text=text)


_Read = Callable[[_RequestWindow, float], _LimitFigure]
_LEVELS: Mapping[LimitedFigure, Level] = {
    "errors": "critical",
    "latency": "warning",
    "cost": "warning",
    "silence": "warning",
    "outcomes": "warning",
}
_TOO_FEW = (
    "{figure} were beyond their limit, and fewer than 50 requests of the last 24 hours have them measured: too few to"
    " tell whether they are back"
)
