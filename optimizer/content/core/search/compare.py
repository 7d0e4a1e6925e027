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

from optimizer.content.core.policy.filter import TIMES, TimeModel
from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.search.replay import Records, ReplayedShares, Routes, summary, ways
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import signed, signed_interval

Choice = Literal["aggressive", "conservative", "balanced"]
EDGE = 0.05
MIN_EACH = 30  # below this a normal interval of a mean is not to be trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanWithError:
    """Mean, its standard error, and how many items stand behind it."""

    mean: float
    error: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AbArm:
    """What one configuration was measured to do: quality of what it processed in full,
    and share of time it saved, by item.
    """

    name: str
    quality: MeanWithError
    time_saved: MeanWithError


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
    """``choice`` None: cannot tell. ``by_estimates`` is what the rule says if the estimates are taken as exact.

    ``quality`` is conservative minus aggressive (what the aggressive one loses),
    ``time_saved`` aggressive minus conservative.
    """

    choice: Choice | None
    by_estimates: Choice
    possible: tuple[Choice, ...]
    quality: AbDifference
    time_saved: AbDifference
    reason: str


def measured(values: Sequence[float]) -> MeanWithError:
    """Mean and standard error of a sample. Raises DatasetTooSmall below 30 values."""
    if len(values) < MIN_EACH:
        raise DatasetTooSmall(
            f"Cannot compare configurations: one has {len(values)} measured items, and each needs {MIN_EACH}. Let the"
            " test run on.",
            n=len(values),
            n_required=MIN_EACH,
        )
    return MeanWithError(mean=fmean(values), error=sqrt(variance(values) / len(values)), n=len(values))


def rule(quality_difference: float, time_difference: float) -> Choice:
    """The rule on two exact differences; at an edge itself neither side holds, which is the balanced case."""
    if quality_difference < EDGE and time_difference > EDGE:
        return "aggressive"
    return "conservative" if quality_difference > EDGE else "balanced"


def compare(conservative: AbArm, aggressive: AbArm, *, confidence: float = 0.95) -> Preference:
    """Which configuration to choose.

    The two intervals hold together with ``confidence`` (each at the half of what is left over, Bonferroni), at one
    look: they are not made for looking again and again until they suit.

    Args:
        confidence: in (0, 1).
    Raises:
        DatasetTooSmall: an arm has fewer than 30 measured items.
    """
    for arm in (conservative, aggressive):
        for what, measure in (("quality", arm.quality), ("time saved", arm.time_saved)):
            if measure.n < MIN_EACH:
                raise DatasetTooSmall(
                    f"Cannot compare {conservative.name} and {aggressive.name}: {arm.name} has {measure.n} items with"
                    f" measured {what}, and {MIN_EACH} are needed. Let the test run on.",
                    n=measure.n,
                    n_required=MIN_EACH,
                )
    quality = difference_of(
        conservative.quality.mean - aggressive.quality.mean,
        _joint_error(conservative.quality, aggressive.quality),
        confidence,
    )
    time_saved = difference_of(
        aggressive.time_saved.mean - conservative.time_saved.mean,
        _joint_error(aggressive.time_saved, conservative.time_saved),
        confidence,
    )
    return verdict_of(quality, time_saved)


def verdict_of(quality: AbDifference, time_saved: AbDifference) -> Preference:
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
        by_estimates=by_estimates,
        possible=possible,
        quality=quality,
        time_saved=time_saved,
        reason=reason,
    )


def difference_of(estimate: float, error: float, confidence: float) -> AbDifference:
    """A difference with its normal interval; two of them hold together with ``confidence`` (Bonferroni).

    ``error`` is its standard error.
    """
    z = NormalDist().inv_cdf(1 - (1 - confidence) / 4)
    return AbDifference(estimate=estimate, low=estimate - z * error, high=estimate + z * error)


def _joint_error(one: MeanWithError, other: MeanWithError) -> float:
    return sqrt(one.error**2 + other.error**2)


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
    times: TimeModel = TIMES,
    confidence: float = 0.95,
) -> ReplayedComparison:
    """Which of two flat policies to choose, by the rule of ``compare``,
    with paired intervals that hold together with ``confidence``.

    Each variance counts two more items on which the configurations disagree entirely, one each way. So a few differing
    items do not give an interval of no width (as Agresti and Min 2005 do for matched pairs of proportions).

    Args:
        records: items without weights; the quality of those without one is taken for not measured, and their time
            counts.
        confidence: in (0, 1).
    Raises:
        InvalidInput: a policy cannot be read, the records have weights, or the confidence is out of range.
        DatasetTooSmall: fewer than 30 items with a measured quality are processed in full by one of the two.
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise InvalidInput(
            f"The confidence of a comparison lies between 0 and 1, not at {confidence:g}; 0.95 is usual."
        )
    if records.weights is not None:
        raise InvalidInput("Items with weights cannot be compared item by item; leave the weights out.")
    routes = [ways(records, parse_pipeline(policy)) for policy in (conservative, aggressive)]
    outcomes = [summary(records, one, times) for one in routes]
    for name, one in zip(("conservative", "aggressive"), outcomes, strict=True):
        if one.quality is None or one.n_judged < MIN_EACH:
            raise DatasetTooSmall(
                f"Cannot compare the configurations: of {records.n} items the {name} one processes {one.n_judged} with"
                f" a measured quality in full, and {MIN_EACH} are needed. Import more items, or compare one that"
                " processes more in full.",
                n=one.n_judged,
                n_required=MIN_EACH,
            )
    spent = [_time_shares(records.n, one, times) for one in routes]
    less = spent[0] - spent[1]
    time_error = sqrt(float(((less - less.mean()) ** 2).sum()) + 2) / records.n
    quality_lost, quality_error = _quality_difference(records, routes, outcomes)
    differing = np.zeros(records.n, dtype=bool)
    for one, other in zip(_columns(routes[0]), _columns(routes[1]), strict=True):
        differing |= one != other
    return ReplayedComparison(
        verdict=verdict_of(
            difference_of(quality_lost, quality_error, confidence),
            difference_of(float(less.mean()), time_error, confidence),
        ),
        conservative=outcomes[0],
        aggressive=outcomes[1],
        n=records.n,
        n_differing=int(differing.sum()),
    )


def _quality_difference(records: Records, routes: list[Routes], outcomes: list[ReplayedShares]) -> tuple[float, float]:
    """Mean quality lost and its standard error,
    from what each item adds to the difference of the two means (linearisation of a ratio).
    """
    import numpy as np

    measured = ~np.isnan(records.quality)
    quality = np.where(measured, records.quality, 0.0)
    added = np.zeros(records.n)
    for one, outcome, sign in zip(routes, outcomes, (1, -1), strict=True):
        added += sign * np.where(one.full & measured, quality - (outcome.quality or 0.0), 0.0) / outcome.n_judged
    error = sqrt(float((added**2).sum()) + 2 / min(one.n_judged for one in outcomes) ** 2)
    return (outcomes[0].quality or 0.0) - (outcomes[1].quality or 0.0), error


def _time_shares(n: int, routes: Routes, times: TimeModel) -> Any:
    """Per item, the share of the time of full processing that it takes."""
    import numpy as np

    shares = np.full(n, times.full)
    shares[routes.lightweight] = times.lightweight
    for checkpoint, column in routes.exits.items():
        shares[column] = times.exits[checkpoint]
    return shares / times.full


def _columns(routes: Routes) -> list[Any]:
    return [routes.full, routes.lightweight, *routes.exits.values()]
