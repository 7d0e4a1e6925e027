"""The A/B decision between a conservative and an aggressive configuration, with its intervals.

The rule: a quality difference below .05 and a time saving difference above .05 choose the aggressive one, a quality
difference above .05 chooses the conservative one, and otherwise the balanced one is chosen. Measured differences have
an error: where an interval reaches over an edge of the rule, so that the other side would choose otherwise, the answer
is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, variance
from typing import Any, Literal

from optimizer.content.core.policy.filter import TIMES
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.replay import Records, ReplayedShares, Routes, summary, ways
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.base.phrasing import count, signed, signed_interval
from optimizer.core.feedback.pipeline_record import PipelineRecord

Choice = Literal["aggressive", "conservative", "balanced"]
EDGE = 0.05
MIN_EACH = 30  # with fewer, a normal interval of a mean cannot be trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class AbDifference:
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{signed(self.estimate)} ({signed_interval(self.low, self.high)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """``choice`` None: cannot tell; ``possible``: what may be right. ``by_estimates`` is what the rule says if the
    estimates are taken as exact.

    ``quality_lost`` is conservative minus aggressive, ``time_saved_more`` aggressive minus conservative.
    """

    choice: Choice | None
    answer: str
    by_estimates: Choice
    possible: tuple[Choice, ...]
    quality_lost: AbDifference
    time_saved_more: AbDifference
    confidence: float
    reason: str


def rule(quality_difference: float, time_difference: float) -> Choice:
    """The rule on two exact differences; at an edge itself neither side holds, which is the balanced case."""
    if quality_difference < EDGE and time_difference > EDGE:
        return "aggressive"
    return "conservative" if quality_difference > EDGE else "balanced"


def verdict_of(quality: AbDifference, time_saved: AbDifference, confidence: float) -> Preference:
    """What the rule says of two differences with their intervals; both as in ``Preference``."""
    by_estimates = rule(quality.estimate, time_saved.estimate)
    corners = {rule(q, t) for q in (quality.low, quality.high) for t in (time_saved.low, time_saved.high)} | {
        by_estimates
    }
    possible: tuple[Choice, ...] = tuple(
        option for option in ("aggressive", "balanced", "conservative") if option in corners
    )
    choice = by_estimates if len(possible) == 1 else None
    shown = f"quality lost {quality}, time saved more {time_saved}, edges at {EDGE:g}"
    if choice is not None:
        reason = f"{choice}: {shown}"
    else:
        crossed = [name for name, d in (("the quality", quality), ("the time", time_saved)) if d.low <= EDGE <= d.high]
        reason = (
            f"cannot tell: {shown}; {' and '.join(crossed)} interval reaches over the edge, and {' or '.join(possible)}"
            " may be right. Measure more items."
        )
    return Preference(
        choice=choice,
        answer=choice or "cannot tell",
        by_estimates=by_estimates,
        possible=possible,
        quality_lost=quality,
        time_saved_more=time_saved,
        confidence=confidence,
        reason=reason,
    )


def difference_of(estimate: float, error: float, confidence: float) -> AbDifference:
    """A difference with its normal interval; two of them hold together with ``confidence`` (Bonferroni).

    ``error`` is its standard error.
    """
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 4)
    return AbDifference(estimate=estimate, low=estimate - z * error, high=estimate + z * error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveShares:
    """What one configuration did with the items that its pipeline reported under its name.

    ``quality``: mean of what was processed in full, of ``n_judged`` items; ``time_saved``: mean share of the time of
    full processing, of ``n_timed``; ``satisfaction``: mean of ``n_rated``; ``error_rate``: of ``n_watched`` that say
    whether they failed.
    """

    config_version: str
    n: int
    n_judged: int
    quality: float | None
    n_timed: int
    time_saved: float | None
    bypass_rate: float | None
    early_exit_rate: float | None
    n_rated: int
    satisfaction: float | None
    n_watched: int
    error_rate: float | None


def live_shares(name: str, records: Sequence[PipelineRecord]) -> LiveShares:
    """Rates as the pipeline's own report has them: early exits of those that were not bypassed."""
    quality, saved = _measured_of(records)
    n, n_bypassed = len(records), sum(record.processing_type == "lightweight" for record in records)
    n_exits = sum(record.processing_type == "early_exit" for record in records)
    return LiveShares(
        config_version=name,
        n=n,
        n_judged=len(quality),
        quality=fmean(quality) if quality else None,
        n_timed=len(saved),
        time_saved=fmean(saved) if saved else None,
        bypass_rate=n_bypassed / n if n else None,
        early_exit_rate=n_exits / (n - n_bypassed) if n > n_bypassed else None,
        n_rated=len(rated := _of_each(records, "satisfaction")),
        satisfaction=fmean(rated) if rated else None,
        n_watched=len(failed := _of_each(records, "failed")),
        error_rate=fmean(failed) if failed else None,
    )


def compare_live(
    conservative: tuple[str, Sequence[PipelineRecord]],
    aggressive: tuple[str, Sequence[PipelineRecord]],
    *,
    confidence: float = 0.95,
) -> Preference:
    """The decision between two configurations, each of which dealt with items of its own.

    The two intervals hold together with ``confidence`` (each at half of the rest, Bonferroni), at one look: they do not
    allow looking again and again until they suit.

    Args:
        conservative, aggressive: name, and the records that carry it.
        confidence: in (0, 1).
    Raises:
        DatasetTooSmall: fewer than 30 records of one have a measured quality of full processing, or a time saved.
    """
    qualities, savings = [], []
    for name, records in (conservative, aggressive):
        quality, saved = _measured_of(records)
        for what, values in (("measured quality, processed in full", quality), ("a share of time saved", saved)):
            if len(values) < MIN_EACH:
                raise DatasetTooSmall(
                    f"Cannot compare {conservative[0]} and {aggressive[0]} on live records: {name} has"
                    f" {count(len(values), 'record')} with {what}, and {MIN_EACH} are needed. Send each item with its"
                    " config_version to POST /api/performance/record, half of them under each, and let the test run"
                    " on.",
                    n=len(values),
                    n_required=MIN_EACH,
                )
        qualities.append(quality)
        savings.append(saved)
    return verdict_of(
        _difference(*qualities, confidence=confidence),
        _difference(*reversed(savings), confidence=confidence),
        confidence,
    )


def _difference(one: Sequence[float], other: Sequence[float], *, confidence: float) -> AbDifference:
    """Of the means of two samples that have nothing to do with one another."""
    error = sqrt(sum(variance(values) / len(values) for values in (one, other)))
    return difference_of(fmean(one) - fmean(other), error, confidence)


def live_difference(
    conservative: Sequence[PipelineRecord],
    aggressive: Sequence[PipelineRecord],
    field: Literal["satisfaction", "failed"],
    *,
    confidence: float = 0.95,
) -> AbDifference | None:
    """Aggressive minus conservative, by the records that say it; None where fewer than 30 of one do. It decides
    nothing.

    Each side's variance counts one more item at either end, so that 30 that all failed, or none, leave an interval.
    """
    sides = [_of_each(records, field) for records in (conservative, aggressive)]
    if min(map(len, sides)) < MIN_EACH:
        return None
    error = sqrt(sum(variance([*values, 0.0, 1.0]) / len(values) for values in sides))
    return difference_of(fmean(sides[1]) - fmean(sides[0]), error, confidence)


def _of_each(records: Sequence[PipelineRecord], field: Literal["satisfaction", "failed"]) -> list[float]:
    values = (getattr(record, field) for record in records)
    return [float(value) for value in values if value is not None]


def _measured_of(records: Sequence[PipelineRecord]) -> tuple[list[float], list[float]]:
    """Qualities of what was processed in full, and shares of time saved of all."""
    full = [record for record in records if record.processing_type == "full"]
    quality = [record.quality_score for record in full if record.quality_score is not None]
    return quality, [record.time_saved_share for record in records if record.time_saved_share is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedComparison:
    """The verdict, what each configuration does with the items, and how many items the two treat differently."""

    verdict: Preference
    conservative: ReplayedShares
    aggressive: ReplayedShares
    n: int
    n_differing: int


def compare_replayed(
    records: Records,
    conservative: Mapping[str, Any],
    aggressive: Mapping[str, Any],
    *,
    confidence: float = 0.95,
) -> ReplayedComparison:
    """Which of two flat policies to choose, by the same rule, with paired intervals.

    They hold together with ``confidence``. Each variance counts two more items on which the configurations disagree
    entirely, one each way. So a few differing items do not give an interval of no width (as Agresti and Min 2005 do for
    matched pairs of proportions).

    Args:
        records: those without a quality count as not measured, and their time counts.
        confidence: in (0, 1).
    Raises:
        InvalidInput: a policy cannot be read.
        DatasetTooSmall: fewer than 30 items with a measured quality are processed in full by one of the two.
    """
    import numpy as np

    routes = [ways(records, parse_pipeline(policy)) for policy in (conservative, aggressive)]
    outcomes = [summary(records, one) for one in routes]
    for name, one in zip(("conservative", "aggressive"), outcomes, strict=True):
        if one.quality is None or one.n_judged < MIN_EACH:
            raise DatasetTooSmall(
                f"Cannot compare the configurations: of {records.n} items the {name} one processes {one.n_judged} with"
                f" a measured quality in full, and {MIN_EACH} are needed. Import more items, or compare one that"
                " processes more in full.",
                n=one.n_judged,
                n_required=MIN_EACH,
            )
    spent = [_time_shares(records.n, one) for one in routes]
    less = spent[0] - spent[1]
    time_error = sqrt(float(((less - less.mean()) ** 2).sum()) + 2) / records.n
    # Mean quality lost and its standard error. Both come from what each item adds to the difference of the two means
    # (linearisation of a ratio).

    has_quality = ~np.isnan(records.quality)
    quality = np.where(has_quality, records.quality, 0.0)
    added = np.zeros(records.n)
    for route, outcome, sign in zip(routes, outcomes, (1, -1), strict=True):
        added += sign * np.where(route.full & has_quality, quality - (outcome.quality or 0.0), 0.0) / outcome.n_judged
    error = sqrt(float((added**2).sum()) + 2 / min(route.n_judged for route in outcomes) ** 2)
    quality_lost, quality_error = (outcomes[0].quality or 0.0) - (outcomes[1].quality or 0.0), error
    differing = np.zeros(records.n, dtype=bool)
    for one, other in zip(_columns(routes[0]), _columns(routes[1]), strict=True):
        differing |= one != other
    return ReplayedComparison(
        verdict=verdict_of(
            difference_of(quality_lost, quality_error, confidence),
            difference_of(float(less.mean()), time_error, confidence),
            confidence,
        ),
        conservative=outcomes[0],
        aggressive=outcomes[1],
        n=records.n,
        n_differing=int(differing.sum()),
    )


def _time_shares(n: int, routes: Routes) -> Any:
    """Per item, the share of the time of full processing that it takes."""
    import numpy as np

    shares = np.full(n, TIMES["full"])
    shares[routes.lightweight] = TIMES["lightweight"]
    for checkpoint, column in routes.exits.items():
        shares[column] = TIMES[checkpoint]
    return shares


def _columns(routes: Routes) -> list[Any]:
    return [routes.full, routes.lightweight, *routes.exits.values()]
