"""A rollout's evidence in the terminal: bars against thresholds, arms, labels and hours, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optimizer.cli.output import percent, table
from optimizer.core.base.phrasing import count, signed
from optimizer.core.base.texts import shown

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.views.rollout_status import ArmView, EvidenceView, ForecastView, MeanDifference

BAR = 20  # characters from an e-value of 1 to the threshold
ARMS = {
    "arm": "Arm",
    "variant": "Variant",
    "units": "Units",
    "labelled": "Labelled",
    "rate": "Rate",
    "mean": "Mean",
    "late": "Late",
}
CONSEQUENCES = {
    "ship3": "goes on below 25 %",
    "ship2": "goes on below 50 %",
    "ship1": "goes on from 50 %",
    "roll": "rolls back",
    "roll2": "rolls back at any hour",
}


def print_evidence(out: Console, seen: ForecastView) -> None:
    """Everything that the blocks say so far."""
    out.print(f"Evidence  {seen.verdict}", markup=False)
    out.print(
        f"          {seen.metric}, margin {seen.margin:g}, {count(seen.n_blocks, 'block')}. Largest so far against"
        " these claims:",
        markup=False,
    )
    asked = seen.next_step.asks if seen.next_step is not None else None
    for gate in seen.gates:
        mark = ">" if gate.name == asked else " "
        out.print(f"  {mark} {gate.claim:<28}{bar(gate)}  {_gate_note(gate, asked):<25}{gate.text}", markup=False)
    out.print("Guard     against the champion at the same time; a full bar rolls back:", markup=False)
    for guardrail in seen.guardrails:
        style = "red" if guardrail.passed else None
        note = (
            f"{'ALARM; ' if guardrail.passed else ''}may have {guardrail.allowed};"
            f" {count(guardrail.n_candidate, 'outcome')}"
        )
        out.print(f"    {guardrail.name:<28}{bar(guardrail)}  {note}; {guardrail.text}", style=style, markup=False)
    for kind, why in seen.not_guarded.items():
        out.print(f"    {kind:<28}{'·' * BAR}  does not look: {why}", markup=False)
    out.print("")
    table([_arm(arm) for arm in seen.arms], ARMS, empty="")(out)
    out.print(f"Differ    {difference_text(seen.difference)}{_left_out(seen)}", markup=False)
    if seen.keys:
        out.print(f"Keys      {keys_text(seen)}", markup=False)


def print_progress(out: Console, seen: ForecastView) -> None:
    """Labels, time, what it waits for and whatever is wrong."""
    labels, hours = seen.labels, seen.hours
    used = f"{labels.used:,} used"
    if labels.counted != labels.used:
        used += f", {labels.counted:,} counted where the last whole day ended,"
    waiting = f", {labels.waiting} more in a block that is not full yet" if labels.waiting else ""
    out.print(
        f"Labels    {labels.in_stage:,} in this stage, at least {labels.needed_in_stage:,}; {used} of at most"
        f" {labels.allowed:,}{waiting}",
        markup=False,
    )
    out.print(
        f"Time      {hours.running:.3g} hours, at least {hours.least:g} before promotion, at most {hours.allowed:g}; a"
        f" cohort's feedback closes after {hours.window:.3g} hours",
        markup=False,
    )
    for reason in seen.waits_for:
        out.print(f"Missing   {reason}", style="yellow", markup=False)
    if seen.next_step is not None and not seen.waits_for:
        out.print("Waits for the worker's next tick: every gate of this stage has passed", markup=False)
    if seen.forecast is not None:
        out.print(f"Forecast  {seen.forecast.summary}", markup=False)


def print_alerts(out: Console, seen: ForecastView) -> None:
    for stage in seen.stages:
        if stage.sample_ratio.passed:
            out.print(
                f"Invalid   the arms' sizes at {percent(stage.share)} do not fit that share: {stage.sample_ratio.text}",
                style="red",
                markup=False,
            )
    if seen.late_alert is not None:
        out.print(f"Late      {seen.late_alert}", style="yellow", markup=False)
    for alert in seen.alerts:
        out.print(f"Alert     {alert.kind}: {shown(alert.detail)}", style="yellow", markup=False)


def bar(evidence: EvidenceView) -> str:
    """Full at the threshold; the way from an e-value of 1 on the log scale. Never full before."""
    full = BAR if evidence.passed else min(BAR - 1, int(evidence.share_of_way * BAR))
    return "█" * full + "░" * (BAR - full)


def difference_text(found: MeanDifference) -> str:
    from optimizer.core.views.rollout_status import WITHIN_BLOCKS

    if found.observed is None:
        return "no outcomes of both arms yet"
    span = (
        f"between {signed(found.lower, 2)} and {signed(found.upper, 2)}"
        if (found.lower, found.upper) != (-1.0, 1.0)
        else "anything is possible"
    )
    return (
        f"candidate - champion {signed(found.observed)} ({WITHIN_BLOCKS}); {span} at {100 * found.confidence:.0f} %"
        " confidence, at every look"
    )


def _gate_note(gate: EvidenceView, asked: str | None) -> str:
    if gate.passed:
        refuted = {"roll": "refuted: worse", "roll2": "refuted: worse", "sup": "refuted: better"}
        return refuted.get(gate.name, "ruled out")
    if gate.name == asked:
        return "asked for at this stage"
    return CONSEQUENCES.get(gate.name, "open")


def _arm(arm: ArmView) -> dict[str, Any]:
    late = f"{arm.late:,}" + (f" ({100 * arm.late_share:.1f} %)" if arm.late and arm.late_share is not None else "")
    mean = None if arm.mean is None else f"{arm.mean:.3f}"
    return {
        "arm": arm.arm,
        "variant": arm.variant,
        "units": arm.units,
        "labelled": arm.labelled,
        "rate": percent(arm.label_rate),
        "mean": mean,
        "late": late,
    }


def keys_text(seen: ForecastView) -> str:
    """Who brought the labelled units."""
    named = ", ".join(f"{one.key or '(not on record)'} {100 * one.share:.0f} %" for one in seen.keys)
    most = (
        f"; a step waits while one has more than {100 * seen.max_share_per_key:g} %"
        if seen.max_share_per_key < 1
        else ""
    )
    beyond = (
        f"; {count(seen.beyond_exposures, 'unit')} without a token not counted: their key reported too few exposures"
        if seen.beyond_exposures
        else ""
    )
    return f"{named}{most}{beyond}"


def _left_out(seen: ForecastView) -> str:
    return f"; {count(seen.left_out, 'unit')} left out, served both" if seen.left_out else ""
