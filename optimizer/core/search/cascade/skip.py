"""The search for ``skip``: which requests are not worth a cheap call, told by a confidence that is known before it.

A request that skips the cheap tier is answered by the strongest one, so quality cannot fall; only money is at stake,
and every threshold is tried.
"""

from __future__ import annotations

import numpy as np

from optimizer.core.search.cascade.records import Column, TierRecords
from optimizer.core.search.cascade.weighted import mean_upper

LEVEL = 0.9  # of the one-sided bound that says a threshold saves


def best_skip(pair: TierRecords, accept: float, before: Column) -> float | None:
    """The confidence before the call below which the cheap tier is not asked, in (0, 1];
    None where no threshold surely saves.

    Args:
        pair: complete records of two tiers, with the confidence that ``accept`` is compared with.
        before: for each record a confidence in [0, 1] from the request alone, of a predictor that has not seen it.
    """
    cheap, strong = pair.cost_usd[:, 0], pair.cost_usd[:, 1]
    more = np.where(
        pair.confidence[:, 0] >= accept, strong - cheap, -cheap
    )  # dollars by which skipping makes a request dearer
    order = np.argsort(before, kind="stable")
    summed = np.cumsum((pair.weight * more)[order])
    last = np.flatnonzero(np.append(np.diff(before[order]) != 0, True))[
        :-1
    ]  # equal ones are skipped together, and never all
    if not len(last):
        return None
    at = last[int(np.argmin(summed[last]))]
    threshold = float(
        np.ceil(before[order][at + 1] * 1e6) / 1e6 if at + 1 < len(order) else 1.0
    )  # as a Variant keeps it
    dearer = np.where(before < threshold, more, 0.0)
    return threshold if 0 < threshold <= 1 and mean_upper(dearer, pair.weight, LEVEL) < 0 else None
