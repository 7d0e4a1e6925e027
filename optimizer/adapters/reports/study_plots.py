"""The plots of a study's report: trials in order, learning curves, the duel, quality against cost, confidences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from optimizer.adapters.reports.plots import (
    Band,
    Dot,
    GuideLine,
    Key,
    Line,
    Plot,
    Point,
    axis,
    counts,
    differences,
)
from optimizer.core.base.phrasing import count, dollars, threshold
from optimizer.core.search.cascade.figures import CascadeCurves, Figure, ThresholdCurve, ThresholdPoint
from optimizer.core.search.cascade.learned import Quality, TierFinding
from optimizer.core.search.study import Trial
from optimizer.core.views.study_front import pareto_front
from optimizer.core.views.study_story import PairedTrial, StudyReport, TrialView

ROOM = 0.05  # of an axis, beyond the outermost points
KINDS = {"champion": "champion", "winner": "candidate", "": "others"}  # CSS classes
CONFIDENCES = {"recorded": "champion", "learned": "candidate"}
Cost = Callable[[Trial], float | None]


def trials(report: StudyReport) -> Plot:
    """Dev score of every measured trial against the search's calls by then, or against its number."""
    seen = [t for t in report.history.trials if t.trial.score is not None]
    by_calls = bool(seen) and seen[-1].calls > 0
    place = {t.trial.number: float(t.calls if by_calls else t.trial.number) for t in seen}
    best: list[Point] = [(place[t.trial.number], t.best) for t in seen if t.best is not None]
    end = max(place.values(), default=0.0) * (1 + ROOM) or 1.0
    if best:
        best.append((end, best[-1][1]))
    label = "calls of each trial and those numbered before it" if by_calls else "trial; the journal answered every call"
    return Plot(
        title="Dev score of every trial",
        keys=[*_keys(seen), Key(kind="", text="best so far")],
        about="dev score of every trial in the order in which they were tried, and the best so far",
        x=counts(end, label),
        y=axis(*_range([t.trial.score or 0.0 for t in seen])),
        lines=[Line(points=best, kind="observed", steps=True)],
        dots=_dots(seen, lambda t: place[t.number]),
        tall=True,
    )


def curves(report: StudyReport) -> list[Plot]:
    """A plot per trial, all with the same axes: its running mean in its band, the champion's on the same examples."""
    study_curves = report.history.curves
    end = max((c.points[-1].n for c in study_curves), default=0)
    settled = [p for c in study_curves for p in c.points if p.n >= min(3, end)]  # the first mean or two may be anything
    y = axis(*_range([y for p in settled for y in (p.mean, p.champion, p.band.lower, p.band.upper)]))
    x = counts(float(end), "common dev examples")
    plots: list[Plot] = []
    for c in study_curves:
        trial, last, kind = c.trial, c.points[-1], KINDS[c.mark] if c.mark else "observed"
        plots.append(
            Plot(
                title=f"Trial {trial.number}, {trial.proposer}" + (" (winner)" if c.mark == "winner" else ""),
                value=f"{last.mean:.3f} ({last.band.lower:.2f} to {last.band.upper:.2f}); champion {last.champion:.3f}",
                about=f"running mean of trial {trial.number} and of the champion",
                x=x,
                y=y,
                bands=[Band(points=[(float(point.n), point.band.lower, point.band.upper) for point in c.points])],
                lines=[
                    Line(points=[(float(point.n), point.champion) for point in c.points], kind="champion"),
                    Line(points=[(float(point.n), point.mean) for point in c.points], kind=kind),
                ],
            )
        )
    return plots


def duel(pair: PairedTrial) -> Plot:
    """Differences by example, the largest gain first: wins above the line, losses below."""
    points = [(float(i), min(0.0, c.difference), max(0.0, c.difference)) for i, c in enumerate(pair.cases)]
    end = float(len(points))
    gains, losses = points[: pair.wins], points[len(points) - pair.losses :] if pair.losses else []
    reach = max((abs(c.difference) for c in pair.cases), default=0.0) * (1 + ROOM) or 1.0
    bands = [Band(points=[*gains, (float(pair.wins), 0.0, 0.0)], kind="gain")] if gains else []
    bands += [Band(points=[*losses, (end, 0.0, 0.0)], kind="loss")] if losses else []
    return Plot(
        title="Difference to the champion, by dev example",
        value=tally(pair),
        about=f"difference of the scores by example, sorted: {tally(pair)}",
        x=counts(end, "dev examples, largest gain first"),
        y=differences(reach, "{:+g}".format),
        bands=bands,
        rules=[GuideLine(y=0.0, kind="zero")],
        tall=True,
    )


def tally(pair: PairedTrial) -> str:
    kinds = (
        count(pair.wins, "win"),
        count(pair.ties, "tie"),
        count(pair.losses, "loss", "losses"),
        *((f"{pair.n_unmeasured} not measured",) if pair.n_unmeasured else ()),
    )
    return ", ".join(kinds)


def fronts(report: StudyReport) -> list[Plot]:
    """Quality against dollars and against p95, each where it was measured and differs between trials."""
    seen = [t for t in report.history.trials if t.trial.status == "complete" and t.trial.score is not None]
    by_cost = partial(_front, seen, report.usd_of)
    if report.study.is_replayed:
        cost = by_cost("time", "share of the time of full processing", "{:.0%}".format)
    else:
        cost = by_cost("dollars", "dollars per call", dollars)
    p95 = _front(seen, lambda t: t.p95_ms, "latency", "p95 of fresh calls, ms", "{:,.0f}".format)
    return [plot for plot in (cost, p95) if plot is not None]


def _front(seen: Sequence[TrialView], cost: Cost, against: str, unit: str, text: Callable[[float], str]) -> Plot | None:
    costs = {t.trial.number: c for t in seen if (c := cost(t.trial)) is not None}
    known = [t for t in seen if t.trial.number in costs]
    if len({f"{c:.6g}" for c in costs.values()}) < 2:
        return None
    front = pareto_front([(costs[t.trial.number], t.trial.score or 0.0) for t in known], of=lambda point: point)
    low, high = _range(costs.values(), upto=None)
    return Plot(
        title=f"Quality against {against}",
        keys=[*_keys(seen), Key(kind="", text="front")],
        about=f"Quality against {against}: dev score by {unit}",
        x=axis(low, high, text, unit, n=2),
        y=axis(*_range([t.trial.score or 0.0 for t in known])),
        lines=[Line(points=[*front, (high, front[-1][1])], kind="observed", steps=True)],
        dots=_dots(known, lambda t: costs[t.number]),
        tall=True,
    )


def measured_confidences(finding: TierFinding) -> dict[str, Quality]:
    """The confidences of a tier that were measured, by name."""
    both = {"recorded": finding.recorded, "learned": finding.learned}
    return {name: quality for name, quality in both.items() if quality is not None}


def reliability(tier: str, shown: Mapping[str, Quality]) -> Plot:
    """What was right against what was promised, of each confidence of a tier; upright the interval of each bin."""
    bins = [(name, each) for name, quality in shown.items() for each in quality.reliability]
    promised = "promised: mean confidence of answers of like confidence"
    return Plot(
        title="Reliability",
        keys=[*(Key(kind=CONFIDENCES[name], text=name) for name in shown), Key(kind="", text="as promised")],
        about=(
            f"share of right answers of {tier} by promised confidence; a confidence that keeps its word lies on the"
            " diagonal"
        ),
        x=axis(0.0, 1.0, label=f"{promised}; upright: 95 % interval of the share that was right"),
        y=axis(0.0, 1.0),
        lines=[
            Line(points=[(0.0, 0.0), (1.0, 1.0)], kind="observed"),
            *(
                Line(points=[(each.promised, each.low), (each.promised, each.high)], kind=CONFIDENCES[name])
                for name, each in bins
            ),
        ],
        dots=[
            Dot(
                x=each.promised,
                y=each.right,
                kind=CONFIDENCES[name],
                about=f"{name}: {each.right:.3f} of {each.n} right where {each.promised:.3f} was promised",
            )
            for name, each in bins
        ],
        tall=True,
    )


def _keys(seen: Iterable[TrialView]) -> list[Key]:
    marks = {t.mark for t in seen}
    named = (("champion", "champion"), ("winner", "winner"), ("", "other trial"))
    return [Key(kind=f"point {KINDS[mark]}", text=name) for mark, name in named if mark in marks]


def _dots(seen: Iterable[TrialView], x: Callable[[Trial], float]) -> list[Dot]:
    """Champion and winner last, so that they lie on top."""
    dots: list[Dot] = []
    for t in sorted(seen, key=lambda t: t.mark != ""):
        kind = KINDS[t.mark] + ("" if t.trial.status == "complete" else " partial")
        mark = f" ({t.mark})" if t.mark else ""
        score = t.trial.score or 0.0
        about = f"trial {t.trial.number}{mark}, {t.trial.proposer}: {score:.3f} on {t.trial.n}"
        dots.append(Dot(x=x(t.trial), y=score, kind=kind, about=about))
    return dots


def _range(values: Iterable[float], *, upto: float | None = 1.0) -> tuple[float, float]:
    """A stretch that holds all values with some room, reaching no further than needed beyond 0 and ``upto``."""
    numbers = list(values) or [0.0, 1.0]
    room = max((max(numbers) - min(numbers)) * 2 * ROOM, 0.02 if upto else max(numbers) * ROOM)
    high = max(numbers) + room
    return max(-room / 4, min(numbers) - room), high if upto is None else min(upto + ROOM, high)


SPARE = 0.08  # of an axis, beyond the outermost values
N_ROWS = 9  # of the table; the plots show every value


def threshold_plots(curve: ThresholdCurve, cascade: CascadeCurves) -> list[Plot]:
    """What is lost, quality, dollars and escalations at every value of one threshold."""
    loss_name, margin = "Points lost against the strongest tier (below 0: gained)", 100 * cascade.margin
    return [
        _plot(curve, loss_name, lambda p: p.loss, 100, rules=[GuideLine(y=margin)]),
        _plot(curve, "Quality", lambda p: p.quality, 1),
        _plot(curve, "Dollars per 1,000 requests", lambda p: p.cost_usd, 1000),
        _plot(curve, "Share escalated, %", lambda p: p.escalated_share, 100),
    ]


def shown_points(curve: ThresholdCurve) -> Sequence[ThresholdPoint]:
    """The rows of its table: evenly through the values; the first, the last and the chosen one stay."""
    last = len(curve.points) - 1
    places = {round(at * last / (N_ROWS - 1)) for at in range(N_ROWS)}
    return [point for at, point in enumerate(curve.points) if at in places or point.value == curve.present]


def _plot(
    curve: ThresholdCurve,
    title: str,
    read: Callable[[ThresholdPoint], Figure | float],
    times: float,
    rules: Sequence[GuideLine] = (),
) -> Plot:
    points = [(point.value, read(point)) for point in curve.points]
    means = [(x, times * (y.mean if isinstance(y, Figure) else y)) for x, y in points]
    band = [(x, times * y.low, times * y.high) for x, y in points if isinstance(y, Figure)]
    every = [y for _, y in means] + [y for _, *ends in band for y in ends] + [rule.y for rule in rules]
    room = SPARE * (max(every) - min(every)) or abs(max(every)) * SPARE or 0.01
    here = [(x, y) for x, y in means if x == curve.present][:1]
    value = "".join(f"at {threshold(x)}: {_text(y)}" for x, y in here)
    value += "".join([f" ({_text(low)} to {_text(high)})" for x, low, high in band if x == curve.present][:1])
    return Plot(
        title=title,
        value=value,
        about=f"{title} by {curve.knob.name} of {curve.tier}",
        x=axis(points[0][0], points[-1][0], label=curve.knob.name),
        y=axis(min(every) - room, max(every) + room, _text),
        bands=[Band(points=band)],
        lines=[Line(points=means, kind="observed", steps=True)],
        rules=rules,
        marks=[x for x, _ in here],
        dots=[Dot(x=x, y=y, kind="candidate", about=value) for x, y in here],
        tall=True,
    )


def _text(value: float) -> str:
    return f"{value:.3g}"
