"""The A/B decision between two configurations that were replayed on the same recorded items.

Both are measured on the same items, so their errors are taken of the differences item by item: what both do alike
cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.policy.timing import TIMES, TimeModel
from optimizer.content.core.search.compare import MIN_EACH, Preference, difference_of, verdict_of
from optimizer.content.core.search.replay import Records, ReplayedShares, Routes, summary, ways
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedComparison:
    """The verdict, what each configuration does with the items, and how many items the two treat differently."""

    verdict: Preference
    conservative: ReplayedShares
    aggressive: ReplayedShares
    n: int
    n_differing: int


def compare_replayed(
    records: Records,
    conservative: Mapping[str, Any],
    aggressive: Mapping[str, Any],
    *,
    times: TimeModel = TIMES,
    confidence: float = 0.95,
) -> ReplayedComparison:
    """Which of two flat policies to choose, by the rule of ``compare``,
    with paired intervals that hold together with ``confidence``.

    Each variance counts two more items on which the configurations disagree entirely, one each way. So a few differing
    items do not give an interval of no width (as Agresti and Min 2005 do for matched pairs of proportions).

    Args:
        records: items without weights; the quality of those without one is taken for not measured, and their time
            counts.
        confidence: in (0, 1).
    Raises:
        InvalidInput: a policy cannot be read, the records have weights, or the confidence is out of range.
        DatasetTooSmall: fewer than 30 items with a measured quality are processed in full by one of the two.
    """
    import numpy as np

    if not 0 < confidence < 1:
        raise InvalidInput(
            f"The confidence of a comparison lies between 0 and 1, not at {confidence:g}; 0.95 is usual."
        )
    if records.weights is not None:
        raise InvalidInput("Items with weights cannot be compared item by item; leave the weights out.")
    routes = [ways(records, parse_pipeline(policy)) for policy in (conservative, aggressive)]
    outcomes = [summary(records, one, times) for one in routes]
    for name, one in zip(("conservative", "aggressive"), outcomes, strict=True):
        if one.quality is None or one.n_judged < MIN_EACH:
            raise DatasetTooSmall(
                f"Cannot compare the configurations: of {records.n} items the {name} one processes {one.n_judged} with"
                f" a measured quality in full, and {MIN_EACH} are needed. Import more items, or compare one that"
                " processes more in full.",
                n=one.n_judged,
                n_required=MIN_EACH,
            )
    spent = [_time_shares(records.n, one, times) for one in routes]
    less = spent[0] - spent[1]
    time_error = sqrt(float(((less - less.mean()) ** 2).sum()) + 2) / records.n
    quality_lost, quality_error = _quality_difference(records, routes, outcomes)
    differing = np.zeros(records.n, dtype=bool)
    for one, other in zip(_columns(routes[0]), _columns(routes[1]), strict=True):
        differing |= one != other
    return ReplayedComparison(
        verdict=verdict_of(
            difference_of(quality_lost, quality_error, confidence),
            difference_of(float(less.mean()), time_error, confidence),
        ),
        conservative=outcomes[0],
        aggressive=outcomes[1],
        n=records.n,
        n_differing=int(differing.sum()),
    )


def _quality_difference(records: Records, routes: list[Routes], outcomes: list[ReplayedShares]) -> tuple[float, float]:
    """Mean quality lost and its standard error,
    from what each item adds to the difference of the two means (linearisation of a ratio).
    """
    import numpy as np

    measured = ~np.isnan(records.quality)
    quality = np.where(measured, records.quality, 0.0)
    added = np.zeros(records.n)
    for one, outcome, sign in zip(routes, outcomes, (1, -1), strict=True):
        added += sign * np.where(one.full & measured, quality - (outcome.quality or 0.0), 0.0) / outcome.n_judged
    error = sqrt(float((added**2).sum()) + 2 / min(one.n_judged for one in outcomes) ** 2)
    return (outcomes[0].quality or 0.0) - (outcomes[1].quality or 0.0), error


def _time_shares(n: int, routes: Routes, times: TimeModel) -> Any:
    """Per item, the share of the time of full processing that it takes."""
    import numpy as np

    shares = np.full(n, times.full)
    shares[routes.lightweight] = times.lightweight
    for checkpoint, column in routes.exits.items():
        shares[column] = times.exits[checkpoint]
    return shares / times.full


def _columns(routes: Routes) -> list[Any]:
    return [routes.full, routes.lightweight, *routes.exits.values()]
