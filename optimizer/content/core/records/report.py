"""How good a content pipeline is, from the sums of its reports: overall, by content type, checkpoint and hour, and
targets.

Shares are None where nothing was measured. A record counts as bypassed when the quality filter sent it the light way
(``lightweight``), as an early exit when a checkpoint gave it up. A figure out of range is reported once, and cleared
only well inside the range again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from optimizer.content.core.records.fields import CHECKPOINTS
from optimizer.content.core.records.record import PROCESSING_TYPES
from optimizer.core.base.answers import Text
from optimizer.core.feedback.pipeline_record import TARGETS, PipelineSums, Target

N_REASONS = 10  # the most frequent ones, per checkpoint
Status = Literal["ok", "warning", "critical", "no data"]
STATUS: Mapping[str, Status] = {"green": "ok", "yellow": "warning", "red": "critical"}

# What the pipeline's guide hopes for: early exits as shares of all items, how many are bypassed, and how many need none
# of the calls of a full analysis.
EXPECTED_EXITS: Mapping[str, float] = dict(zip(CHECKPOINTS, (0.05, 0.15, 0.30, 0.10), strict=True))
BYPASS_BAND = (0.55, 0.75)
CALLS_SAVED = 0.60
AFTER_CALLS = "post_analysis"  # where an item ends that was analyzed, and so called for

ByType = Mapping[str, PipelineSums]  # by processing type


@dataclass(frozen=True, slots=True, kw_only=True)
class Overall:
    """What the pipeline did with all of some records. Rates and ``avg_time_savings`` are shares from 0 to 1.

    ``bypass_rate`` is of all records, ``early_exit_rate`` of those that were not bypassed: of what went on, how much
    was given up. ``quality_score_avg`` is that of what was processed in full, which is what the knobs are for;
    ``quality_score_avg_all`` is that of whatever came in. ``total_time_saved_hours`` counts records that say both how
    long they took and what share that saved.
    """

    total_processed: int
    quality_bypassed: int
    early_exits: int
    full_processing: int
    bypass_rate: float | None
    early_exit_rate: float | None
    avg_time_savings: float | None
    total_time_saved_hours: float
    quality_score_avg: float | None
    quality_score_avg_all: float | None
    avg_processing_time_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Early exits at one checkpoint; ``exit_rate`` is their share of all records, ``share_of_exits`` of all early
    exits, and ``expected_rate`` the share of all records that the pipeline's guide hopes for (None: the guide does not
    name the checkpoint).
    """

    exits: int
    exit_rate: float | None
    expected_rate: float | None
    share_of_exits: float | None
    avg_confidence: float | None
    avg_time_savings: float | None
    reasons: Text[Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStanding:
    """One figure beside its levels.

    ``status``: critical below ``critical_low``, warning below ``warning_low`` or above ``warning_high``.
    """

    value: float | None
    status: Status
    target: float | None
    warning_low: float | None
    critical_low: float | None
    warning_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuideTarget:
    """A figure beside what the pipeline's guide hopes for: at least ``low``, at most ``high`` (None: no such bound).

    ``is_met`` None: nothing was measured.
    """

    value: float | None
    low: float
    high: float | None
    is_met: bool | None


def guide_targets(figures: Overall, by_checkpoint: Mapping[str, Checkpoint]) -> dict[str, GuideTarget]:
    """``bypass_rate`` and ``api_calls_saved`` beside what the guide hopes for.

    A record does not count calls. ``api_calls_saved`` is the share of items that were neither processed in full nor
    analyzed before they ended, as if each analysis asked for the same number of calls.
    """
    n = figures.total_processed
    analyzed = figures.full_processing + (by_checkpoint[AFTER_CALLS].exits if AFTER_CALLS in by_checkpoint else 0)
    return {
        "bypass_rate": _beside(figures.bypass_rate, *BYPASS_BAND),
        "api_calls_saved": _beside(_mean(n - analyzed, n), CALLS_SAVED, None),
    }


def _beside(value: float | None, low: float, high: float | None) -> GuideTarget:
    is_met = None if value is None else value >= low and (high is None or value <= high)
    return GuideTarget(value=value, low=low, high=high, is_met=is_met)


def overall(by_type: ByType) -> Overall:
    full, light, exits = (by_type.get(kind, PipelineSums()) for kind in PROCESSING_TYPES)
    both = total(by_type.values())
    return Overall(
        total_processed=both.n,
        quality_bypassed=light.n,
        early_exits=exits.n,
        full_processing=full.n,
        bypass_rate=_mean(light.n, both.n),
        early_exit_rate=_mean(exits.n, both.n - light.n),
        avg_time_savings=_mean(both.saved_share_sum, both.n_saved),
        total_time_saved_hours=round(both.saved_time_sum_s / 3600, 6),
        quality_score_avg=_mean(full.quality_sum, full.n_quality),
        quality_score_avg_all=_mean(both.quality_sum, both.n_quality),
        avg_processing_time_s=_mean(both.time_sum_s, both.n_time),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyOverall(Overall):
    """The figures of the records of one hour."""

    hour: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingWay:
    """One of the three ways through the pipeline; ``share`` is of all records."""

    count: int
    share: float | None
    avg_quality: float | None
    avg_processing_time_s: float | None
    avg_time_savings: float | None


def breakdown(by_type: ByType) -> dict[str, ProcessingWay]:
    """The figures of each of the three ways through the pipeline."""
    n = total(by_type.values()).n
    return {
        kind: ProcessingWay(
            count=sums.n,
            share=_mean(sums.n, n),
            avg_quality=_mean(sums.quality_sum, sums.n_quality),
            avg_processing_time_s=_mean(sums.time_sum_s, sums.n_time),
            avg_time_savings=_mean(sums.saved_share_sum, sums.n_saved),
        )
        for kind, sums in ((kind, by_type.get(kind, PipelineSums())) for kind in PROCESSING_TYPES)
    }


def content_types(sums: Mapping[tuple[Any, ...], PipelineSums]) -> dict[str, Overall]:
    """``overall`` of each content type, from sums by (content type, processing type)."""
    return {name: overall(by_type) for name, by_type in _nested(sums).items()}


def checkpoints(sums: Mapping[tuple[Any, ...], PipelineSums], n_records: int) -> dict[str, Checkpoint]:
    """From sums of early exits by (checkpoint, reason): the four checkpoints in their order, then others by name."""
    by_checkpoint = _nested(sums)
    n_exits = total(sums.values()).n
    names = [*CHECKPOINTS, *sorted(name for name in by_checkpoint if name not in CHECKPOINTS)]
    by_name = {}
    for name in names:
        by_reason = by_checkpoint.get(name, {})
        here = total(by_reason.values())
        most = sorted(by_reason.items(), key=lambda pair: (-pair[1].n, pair[0]))[:N_REASONS]
        by_name[name] = Checkpoint(
            exits=here.n,
            exit_rate=_mean(here.n, n_records),
            expected_rate=EXPECTED_EXITS.get(name),
            share_of_exits=_mean(here.n, n_exits),
            avg_confidence=_mean(here.confidence_sum, here.n_confidence),
            avg_time_savings=_mean(here.saved_share_sum, here.n_saved),
            reasons={reason: sums.n for reason, sums in most},
        )
    return by_name


def trends(sums: Mapping[tuple[Any, ...], PipelineSums]) -> list[HourlyOverall]:
    """``overall`` of each hour in which anything was reported, oldest first, from sums by (hour, processing type)."""
    by_hour: dict[datetime, dict[str, PipelineSums]] = _nested(sums)
    return [HourlyOverall(hour=hour, **asdict(overall(by_type))) for hour, by_type in sorted(by_hour.items())]


def standings(figures: Overall, targets: Mapping[str, Target] = TARGETS) -> dict[str, TargetStanding]:
    """The figures that have targets, each with its status."""
    return {name: standing_of(getattr(figures, name), target) for name, target in targets.items()}


def standing_of(value: float | None, target: Target) -> TargetStanding:
    status: Status = "no data" if value is None else STATUS[target.colour(value)]
    return TargetStanding(value=value, status=status, **asdict(target))


def worst(by_name: Mapping[str, TargetStanding]) -> Status:
    """The status of them all: the worst there is; no data only where none has any."""
    order: tuple[Status, ...] = ("critical", "warning", "ok")
    return next((status for status in order if any(each.status == status for each in by_name.values())), "no data")


def total(sums: Iterable[PipelineSums]) -> PipelineSums:
    return sum(sums, PipelineSums())


def _nested(sums: Mapping[tuple[Any, ...], PipelineSums]) -> dict[Any, dict[Any, PipelineSums]]:
    nested: dict[Any, dict[Any, PipelineSums]] = {}
    for (outer, inner), cell_sums in sums.items():
        nested.setdefault(outer, {})[inner] = cell_sums
    return nested


def _mean(amount: float, n: int) -> float | None:
    return round(amount / n, 6) if n else None


WINDOW_HOURS = 24
MIN_ITEMS = 100  # with the figure measured, so that a share has a standard error of at most .05
CLEAR_BY = 0.02  # how far inside a level a figure has to be to count as back in range

Level = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFigure:
    """One figure over the window; ``n`` items had it measured. ``value`` None: none had."""

    value: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfRange:
    figure: str
    level: Level
    detail: str


def out_of_range(
    now: Mapping[str, WindowFigure], targets: Mapping[str, Target], before: Mapping[str, Level]
) -> list[OutOfRange]:
    """What should be open now.

    Fewer than 100 items are too few to tell: nothing is raised, and what is open stays open. Of no item at all nothing
    can be out of range.

    Args:
        before: the level of the figures that are out of range by now.
    """
    wanted = []
    for name, target in targets.items():
        reading = now.get(name)
        if reading is None or reading.value is None or reading.n == 0:
            continue
        was = before.get(name)
        if reading.n < MIN_ITEMS:
            if was is not None:
                too_few = (
                    f"The content pipeline's {name} was out of range, and fewer than {MIN_ITEMS} items of the last"
                    f" {WINDOW_HOURS} hours have it measured: too few to tell whether it is back. It stays open until"
                    " there are enough, or none at all."
                )
                wanted.append(OutOfRange(figure=name, level=was, detail=too_few))
        elif (level := level_of(reading.value, target, was)) is not None:
            if target.warning_high is not None and reading.value > target.warning_high - CLEAR_BY:
                edge, back = f"above {target.warning_high:.2f}", f"at {target.warning_high - CLEAR_BY:.2f} or less"
                is_beyond = reading.value > target.warning_high
            else:
                low = (target.critical_low if level == "critical" else target.warning_low) or 0.0
                edge, back = f"below {low:.2f}", f"at {low + CLEAR_BY:.2f} or more"
                is_beyond = reading.value < low
            aimed = f", the target is {target.target:.2f}" if target.target is not None else ""
            wanted.append(
                OutOfRange(
                    figure=name,
                    level=level,
                    detail=(
                        f"The content pipeline's {name} was {reading.value:.2f} over the last {WINDOW_HOURS} hours:"
                        f" {level} {edge}{aimed}{'' if is_beyond else ', and near that still'}. It clears {back}."
                        " See GET /api/performance/ for where it comes from, and `detent thresholds recommend F` for"
                        " other knobs."
                    ),
                )
            )
    return wanted


def level_of(value: float, target: Target, was: Level | None) -> Level | None:
    """critical below ``critical_low``, warning below ``warning_low`` or above ``warning_high``; open ones need .02 to
    clear.
    """

    def below(edge: float | None, *, is_open: bool) -> bool:
        return edge is not None and value < round(edge + (CLEAR_BY if is_open else 0.0), 9)

    if below(target.critical_low, is_open=was == "critical"):
        return "critical"
    high = target.warning_high
    too_high = high is not None and value > round(high - (CLEAR_BY if was is not None else 0.0), 9)
    return "warning" if below(target.warning_low, is_open=was is not None) or too_high else None
