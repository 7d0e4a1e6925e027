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
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import Column, TierRecords, loss_upper, outcome
from optimizer.core.search.cascade.sweep import NEVER, Limit, LossCurve, curve, last_in_sequence

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


N_STEPS = 128  # over all that the pair can save; more than is ever proposed


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedSetting:
    """A setting, what it does on the rows it was fitted to, and what it is predicted to do on others.

    saved_fitted: share of the strongest tier's dollars, below 1. loss_fitted, loss: of its mean score, in [-1, 1].
    cost_usd: per row.
    """

    setting: CascadeSetting
    saved_fitted: float
    loss_fitted: float
    loss: float
    cost_usd: float


def path_of_pair(records: TierRecords, folds: Sequence[int]) -> list[FittedSetting]:
    """The thresholds that first save k/128 of all that can be saved, k = 1 to 128, from the boldest to the safest.

    Predicted by cross-fitting: on the other parts the threshold that saves as much is looked up and judged on this one.
    A bolder setting is predicted to lose no less than a safer one, which it contains.

    Args:
        records: complete, two tiers.
        folds: the part of each record; rows of one group belong together.
    """
    swept = curve(records)
    steps = np.arange(1, N_STEPS + 1) / N_STEPS
    places = _places(swept, steps)
    loss, cost_usd = _cross_fitted(records, folds_of(len(records), folds, N_FOLDS), steps)
    settings = list[FittedSetting]()
    for place, loss_so_far, usd in zip(places, np.maximum.accumulate(loss), cost_usd, strict=True):
        setting = setting_of(records.tiers, Thresholds(accept=(float(swept.threshold[place]),), exact=True))
        if setting is None or (settings and settings[-1].setting == setting):
            continue
        settings.append(
            FittedSetting(
                setting=setting,
                saved_fitted=1
                - float(swept.cost_usd[place])
                / (float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())),
                loss_fitted=float(swept.loss[place]),
                loss=float(loss_so_far),
                cost_usd=float(usd),
            )
        )
    return settings[::-1]


def _places(swept: LossCurve, steps: Column) -> NDArray[np.intp]:
    """Of each step the first threshold that saves as much; dollars never rise along the curve, the safest first."""
    saved = swept.cost_usd[0] - swept.cost_usd
    return np.asarray(np.minimum(np.searchsorted(saved, steps * saved[-1]), len(saved) - 1))


def _cross_fitted(records: TierRecords, parts: NDArray[np.intp], steps: Column) -> tuple[Column, Column]:
    """Mean loss and dollars per row at each step, every part judged by the thresholds of the others."""
    loss, cost_usd = np.zeros(len(steps)), np.zeros(len(steps))
    for part in np.unique(parts):
        swept, own = curve(records.take(parts != part)), records.take(parts == part)
        accepted = (
            own.confidence[:, :1] >= swept.threshold[_places(swept, steps)]
        )  # rows x steps; an unknown confidence is never enough
        share = (own.weight / records.weight.sum())[:, None]
        loss += (share * (own.score[:, 1:] - own.score[:, :1]) * accepted).sum(axis=0)
        cost_usd += (share * (own.cost_usd[:, :1] + own.cost_usd[:, 1:] * ~accepted)).sum(axis=0)
    return loss, cost_usd
