"""A rollout as one HTML page that works without a network: what happened, on which evidence, and what the gates cannot see.

Start reading at ``rollout_page``. Plots are in ``rollout_plots.py``; nothing on the page is loaded from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from optimizer.adapters.reports import rollout_plots as plots
from optimizer.adapters.reports.page import document, fact_list, note_list, number_cell, section, share_cell, table
from optimizer.core.base.phrasing import count, span, when
from optimizer.core.serving.rollout import Decision, Rollout, ladder_text, percent
from optimizer.core.views.rollout_evidence import evidence_text
from optimizer.core.views.rollout_status import WITHIN_BLOCKS, ArmView, RolloutView
from optimizer.core.views.rollout_story import RolloutReport, headline

NOT_DRAWN = "Not drawn: the record does not fit."
UNSEEN = (
    ("Effects that turn.", "The claim under attack is about every hour. A candidate that is good at first and bad once users know it can pass while "
     "it is good; the minimum duration, the 5 % that are held back for a week and the drift detector watch for that."),
    ("Selective silence.", "If the candidate's users report bad outcomes less often, it looks stronger than it is. A large difference in the rate of "
     "feedback holds the rollout; a small one among unhappy users only is invisible in the answers. Keep a random sample that people label."),
    ("What is not measured.", "Success is what the metric says. A candidate that pleases users with wrong answers passes a gate on pleased users."),
    ("Small groups.", "The mean can hold while one language, customer or kind of request suffers."),
    ("Users who influence each other,", "or who change their identity between visits: units must be what the shares are drawn by."),
    ("Many rollouts.", "The limits hold per rollout: of a hundred candidates that are worse by more than the margin, up to five may be promoted."),
)  # fmt: skip


def rollout_page(report: RolloutReport) -> str:
    """The whole page."""
    rollout, seen = report.rollout, report.view
    parts = [
        f"<h1>{escape(_headline(report))}</h1>",
        f'<p class="verdict">{escape(seen.verdict)}</p>',
        _facts(report),
        _notes(report),
        section("Who was served what", _timeline(report)),
        section("Evidence, game by game", _evidence(report)),
        section("What users said", _outcomes(report)),
        section("Guardrails", _guardrails(report)),
        section("Arms", _arms(seen)),
        section("Stages", _stages(report)),
        section("Decisions", _decisions(report)),
        section("What the gates cannot see", "".join(f"<p><b>{escape(what)}</b> {escape(why)}</p>" for what, why in UNSEEN)),
        f"<footer>Made {when(report.made_at)} from {count(seen.n_blocks, 'block')}, the last one {_hash(seen.head)}. "
        f"Check it: <code>detent rollout verify {escape(rollout.id)}</code></footer>",
    ]
    return document(f"Rollout {rollout.id} of {rollout.family}", parts)


def _headline(report: RolloutReport) -> str:
    """A record that was changed tells nothing, whatever it says."""
    if report.problems:
        return f"The record of rollout {report.rollout.id} of {report.rollout.family} does not fit: it was changed or lost in part."
    return headline(report.rollout, report.view, report.decisions)


# --- what happened ----------------------------------------------------------------------------------------------------------------


def _facts(report: RolloutReport) -> str:
    rollout, seen = report.rollout, report.view
    facts = {
        "Rollout": f"<code>{escape(rollout.id)}</code> of {escape(rollout.family)}, aim {escape(rollout.aim)}",
        "Candidate": f'<code class="candidate">{escape(rollout.candidate)}</code> against <code class="champion">{escape(rollout.champion)}</code>',
        "Status": escape(_status(rollout)),
        "Ladder": escape(f"{ladder_text(rollout.ladder)} > 100 %"),
        "Metric": f"{escape(seen.metric)}, margin {seen.margin:g} ({escape(str(rollout.settings.get('margin_from', 'given')))})",
        "Time": escape(_time(rollout, seen)),
        "Difference": _difference(seen),
        "Record": _record(report),
    }
    return fact_list(facts)


def _status(rollout: Rollout) -> str:
    flags = [text for text, on in (("held", rollout.held), ("forced", rollout.forced)) if on]
    return f"{rollout.status}{f' ({rollout.outcome})' if rollout.outcome else ''}{''.join(f', {flag}' for flag in flags)}"


def _time(rollout: Rollout, seen: RolloutView) -> str:
    if rollout.started_at is None:
        return "not served yet"
    begun = when(rollout.started_at)
    until = f" to {when(rollout.ended_at)}" if rollout.ended_at is not None else " until now"
    simulated = " of a simulated clock" if rollout.simulated_clock else ""
    return f"{begun}{until}: {span(seen.hours.running)}{simulated}"


def _difference(seen: RolloutView) -> str:
    found = seen.difference
    if found.observed is None:
        return "no outcomes of both arms yet"
    return (
        f"candidate − champion {100 * found.observed:+.1f} points, between {_points(found.lower)} and {_points(found.upper)} "
        f"({100 * found.confidence:.0f} % confidence at every look; {WITHIN_BLOCKS})"
    )


def _points(difference: float) -> str:
    return f"{100 * difference:+.0f}" if round(100 * difference) else "0"


def _record(report: RolloutReport) -> str:
    if report.problems:
        return f'<b class="bad">does not fit:</b> {escape("; ".join(report.problems))}'
    return f"{count(len(report.decisions), 'decision')} and {count(report.view.n_blocks, 'block')}, every link of both chains fits"


def _notes(report: RolloutReport) -> str:
    """What a reader has to know before believing the rest."""
    rollout, seen = report.rollout, report.view
    notes = ["The record does not fit, so nothing on this page is certain: " + "; ".join(report.problems) + "."] if report.problems else []
    notes += [seen.late_alert] if seen.late_alert else []
    if rollout.simulated_clock:
        notes.append(
            "This rollout ran on a simulated clock: its hours passed faster than real ones. Gates, thresholds and code are the product's."
        )
    forced = [f"{d.seq} ({d.kind})" for d in report.decisions if d.forced]
    if forced:
        notes.append(f"Forced by a person, past a gate that had not passed: decision {', '.join(forced)}.")
    if seen.left_out:
        notes.append(f"In neither arm: {count(seen.left_out, 'unit')}, served both variants because nobody watched for a while.")
    if seen.keys:
        named = ", ".join(f"{one.key or '(not on record)'} {percent(one.share)}" for one in seen.keys)
        notes.append(f"The labelled units came by these keys: {named}.")
    if seen.beyond_exposures:
        notes.append(
            f"Not counted: {count(seen.beyond_exposures, 'unit')} without a token, since the key that sent them reported too few exposures."
        )
    if seen.late_alert is None and any(arm.late for arm in seen.arms):
        notes.append(
            "Late feedback: " + ", ".join(f"{arm.late} of {arm.late_of} of the {arm.arm}" for arm in seen.arms) + "; shown, not used."
        )
    for stage in seen.stages:
        if stage.rates_differ:
            notes.append(f"At {percent(stage.share)} the arms gave feedback at different rates, more than chance explains.")
        if stage.sample_ratio.passed:
            notes.append(f"At {percent(stage.share)} the arms' sizes do not fit the share: evidence {stage.sample_ratio.text}.")
    notes += [f"The guardrail on {kind} did not look: {why}." for kind, why in seen.not_guarded.items()] if rollout.stage_history else []
    return note_list(notes)


def _timeline(report: RolloutReport) -> str:
    if not report.rollout.stage_history:
        return "<p>The candidate was never served.</p>"
    text = "The candidate's share of the units over real time. A gap: frozen, or nobody watched, so everybody got the champion."
    return f"<p>{text}</p>{plots.timeline(report)}"


# --- why ----------------------------------------------------------------------------------------------------------------------------


def _evidence(report: RolloutReport) -> str:
    if not report.history.quality:
        return f"<p>{NOT_DRAWN if report.problems else 'No block of labelled outcomes was closed, so nothing was weighed.'}</p>"
    text = (
        "Each game bets against one claim. At an e-value of 20 (not worse: 33.3) the claim is refuted, and stays so. "
        "Dashed: that threshold. Vertical lines: the share changed. Log scale."
    )
    return f'<p>{text}</p><div class="plots">{"".join(plots.games(report))}</div>'


def _outcomes(report: RolloutReport) -> str:
    if not report.history.quality:
        return f"<p>{NOT_DRAWN if report.problems else 'No labelled outcomes of matured units yet.'}</p>"
    return f'<div class="plots">{plots.means(report)}{plots.difference(report)}</div>'


def _guardrails(report: RolloutReport) -> str:
    drawn = plots.guardrails(report)
    if not drawn:
        return "<p>No block with requests of both arms was closed.</p>"
    text = "Every reported request, ten seconds at a time, against the champion at the same time. At the dashed line the candidate is rolled back."
    return f'<p>{text}</p><div class="plots">{"".join(drawn)}</div>'


# --- tables -------------------------------------------------------------------------------------------------------------------------


def _arms(seen: RolloutView) -> str:
    columns = ("Arm", "Variant", "Matured units", "Labelled", "Label rate", "Mean", "Late feedback")
    return table(columns, [_arm(arm) for arm in seen.arms])


def _arm(arm: ArmView) -> Sequence[str]:
    late = f"{arm.late:,} of {arm.late_of:,}" if arm.late_of else "–"
    name = f'<span class="key {arm.arm}">{arm.arm}</span>'
    return (
        name,
        f"<code>{escape(arm.variant)}</code>",
        f"{arm.units:,}",
        f"{arm.labelled:,}",
        share_cell(arm.label_rate),
        number_cell(arm.mean),
        late,
    )


def _stages(report: RolloutReport) -> str:
    columns = ("Share", "From", "To", "Units", "Measured share", "Labelled", "Mean", "Asked", "Sizes fit")
    rows = []
    for place, stage in enumerate(report.view.stages):
        asks, share = plots.asked(stage.asks), percent(stage.share) + (" (holdback)" if stage.asks == "roll" else "")
        if stage.state == "ahead":
            rows.append((share, *("–",) * 6, asks, "–"))
            continue
        means = report.history.stages.get(place)
        rows.append(
            (
                share, _when(stage.since), "now" if stage.state == "now" else _when(stage.until),
                _both(f"{stage.units['candidate']:,}", f"{stage.units['champion']:,}"), share_cell(stage.candidate_share),
                _both(f"{stage.labelled['candidate']:,}", f"{stage.labelled['champion']:,}"),
                _both(number_cell(means.candidate if means else None), number_cell(means.champion if means else None)), asks,
                f"no ({stage.sample_ratio.text})" if stage.sample_ratio.passed else "yes",
            )
        )  # fmt: skip
    return f"<p>Pairs: {_both('candidate', 'champion')}.</p>{table(columns, rows)}"


def _both(candidate: str, champion: str) -> str:
    return f'<span class="candidate">{candidate}</span> / <span class="champion">{champion}</span>'


def _decisions(report: RolloutReport) -> str:
    return f"<ol>{''.join(_decision(report.rollout, d) for d in report.decisions)}</ol>"


def _decision(rollout: Rollout, d: Decision) -> str:
    evidence = evidence_text(rollout, d)
    inputs: Mapping[str, int] = d.content["inputs"].get("evidence") or {}
    blocks = f" after {count(inputs['blocks'], 'block')}" if inputs else ""
    what = str(d.content.get("what", ""))
    return (
        f'<li value="{d.seq}"><div><b>{escape(d.kind)}</b>{" <b>(forced)</b>" if d.forced else ""} by {escape(d.actor)}, {when(d.at)}: {escape(what)}</div>'
        f"<div>{escape(d.reason)}</div>"
        + (f"<div>Evidence {escape(evidence)}{blocks}</div>" if evidence else "")
        + f'<div class="hash">{_hash(d.hash)}</div></li>'
    )


def _when(at: datetime | None) -> str:
    return "–" if at is None else when(at)


def _hash(text: str) -> str:
    return f'<code class="hash">{escape(text)}</code>'
