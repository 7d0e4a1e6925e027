"""A rollout as one HTML page that needs no network: what happened, on which evidence, and what the gates cannot see.

The page is ``templates/rollout.html``. Its plots: shares over time, every game's evidence, means with their interval,
guardrails.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from math import ceil, floor, log, log10

from optimizer.adapters.reports import rollout_plots as plots
from optimizer.adapters.reports.page import capital, page
from optimizer.adapters.reports.plots import (
    Axis,
    Band,
    GuideLine,
    Key,
    Line,
    Plot,
    Point,
    Tick,
    axis,
    counts,
    differences,
    hour_ticks,
)
from optimizer.core.base.phrasing import span
from optimizer.core.serving.rollout import ladder_text, percent
from optimizer.core.views.rollout_evidence import CLAIMS, evidence_text
from optimizer.core.views.rollout_status import WITHIN_BLOCKS, EvidenceView
from optimizer.core.views.rollout_story import RolloutReport, headline

LOWEST, HIGHEST = -3, 6  # powers of ten shown of an e-value; the caption says what lies beyond
ROOM = 0.12  # least distance between two ticks of shares, as a share of the plot's height
AFTER = 1.06  # a rollout that has ended is followed for a little longer
ASKED = {"ship3": "3 margins", "ship2": "2 margins", "ship1": "the margin"}
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def gate_label(name: str) -> str:
    """What a stage's gate has to show; of the holdback, what is still watched."""
    return f"not worse by {ASKED[name]}" if name in ASKED else "nothing; a drop is watched for"


def timeline(report: RolloutReport) -> Plot:
    """The candidate's share in steps; after the end 100 % or none."""
    rollout = report.rollout
    shares: dict[float, float] = {}  # by hour; where a stage ends and the next begins at once, there is no gap
    for entry in rollout.stage_history:
        shares[_hours(report, datetime.fromisoformat(entry["from"]))] = float(entry["share"])
        if entry["to"] is not None:
            shares[_hours(report, datetime.fromisoformat(entry["to"]))] = 0.0
    last = max(_last_hour(report), 1e-3)
    if rollout.ended_at is not None:
        shares[_hours(report, rollout.ended_at)] = 1.0 if rollout.outcome == "promoted" else 0.0
    end = last * AFTER if rollout.ended_at is not None else last
    points = [*shares.items(), (end, [*shares.values()][-1])]
    ticks: list[Tick] = [Tick(at=0.0, text="0")]
    for share in (*rollout.ladder, 1.0):
        if share - ticks[-1].at < ROOM and share < 1.0:
            continue
        if share == 1.0 and len(ticks) > 1 and share - ticks[-1].at < ROOM:
            ticks.pop()
        ticks.append(Tick(at=share, text=percent(share)))
    if rollout.ended_at is None:
        stands = f"{percent(rollout.share)} now" if rollout.share is not None else "not served now"
    else:
        stands = "promoted: all users" if rollout.outcome == "promoted" else f"ended ({rollout.outcome}): no user"
    return Plot(
        title="Share of units served the candidate",
        value=stands,
        about="share of units served the candidate over time",
        x=_hours_axis(end),
        y=Axis(low=0.0, high=1.05, ticks=ticks),
        lines=[Line(points=points, kind="candidate", steps=True, filled=True)],
        tall=True,
    )


def games(report: RolloutReport) -> list[Plot]:
    """One plot per game, all with the same axes."""
    points = report.history.quality
    x, y = _labelled(report), _powers_axis(value for p in points for value in p.log_e.values())
    marks = [float(before.labelled) for before, p in pairwise(points) if p.stage != before.stage]
    return [
        Plot(
            title=capital(CLAIMS[gate.name]),
            value=_standing(gate),
            reached=gate.passed,
            about=f"evidence against: {gate.claim}",
            x=x,
            y=y,
            rules=[GuideLine(y=log10(gate.threshold))],
            marks=marks,
            lines=[_evidence((float(p.labelled), p.log_e[gate.name]) for p in points)],
        )
        for gate in report.view.gates
    ]


def means(report: RolloutReport) -> Plot:
    points = report.history.quality
    candidate = [(float(p.labelled), p.candidate_mean) for p in points if p.candidate_mean is not None]
    champion = [(float(p.labelled), p.champion_mean) for p in points if p.champion_mean is not None]
    shown = [y for _, y in candidate + champion]
    return Plot(
        title="Running mean per arm",
        keys=[Key(kind="candidate", text="candidate"), Key(kind="champion", text="champion")],
        about="running mean of the outcomes of both arms",
        x=_labelled(report),
        y=axis(max(0.0, min(shown) - 0.05), min(1.0, max(shown) + 0.05)),
        lines=[Line(points=champion, kind="champion"), Line(points=candidate, kind="candidate")],
        tall=True,
    )


def difference(report: RolloutReport) -> Plot:
    """The observed difference in its interval, of which the widest beginnings are cut off."""
    points, margin = report.history.quality, report.view.margin
    last = points[-1].difference.interval
    observed = [(float(p.labelled), p.difference.estimate) for p in points]
    band = [(float(p.labelled), p.difference.interval.lower, p.difference.interval.upper) for p in points]
    edges = [1.6 * abs(edge) for edge in (last.lower, last.upper) if abs(edge) < 1]
    reach = min(1.0, max([3 * margin, *edges, *(abs(y) for _, y in observed[-1:])]))
    dashed = Key(kind="dashed", text="− margin")
    return Plot(
        title="Candidate − champion, in points",
        keys=[Key(kind="", text="observed"), Key(kind="interval", text="92 % interval"), dashed],
        about="difference of the means with its interval",
        x=_labelled(report),
        y=differences(reach, lambda at: f"{100 * at:+.3g}"),
        bands=[Band(points=[(0.0, -1.0, 1.0), *band])],
        rules=[GuideLine(y=0.0, kind="zero"), GuideLine(y=-margin)],
        lines=[Line(points=observed, kind="observed")],
        tall=True,
    )


def guardrails(report: RolloutReport) -> list[Plot]:
    """One plot per guardrail that has looked at anything."""
    by_kind = {kind: points for kind, points in report.history.guardrails.items() if points}
    if not by_kind:
        return []
    y = _powers_axis(p.log_e for points in by_kind.values() for p in points)
    x = _hours_axis(max(_last_hour(report), *(_hours(report, points[-1].at) for points in by_kind.values())))
    return [
        Plot(
            title=f"{capital(guardrail.name)}: at most {guardrail.allowed}",
            value=f"{_standing(guardrail)}; {guardrail.n_candidate:,} outcomes of the candidate",
            reached=guardrail.passed,
            about=f"evidence of the guardrail on {guardrail.name} over time",
            x=x,
            y=y,
            rules=[GuideLine(y=log10(guardrail.threshold))],
            lines=[_evidence((_hours(report, p.at), p.log_e) for p in by_kind[guardrail.name])],
        )
        for guardrail in report.view.guardrails
        if guardrail.name in by_kind
    ]


def _evidence(log_es: Iterable[Point]) -> Line:
    """The evidence from an e-value of 1 on; heights are powers of ten."""
    return Line(points=[(0.0, 0.0), *((x, value / log(10)) for x, value in log_es)], kind="evidence")


def _standing(evidence: EvidenceView) -> str:
    """``ruled out: evidence 343 of 20 at its peak``; what a refuted claim means depends on the game."""
    refuted = {**dict.fromkeys(("roll", "roll2"), "the candidate is worse"), "sup": "the candidate is better"}
    meaning = refuted.get(evidence.name, "ruled out")
    passed = meaning if evidence.name in CLAIMS else "alarm"
    return f"{passed if evidence.passed else 'not shown'}: evidence {evidence.text} at its peak"


def _powers_axis(log_es: Iterable[float]) -> Axis:
    """The powers of ten to show: from what was seen, but always 1 and 1,000."""
    seen = [value / log(10) for value in log_es]
    low, high = max(LOWEST, min(-1, floor(min(seen)))), min(HIGHEST, max(3, ceil(max(seen))))
    step = 1 if high - low <= 5 else 2
    ticks = [Tick(at=float(power), text=_power(power)) for power in range(low + (low % step), high + 1, step)]
    return Axis(low=float(low), high=float(high), ticks=ticks)


def _labelled(report: RolloutReport) -> Axis:
    return counts(float(report.history.quality[-1].labelled), "labelled outcomes of both arms")


def _hours_axis(end: float) -> Axis:
    ticks, unit = hour_ticks(end)
    return Axis(low=0.0, high=end, ticks=ticks, label=f"{unit} since the start, real time")


def _power(power: int) -> str:
    if power < 0:
        return f"{10.0**power:.4f}".rstrip("0")
    return f"{10**power:,}" if power < 5 else f"10{SUPERSCRIPTS[power]}"


def _hours(report: RolloutReport, at: datetime) -> float:
    started = report.rollout.started_at
    return max(0.0, (at - started).total_seconds() / 3600) if started is not None else 0.0


def _last_hour(report: RolloutReport) -> float:
    return _hours(report, report.rollout.ended_at or report.made_at)


def rollout_page(report: RolloutReport) -> str:
    """The whole page."""
    rollout = report.rollout
    # A record that was changed proves nothing, so the headline says only that.
    return page(
        "rollout.html",
        report=report,
        rollout=rollout,
        view=report.view,
        plots=plots,
        headline=(
            f"The record of rollout {rollout.id} of {rollout.family} does not fit: it was changed or lost in part."
            if report.problems
            else headline(rollout, report.view, report.decisions)
        ),
        ladder=ladder_text(rollout.ladder),
        not_drawn="Not drawn: the record does not fit." if report.problems else "",
        evidence_text=evidence_text,
        span=span,
        within_blocks=WITHIN_BLOCKS,
    )
