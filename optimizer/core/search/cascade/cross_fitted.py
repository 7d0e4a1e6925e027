"""How far a chain of several thresholds may go, estimated on records outside its fit.

Several thresholds fitted together are lucky on their own records, and they have no order from safe to unsafe that one
could test along. So: the thresholds of least cost whose loss and z of its standard errors stay within the margin are
found on the other parts and judged on this one, for a row of z from cautious to none. The row is tested in sequence,
the first that fails ends it, and the last that holds is used on all records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.core.base.errors import InvalidInput
from optimizer.core.search.cascade.coordinate import Thresholds, best_thresholds, setting_of
from optimizer.core.search.cascade.records import Column, TierRecords
from optimizer.core.search.cascade.replay import outcome
from optimizer.core.search.cascade.sweep import NEVER, Limit, last_in_sequence
from optimizer.core.search.cascade.weighted import loss_upper

CAUTION = (4.0, 3.0, 2.5, 2.0, 1.75, 1.5, 1.25, 1.0, 0.5, 0.0)  # z: standard errors kept between loss and margin
N_FOLDS = 5  # parts of the records, where no others are named
MOST_FIRST = 96  # first thresholds looked at per part; the choice of the limit needs no more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossPath:
    """``chosen``: thresholds for all records at the least caution that held (NEVER for all: none did).

    ``upper``: the bound of the loss out of sample, for each of CAUTION. ``cost_usd``, ``loss``: per record, out of
    sample, at the one held.
    """

    chosen: Thresholds
    held: int  # index into CAUTION; -1: none
    upper: Column
    cost_usd: Column
    loss: Column

    @property
    def held_upper(self) -> float | None:
        """The bound out of sample at the caution that held."""
        return float(self.upper[self.held]) if self.held >= 0 else None


def folds_of(n: int, folds: Sequence[int] | None, n_folds: int) -> NDArray[np.intp]:
    """The part of each record; by default they are dealt out in turn."""
    if folds is None:
        return np.arange(n, dtype=np.intp) % min(n_folds, n)
    if len(folds) != n:
        raise InvalidInput(f"{len(folds)} folds came with {n} records; give one number per record, or none at all.")
    return np.asarray(folds, dtype=np.intp)


def folds_by_group(groups: Sequence[str], n_folds: int = N_FOLDS) -> list[int]:
    """Groups dealt out in turn, in the order of their first row: rows of one user or thread are never on both sides."""
    places = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    return [places[group] % n_folds for group in groups]


def loss_path(
    records: TierRecords, folds: NDArray[np.intp], margin: float, level: float, *, most_first: int = MOST_FIRST
) -> LossPath:
    """Cross-fitted test of every caution, and the thresholds of the least that holds.

    The level is that of each test's own bound, which takes the records as independent though parts share fitted
    thresholds; what that does to the error rate is measured (docs/reference/cascades-measured.md), not proved.
    """
    limits = [Limit(most=margin, z=z) for z in CAUTION]
    never = Thresholds(accept=(NEVER,) * (len(records.tiers) - 1), exact=True)
    loss, cost = np.empty((len(limits), len(records))), np.empty((len(limits), len(records)))
    is_kept = np.empty((len(limits), len(records)), dtype=bool)
    for fold in np.unique(folds):
        other, own = records.take(folds != fold), np.flatnonzero(folds == fold)
        for at, thresholds in enumerate(best_thresholds(other, "cost_usd", limits, most_first=most_first)):
            loss[at, own], cost[at, own], is_kept[at, own] = judged(records.take(own), thresholds or never)
    upper = np.array([loss_upper(loss[at], records.weight, is_kept[at], level) for at in range(len(limits))])
    last_held = last_in_sequence(upper, margin)
    if last_held < 0:
        return LossPath(
            chosen=never, held=last_held, upper=upper, cost_usd=records.cost_usd[:, -1], loss=np.zeros(len(records))
        )
    chosen = best_thresholds(records, "cost_usd", [limits[last_held]])[0] or never
    return LossPath(chosen=chosen, held=last_held, upper=upper, cost_usd=cost[last_held], loss=loss[last_held])


def judged(records: TierRecords, thresholds: Thresholds) -> tuple[Column, Column, NDArray[np.bool_]]:
    """Per record: loss, cost, and whether a cheaper tier answered. Tiers that never answer are not asked."""
    setting = setting_of(records.tiers, thresholds)
    if setting is None:
        return np.zeros(len(records)), records.cost_usd[:, -1], np.zeros(len(records), dtype=bool)
    happened = outcome(records, setting)
    return records.score[:, -1] - happened.score, happened.cost_usd, happened.tier < len(setting.tiers) - 1
