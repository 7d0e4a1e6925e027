"""Where no thresholds are safe on audited requests: is a cascade ruled out, or do the records not tell yet?

And how many more would tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from optimizer.core.base.phrasing import change_text, points_lost, threshold
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.sweep import curve
from optimizer.core.search.cascade.thresholds import LeastCost, chains_of, effective_number, proving_records
from optimizer.core.search.cascade.weighted import loss_upper

N_LOOKED_AT = 40  # thresholds of a pair, evenly by share answered
WORTH_SAVING = 0.01  # of the strongest tier's cost; thresholds that save less are no way out
MOST_MISSING = 100_000  # more audits than this are named as "more than"


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRefusal:
    """``missing``: about how many more complete records would tell; None:
    a cascade is ruled out, which ``reason`` says.
    """

    missing: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One threshold of a pair that saves something; loss with its one-sided bounds, each at the level."""

    cheap: str
    accept: float
    loss: float
    low: float
    high: float

    def needed(self, n: float, allowed: float) -> float:
        """Records with which the same loss would be told from what is allowed: bounds shrink with the square root of
        their number, and of a loss of 0 with the number itself.
        """
        half = self.high - self.loss if self.loss <= allowed else self.loss - self.low
        gap = abs(allowed - self.loss)
        if gap == 0:
            return float(MOST_MISSING)
        return n * (half / gap) ** (2 if self.loss else 1)


def refused(records: TierRecords, goal: LeastCost) -> CascadeRefusal:
    """For complete records on which the confident rule found nothing.

    A cascade is ruled out where every threshold that saves a hundredth of the cost surely loses more than is allowed,
    or none saves so much. Pairs with the strongest tier are looked at:
    a longer chain answers with the same cheap answers.
    """
    allowed, n = goal.margin, effective_number(records)
    places = [place for pair in _pairs(records) for place in _places(pair, goal.level)]
    if not places:
        return CascadeRefusal(
            missing=None,
            reason=f"Do not cascade: no thresholds save {WORTH_SAVING:.0%} of what {records.strongest} alone costs.",
        )
    safest = min(places, key=lambda one: (one.low, one.loss))
    if safest.low > allowed:
        return CascadeRefusal(
            missing=None,
            reason=(
                f"Do not cascade: {_place_text(safest)}, with {goal.level:.0%} confidence at least"
                f" {100 * safest.low:z.2f}, and {100 * allowed:.2f} are allowed."
            ),
        )
    needed = _needed(places, n, allowed)
    missing = min(MOST_MISSING, max(1, ceil(needed - n), proving_records(goal) - int(n)))
    return CascadeRefusal(
        missing=missing,
        reason=(
            f"{_place_text(safest)}, with {goal.level:.0%} confidence between {change_text(safest.low)} and"
            f" {change_text(safest.high)}, and {100 * allowed:.2f} are allowed."
        ),
    )


def _needed(places: Sequence[_Place], n: float, allowed: float) -> float:
    """For the place that could be shown safe soonest; else for all that are not ruled out."""
    safe = [one.needed(n, allowed) for one in places if one.loss < allowed]
    return min(safe) if safe else max(one.needed(n, allowed) for one in places if one.low <= allowed)


def _place_text(place: _Place) -> str:
    return f"{place.cheap} at accept {threshold(place.accept)} {points_lost(place.loss)}"


def _pairs(records: TierRecords) -> Iterable[TierRecords]:
    return (records.chain(chain) for chain in chains_of(records.tiers) if len(chain) == 2)


def _places(pair: TierRecords, level: float) -> list[_Place]:
    swept = curve(pair, level=level)
    strong = float(pair.weight @ pair.cost_usd[:, 1] / pair.weight.sum())
    saving = np.flatnonzero(swept.cost_usd <= (1 - WORTH_SAVING) * strong)
    if not len(saving):
        return []
    places, loss = [], pair.score[:, 1] - pair.score[:, 0]
    for at in saving[np.unique(np.linspace(0, len(saving) - 1, N_LOOKED_AT).astype(int))]:
        is_kept = pair.confidence[:, 0] >= swept.threshold[at]
        low = -loss_upper(-np.where(is_kept, loss, 0.0), pair.weight, is_kept, level)
        places.append(
            _Place(
                cheap=pair.tiers[0],
                accept=float(swept.threshold[at]),
                loss=float(swept.loss[at]),
                low=low,
                high=float(swept.upper[at]),
            )
        )
    return places
