"""Where the shapes of the charts stand: numbers in, places in a view box out. ``templates/charts.html`` draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dashboard.figures import HourCount
from optimizer.core.base.phrasing import count
from optimizer.core.views.rollout_status import MeanDifference

WIDTH, HEIGHT = 240.0, 40.0
MOST = 1.0  # means lie in [0, 1], so their difference lies within one of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBar:
    """``y`` from the top; ``about`` is shown under the pointer."""

    x: float
    y: float
    width: float
    height: float
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceChart:
    """Places from the left: the interval, what was observed, no difference, and the margin below it."""

    low: float
    high: float
    observed: float | None
    zero: float
    margin: float


def traffic_bars(hours: Sequence[HourCount]) -> list[TrafficBar]:
    """One bar an hour, as high as its share of the fullest one; an hour with any request is seen."""
    most = max((hour.n_interactions for hour in hours), default=0)
    step = WIDTH / max(1, len(hours))
    bars = []
    for place, hour in enumerate(hours):
        height = max(2.0, HEIGHT * hour.n_interactions / most) if hour.n_interactions else 0.0
        about = f"{hour.start:%H:%M} UTC: {count(hour.n_interactions, 'request')}"
        bars.append(TrafficBar(x=place * step, y=HEIGHT - height, width=step * 0.8, height=height, about=about))
    return bars


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
