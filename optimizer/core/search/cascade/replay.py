"""The cascade: ask the cheapest tier, keep its answer where its confidence stands, otherwise ask the next.

One rule, searched and executed.

Replay is vectorised over records; no model is called. The rule for one answer is ``tiers.stands``, and what the knobs
mean stands there, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.figures import CascadeSetting, Figure
from optimizer.core.search.cascade.records import LOSSES, SHARES, Column, TierRecords, figure

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
    """One setting on complete records, measured against the strongest tier of the records (not only of the setting).

    Raises:
        InvalidInput: a tier of the setting is not recorded, or a record lacks a tier.
    """
    happened = outcome(records.complete(), setting)
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
