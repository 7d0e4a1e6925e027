"""Where the shapes of a measured difference stand: places in the view box of ``templates/difference.html``."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.views.rollout_status import MeanDifference

WIDTH = 240.0
LABEL_WIDTH = 60.0
MOST = 1.0  # means lie in [0, 1], so their difference lies within one of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceChart:
    """Places from the left: the interval, what was observed, no difference, and the margin below it."""

    low: float
    high: float
    observed: float | None
    zero: float
    margin: float

    @property
    def is_label_left(self) -> bool:
        """Whether there is room for the margin's label on its left, where it cannot meet the one of no difference."""
        return self.margin >= LABEL_WIDTH


def difference_chart(difference: MeanDifference, margin: float) -> DifferenceChart:
    """The interval of candidate - champion around 0, wide enough for both ends and the margin."""
    reach = min(MOST, 1.2 * max(abs(difference.lower), abs(difference.upper), margin, 0.01))

    def place(value: float) -> float:
        return WIDTH * (min(reach, max(-reach, value)) + reach) / (2 * reach)

    return DifferenceChart(
        low=place(difference.lower),
        high=place(difference.upper),
        observed=place(difference.observed) if difference.observed is not None else None,
        zero=place(0.0),
        margin=place(-margin),
    )
