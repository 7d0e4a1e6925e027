"""Saved answers of ``GET /api/performance/``, as pipelines keep them in metrics_YYYYmmdd_HHMM.json: one series.

They hold sums and no items, so nothing can be replayed on them. They say whether enough was collected for a
recommendation, which figures were out of range, and in which direction a knob moves such a figure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from optimizer.content.core.records.fields import CHECKPOINTS, OTHER_NAMES
from optimizer.content.core.records.record import UNNAMED
from optimizer.content.core.records.report import EXPECTED_EXITS, TargetStanding, standing_of
from optimizer.core.base.canonical import table_of
from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.knob import is_number, is_share, is_whole
from optimizer.core.feedback.pipeline_record import TARGETS, Target

DEFAULT_HOURS = 24  # of an answer that does not say
JITTER = 0.01  # of its time a file may share with the next one, which a schedule saves a little early
MIN_ITEMS, MIN_TYPES = 100, 3  # as a recommendation asks for
_NAME = re.compile(r"metrics_(\d{8})_(\d{4})\.json$")
_COUNTS = ("total_processed", "quality_bypassed", "early_exits", "full_processing")
# Which way a knob moves a figure that is too low, and one that is too high; by the definitions of the knobs.
ADVICE: Mapping[str, tuple[str, str]] = {
    "bypass_rate": (
        "raise filter.min_overall or filter.checks_needed: more items go the light way",
        "lower filter.min_overall or filter.checks_needed: fewer items go the light way",
    ),
    "early_exit_rate": (
        "lower exit.min_confidence: more conditions count, and more items end early",
        "raise exit.min_confidence: fewer conditions count, and fewer items end early",
    ),
    "avg_time_savings": (
        "raise filter.min_overall, or lower exit.min_confidence: less is processed in full",
        "lower filter.min_overall, or raise exit.min_confidence: more is processed in full",
    ),
    "quality_score_avg": (
        "raise filter.min_overall: what is still processed in full is better",
        "lower filter.min_overall: more is processed in full",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedMetrics:
    """One file: counts of the hours that end ``until``; means with the number of items that they are taken to be of."""

    name: str
    since: datetime
    until: datetime
    counts: Mapping[str, int]
    means: Mapping[str, float]
    by_type: Mapping[str, int]
    exits: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSeries:
    """Files that do not overlap, put together. ``n_overlapping``: files left out because a later one covers more
    than a hundredth of their time. ``lacking``: what a recommendation would still ask for.
    """

    n_files: int
    n_overlapping: int
    since: datetime
    until: datetime
    n_items: int
    by_type: Mapping[str, int]
    exits: Mapping[str, int]
    exit_rates: Mapping[str, float | None]
    expected_exit_rates: Mapping[str, float]
    figures: Mapping[str, TargetStanding]
    lacking: Sequence[str]
    advice: Sequence[str]


def read_metrics(name: str, data: Any) -> SavedMetrics:
    """One saved answer.

    Args:
        name: of the file; its time counts where the answer has none.
        data: plain data of the JSON.
    Raises:
        InvalidInput: it is no answer of that route, or says nowhere when it was saved.
    """
    overall = data.get("overall_metrics") if isinstance(data, Mapping) else None
    if not isinstance(overall, Mapping):
        raise _invalid(name, "/overall_metrics", "is missing; a saved answer of GET /api/performance/ has it")
    counts = {figure: _count(name, figure, overall.get(figure)) for figure in _COUNTS}
    n, n_light = counts["total_processed"], counts["quality_bypassed"]
    if n_light + counts["early_exits"] + counts["full_processing"] > n:
        raise _invalid(name, "/overall_metrics", "counts more bypassed, ended and full items than it has in all")
    until = _time(data.get("until")) or _named_time(name)
    if until is None:
        raise _invalid(name, "/until", "no time is said, and the name is not metrics_YYYYmmdd_HHMM.json")
    hours = data.get("hours", DEFAULT_HOURS)
    hours = hours if is_number(hours) and hours > 0 else DEFAULT_HOURS
    try:
        since = _time(data.get("from")) or until - timedelta(hours=hours)
    except OverflowError:
        raise _invalid(name, "/hours", "reaches back to before there was a time") from None
    types, points = (data.get(part) or {} for part in ("content_type_breakdown", "checkpoint_analytics"))
    return SavedMetrics(
        name=name,
        since=since,
        until=until,
        counts=counts,
        means={figure: float(overall[figure]) for figure in TARGETS if is_share(overall.get(figure))},
        by_type={str(kind): _count(name, kind, _of(each, "total_processed")) for kind, each in table_of(types).items()},
        exits={
            OTHER_NAMES.get(str(point), str(point)): _count(name, point, _of(each, "exits"))
            for point, each in table_of(points).items()
        },
    )


def series_of(files: Iterable[SavedMetrics], targets: Mapping[str, Target] = TARGETS) -> MetricsSeries:
    """Puts saved answers together, the newest first; of two that overlap the later one counts.

    Rates are made of the counts; mean quality and time saved are weighted by the items that they are of: those
    processed in full, and all.

    Raises InvalidInput without a file.
    """
    counted: list[SavedMetrics] = []
    ordered = sorted(files, key=lambda one: (one.until, one.name), reverse=True)
    for one in ordered:
        if not counted or one.until - counted[-1].since <= JITTER * (one.until - one.since):
            counted.append(one)
    if not counted:
        raise InvalidInput("There is no saved metrics_*.json to read.", [Fault(pointer="", detail="no file")])
    counts = {figure: sum(one.counts[figure] for one in counted) for figure in _COUNTS}
    n, n_light = counts["total_processed"], counts["quality_bypassed"]
    values: dict[str, float | None] = {
        "bypass_rate": n_light / n if n else None,
        "early_exit_rate": counts["early_exits"] / (n - n_light) if n > n_light else None,
        "avg_time_savings": _mean("avg_time_savings", counted, "total_processed"),
        "quality_score_avg": _mean("quality_score_avg", counted, "full_processing"),
    }
    by_type, exits = (_summed(getattr(one, part) for one in counted) for part in ("by_type", "exits"))
    figures = {
        # The status is that of the value before it is rounded.
        name: replace(standing_of(value, target), value=None if value is None else round(value, 6))
        for name, target in targets.items()
        if name in values
        for value in (values[name],)
    }
    types = sorted(kind for kind, of_kind in by_type.items() if of_kind and kind != UNNAMED)
    lacking = [f"{MIN_ITEMS - n} more items ({n} of {MIN_ITEMS})"] if n < MIN_ITEMS else []
    if len(types) < MIN_TYPES:
        lacking.append(f"{MIN_TYPES - len(types)} more content types ({', '.join(types) or 'none'})")
    return MetricsSeries(
        n_files=len(counted),
        n_overlapping=len(ordered) - len(counted),
        since=counted[-1].since,
        until=counted[0].until,
        n_items=n,
        by_type=by_type,
        exits={point: exits.get(point, 0) for point in CHECKPOINTS},
        exit_rates={point: exits.get(point, 0) / n if n else None for point in CHECKPOINTS},
        expected_exit_rates=EXPECTED_EXITS,
        figures=figures,
        lacking=lacking + [f"an exit at {point}" for point in CHECKPOINTS if not exits.get(point)],
        advice=[text for name, standing in figures.items() if (text := _advice(name, standing)) is not None],
    )


def _advice(name: str, standing: TargetStanding) -> str | None:
    if standing.status not in ("warning", "critical") or name not in ADVICE or standing.value is None:
        return None
    is_high = standing.warning_high is not None and standing.value > standing.warning_high
    low = standing.critical_low if standing.status == "critical" else standing.warning_low
    edge = standing.warning_high if is_high else low
    side = "above" if is_high else "below"
    beyond = "" if edge is None else f" {side} {edge:.2f}"
    return f"{name} {standing.value:.2f} is {standing.status}{beyond}: {ADVICE[name][is_high]}"


def _mean(figure: str, files: Sequence[SavedMetrics], weight: str) -> float | None:
    parts = [(one.means[figure], one.counts[weight]) for one in files if figure in one.means and one.counts[weight]]
    n = sum(weight for _, weight in parts)
    return sum(value * weight for value, weight in parts) / n if n else None


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for part in parts:
        total.update(part)
    return total


def _of(value: Any, member: str) -> Any:
    return value.get(member) if isinstance(value, Mapping) else value


def _count(name: str, member: Any, value: Any) -> int:
    if not is_whole(value) or value < 0:
        raise _invalid(name, f"/{member}", f"is a number of items, not {value!r:.40}")
    return value


def _time(value: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _named_time(name: str) -> datetime | None:
    match = _NAME.search(name)
    try:
        return None if match is None else datetime.strptime("".join(match.groups()), "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def _invalid(name: str, pointer: str, detail: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is no saved answer of GET /api/performance/: {pointer} {detail}.",
        [Fault(pointer=pointer, detail=detail, file=name)],
    )
