"""Many settings of a cascade replayed at once, means only: what brute force over thresholds is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.core.search.cascade.records import Column, TierRecords


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Means:
    """One entry per setting; ``answered_share`` has a column per tier.

    ``latency_ms`` is NaN where it was not measured.
    """

    quality: Column
    loss: Column
    cost_usd: Column
    latency_ms: Column
    answered_share: Column


def replay_many(records: TierRecords, accept: Column) -> Means:
    """Many settings of the records' own chain, means only:
    ``accept`` has a row per setting and a column per tier but the last.
    """
    complete = records.complete()
    share = complete.weight / complete.weight.sum()
    kinds = (complete.score, np.cumsum(complete.cost_usd, axis=1), np.cumsum(complete.latency_ms, axis=1))
    steps = [
        ([np.ascontiguousarray(kind[:, place] - kind[:, -1]) for place in range(kind.shape[1] - 1)]) for kind in kinds
    ]
    last = [kind[:, -1] @ share for kind in kinds]
    sums = np.empty((len(accept), 3))
    answered = np.empty((len(accept), len(records.tiers)))
    for at, thresholds in enumerate(accept):
        reached, share_left = share, 1.0
        sums[at] = last
        for place, threshold in enumerate(thresholds):
            answered_here = np.where(complete.confidence[:, place] >= threshold, reached, 0.0)
            answered[at, place] = answered_here.sum()
            share_left -= answered[at, place]
            sums[at] += [step[place] @ answered_here for step in steps]
            reached = reached - answered_here
        answered[at, -1] = share_left
    quality = sums[:, 0]
    return Means(
        quality=quality, loss=last[0] - quality, cost_usd=sums[:, 1], latency_ms=sums[:, 2], answered_share=answered
    )
