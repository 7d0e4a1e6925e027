"""The plots of a rollout's report: shares over time, every game's evidence, means with their interval, guardrails."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from math import ceil, floor, log, log10

from markupsafe import Markup

from optimizer.adapters.reports.plots import (
    Band,
    GuideLine,
    Key,
    Line,
    Plot,
    Point,
    Tick,
    count_ticks,
    figure,
    hour_ticks,
    nice_ticks,
    score_ticks,
)
from optimizer.core.serving.rollout import percent
from optimizer.core.views.rollout_evidence import CLAIMS
from optimizer.core.views.rollout_status import EvidenceView
from optimizer.core.views.rollout_story import RolloutReport

LOWEST, HIGHEST = -3, 6  # powers of ten shown of an e-value; the caption says what lies beyond
ROOM = 0.12  # between two ticks of shares, of the plot's height
AFTER = 1.06  # a rollout that has ended is followed for a little longer
ASKED = {"ship3": "3 margins", "ship2": "2 margins", "ship1": "the margin"}
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
LABELS = "labelled outcomes of both arms"


def asked(name: str) -> str:
    """What a stage's gate has to show; of the holdback, what is still watched."""
    return f"not worse by {ASKED[name]}" if name in ASKED else "nothing; a drop is watched for"


def timeline(report: RolloutReport) -> Markup:
    """The candidate's share in steps; after the end 100 % or none."""
    rollout = report.rollout
    points: list[Point] = []
    for entry in rollout.stage_history:
        points.append((_hours(report, datetime.fromisoformat(entry["from"])), float(entry["share"])))
        if entry["to"] is not None:
            points.append((_hours(report, datetime.fromisoformat(entry["to"])), 0.0))
    last = max(_last_hour(report), 1e-3)
    if rollout.ended_at is not None:
        points.append((_hours(report, rollout.ended_at), 1.0 if rollout.outcome == "promoted" else 0.0))
    end = last * AFTER if rollout.ended_at is not None else last
    points.append((end, points[-1][1]))
    ticks, unit = hour_ticks(end)
    return figure(
        Plot(
            title="Share of units served the candidate", value=_ending(report), about="share of units served the candidate over time",
            x=(0.0, end), y=(0.0, 1.05), x_ticks=ticks, y_ticks=_share_ticks(rollout.ladder), x_label=f"{unit} since the start, real time",
            lines=[Line(points=points, kind="candidate", steps=True, filled=True)], tall=True,
        )
    )  # fmt: skip


def games(report: RolloutReport) -> list[Markup]:
    """One plot per game, all with the same axes."""
    points = report.history.quality
    y = _powers(value for p in points for value in p.log_e.values())
    end = float(points[-1].labelled)
    marks = [float(before.labelled) for before, p in pairwise(points) if p.stage != before.stage]
    return [
        figure(
            Plot(
                title=_capital(CLAIMS[gate.name]), value=_standing(gate), reached=gate.passed, about=f"evidence against: {gate.claim}", x=(0.0, end), y=y,
                x_ticks=count_ticks(end), y_ticks=_power_ticks(y), x_label=LABELS, rules=[GuideLine(y=log10(gate.threshold))], marks=marks,
                lines=[Line(points=[(0.0, 0.0), *((float(p.labelled), _log10(p.log_e[gate.name])) for p in points)], kind="evidence")],
            )
        )
        for gate in report.view.gates
    ]  # fmt: skip


def means(report: RolloutReport) -> Markup:
    points = report.history.quality
    candidate = [(float(p.labelled), p.candidate_mean) for p in points if p.candidate_mean is not None]
    champion = [(float(p.labelled), p.champion_mean) for p in points if p.champion_mean is not None]
    shown = [y for _, y in candidate + champion]
    low, high = max(0.0, min(shown) - 0.05), min(1.0, max(shown) + 0.05)
    end = float(points[-1].labelled)
    keys = [Key(kind="candidate", text="candidate"), Key(kind="champion", text="champion")]
    return figure(
        Plot(
            title="Running mean per arm", keys=keys, about="running mean of the outcomes of both arms",
            x=(0.0, end), y=(low, high), x_ticks=count_ticks(end), y_ticks=score_ticks(low, high),
            x_label=LABELS, lines=[Line(points=champion, kind="champion"), Line(points=candidate, kind="candidate")], tall=True,
        )
    )  # fmt: skip


def difference(report: RolloutReport) -> Markup:
    """The observed difference in its interval, of which the widest beginnings are cut off."""
    points, margin = report.history.quality, report.view.margin
    end, last = float(points[-1].labelled), points[-1]
    observed = [(float(p.labelled), p.observed) for p in points if p.observed is not None]
    reach = min(
        1.0,
        max([3 * margin, *(1.6 * abs(edge) for edge in (last.lower, last.upper) if abs(edge) < 1), *(abs(y) for _, y in observed[-1:])]),
    )
    keys = [Key(kind="", text="observed"), Key(kind="interval", text="92 % interval"), Key(kind="dashed", text="− margin")]
    return figure(
        Plot(
            title="Candidate − champion, in points", keys=keys, about="difference of the means with its interval",
            x=(0.0, end), y=(-reach, reach), x_ticks=count_ticks(end),
            y_ticks=[Tick(at=at, text=f"{100 * at:+.3g}" if at else "0") for at in nice_ticks(-reach, reach)], x_label=LABELS,
            bands=[Band(points=[(0.0, -1.0, 1.0), *((float(p.labelled), p.lower, p.upper) for p in points)])],
            rules=[GuideLine(y=0.0, kind="zero"), GuideLine(y=-margin)], lines=[Line(points=observed, kind="observed")], tall=True,
        )
    )  # fmt: skip


def guardrails(report: RolloutReport) -> list[Markup]:
    """One plot per guardrail that has looked at anything."""
    found = {kind: points for kind, points in report.history.guardrails.items() if points}
    if not found:
        return []
    y = _powers(p.log_e for points in found.values() for p in points)
    end = max(_last_hour(report), *(_hours(report, points[-1].at) for points in found.values()))
    ticks, unit = hour_ticks(end)
    drawn = []
    for guardrail in report.view.guardrails:
        if guardrail.name not in found:
            continue
        points = found[guardrail.name]
        value = f"{_standing(guardrail)}; {guardrail.n_candidate:,} outcomes of the candidate"
        line = [(0.0, 0.0), *((_hours(report, p.at), _log10(p.log_e)) for p in points)]
        drawn.append(
            figure(
                Plot(
                    title=f"{_capital(guardrail.name)}: at most {guardrail.allowed}", value=value, reached=guardrail.passed,
                    about=f"evidence of the guardrail on {guardrail.name} over time", x=(0.0, end), y=y, x_ticks=ticks, y_ticks=_power_ticks(y),
                    x_label=f"{unit} since the start, real time", rules=[GuideLine(y=log10(guardrail.threshold))], lines=[Line(points=line, kind="evidence")],
                )
            )
        )  # fmt: skip
    return drawn


def _standing(evidence: EvidenceView) -> str:
    """``343 of 20: ruled out``; what a refuted claim means depends on the game."""
    if not evidence.passed:
        return f"largest {evidence.text}"
    meaning = {"roll": "the candidate is worse", "sup": "the candidate is better"}.get(evidence.name, "ruled out")
    return f"{evidence.text}: {meaning if evidence.name in CLAIMS else 'alarm'}"


def _ending(report: RolloutReport) -> str:
    rollout = report.rollout
    if rollout.ended_at is None:
        return f"{percent(rollout.share)} now" if rollout.share is not None else "not served now"
    return "promoted: everybody" if rollout.outcome == "promoted" else f"ended ({rollout.outcome}): nobody"


def _share_ticks(ladder: Iterable[float]) -> list[Tick]:
    found: list[Tick] = [Tick(at=0.0, text="0")]
    for share in (*ladder, 1.0):
        if share - found[-1].at < ROOM and share < 1.0:
            continue
        if share == 1.0 and len(found) > 1 and share - found[-1].at < ROOM:
            found.pop()
        found.append(Tick(at=share, text=percent(share)))
    return found


def _powers(log_es: Iterable[float]) -> tuple[float, float]:
    """The powers of ten to show: from what was seen, but always 1 and 1,000."""
    seen = [_log10(value) for value in log_es]
    return float(max(LOWEST, min(-1, floor(min(seen))))), float(min(HIGHEST, max(3, ceil(max(seen)))))


def _power_ticks(y: tuple[float, float]) -> list[Tick]:
    low, high = int(y[0]), int(y[1])
    step = 1 if high - low <= 5 else 2
    first = low + (low % step)
    return [Tick(at=float(power), text=_power(power)) for power in range(first, high + 1, step)]


def _power(power: int) -> str:
    if power < 0:
        return f"{10.0**power:.4f}".rstrip("0")
    return f"{10**power:,}" if power < 5 else f"10{SUPERSCRIPTS[power]}"


def _log10(log_e: float) -> float:
    return log_e / log(10)


def _hours(report: RolloutReport, at: datetime) -> float:
    started = report.rollout.started_at
    return max(0.0, (at - started).total_seconds() / 3600) if started is not None else 0.0


def _last_hour(report: RolloutReport) -> float:
    return _hours(report, report.rollout.ended_at or report.made_at)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
