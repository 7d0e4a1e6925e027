"""Pair or chain: which of a list of tiers to keep. A longer chain always looks cheaper on the records it was fitted to.

So candidates are compared out of sample, part by part, and a longer one is chosen only if it is cheaper there by more
than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.cross_fitted import N_FOLDS, Thresholds, folds_of, loss_path, losses_and_costs
from optimizer.core.search.cascade.figures import Figure
from optimizer.core.search.cascade.records import LOSSES, Column, TierRecords, figure
from optimizer.core.search.cascade.sweep import curve, last_in_sequence
from optimizer.core.search.cascade.thresholds import FoundThresholds, LeastCost, found_of, search

MOST_IN_CHAIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One chain that could be used.

    Shares of the strongest tier's cost; ``out_of_sample_*``: thresholds from the other parts, judged on each.
    """

    found: FoundThresholds
    saved_share: float | None  # on the records it was fitted to
    out_of_sample_saved_share: float
    out_of_sample_loss: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """``best.setting`` None: do not cascade.

    ``candidates``: all that were compared, the cheapest out of sample first.
    """

    best: FoundThresholds
    reason: str
    candidates: tuple[Candidate, ...]


def choose_chain(
    records: TierRecords, goal: LeastCost, *, folds: Sequence[int] | None = None, longest: int = 3
) -> Choice:
    """The best chain of any of the tiers that ends with the strongest, by the confident rule.

    With m candidates each is held to the level 1 - (1 - level) / m, so that looking at many does not make one pass by
    luck (Bonferroni). Of those that pass the shortest is taken that no longer one undercuts by more than one standard
    error of the paired difference, out of sample.

    Args:
        longest: chain looked at, 2 to 4; chains of four cost minutes where those of three cost seconds.
        folds: as in ``threshold_search.search``.
    """
    parts = folds_of(len(records.complete()), folds, N_FOLDS)
    chains = [
        (*some, records.strongest)
        for length in range(1, min(longest, MOST_IN_CHAIN, len(records.tiers)))
        for some in combinations(records.tiers[:-1], length)
    ]
    strict = replace(goal, rule="confident", level=1 - (1 - goal.level) / len(chains))
    costs, candidates = dict[tuple[str, ...], Column](), list[Candidate]()
    strong = records.cost_usd[:, -1]
    for tiers in chains:
        own = records.chain(tiers)
        if len(tiers) == 2:
            thresholds, (loss, costs[tiers]) = search(own, strict), _pair_out_of_sample(own, parts, strict)
        else:
            path = loss_path(own, parts, strict.margin, strict.level)
            thresholds, loss, costs[tiers] = (
                found_of(own, strict, path.chosen, upper=path.held_upper),
                path.loss,
                path.cost_usd,
            )
        candidates.append(
            Candidate(
                found=thresholds,
                saved_share=thresholds.replay.saved_share.mean if thresholds.replay else None,
                out_of_sample_saved_share=float(1 - records.weight @ costs[tiers] / (records.weight @ strong)),
                out_of_sample_loss=figure(loss, records.weight, LOSSES),
            )
        )
    candidates.sort(key=lambda c: -c.out_of_sample_saved_share)
    usable = [c for c in candidates if c.found.setting is not None and c.out_of_sample_saved_share > 0]
    if not usable:
        return Choice(best=candidates[0].found, reason=candidates[0].found.reason, candidates=tuple(candidates))
    cheapest = usable[0]
    best = min(
        (c for c in usable if _as_cheap(costs[c.found.tiers], costs[cheapest.found.tiers], records.weight)),
        key=lambda c: (len(c.found.tiers), -c.out_of_sample_saved_share),
    )
    return Choice(best=best.found, reason=_why(best, usable), candidates=tuple(candidates))


def _as_cheap(cost: Column, least: Column, weight: Column) -> bool:
    """Whether a cost is above the least by no more than one standard error of the paired difference."""
    gap = weight @ (cost - least) / weight.sum()
    error = np.sqrt(weight**2 @ (cost - least - gap) ** 2) / weight.sum()
    return bool(gap <= error)


def _pair_out_of_sample(records: TierRecords, parts: NDArray[np.intp], goal: LeastCost) -> tuple[Column, Column]:
    """Loss and cost per record, each part judged by the thresholds that the same rule finds on the others."""
    loss, cost = np.empty(len(records)), np.empty(len(records))
    for part in np.unique(parts):
        swept = curve(records.take(parts != part), level=goal.level)
        threshold = float(swept.threshold[last_in_sequence(swept.upper, goal.margin)])
        own = np.flatnonzero(parts == part)
        loss[own], cost[own], _ = losses_and_costs(records.take(own), Thresholds(accept=(threshold,), exact=True))
    return loss, cost


def _why(best: Candidate, usable: Sequence[Candidate]) -> str:
    longer = [c for c in usable if len(c.found.tiers) > len(best.found.tiers)]
    if not longer:
        return best.found.reason
    other = max(longer, key=lambda c: c.saved_share or 0.0)
    return (
        f"{best.found.reason} {' > '.join(other.found.tiers)} saves {_percent(other.saved_share or 0.0)} on the records"
        f" but {_percent(other.out_of_sample_saved_share)} out of sample, against {_percent(best.saved_share or 0.0)}"
        f" and {_percent(best.out_of_sample_saved_share)}: the shorter one is the better choice."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
