"""How long a rollout will take, whom it will reach and what it can see, before it starts and while it runs.

Settings, the champion's mean, the assumed lift and the recorded traffic come in; figures and sentences go out. What is
not known is None and named under ``missing``; a forecast never says 0 or infinity for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

from optimizer.core.base.phrasing import count, span
from optimizer.core.evaluation.gates import GateRecord
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.forecast.plan import (
    NOT_BEGUN,
    ForecastPlan,
    LadderWay,
    LimitExceeded,
    Need,
    Outlook,
    Progress,
    finite,
    ladder_texts,
    needs_of,
    other_ladders,
    problems_of,
    total_of,
    units_on_candidate,
    ways_out,
)
from optimizer.core.statistics.forecast import (
    KAPPA_90,
    KAPPA_MEAN,
    TrafficRate,
    candidate_requests_to_alarm,
    detectable_drop,
)
from optimizer.core.statistics.guardrails import ALPHA, GAPS
from optimizer.core.statistics.quality_gate import ALPHA_ROLL, ALPHA_ROLL_DAYS

Feasibility = Literal["fits", "exceeds", "cannot_tell", "ended"]

ERRORS_BEFORE = 0.01
ERRORS_AFTER = (0.05, 0.10, 0.30, 1.0)
DAY_HOURS = 24.0
OFTEN = 1.0  # requests of a unit in a day
PROMISED = 0.30  # errors of the candidate that are to be rolled back …
PROMISED_S = 300  # … within this time
CLOSING_S = 40  # a guardrail block lasts ten seconds and closes thirty seconds later
ENOUGH_HOURS = 24.0
STEADY_HOURS = 1.0  # a record that is shorter is a burst, which tells no rate of requests
# bench/rollout_days.py, cases "+ 5 for 48 hours, then - 10", with a window and without
AFTERWARDS = (
    ": a candidate that is five points better for 48 hours and ten worse from then on was promoted in 67 of 100"
    " rollouts with a feedback window of a day, and the week of holdback told of 66 of these; without a window"
    " in 98, and told of 13"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNeed:
    """``detectable_drop``: the smallest absolute drop that a day at this share shows, on average; up to 1."""

    share: float
    expected: Need
    nine_in_ten: Need
    detectable_drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmNeed:
    """What the guardrail on errors needs on average to alarm at the first share, when errors go from 1 %
    to ``errors``.
    """

    errors: float
    candidate_requests: float | None  # None: within the error margin, so it never alarms
    minutes: float | None  # real time, until the last block has closed


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutForecast:
    """``verdict`` `exceeds`: 90 % of such rollouts would not end within the limits; ``problems`` says which.

    ``missing``: what is not known, and how to make it known. ``ways_out``: of the problems; ``ladders``: others that
    would fit, the gentlest first. ``base``, ``lift``, ``margin``: what it assumes, with ``_why``. ``units_per_hour``:
    new distinct ones, per hour of the rollout clock; ``label_rate``: share of the units that give a label. ``stages``:
    those still to come; ``expected``, ``nine_in_ten``: of all of them, on average and in 90 % of rollouts.
    ``users_exposed``: units that will be served the candidate. ``holds``: what the 5 in 100 are about, and how many it
    is beyond that. ``guardrails``: how soon errors are found.
    """

    verdict: Feasibility
    summary: str
    missing: tuple[str, ...] = ()
    problems: tuple[LimitExceeded, ...] = ()
    ways_out: tuple[str, ...] = ()
    ladders: tuple[LadderWay, ...] = ()
    warnings: tuple[str, ...] = ()
    max_days: float | None = None
    max_labelled: int | None = None
    margin: float | None = None
    base: float | None = None
    base_why: str = ""
    lift: float | None = None
    lift_why: str = ""
    units_per_hour: float | None = None
    label_rate: float | None = None
    requests_per_second: float | None = None
    stages: tuple[StageNeed, ...] = ()
    expected: Need | None = None
    nine_in_ten: Need | None = None
    users_exposed: float | None = None
    holds: str = ""
    guardrails: tuple[AlarmNeed, ...] = ()

    @property
    def refuses(self) -> bool:
        return self.verdict == "exceeds"

    def gate(self) -> GateRecord | None:
        """The forecast as one of the gates before a rollout; None where nothing can be told, which refuses nothing."""
        if self.verdict == "exceeds":
            worst = self.problems[0]
            return {
                "name": "forecast",
                "verdict": "fail",
                "value": worst.needed,
                "required": worst.allowed,
                "reason": f"{' '.join(p.text for p in self.problems)} Ways out: {'; '.join(self.ways_out)}",
            }
        if self.verdict == "fits" and self.nine_in_ten is not None and self.nine_in_ten.hours is not None:
            return {
                "name": "forecast",
                "verdict": "pass",
                "value": round(self.nine_in_ten.hours / 24, 2),
                "required": self.max_days,
                "reason": self.summary.rstrip("."),
            }
        return None


def forecast_rollout(
    plan: ForecastPlan, traffic: RecordedTraffic | None, progress: Progress = NOT_BEGUN
) -> RolloutForecast:
    """What is needed from ``progress`` on.

    Args:
        traffic: None where nothing was recorded in 30 days.
    """
    missing = missing_of(plan, traffic)
    rates = None  # rather than a figure that is unreliable
    if traffic is not None and not missing:
        rates = rates_of(plan, traffic)
    expected, nine = (needs_of(plan, rates, progress, kappa) for kappa in (KAPPA_MEAN, KAPPA_90))
    shares = plan.ladder[progress.stage :]
    alpha = ALPHA_ROLL_DAYS if plan.whole_hours else ALPHA_ROLL
    drops = [
        min(1.0, detectable_drop(base=plan.base, w=share, traffic=rates, hours=24.0, alpha=alpha, kappa=KAPPA_MEAN))
        if rates is not None
        else None
        for share in shares
    ]
    stages = tuple(
        StageNeed(share=share, expected=e, nine_in_ten=n, detectable_drop=drop)
        for share, e, n, drop in zip(shares, expected, nine, drops, strict=True)
    )
    totals = {name: total_of(plan, needs, progress) for name, needs in (("expected", expected), ("nine_in_ten", nine))}
    outlook = Outlook(
        plan=plan,
        progress=progress,
        shares=shares,
        needs=nine,
        total=totals["nine_in_ten"],
        traffic=traffic,
        rates=rates,
    )
    problems = problems_of(outlook)
    ladders = other_ladders(plan, traffic, rates) if problems and rates is not None else ()
    alarms: list[AlarmNeed] = []
    steady = traffic if traffic is not None and traffic.hours >= STEADY_HOURS else None
    per_second = steady.requests_per_second * shares[0] if steady is not None else 0.0
    for errors in ERRORS_AFTER:
        needed = _requests_needed(plan, shares[0], errors)
        seconds = needed / per_second + CLOSING_S if needed is not None and per_second > 0 else None
        alarms.append(
            AlarmNeed(errors=errors, candidate_requests=needed, minutes=None if seconds is None else seconds / 60)
        )
    verdict: Feasibility = "cannot_tell" if missing else "exceeds" if problems else "fits"
    return RolloutForecast(
        verdict=verdict,
        summary=_summary(totals["expected"], totals["nine_in_ten"], missing, problems, progress),
        missing=missing,
        problems=problems,
        ways_out=(
            *ways_out(outlook, problems),
            *(ladder_texts(plan, traffic, rates, ladders) if problems and rates is not None else ()),
        ),
        ladders=tuple(way for way in ladders if way.fits),
        warnings=_warnings(plan, steady, shares[0]),
        max_days=plan.max_hours / 24,
        max_labelled=plan.max_labelled,
        margin=plan.margin,
        base=plan.base,
        base_why=plan.base_why,
        lift=plan.lift.value,
        lift_why=plan.lift.why,
        units_per_hour=traffic.units_per_hour / plan.clock_scale if traffic is not None else None,
        label_rate=traffic.label_rate(plan.field, plan.source) if traffic is not None and traffic.n_units else None,
        requests_per_second=traffic.requests_per_second if traffic is not None else None,
        stages=stages,
        users_exposed=units_on_candidate(plan, expected, totals["expected"], traffic, rates),
        guardrails=tuple(alarms),
        holds=f"{_holds(plan, None if missing else traffic)} They say nothing of what comes after the hours that were"
        f" watched{AFTERWARDS if plan.whole_hours == DAY_HOURS else ''}.",
        **totals,
    )


def _holds(plan: ForecastPlan, traffic: RecordedTraffic | None) -> str:
    """What the 5 in 100 are about.

    A unit counts once per stage, so units that come back often count in its first hours.
    """
    if not plan.whole_hours:
        return (
            "The 5 in 100 are about differences that are alike at every hour. Where they are not, whole_days: true"
            " waits for whole days."
        )
    a_day = 0.0  # requests of a unit
    if traffic is not None and traffic.n_units:
        a_day = traffic.n_requests_with_unit / traffic.n_units / traffic.hours * 24
    if a_day > OFTEN:
        return (
            f"Here the 5 in 100 are about differences that are alike at every hour: a unit sends {a_day:,.1f} requests"
            " a day and counts once per stage, so most labels of a stage fall into its first hours. A finer unit (a"
            " conversation) counts at every hour."
        )
    if plan.whole_hours > DAY_HOURS:
        return "The 5 in 100 are about the mean over whole weeks."
    return (
        "The 5 in 100 are about the mean over whole days. Where candidates differ by the day of the week (by ten"
        " points: 28 in 100 wrong promotions and 29 wrong rollbacks, 45 and 24 without a feedback window),"
        " min_duration_hours: 168 waits for whole weeks."
    )


def _requests_needed(plan: ForecastPlan, share: float, errors: float) -> float | None:
    kappa = KAPPA_MEAN + log(len(GAPS["errors"]))  # the guardrail spreads its bet evenly over so many alternatives
    n_requests = candidate_requests_to_alarm(
        base=ERRORS_BEFORE, bad=errors, w=share, margin=plan.error_margin, alpha=ALPHA["errors"], kappa=kappa
    )
    return finite(n_requests)


def _warnings(plan: ForecastPlan, traffic: RecordedTraffic | None, share: float) -> tuple[str, ...]:
    """Warnings where an alarm cannot come within five minutes."""
    needed = _requests_needed(plan, share, PROMISED)
    if needed is None:
        return (
            (
                f"The error margin {plan.error_margin:g} allows a candidate that fails {PROMISED:.0%} of its requests."
                " Lower guardrails.error_margin."
            ),
        )
    if traffic is None or traffic.requests_per_second <= 0:
        return ()
    own = traffic.requests_per_second * share * PROMISED_S
    if own >= needed:
        return ()
    minutes = needed / (traffic.requests_per_second * share) / 60
    return (
        (
            f"A candidate that fails {PROMISED:.0%} of its requests will not be rolled back within five minutes at this"
            f" traffic: at a share of {share:.0%} it gets about {own:.1f} requests in that time and the guardrail needs"
            f" about {needed:.0f}, so about {minutes:,.0f} minutes. A larger first share makes it faster."
        ),
    )


def rates_of(plan: ForecastPlan, traffic: RecordedTraffic) -> TrafficRate:
    return TrafficRate(
        units_per_hour=traffic.units_per_hour / plan.clock_scale,
        label_rate=traffic.label_rate(plan.field, plan.source),
        window_hours=plan.closing_hours,
    )


def missing_of(plan: ForecastPlan, traffic: RecordedTraffic | None) -> tuple[str, ...]:
    """Why nothing can be told of the plan's metric at this traffic; empty where it can."""
    label = f"{plan.field} by {plan.source}"
    if traffic is None:
        return (
            (
                "nothing was reported in the last 30 days, so neither units nor labels are known: let users fetch"
                " prompts with a unit, and report interactions and feedback"
            ),
        )
    if not traffic.n_units:
        return (
            (
                f"of {count(traffic.n_requests, 'reported request')} none has a unit: name the user, session or"
                " conversation when fetching a prompt (header X-Detent-Unit), and report with the assignment token"
            ),
        )
    if not traffic.label_rate(plan.field, plan.source):
        others = ", ".join(f"{n:,} by {f} of {s}" for (f, s), n in sorted(traffic.n_labelled_units.items()) if n)
        have = f"; labelled otherwise: {others}" if others else ""
        return (
            (
                f"none of {count(traffic.n_units, 'unit')} gave a label ({label}) in {span(traffic.hours)}{have}: send"
                " feedback, or choose another metric"
            ),
        )
    if plan.clock_scale != 1.0:
        return (
            (
                f"rollout time runs {plan.clock_scale:g} times as fast here (simulated clock), so what came per hour of"
                " it so far says little"
            ),
        )
    n_labelled, hours = traffic.n_labelled_units[plan.field, plan.source], traffic.hours
    if hours < ENOUGH_HOURS:  # a burst of some seconds, however large, says nothing about a day
        return (
            (
                f"the record is too short to rely on: {count(n_labelled, 'unit')} with a label ({label}) in"
                f" {span(hours)}; {ENOUGH_HOURS:.0f} hours are needed"
            ),
        )
    return ()


def _summary(
    expected: Need,
    nine: Need,
    missing: tuple[str, ...],
    problems: tuple[LimitExceeded, ...],
    progress: Progress,
) -> str:
    more = " more" if progress.begun else ""
    if nine.labelled is None:
        labels = "no number of labelled outcomes would pass every gate"
    else:
        labels = (
            f"about {expected.labelled:,.0f}{more} labelled outcomes on average, up to {nine.labelled:,.0f} in 90 % of"
            " rollouts"
        )
    if missing:
        return f"Cannot tell how long: {'; '.join(missing)}. By its settings alone: {labels}."
    if expected.hours is None or nine.hours is None:
        return f"Does not fit: {labels}."
    figures = f"{span(expected.hours)}{more} on average, up to {span(nine.hours)} in 90 % of rollouts; {labels}"
    return f"Does not fit its limits: {figures}." if problems else f"Fits its limits: {figures}."
