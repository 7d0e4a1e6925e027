"""What every tier answered to every recorded query, as columns; a cascade replayed on them; means with intervals.

Model calls are paid for once, and settings are then tried on their records: ask the cheapest tier, keep its answer if
its confidence suffices, else ask the next. Search and serving use one rule, ``tiers.stands``, which also says what the
knobs mean. The search modules of this folder may import numpy at their top; the api process never imports them.

All means use one formula, the weighted mean and its linearised variance:

    mean = sum(w x) / sum(w),   variance = sum(w^2 (x - mean)^2) / sum(w)^2

Values that cannot leave a range get a few observations more at either end of it, with the average weight of the rows
concerned. Without them "no loss seen" would be reported as "no loss, for certain". Two-sided intervals add two at
either end of a share or a score (Agresti, Coull 1998, The American Statistician 52(2), 119-126) and one at either end
of a paired difference (Bonett, Price 2012, JEBS 37(4), 479-488). The one-sided bound of a loss adds half a one, the
prior of Jeffreys (1946), and is exact while no difference at all has been seen. The weighted mean is Hajek's (1971).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.core.base.canonical import DECIMALS
from optimizer.core.search.cascade.figures import CascadeSetting, Figure

Column = NDArray[np.float64]
FIELDS = ("score", "cost_usd", "latency_ms", "confidence")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TierRecords:
    """One row per query, one column per tier, cheapest first.

    NaN in ``score`` or ``cost_usd``: the tier was not asked (or, of a score alone, there is nothing yet to score its
    answer by).

    score: in [0, 1], higher is better. cost_usd: at least 0. latency_ms: at least 0; NaN: not measured. confidence: in
    [0, 1]; NaN: not recorded, and then the answer never stands. weight: at least 0; how many queries the row stands for
    (the inverse of the chance that it was recorded; 1 where all tiers were asked anyway).
    """

    tiers: tuple[str, ...]
    score: Column
    cost_usd: Column
    latency_ms: Column
    confidence: Column
    weight: Column

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], tiers: Sequence[str]) -> TierRecords:
        """Rows as ``{"tiers": {name: {"score", "cost_usd", "latency_ms", "confidence"}}, "weight": 1.0}``.

        A tier that a row lacks was not asked. Within a tier ``latency_ms`` and ``confidence`` may be missing or None,
        and a row without ``weight`` stands for itself.
        """
        columns = {
            name: np.array([[(row["tiers"].get(tier) or {}).get(name) for tier in tiers] for row in rows], dtype=float)
            for name in FIELDS
        }
        shaped = {name: column.reshape(len(rows), len(tiers)) for name, column in columns.items()}
        confidence = rounded_down(shaped.pop("confidence"))
        weight = np.array([row.get("weight", 1.0) for row in rows], dtype=float)
        return cls(tiers=tuple(tiers), weight=weight, confidence=confidence, **shaped)

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def strongest(self) -> str:
        """The last tier, whose answer is the reference for every other."""
        return self.tiers[-1]

    def mean(self, values: Column) -> float:
        """Over the queries that the rows stand for, each by its weight."""
        return float(np.average(values, weights=self.weight))

    def chain(self, tiers: Sequence[str]) -> TierRecords:
        """The same queries with these tiers only, in this order."""
        at = [self.tiers.index(tier) for tier in tiers]
        return replace(self, tiers=tuple(tiers), **{name: getattr(self, name)[:, at] for name in FIELDS})

    def take(self, rows: NDArray[Any]) -> TierRecords:
        """Chosen rows, by index (a row may come twice) or by mask."""
        return replace(self, weight=self.weight[rows], **{name: getattr(self, name)[rows] for name in FIELDS})

    def with_confidence(self, tier: str, confidence: Column) -> TierRecords:
        """The same queries with another confidence in one tier's answers, such as a learned one (out of sample)."""
        changed = self.confidence.copy()
        changed[:, self.tiers.index(tier)] = rounded_down(confidence)
        return replace(self, confidence=changed)


def rounded_down(confidence: Column) -> Column:
    """Rounded down to the decimals of a Variant's numbers: compared with a threshold that is kept so,
    it says what the confidence itself says.

    A threshold that is found on these can be kept as it is. Rounded to the nearest it would refuse the very answer that
    gave it.
    """
    near = np.round(confidence, DECIMALS)
    return np.where(near > confidence, np.round(near - 10.0**-DECIMALS, DECIMALS), near)


Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Values from ``low`` to ``high``; ``ends``: observations added at either end for an interval."""

    low: float
    high: float
    ends: float


SHARES = Range(low=0.0, high=1.0, ends=2.0)
LOSSES = Range(low=-1.0, high=1.0, ends=1.0)
BOUNDED_LOSSES = Range(low=-1.0, high=1.0, ends=0.5)


def figure(values: Column, weight: Column, bounds: Range | None = None) -> Figure:
    """``bounds``: the values' range, where they have one; the interval then stays inside it."""
    total, squared = float(weight.sum()), float(weight @ weight)
    mean = float(weight @ values) / total
    if bounds is None:
        half = Z95 * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total
        return Figure(mean=mean, low=mean - half, high=mean + half)
    middle, error = WeightedSums.of(values, weight).extended(bounds, squared / total)
    return Figure(
        mean=mean,
        low=max(bounds.low, min(mean, float(middle - Z95 * error))),
        high=min(bounds.high, max(mean, float(middle + Z95 * error))),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedSums:
    """Over records, or over many selections of them at once: sums of w, w x, w^2, w^2 x and w^2 x^2."""

    total: float
    first: float | Column
    squared: float
    cross: float | Column
    squares: float | Column

    @classmethod
    def of(cls, values: Column, weight: Column) -> WeightedSums:
        return cls(
            total=float(weight.sum()),
            first=float(weight @ values),
            squared=float(weight @ weight),
            cross=float(weight**2 @ values),
            squares=float(weight**2 @ values**2),
        )

    def extended(self, bounds: Range, each: float | Column) -> tuple[Column, Column]:
        """Mean and standard error with the observations at either end added, of weight ``each``."""
        first, added = np.asarray(self.first), bounds.ends * np.asarray(each)
        padded = self.total + 2 * added
        mean = (first + added * (bounds.low + bounds.high)) / padded
        spread = np.asarray(self.squares) - 2 * mean * self.cross + mean**2 * self.squared
        spread = spread + added * each * ((bounds.low - mean) ** 2 + (bounds.high - mean) ** 2)
        return mean, np.sqrt(np.maximum(spread, 0.0)) / padded


def loss_bound(loss: Column, weight: Column, z: float, each: float | None = None) -> float:
    """The mean loss and z standard errors; with z 0 the mean as it is.

    ``each``: weight of what may be lost, the records' mean by default.
    """
    if not z:
        return float(weight @ loss / weight.sum())
    usual = float(weight @ weight) / float(weight.sum())
    middle, error = WeightedSums.of(loss, weight).extended(BOUNDED_LOSSES, usual if each is None else each)
    return float(middle + z * error)


def loss_upper(loss: Column, weight: Column, is_kept: NDArray[np.bool_], level: float) -> float:
    """One-sided upper bound of the mean loss.

    ``is_kept``: records answered by another tier than the strongest; without any it is exactly 0.
    """
    kept_weight, total = weight[is_kept], float(weight.sum())
    if not kept_weight.any():
        return 0.0
    each = float(kept_weight @ kept_weight / kept_weight.sum())
    if not (loss * weight).any():
        return float(clean_upper(total / each, level))
    return loss_bound(loss, weight, NormalDist().inv_cdf(level), each)


def clean_upper(n: float | Column, level: float) -> Column:
    """Exact bound of a loss when ``n`` records show no difference at all:
    the share that would show none with a chance of 1 - level.

    Source: Clopper, Pearson (1934), Biometrika 26(4), 404-413,
    for none of n. At the 90 % level 230 records prove one point.
    """
    return np.asarray(1 - (1 - level) ** (1 / np.asarray(n)))


def mean_upper(values: Column, weight: Column, level: float) -> float:
    """One-sided upper bound of a mean without bounds, such as a cost."""
    total = float(weight.sum())
    mean = float(weight @ values) / total
    return mean + NormalDist().inv_cdf(level) * float(np.sqrt(weight**2 @ (values - mean) ** 2)) / total


NOT_REPLAYED: Mapping[str, str] = {  # knobs of a cascade that no record answers for, and why
    "refine": "an improved answer needs a further call, which no record holds",
    "skip": "it compares a confidence predicted before the call, and records hold the one measured after it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeReplay:
    """What a setting would have done on the records, each figure with a 95 % interval over other queries
    of the same kind.

    ``loss``: mean score of the strongest tier less the cascade's, paired by query. ``saved_share``: of the strongest
    tier's own cost; below 0 where the cascade is dearer. ``answered_share``: per tier, in order. ``latency_ms``: summed
    over the tiers asked; None: not measured for every tier. Intervals: linearised weighted means, with observations
    added at either end of what is bounded (``records.py``).
    """

    n_records: int
    quality: Figure
    loss: Figure
    cost_usd: Figure
    saved_share: Figure
    latency_ms: Figure | None
    answered_share: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnswersByRecord:
    """Per record: the index of the tier that answers, the score of its answer,
    and cost and latency summed over the tiers asked.
    """

    tier: NDArray[np.intp]
    score: Column
    cost_usd: Column
    latency_ms: Column


def answering_tier(confidence: Column, accept: tuple[float, ...] | Column) -> NDArray[np.intp]:
    """Index of the first tier whose answer stands, per record; the last one's always does."""
    tier = np.full(len(confidence), len(accept), dtype=np.intp)
    for place in range(len(accept) - 1, -1, -1):
        tier[confidence[:, place] >= accept[place]] = place  # NaN compares false: it never stands
    return tier


def outcome(records: TierRecords, setting: CascadeSetting) -> AnswersByRecord:
    """What happens to every record; the setting's tiers may be some of the recorded ones."""
    chain = records.chain(setting.tiers)
    tier = answering_tier(chain.confidence, setting.accept)
    rows = np.arange(len(chain))
    return AnswersByRecord(
        tier=tier,
        score=chain.score[rows, tier],
        cost_usd=np.cumsum(chain.cost_usd, axis=1)[rows, tier],
        latency_ms=np.cumsum(chain.latency_ms, axis=1)[rows, tier],
    )


def replay(records: TierRecords, setting: CascadeSetting) -> CascadeReplay:
    """One setting on complete records, measured against the strongest tier of the records (not only of the setting)."""
    happened = outcome(records, setting)
    weight, strong_usd = records.weight, records.cost_usd[:, -1]
    return CascadeReplay(
        n_records=len(records),
        quality=figure(happened.score, weight, SHARES),
        loss=figure(records.score[:, -1] - happened.score, weight, LOSSES),
        cost_usd=figure(happened.cost_usd, weight),
        saved_share=_saved(happened.cost_usd, strong_usd, weight),
        latency_ms=None if np.isnan(happened.latency_ms).any() else figure(happened.latency_ms, weight),
        answered_share=tuple(
            figure((happened.tier == place).astype(float), weight, SHARES) for place in range(len(setting.tiers))
        ),
    )


def _saved(cost: Column, strong: Column, weight: Column) -> Figure:
    """1 - mean cost / mean strong cost, linearised (delta method)
    since both means are estimated on the same records.
    """
    total, strong_mean = weight.sum(), float(weight @ strong / weight.sum())
    if strong_mean <= 0:
        return Figure(mean=0.0, low=0.0, high=0.0)
    ratio = float(weight @ cost / total) / strong_mean
    spread = figure(-(cost - ratio * strong) / strong_mean, weight)
    return Figure(mean=1 - ratio, low=1 - ratio + spread.low - spread.mean, high=1 - ratio + spread.high - spread.mean)
