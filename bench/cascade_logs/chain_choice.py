"""Pair or chain: which of a list of tiers to keep. A longer chain always looks cheaper on the records it was fitted to.

So candidates are compared out of sample, part by part, and a longer one is chosen only if it is cheaper there by more
than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.cross_fitted import folds_of, loss_path, losses_and_costs
from optimizer.core.search.cascade.records import Column, TierRecords
from optimizer.core.search.cascade.sweep import curve, last_in_sequence
from optimizer.core.search.cascade.thresholds import FoundThresholds, LeastCost, found_of, search

LONGEST = 3


def choose_chain(records: TierRecords, goal: LeastCost, *, folds: Sequence[int] | None = None) -> FoundThresholds:
    """The best chain of any of the tiers that ends with the strongest, each by ``search``; ``setting`` None: none.

    With m candidates each is held to the level 1 - (1 - level) / m, so that looking at many does not make one pass by
    luck (Bonferroni). Of those that pass the shortest is taken that no longer one undercuts by more than one standard
    error of the paired difference, out of sample.
    """
    parts = folds_of(len(records), folds)
    chains = [
        (*some, records.strongest)
        for length in range(1, min(LONGEST, len(records.tiers)))
        for some in combinations(records.tiers[:-1], length)
    ]
    strict = replace(goal, level=1 - (1 - goal.level) / len(chains))
    candidates = list[tuple[float, FoundThresholds, Column]]()  # share saved and cost, out of sample
    strong = records.weight @ records.cost_usd[:, -1]
    for tiers in chains:
        own = records.chain(tiers)
        if len(tiers) == 2:
            thresholds, cost = search(own, strict), _pair_out_of_sample(own, parts, strict)
        else:
            path = loss_path(own, parts, strict.margin, strict.level)
            thresholds, cost = found_of(own, strict, path.chosen, upper=path.held_upper), path.cost_usd
        candidates.append((float(1 - records.weight @ cost / strong), thresholds, cost))
    candidates.sort(key=lambda one: -one[0])
    usable = [one for one in candidates if one[1].setting is not None and one[0] > 0]
    if not usable:
        return candidates[0][1]
    as_cheap = (one for one in usable if _as_cheap(one[2], usable[0][2], records.weight))
    return min(as_cheap, key=lambda one: (len(one[1].tiers), -one[0]))[1]


def _as_cheap(cost: Column, least: Column, weight: Column) -> bool:
    """Whether a cost is above the least by no more than one standard error of the paired difference."""
    gap = weight @ (cost - least) / weight.sum()
    error = np.sqrt(weight**2 @ (cost - least - gap) ** 2) / weight.sum()
    return bool(gap <= error)


def _pair_out_of_sample(records: TierRecords, parts: NDArray[np.intp], goal: LeastCost) -> Column:
    """Cost per record, each part judged by the thresholds that the same rule finds on the others."""
    cost = np.empty(len(records))
    for part in np.unique(parts):
        swept = curve(records.take(parts != part), level=goal.level)
        threshold = float(swept.threshold[last_in_sequence(swept.upper, goal.margin)])
        own = np.flatnonzero(parts == part)
        _, cost[own], _ = losses_and_costs(records.take(own), [threshold])
    return cost
