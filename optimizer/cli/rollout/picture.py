"""The readable picture of a rollout: ladder, evidence, arms, lease, what it waits for,
what comes next and how to take it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.cli.feedback import ARM_COLUMNS, arm_row
from optimizer.cli.output import percent, print_facts, table, when
from optimizer.core.base.answers import members_of, shown
from optimizer.core.base.phrasing import count, signed, span
from optimizer.core.serving.assignment import HOLDBACK_SHARE

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.core.serving.rollout import Rollout
    from optimizer.core.views.rollout_status import EvidenceView, FamilyRollout, ForecastView, MeanDifference

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


def picture(out: Console, status: FamilyRollout, *, lacks_worker: bool = False) -> None:
    """Print it. ``lacks_worker``: none runs that would move it."""
    champion, rollout = status.champion, status.rollout
    out.print(f"{status.headline}.", style="bold", markup=False)
    freeze, holdback, decision = status.freeze, status.holdback, status.last_decision
    print_facts(
        out,
        ("Family", status.family),
        ("Worker", "none runs, so nothing moves: detent serve runs one" if lacks_worker else None, "yellow"),
        (
            "Champion",
            f"{champion.variant} since {when(champion.since)}: {shown(champion.why)}" if champion is not None else None,
        ),
        ("Frozen", freeze.text if freeze is not None else None, "yellow"),
        (
            "Holdback",
            f"{percent(HOLDBACK_SHARE)} of units stay on {holdback.variant} until {when(holdback.until)}"
            if holdback is not None
            else None,
        ),
    )
    if rollout is None:
        print_facts(out, ("Rollout", "none yet"))
    else:
        flags = [
            text
            for text, on in (
                ("held", rollout.held),
                ("forced", rollout.forced),
                ("simulated clock", rollout.simulated_clock),
            )
            if on
        ]
        state = (
            rollout.status
            + (f" ({rollout.outcome})" if rollout.outcome else "")
            + (f", {', '.join(flags)}" if flags else "")
        )
        expires = rollout.lease_expires_at
        is_leased = status.served and expires is not None
        lease = f"ran out at {when(expires)}: every user gets the champion until a worker ticks"
        if status.served and expires is not None:
            renewal = "" if lacks_worker else "; the worker renews it"
            lease = f"good for {max(0, (expires - status.at).total_seconds()):.0f} s{renewal}"
        print_facts(
            out,
            ("Rollout", f"{rollout.id}: {state}"),
            ("Candidate", f"{rollout.candidate} against {rollout.champion}, aim {rollout.aim}"),
            ("Ladder", ladder(rollout)),
            (
                "Lease",
                lease if rollout.status == "deploying" and status.freeze is None else None,
                None if is_leased else "yellow",
            ),
            ("Reason", rollout.reason or None),
        )
        if decision is not None:
            by = f"{decision.kind} by {decision.actor} at {when(decision.at)}"
            print_facts(out, ("Last", f"{by}: {shown(decision.reason)}"))
        if rollout.stage_history:
            _print_evidence(out, rollout, status)
    waits_for_worker = lacks_worker and rollout is not None and rollout.status == "deploying"
    print_facts(
        out,
        ("By itself", None if waits_for_worker else status.by_itself),
        ("Next", "detent serve, whose worker moves it" if waits_for_worker else status.next),
        ("Undo", status.undo),
    )


def ladder(rollout: Rollout) -> str:
    """``10 % > [25 %] > 50 % > 100 %`` with the present share in brackets."""
    steps = [percent(s) for s in rollout.ladder] + ["100 %"]
    place = len(steps) - 1 if rollout.status == "deployed" else rollout.stage if rollout.is_active else -1
    stages = " > ".join(f"[{step}]" if i == place else step for i, step in enumerate(steps))
    return f"{stages}; ended at {steps[rollout.stage]}" if rollout.status == "rolled_back" else stages


def _print_evidence(out: Console, rollout: Rollout, status: FamilyRollout) -> None:
    evidence = status.evidence
    assert evidence is not None
    if evidence.followed_by is not None:
        after = evidence.followed_by
        print_facts(
            out,
            (
                "Since",
                f"{after.variant} reigns from {when(after.since)} on, by {after.by}: {shown(after.why)}",
                "yellow",
            ),
        )
    out.print("")
    print_evidence(out, evidence)
    out.print("")
    print_facts(out, ("Reported", "by every user in this rollout, matured or not"))
    table(
        [arm_row(members_of(arm)) for arm in status.arms],
        ARM_COLUMNS,
        empty="Nothing was reported for this rollout yet.",
    )(out)
    out.print("")
    if rollout.status == "deploying":
        print_progress(out, evidence)
    print_alerts(out, evidence)


def print_evidence(out: Console, view: ForecastView) -> None:
    """Everything that the blocks say so far."""
    figures = f"{view.metric}, margin {view.margin:g}, {count(view.n_blocks, 'block')}"
    print_facts(out, ("Evidence", view.verdict), ("", f"{figures}. Largest so far against these claims:"))
    asked_gate = view.next_step.asks if view.next_step is not None else None
    for gate in view.gates:
        mark = ">" if gate.name == asked_gate else " "
        if gate.passed:
            refuted = {"roll": "refuted: worse", "roll2": "refuted: worse", "sup": "refuted: better"}
            note = refuted.get(gate.name, "ruled out")
        else:
            note = "asked for at this stage" if gate.name == asked_gate else CONSEQUENCES.get(gate.name, "open")
        out.print(f"  {mark} {gate.claim:<28}{bar(gate)}  {note:<25}{gate.text}", markup=False)
    print_facts(out, ("Guard", "against the champion at the same time; a full bar rolls back:"))
    for guardrail in view.guardrails:
        style = "red" if guardrail.passed else None
        note = (
            f"{'ALARM; ' if guardrail.passed else ''}may have {guardrail.allowed};"
            f" {count(guardrail.n_candidate, 'outcome')}"
        )
        out.print(f"    {guardrail.name:<28}{bar(guardrail)}  {note}; {guardrail.text}", style=style, markup=False)
    for kind, why in view.not_guarded.items():
        out.print(f"    {kind:<28}{'·' * BAR}  does not look: {why}", markup=False)
    out.print("")
    table(
        [
            {
                "arm": arm.arm,
                "variant": arm.variant,
                "units": arm.units,
                "labelled": arm.labelled,
                "rate": percent(arm.label_rate),
                "mean": None if arm.mean is None else f"{arm.mean:.3f}",
                "late": f"{arm.late:,}"
                + (f" ({100 * arm.late_share:.1f} %)" if arm.late and arm.late_share is not None else ""),
            }
            for arm in view.arms
        ],
        ARMS,
        empty="",
    )(out)
    left_out = f"; {count(view.left_out, 'unit')} left out, served both" if view.left_out else ""
    print_facts(
        out,
        ("Differ", f"{difference_text(view.difference)}{left_out}"),
        ("Keys", keys_text(view) if view.keys else None),
    )


def print_progress(out: Console, view: ForecastView) -> None:
    """Labels, time, what it waits for and whatever is wrong."""
    labels, hours = view.labels, view.hours
    used = f"{labels.used:,} used"
    if labels.counted != labels.used:
        used += f", {labels.counted:,} counted where the last whole day ended,"
    waiting = f", {labels.waiting} more in a block that is not full yet" if labels.waiting else ""
    print_facts(
        out,
        (
            "Labels",
            f"{labels.in_stage:,} in this stage, at least {labels.needed_in_stage:,}; {used} of at most"
            f" {labels.allowed:,}{waiting}",
        ),
        (
            "Time",
            f"{span(hours.running)}, at least {hours.least:g} hours before promotion, at most {hours.allowed:g}; a"
            f" cohort's feedback closes after {span(hours.window)}",
        ),
        *(("Missing", reason, "yellow") for reason in view.waits_for),
        (
            "Waits for",
            "the worker's next tick: every gate of this stage has passed"
            if (view.next_step is not None and not view.waits_for)
            else None,
        ),
        ("Forecast", view.forecast.summary if view.forecast is not None else None),
    )


def print_alerts(out: Console, view: ForecastView) -> None:
    unfit = [
        f"the arms' sizes at {percent(stage.share)} do not fit that share: {stage.sample_ratio.text}"
        for stage in view.stages
        if stage.sample_ratio.passed
    ]
    print_facts(
        out,
        *(("Invalid", text, "red") for text in unfit),
        ("Late", view.late_alert, "yellow"),
        *(("Alert", f"{alert.kind}: {shown(alert.detail)}", "yellow") for alert in view.alerts),
    )


def bar(evidence: EvidenceView) -> str:
    """Full at the threshold; the way from an e-value of 1 on the log scale. Never full before."""
    full = BAR if evidence.passed else min(BAR - 1, int(evidence.share_of_way * BAR))
    return "█" * full + "░" * (BAR - full)


def difference_text(lift: MeanDifference) -> str:
    from optimizer.core.views.rollout_status import WITHIN_BLOCKS

    if lift.observed is None:
        return "no outcomes of both arms yet"
    span = (
        f"between {signed(lift.lower, 2)} and {signed(lift.upper, 2)}"
        if (lift.lower, lift.upper) != (-1.0, 1.0)
        else "anything is possible"
    )
    return (
        f"candidate - champion {signed(lift.observed)} ({WITHIN_BLOCKS}); {span} at {100 * lift.confidence:.0f} %"
        " confidence, at every look"
    )


def keys_text(view: ForecastView) -> str:
    """The keys that brought the labelled units."""
    shares = ", ".join(f"{key_share.key or '(not on record)'} {100 * key_share.share:.0f} %" for key_share in view.keys)
    most = (
        f"; a step waits while one has more than {100 * view.max_share_per_key:g} %"
        if view.max_share_per_key < 1
        else ""
    )
    beyond = (
        f"; {count(view.beyond_exposures, 'unit')} without a token not counted: their key reported too few exposures"
        if view.beyond_exposures
        else ""
    )
    return f"{shares}{most}{beyond}"
