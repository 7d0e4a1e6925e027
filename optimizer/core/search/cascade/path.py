"""A pair's thresholds in small steps from the safest to the boldest, each with what it is predicted to do.

Where a sealed holdout tests proposals in sequence and the first failure ends it, small steps cost no confidence and
keep the most: what is kept lies at most one step below what the holdout can tell. The steps are even in what is saved,
which no score enters, so that only the end of the path is chosen by scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.coordinate import Thresholds, setting_of
from optimizer.core.search.cascade.cross_fitted import N_FOLDS, folds_of
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import Column, TierRecords
from optimizer.core.search.cascade.sweep import LossCurve, curve

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
                saved_fitted=1 - float(swept.cost_usd[place]) / _strong_usd(records),
                loss_fitted=float(swept.loss[place]),
                loss=float(loss_so_far),
                cost_usd=float(usd),
            )
        )
    return settings[::-1]


def _strong_usd(records: TierRecords) -> float:
    return float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())


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
