"""A rollout's plan, from its fixed settings; what it needs at the recorded traffic; which limits it exceeds, and ways
out.

The needs are labelled outcomes, distinct units and hours, per stage and in all. The ways out are sentences, other
ladders among them. Evidence comes fastest at a share of one half, and each stage waits for its own feedback window, so
a shorter ladder is quicker. Its price is exposure: more users get a candidate that is not yet known to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import ceil, inf, isfinite
from statistics import NormalDist
from typing import Any, Literal

from optimizer.core.base.phrasing import signed, span
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.rollout.evidence_state import whole_day
from optimizer.core.rollout.start import assumed_mean
from optimizer.core.statistics.forecast import (
    KAPPA_90,
    KAPPA_MEAN,
    RolloutDesign,
    TrafficRate,
    forecast,
    smallest_feasible_margin,
)
from optimizer.core.statistics.guardrails import MARGIN
from optimizer.core.statistics.late_labels import LEAST_WINDOWS
from optimizer.core.statistics.outcomes import clip_rate

WIDTH_OF_95 = 2 * 1.959964  # standard errors between the ends of a 95 % interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What the candidate is assumed to add to the champion's mean, absolute, at least 0, and its source."""

    value: float = 0.0
    why: str = "no gain is assumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPlan:
    """Durations are in hours of the rollout clock."""

    ladder: tuple[float, ...]
    margin: float
    base: float  # the champion's mean, in (0, 1)
    base_why: str
    lift: Lift
    field: str
    source: str
    min_labelled: int  # per stage, both arms
    max_labelled: int
    max_hours: float
    min_duration_hours: float
    whole_hours: (
        float  # the promotion waits for the end of so many hours of assignment, or of a multiple; 0: it does not
    )
    dwell_hours: float  # at least, per stage
    cohort_hours: float
    closing_hours: float  # a stage's last cohort has to end and its feedback window to pass
    error_margin: float
    clock_scale: float = 1.0  # hours of the rollout clock per real hour

    def design(self, stage: int = 0) -> RolloutDesign:
        """The design from this stage of the ladder on."""
        return RolloutDesign(
            base=self.base,
            lift=self.lift.value,
            margin=self.margin,
            ladder=self.ladder[stage:],
            min_labelled=self.min_labelled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What is still needed, at one level of caution.

    Hours are the rollout clock's; None = cannot be told, or no end.
    """

    labelled: float | None
    units: float | None  # distinct, both arms
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rollout has come; ``hours`` since its start and since its stage, on the rollout clock."""

    stage: int = 0  # index into the ladder
    labelled: int = 0  # used as evidence, both arms
    labelled_in_stage: int = 0
    # Log evidence by m; infinite once its gate has been passed.
    grown: Mapping[int, float] = field(default_factory=dict)
    hours: float = 0.0
    stage_hours: float = 0.0
    begun: bool = False
    n_days: int = 0  # whole days that have ended
    stood: bool = False  # the claim of the promotion stood at the end of one


NOT_BEGUN = Progress()


def plan_of(
    settings: Mapping[str, Any], ladder: Sequence[float], lift: Lift, *, clock_scale: float = 1.0
) -> ForecastPlan:
    """``settings``: as frozen with the rollout."""
    metric = settings.get("metric") or {}
    window = settings.get("feedback_window") or {}
    hours = window.get("hours", "auto")
    base, cohort_hours = clip_rate(assumed_mean(settings)), float(settings["cohort_minutes"]) / 60
    return ForecastPlan(
        ladder=tuple(ladder),
        margin=float(settings["margin"]),
        base=base,
        base_why="the champion's mean over 30 days; .5 where it has fewer than 50 labels",
        lift=replace(lift, value=min(lift.value, 1 - base)),
        field=str(metric.get("field", "success")),
        source=str(metric.get("source", "user")),
        min_labelled=int(settings["min_labelled_per_stage"]),
        max_labelled=int(settings["max_labelled"]),
        max_hours=24 * float(settings["max_days"]),
        min_duration_hours=float(settings["min_duration_hours"]),
        whole_hours=whole_day(settings).total_seconds() / 3600 if settings.get("whole_days") else 0.0,
        dwell_hours=float(settings["min_dwell_minutes"]) / 60,
        cohort_hours=cohort_hours,
        closing_hours=float(window.get("floor_hours", 24.0) if hours == "auto" else hours) + cohort_hours,
        error_margin=float((settings.get("guardrails") or {}).get("error_margin", MARGIN["errors"])),
        clock_scale=clock_scale,
    )


def lift_of(confirmation: Mapping[str, Any] | None, *, forced: bool) -> Lift:
    """The lower 80 % bound of the lift on the sealed holdout, at least 0.

    ``forced``: a gate before the start was, or would be, passed by confirmation; then 0, whatever a study says.
    """
    if not confirmation or confirmation.get("lift") is None:
        return Lift(why="no gain is assumed, since no confirmation on the sealed holdout speaks for it")
    if forced:
        return Lift(why="no gain is assumed, since not every gate was met")
    lift, low, high = (float(confirmation[name]) for name in ("lift", "lift_low", "lift_high"))
    # The lower 80 % bound of the holdout lift, at least 0.
    standard_error = (high - low) / WIDTH_OF_95
    return Lift(
        value=max(0.0, lift - NormalDist().inv_cdf(0.8) * standard_error),
        why=f"the lower 80 % bound of the holdout's lift {signed(lift)}, not below 0",
    )


def needs_of(plan: ForecastPlan, rates: TrafficRate | None, progress: Progress, kappa: float) -> list[Need]:
    """The needs of each stage to come. ``kappa``: KAPPA_MEAN on average, KAPPA_90 for 90 % of rollouts.

    ``rates`` None: only labels can be forecast.
    """
    traffic = rates or TrafficRate(units_per_hour=1.0, label_rate=1.0)
    prediction = forecast(
        plan.design(progress.stage), traffic, kappa=kappa, grown=progress.grown, labelled=progress.labelled_in_stage
    )
    needs = []
    for i, stage in enumerate(prediction.stages):
        dwell = max(0.0, plan.dwell_hours - (progress.stage_hours if i == 0 else 0.0))
        hours = max(stage.hours if stage.labelled else 0.0, dwell)
        known = rates is not None
        needs.append(
            Need(labelled=finite(stage.labelled), units=finite(stage.units, known), hours=finite(hours, known))
        )
    return needs


def total_of(plan: ForecastPlan, needs: list[Need], progress: Progress) -> Need:
    """The promotion waits for the minimum duration, and until the day is over in which its evidence is complete."""
    hours = _sum([n.hours for n in needs])
    if hours is not None:
        if plan.whole_hours and not progress.stood:
            # The length of the first cohort after the day, which has begun by then.
            closing = plan.cohort_hours + plan.closing_hours
            n_days = max(progress.n_days + 1, ceil((progress.hours + hours - closing) / plan.whole_hours))
            hours = n_days * plan.whole_hours + closing - progress.hours
        hours = max(hours, max(plan.min_duration_hours, LEAST_WINDOWS * plan.closing_hours) - progress.hours)
    return Need(labelled=_sum([n.labelled for n in needs]), units=_sum([n.units for n in needs]), hours=hours)


def distinct_units(plan: ForecastPlan, traffic: RecordedTraffic, hours: float) -> float:
    """Those known, and the new ones of so many hours."""
    # By the second half of the period; 0 where the same units always come back.
    fresh = (traffic.n_late_units / (traffic.hours / 2)) / plan.clock_scale
    return traffic.n_units + fresh * max(0.0, hours)


def units_on_candidate(
    plan: ForecastPlan, needs: list[Need], total: Need, traffic: RecordedTraffic | None, rates: TrafficRate | None
) -> float | None:
    """Distinct units that are served the candidate: at its share of each stage, also while feedback windows pass, and
    at the last one until the promotion. None where no time is told.
    """
    shares, hours = plan.ladder[-len(needs) :], [need.hours for need in needs if need.hours is not None]
    if traffic is None or rates is None or total.hours is None or not hours or len(hours) < len(needs):
        return None
    hours[-1] += total.hours - sum(hours)
    served = rates.units_per_hour * sum(share * stage for share, stage in zip(shares, hours, strict=True))
    return min(served, max(shares) * distinct_units(plan, traffic, total.hours))


def _sum(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def finite(value: float, known: bool = True) -> float | None:
    return value if known and isfinite(value) else None


LimitName = Literal["max_labelled", "max_days", "units"]
NO_LIMIT = TrafficRate(units_per_hour=1e9, label_rate=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitExceeded:
    """``needed`` against ``allowed``: labelled outcomes, days, or distinct units of one stage."""

    limit: LimitName
    needed: float | None  # None: no number would do
    allowed: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is still needed at 90 %, in all and per share, beside what the traffic gives."""

    plan: ForecastPlan
    progress: Progress
    shares: Sequence[float]
    needs: Sequence[Need]
    total: Need
    traffic: RecordedTraffic | None
    rates: TrafficRate | None  # None: units or labels are unknown, or too few to rely on

    @property
    def pool(self) -> float:
        """Distinct units that can come into one stage: those known, and the new ones of all the time that is left."""
        if self.traffic is None or self.rates is None:
            return inf
        return distinct_units(self.plan, self.traffic, self.plan.max_hours - self.progress.hours)


def problems_of(outlook: Outlook) -> tuple[LimitExceeded, ...]:
    plan, progress, total = outlook.plan, outlook.progress, outlook.total
    problems = []
    if total.labelled is None:
        text = "A gate would never be passed: the candidate is assumed to be worse by the margin or more."
        problems.append(LimitExceeded(limit="max_labelled", needed=None, allowed=plan.max_labelled, text=text))
    elif (needed := progress.labelled + total.labelled) > plan.max_labelled:
        text = (
            f"90 % of such rollouts end within {needed:,.0f} labelled outcomes, and max_labelled is"
            f" {plan.max_labelled:,}."
        )
        problems.append(
            LimitExceeded(limit="max_labelled", needed=ceil(10 * needed) / 10, allowed=plan.max_labelled, text=text)
        )
    hours = 0.0 if total.hours is None else progress.hours + total.hours
    if outlook.rates is not None and hours > plan.max_hours:
        text = (
            f"90 % of such rollouts end within {hours / 24:,.1f} days, and max_days is {plan.max_hours / 24:g}:"
            f" {outlook.rates.units_per_hour:,.1f} distinct units come in an hour, and"
            f" {outlook.rates.label_rate:.1%} of them give a label."
        )
        problems.append(
            LimitExceeded(limit="max_days", needed=ceil(100 * hours / 24) / 100, allowed=plan.max_hours / 24, text=text)
        )
    # A unit counts once per stage: where the same units always come back, waiting longer brings no new ones.
    worst, share = max(zip(outlook.needs, outlook.shares, strict=True), key=lambda pair: pair[0].units or 0.0)
    traffic, pool = outlook.traffic, outlook.pool
    if traffic is not None and worst.units is not None and worst.units > pool:
        text = (
            f"The stage of {share:.0%} takes up to {worst.units:,.0f} distinct units, since a unit counts once per"
            f" stage; about {pool:,.0f} will come, as {traffic.n_units:,} came in {traffic.hours / 24:.1f} days,"
            f" {traffic.n_late_units:,} of them first in the second half."
        )
        problems.append(LimitExceeded(limit="units", needed=round(worst.units, 1), allowed=round(pool, 1), text=text))
    return tuple(problems)


def ways_out(outlook: Outlook, problems: Sequence[LimitExceeded]) -> tuple[str, ...]:
    """What would make the plan fit; each suffices unless it says otherwise. None of them loosens the 5 in 100."""
    if not problems:
        return ()
    plan, traffic, rates = outlook.plan, outlook.traffic, outlook.rates
    ways: list[str] = []
    # From the start of the ladder, since a rollout with another margin is another rollout.
    margin = smallest_feasible_margin(
        plan.design(),
        rates or NO_LIMIT,
        max_labelled=plan.max_labelled,
        max_hours=plan.max_hours - plan.whole_hours,
        max_units=outlook.pool,
    )
    if margin is None:
        ways.append("no margin up to .2 would be enough by itself")
    elif margin > plan.margin:
        ways.append(f"a margin of {margin:g} (now {plan.margin:g})")
    for problem in problems:
        if problem.needed is not None and problem.limit != "units":
            step = 1 if problem.limit == "max_days" else 100
            ways.append(f"{problem.limit}: {ceil(problem.needed / step) * step}")
    if rates is not None and outlook.total.labelled is not None:
        # How many of the units would have to give a label for hours and units to fit.
        counting = plan.max_hours - outlook.progress.hours - len(outlook.shares) * plan.closing_hours
        by_hours = outlook.total.labelled / (rates.units_per_hour * counting) if counting > 0 else inf
        needed = max(by_hours, *((need.labelled or 0.0) / outlook.pool for need in outlook.needs))
        if needed > max(1.0, rates.label_rate):
            ways.append("more users (a label of every one that comes now would not be enough)")
        elif needed > rates.label_rate:
            ways.append(f"more labels: from {ceil(1000 * needed) / 10:g}% of the units (now {rates.label_rate:.1%})")
    if traffic is not None and traffic.n_labelled_units:
        # The outcome that most units give, where that is another one than the rollout's metric.
        field, source = max(traffic.n_labelled_units, key=lambda one: (traffic.n_labelled_units[one], one))
        rate, now = traffic.label_rate(field, source), traffic.label_rate(plan.field, plan.source)
        if rate > now:
            ways.append(
                f"a denser outcome: rollout.metric {{field: {field}, source: {source}}}, which {rate:.1%} of the units"
                f" give (now {now:.1%})"
            )
    if traffic is not None and traffic.n_units and traffic.n_requests_with_unit >= 1.5 * traffic.n_units:
        each = traffic.n_requests_with_unit / traffic.n_units
        ways.append(f"a finer unit, session or conversation instead of user ({each:,.1f} requests came per unit)")
    return tuple(ways)


HALF = 0.5
MOST_SHARES = 8  # of a longer ladder, only ladders without its first shares are tried


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
    """The gentlest ladder that fits (smallest first share, then most stages) and the quickest, which may be the same.

    Only the quickest where none fits.
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
    mean = total_of(changed_plan, expected, NOT_BEGUN)
    return LadderWay(
        ladder=ladder,
        fits=not problems_of(outlook),
        expected=mean,
        nine_in_ten=total,
        first_day_units=24 * rates.units_per_hour * ladder[0],
        units=units_on_candidate(changed_plan, expected, mean, traffic, rates),
    )


def ladder_texts(
    plan: ForecastPlan, traffic: RecordedTraffic | None, rates: TrafficRate, ways: Sequence[LadderWay]
) -> tuple[str, ...]:
    """``ways``: as of ``other_ladders``."""
    now = ladder_way(plan, plan.ladder, traffic, rates)
    if any(way.fits for way in ways):
        texts: list[str] = []
        for way in ways:
            in_all = (
                f", {way.units:,.0f} instead of {now.units:,.0f} until its promotion"
                if way.units is not None and now.units is not None
                else ""
            )
            texts.append(
                f"the ladder {_name(way)} (--ladder {','.join(f'{share:g}' for share in way.ladder)}):"
                f" {_time(way.expected)} instead of {_time(now.expected)} on average, {_time(way.nine_in_ten)} instead"
                f" of {_time(now.nine_in_ten)} in 90 %; it serves the candidate to about {way.first_day_units:,.0f}"
                f" instead of {now.first_day_units:,.0f} units on its first day{in_all}"
            )
        return tuple(texts)
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


def _name(way: LadderWay) -> str:
    return f"[{', '.join(f'{share:g}' for share in way.ladder)}]"


def _time(need: Need) -> str:
    return "no end" if need.hours is None else span(need.hours)


def _hours(way: LadderWay) -> float:
    return inf if way.nine_in_ten.hours is None else way.nine_in_ten.hours
