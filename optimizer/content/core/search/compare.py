"""The A/B decision between a conservative and an aggressive configuration, with its intervals.

The rule: a quality difference below .05 and a time saving difference above .05 choose the aggressive one, a quality
difference above .05 chooses the conservative one, and otherwise the balanced one is chosen. Measured differences have
an error: where an interval reaches over an edge of the rule, so that the other side would choose otherwise, the answer
is "cannot tell".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, variance
from typing import Literal

from optimizer.core.base.errors import DatasetTooSmall
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
