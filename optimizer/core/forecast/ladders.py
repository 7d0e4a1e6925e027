"""Other ladders for a rollout that does not fit its limits: which would, how long they take,
and whom they reach sooner.

Evidence comes fastest at a share of one half, and each stage waits for its own feedback window, so a shorter ladder is
quicker. Its price is exposure: more users get a candidate that is not yet known to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf

from optimizer.core.base.phrasing import span
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.needs import needs_of, total_of
from optimizer.core.forecast.plan import NOT_BEGUN, ForecastPlan, Need
from optimizer.core.forecast.problems import Outlook, problems_of
from optimizer.core.statistics.forecast import KAPPA_90, KAPPA_MEAN, TrafficRate

HALF = 0.5
MOST_SHARES = 8  # of a longer ladder only those are looked at that leave out its first shares


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderWay:
    """A rollout from its start on this ladder. Units are distinct ones that are served the candidate, expected."""

    ladder: tuple[float, ...]
    fits: bool  # 90 % of such rollouts end within the limits
    expected: Need
    nine_in_ten: Need
    first_day_units: float
    units: float | None  # until its promotion


def other_ladders(plan: ForecastPlan, traffic: RecordedTraffic | None, rates: TrafficRate) -> tuple[LadderWay, ...]:
    """The gentlest that fits (the smallest first share, then the most stages) and the quickest, which may be the same;
    the quickest alone where none fits.
    """
    ways = [ladder_way(plan, ladder, traffic, rates) for ladder in _shorter(plan.ladder)]
    if not ways:
        return ()
    quickest = min(ways, key=_hours)
    fitting = [way for way in ways if way.fits]
    if not fitting:
        return (quickest,)
    gentlest = min(fitting, key=lambda way: (way.ladder[0], -len(way.ladder), _hours(way)))
    return (gentlest,) if gentlest == quickest else (gentlest, quickest)


def ladder_way(
    plan: ForecastPlan, ladder: tuple[float, ...], traffic: RecordedTraffic | None, rates: TrafficRate
) -> LadderWay:
    changed_plan = replace(plan, ladder=ladder)
    expected, nine = (needs_of(changed_plan, rates, NOT_BEGUN, kappa) for kappa in (KAPPA_MEAN, KAPPA_90))
    total = total_of(changed_plan, nine, NOT_BEGUN)
    outlook = Outlook(
        plan=changed_plan, progress=NOT_BEGUN, shares=ladder, needs=nine, total=total, traffic=traffic, rates=rates
    )
    served = [share * need.units for share, need in zip(ladder, expected, strict=True) if need.units is not None]
    return LadderWay(
        ladder=ladder,
        fits=not problems_of(outlook),
        expected=total_of(changed_plan, expected, NOT_BEGUN),
        nine_in_ten=total,
        first_day_units=24 * rates.units_per_hour * ladder[0],
        units=sum(served) if len(served) == len(ladder) else None,
    )


def ladder_texts(
    plan: ForecastPlan, traffic: RecordedTraffic | None, rates: TrafficRate, ways: Sequence[LadderWay]
) -> tuple[str, ...]:
    """``ways``: as of ``other_ladders``."""
    now = ladder_way(plan, plan.ladder, traffic, rates)
    if any(way.fits for way in ways):
        return tuple(_text(way, now) for way in ways)
    known = [way for way in ways if way.nine_in_ten.hours is not None]
    return tuple(
        f"no ladder would be enough by itself; the quickest, {_name(way)}, takes {_time(way.nine_in_ten)} in 90 % of"
        " rollouts"
        for way in known
    )


def _shorter(ladder: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    """Ladders of fewer of these shares, and one half alone."""
    if len(ladder) <= MOST_SHARES:
        yield from (some for n in range(1, len(ladder)) for some in combinations(ladder, n))
    else:
        yield from (ladder[at:] for at in range(1, len(ladder)))
    if ladder != (HALF,) and (HALF not in ladder or len(ladder) > MOST_SHARES):
        yield (HALF,)


def _text(way: LadderWay, now: LadderWay) -> str:
    in_all = (
        f", {way.units:,.0f} instead of {now.units:,.0f} until its promotion"
        if way.units is not None and now.units is not None
        else ""
    )
    return (
        f"the ladder {_name(way)} (--ladder {','.join(f'{share:g}' for share in way.ladder)}): {_time(way.expected)}"
        f" instead of {_time(now.expected)} on average, {_time(way.nine_in_ten)} instead of {_time(now.nine_in_ten)} in"
        f" 90 %; it serves the candidate to about {way.first_day_units:,.0f} instead of {now.first_day_units:,.0f}"
        f" units on its first day{in_all}"
    )


def _name(way: LadderWay) -> str:
    return f"[{', '.join(f'{share:g}' for share in way.ladder)}]"


def _time(need: Need) -> str:
    return "no end" if need.hours is None else span(need.hours)


def _hours(way: LadderWay) -> float:
    return inf if way.nine_in_ten.hours is None else way.nine_in_ten.hours
