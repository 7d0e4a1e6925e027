"""How good the recorded and the learned confidence of each tier are, in a study's report: Brier, ECE, AUC and the reliability plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from optimizer.adapters.reports.page import number_cell, table
from optimizer.adapters.reports.plots import Dot, Line, Plot, figure, score_ticks
from optimizer.core.search.cascade.learned import Bin, Quality, TierFinding, finding_of

COLUMNS = ("Confidence", "Answers", "Brier", "ECE", "AUC")
KINDS = {"recorded": "champion", "learned": "candidate"}  # CSS classes of the plot


def confidences(found: Sequence[Mapping[str, Any]]) -> str:
    """One table and one plot per tier."""
    text = (
        "On the training answers of each tier. The learned confidence of an answer is that of a predictor which saw neither the answer nor its group. "
        "Brier and ECE with their 95 % intervals: lower is better. AUC: how often a right answer has the higher confidence; .5 tells nothing."
    )
    return f"<p>{text}</p>{''.join(_tier(finding_of(each)) for each in found)}"


def _tier(finding: TierFinding) -> str:
    shown = {name: one for name, one in (("recorded", finding.recorded), ("learned", finding.learned)) if one is not None}
    rows = [_row(name, one) for name, one in shown.items()]
    if finding.recorded is None and finding.learned is not None:
        rows.insert(0, ("recorded", "0", "not measured", "not measured", "not measured"))
    drawn = f"{table(COLUMNS, rows)}<div class='plots wide'>{_plot(finding.tier, shown)}</div>" if rows else ""
    return f"<h3><code>{escape(finding.tier)}</code></h3><p>{escape(finding.why)}</p>{drawn}"


def _row(name: str, one: Quality) -> tuple[str, ...]:
    return (
        name,
        f"{one.n:,}",
        _with_interval(one.brier, one.brier_low, one.brier_high),
        _with_interval(one.ece, one.ece_low, one.ece_high),
        number_cell(one.auc),
    )


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _plot(tier: str, shown: Mapping[str, Quality]) -> str:
    keys = "".join(f'<span class="key {KINDS[name]}">{name}</span>' for name in shown)
    ticks = score_ticks(0.0, 1.0)
    return figure(
        Plot(
            title=f"<b>Reliability</b><span class='value'>{keys}<span class='key'>as promised</span></span>",
            about=f"share of right answers of {tier} by promised confidence; a confidence that keeps its word lies on the diagonal",
            x=(0.0, 1.0),
            y=(0.0, 1.0),
            x_ticks=ticks,
            y_ticks=ticks,
            x_label="promised: mean confidence of answers of like confidence; upright: 95 % interval of the share that was right",
            lines=[
                Line(points=[(0.0, 0.0), (1.0, 1.0)], kind="observed"),
                *(_upright(n, b) for n, q in shown.items() for b in q.reliability),
            ],
            dots=[_dot(name, each) for name, one in shown.items() for each in one.reliability],
            tall=True,
        )
    )


def _upright(name: str, each: Bin) -> Line:
    return Line(points=[(each.promised, each.low), (each.promised, each.high)], kind=KINDS[name])


def _dot(name: str, each: Bin) -> Dot:
    about = f"{name}: {each.right:.3f} of {each.n} right where {each.promised:.3f} was promised"
    return Dot(x=each.promised, y=each.right, kind=KINDS[name], about=about)
