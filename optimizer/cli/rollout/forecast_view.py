"""A forecast for people: what each stage takes, what the guardrails can see, and the ways out where it does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optimizer.cli.output import percent, print_facts, table
from optimizer.core.base.phrasing import signed

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.forecast.forecast import RolloutForecast
    from optimizer.core.forecast.outcomes import OutcomeForecast
    from optimizer.core.forecast.plan import Need

STAGE_COLUMNS = {
    "share": "Share",
    "labelled": "Labelled",
    "labelled_90": "in 90 %",
    "units": "Units",
    "units_90": "in 90 %",
    "time": "Time",
    "time_90": "in 90 %",
    "drop": "Drop seen in a day",
}
# All that can be told without traffic.
BY_SETTINGS = {name: STAGE_COLUMNS[name] for name in ("share", "labelled", "labelled_90")}
ALARM_COLUMNS = {"errors": "Errors 1 % to", "requests": "Candidate requests", "minutes": "Minutes"}
OUTCOME_COLUMNS = {
    "outcome": "Outcome",
    "rate": "Units that give it",
    "mean": "Mean",
    "time_90": "Time in 90 %",
    "agreement": "Agrees with thumbs",
}
UNKNOWN = "unknown"


def view_forecast(out: Console, forecast: RolloutForecast, outcomes: Sequence[OutcomeForecast] = ()) -> None:
    print_facts(out, ("Forecast", forecast.summary, None if forecast.verdict in ("fits", "ended") else "yellow"))
    expected, nine_in_ten = forecast.expected, forecast.nine_in_ten
    if forecast.base is None or forecast.lift is None or forecast.margin is None or not expected or not nine_in_ten:
        return  # it has ended
    gain, is_known = signed(forecast.lift), forecast.verdict != "cannot_tell"
    candidate = f"better by {gain[1:]}" if gain.startswith("+") else "equal to it"
    print_facts(
        out,
        ("Problem", [problem.text for problem in forecast.problems]),
        ("Way out", forecast.ways_out),
        ("Assumed", f"champion at {forecast.base:.3f} ({forecast.base_why}); margin {forecast.margin:g}"),
        ("", f"candidate {candidate}: {forecast.lift_why}"),
        (
            "Traffic",
            f"{forecast.units_per_hour:,.1f} distinct units an hour, {100 * forecast.label_rate:.3g} % of them give a"
            f" label; {forecast.requests_per_second:.3g} requests a second"
            if is_known
            and forecast.units_per_hour is not None
            and forecast.label_rate is not None
            and forecast.requests_per_second is not None
            else None,
        ),
    )
    out.print("")
    rows: list[dict[str, str]] = []
    for stage in forecast.stages:
        drop = stage.detectable_drop
        shown = UNKNOWN if drop is None else f"{100 * drop:.1f} points"
        rows.append(
            {
                "share": percent(stage.share),
                **_need(stage.expected, ""),
                **_need(stage.nine_in_ten, "_90"),
                "drop": shown,
            }
        )
    total = {"share": "All", **_need(expected, ""), **_need(nine_in_ten, "_90"), "drop": ""}
    columns = STAGE_COLUMNS if is_known else BY_SETTINGS
    table([*rows, total], columns, empty="No stage is left.")(out)
    out.print("")
    exposed = forecast.users_exposed
    print_facts(
        out,
        (
            "Exposed",
            f"about {exposed:,.0f} units will be served the candidate before its promotion"
            if exposed is not None
            else None,
        ),
        ("Alarms", "until the guardrail on errors rolls back, at the first share to come, on average:"),
    )
    alarms: list[dict[str, str]] = []
    for alarm in forecast.guardrails:
        requests, minutes = alarm.candidate_requests, alarm.minutes
        alarms.append(
            {
                "errors": percent(alarm.errors),
                "requests": "never, within the margin" if requests is None else f"{requests:,.0f}",
                "minutes": ("–" if requests is None else UNKNOWN) if minutes is None else f"{minutes:,.1f}",
            }
        )
    table(alarms, ALARM_COLUMNS, empty="")(out)
    if outcomes:
        out.print("")
        table([_outcome(outcome) for outcome in outcomes], OUTCOME_COLUMNS, empty="")(out)
    print_facts(out, ("Holds", forecast.holds), *(("Note", warning, "yellow") for warning in forecast.warnings))


def span(hours: float | None) -> str:
    """Hours for people: 40 min, 7.5 h, 3.2 d."""
    if hours is None:
        return UNKNOWN
    return f"{hours / 24:.1f} d" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"


def _need(need: Need, suffix: str) -> dict[str, str]:
    labelled, units = (UNKNOWN if n is None else f"{n:,.0f}" for n in (need.labelled, need.units))
    return {f"labelled{suffix}": labelled, f"units{suffix}": units, f"time{suffix}": span(need.hours)}


def _outcome(outcome: OutcomeForecast) -> dict[str, str]:
    if outcome.n_beside is None:
        beside = "–"
    elif outcome.agreement is None:
        beside = "no answer has both"
    else:
        beside = f"{percent(outcome.agreement)} of {outcome.n_beside:,} (by chance {percent(outcome.by_chance)})"
    return {
        "outcome": outcome.outcome,
        "rate": UNKNOWN if outcome.label_rate is None else percent(outcome.label_rate),
        "mean": UNKNOWN if outcome.mean is None else f"{outcome.mean:.3f}",
        "time_90": span(outcome.nine_in_ten.hours),
        "agreement": beside,
    }
