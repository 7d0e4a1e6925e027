"""The pages of figures: how families perform over time, how a conversation went, what the content pipeline did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from api.dashboard.figures import LastDays
from api.dashboard.time_charts import MOST_LINES, Figure, TimeChart, target_chart, time_chart
from api.dashboard.visitors import PageVisit
from optimizer.core.base.values import grouped

if TYPE_CHECKING:
    from optimizer.core.views.quality import QualityAnalytics
    from optimizer.jobs.champions.read_stats import By, FeedbackStats

RANGES: Mapping[str, tuple[By, timedelta]] = {
    "24h": ("hour", timedelta(days=1)),
    "7d": ("hour", timedelta(days=7)),
    "30d": ("day", timedelta(days=30)),
}
USUAL_RANGE = "24h"
MOST_HOURS = 24 * 7  # of a chart by hour; a longer one is by day
SPANS: Mapping[int, str] = {24: "24 hours", 24 * 7: "7 days", 24 * 30: "30 days"}
# By title: a row's value, how it is written, and the top of the chart where that is fixed.
CHARTS: Mapping[str, tuple[Callable[[Any], float | None], Figure, float | None]] = {
    "Requests": (lambda row: row.n_interactions, "whole", None),
    "Success": (lambda row: row.success_share, "share", 1.0),
    "Score": (lambda row: row.mean_score, "number", 1.0),
    "Errors": (lambda row: row.error_share, "share", 1.0),
    "p95 latency": (lambda row: row.p95_latency_ms, "ms", None),
    "Cost": (lambda row: row.cost_usd, "usd", None),
    "Tokens in": (lambda row: row.input_tokens, "whole", None),
    "Tokens out": (lambda row: row.output_tokens, "whole", None),
}
TRENDS: Mapping[str, str] = {
    "quality_score_avg": "Quality in full",
    "bypass_rate": "Bypassed",
    "early_exit_rate": "Early exits of the rest",
    "avg_time_savings": "Saving",
}


def performance(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Scores, issues and models of all families or one; of one also how it moved, by variant and model."""
    of_family, range_ = visit.request.query.get("family") or None, range_of(visit)
    quality = visit.ask("quality analytics", family=of_family, range=range_)
    shown = {
        "quality": quality,
        "names": visit.family_names(),
        "of_family": of_family,
        "range": range_,
        "ranges": tuple(RANGES),
    }
    return shown if of_family is None else {**shown, **_over_time(visit, of_family, range_, quality)}


def _over_time(visit: PageVisit, family: str, range_: str, quality: QualityAnalytics) -> Mapping[str, Any]:
    """Of the very time of ``quality``, which stands above it; by day of the whole days that it touches."""
    by, back = RANGES[range_]
    sums = visit.ask("stats", family=family, by="model", since=quality.since, until=quality.until)
    stats = visit.ask("stats", family=family, by=by, since=quality.until - back, until=quality.until)
    named = visit.request.query.get("variant") or None
    variants = sorted(sums.items, key=lambda row: -row.n_interactions)
    of_named = [row for row in variants if named is not None and row.variant == named]
    lines = list(dict.fromkeys(_line(row) for row in (*of_named, *variants)))[:MOST_LINES]
    champion = visit.ask("family", family=family).champion
    return {
        "variants": variants,
        "named": named,
        "lines": lines,
        "n_more": max(0, len(variants) - MOST_LINES),
        "charts": _charts(stats, lines),
        "begin": stats.since,
        "end": stats.until,
        "champion": champion.variant if champion is not None else None,
    }


def _line(row: Any) -> str:
    return " on ".join(filter(None, (row.variant, row.model))) or "no variant named"


def _charts(stats: FeedbackStats, names: Sequence[str]) -> list[TimeChart]:
    step = timedelta(days=1) if stats.by == "day" else timedelta(hours=1)
    rows: list[Any] = [row for row in stats.items if _line(row) in names]  # each has a start, by hour and by day
    charts = []
    for title, (value, figure, high) in CHARTS.items() if rows else ():
        of_name = grouped((_line(row), (row.start, value(row))) for row in rows)
        lines = {name: of_name.get(name, []) for name in names}
        charts.append(time_chart(title, figure, lines, begin=stats.since, end=stats.until, step=step, high=high))
    return charts


def conversation(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Turn by turn with their scores: by labels, by the judge, or that nobody scored it."""
    query = visit.request.query
    named, of_family, range_ = query.get("conversation", "")[:200], query.get("family") or None, range_of(visit)
    quality = (
        visit.ask("quality monitor", conversation=named, family=of_family, range=range_) if named.strip() else None
    )
    return {
        "quality": quality,
        "conversation": named,
        "of_family": of_family,
        "names": visit.family_names(),
        "range": range_,
        "ranges": tuple(RANGES),
    }


def pipeline(visit: PageVisit, last_days: LastDays) -> Mapping[str, Any]:
    """Overall, breakdown, types, checkpoints and trends of the content pipeline, beside its targets."""
    chosen = visit.request.query.get("hours", "")
    hours = next((n for n in SPANS if str(n) == chosen), 24)
    by = "hour" if hours <= MOST_HOURS else "day"
    page = visit.ask("performance", hours=hours, by=by)
    trends = page.quality_trends
    charts = [
        time_chart(
            title,
            "share",
            {title: [(row.hour, getattr(row, name)) for row in trends]},
            begin=page.since,
            end=page.until,
            step=timedelta(hours=1) if by == "hour" else timedelta(days=1),
            high=1.0,
        )
        for name, title in TRENDS.items()
        if trends
    ]
    return {
        "page": page,
        "levels": {name: target_chart(standing) for name, standing in page.metrics.items()},
        "charts": charts,
        "hours": hours,
        "by": by,
        "spans": SPANS,
    }


def range_of(visit: PageVisit) -> str:
    range_ = visit.request.query.get("range", "")
    return range_ if range_ in RANGES else USUAL_RANGE
