"""A rollout as one HTML page that works without a network: what happened, on which evidence, and what the gates cannot see.

The page is ``templates/rollout.html``; here are the sentences that need more than a look at a value. Plots are in ``rollout_plots.py``.
"""

from __future__ import annotations

from optimizer.adapters.reports import rollout_plots as plots
from optimizer.adapters.reports.page import page
from optimizer.core.base.phrasing import count, span, when
from optimizer.core.serving.rollout import Rollout, ladder_text, percent
from optimizer.core.views.rollout_evidence import evidence_text
from optimizer.core.views.rollout_status import WITHIN_BLOCKS, RolloutView
from optimizer.core.views.rollout_story import RolloutReport, headline


def rollout_page(report: RolloutReport) -> str:
    """The whole page."""
    rollout, view = report.rollout, report.view
    return page(
        "rollout.html",
        report=report,
        rollout=rollout,
        view=view,
        plots=plots,
        headline=_headline(report),
        status=_status(rollout),
        ladder=ladder_text(rollout.ladder),
        time=_time(rollout, view),
        difference=_difference(view),
        notes=_notes(report),
        not_drawn="Not drawn: the record does not fit." if report.problems else "",
        evidence_text=evidence_text,
    )


def _headline(report: RolloutReport) -> str:
    """A record that was changed tells nothing, whatever it says."""
    if report.problems:
        return f"The record of rollout {report.rollout.id} of {report.rollout.family} does not fit: it was changed or lost in part."
    return headline(report.rollout, report.view, report.decisions)


def _status(rollout: Rollout) -> str:
    flags = [text for text, on in (("held", rollout.held), ("forced", rollout.forced)) if on]
    return f"{rollout.status}{f' ({rollout.outcome})' if rollout.outcome else ''}{''.join(f', {flag}' for flag in flags)}"


def _time(rollout: Rollout, view: RolloutView) -> str:
    if rollout.started_at is None:
        return "not served yet"
    begun = when(rollout.started_at)
    until = f" to {when(rollout.ended_at)}" if rollout.ended_at is not None else " until now"
    simulated = " of a simulated clock" if rollout.simulated_clock else ""
    return f"{begun}{until}: {span(view.hours.running)}{simulated}"


def _difference(view: RolloutView) -> str:
    found = view.difference
    if found.observed is None:
        return "no outcomes of both arms yet"
    return (
        f"candidate − champion {100 * found.observed:+.1f} points, between {_points(found.lower)} and {_points(found.upper)} "
        f"({100 * found.confidence:.0f} % confidence at every look; {WITHIN_BLOCKS})"
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}" if round(100 * difference) else "0"


def _notes(report: RolloutReport) -> list[str]:
    """What a reader has to know before believing the rest."""
    rollout, view = report.rollout, report.view
    notes = ["The record does not fit, so nothing on this page is certain: " + "; ".join(report.problems) + "."] if report.problems else []
    notes += [view.late_alert] if view.late_alert else []
    if rollout.simulated_clock:
        notes.append(
            "This rollout ran on a simulated clock: its hours passed faster than real ones. Gates, thresholds and code are the product's."
        )
    forced = [f"{d.seq} ({d.kind})" for d in report.decisions if d.forced]
    if forced:
        notes.append(f"Forced by a person, past a gate that had not passed: decision {', '.join(forced)}.")
    if view.left_out:
        notes.append(f"In neither arm: {count(view.left_out, 'unit')}, served both variants because nobody watched for a while.")
    if view.keys:
        named = ", ".join(f"{one.key or '(not on record)'} {percent(one.share)}" for one in view.keys)
        notes.append(f"The labelled units came by these keys: {named}.")
    if view.beyond_exposures:
        notes.append(
            f"Not counted: {count(view.beyond_exposures, 'unit')} without a token, since the key that sent them reported too few exposures."
        )
    if view.late_alert is None and any(arm.late for arm in view.arms):
        notes.append(
            "Late feedback: " + ", ".join(f"{arm.late} of {arm.late_of} of the {arm.arm}" for arm in view.arms) + "; shown, not used."
        )
    for stage in view.stages:
        if stage.rates_differ:
            notes.append(f"At {percent(stage.share)} the arms gave feedback at different rates, more than chance explains.")
        if stage.sample_ratio.passed:
            notes.append(f"At {percent(stage.share)} the arms' sizes do not fit the share: evidence {stage.sample_ratio.text}.")
    notes += [f"The guardrail on {kind} did not look: {why}." for kind, why in view.not_guarded.items()] if rollout.stage_history else []
    return notes
