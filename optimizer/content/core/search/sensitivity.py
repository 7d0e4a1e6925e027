"""What a knob does, measured: the same records replayed at each of its values, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.pipeline import knob_of, parse_pipeline, unknown_knob
from optimizer.content.core.policy.route import MODES
from optimizer.content.core.policy.timing import TIMES, TimeModel
from optimizer.content.core.search.replay import Records, ReplayedShares, outcome, read_columns, ways
from optimizer.core.base.errors import InvalidInput

N_VALUES = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityPoint:
    """One value of the knob and what the policy then does."""

    value: Any
    outcome: ReplayedShares


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobCurve:
    """``is_flat``: no value changed what happens to any record, so this knob does nothing for these records."""

    knob: str
    points: tuple[SensitivityPoint, ...]

    @property
    def is_flat(self) -> bool:
        first = self.points[0].outcome
        return all(point.outcome == first for point in self.points)


def curve(
    columns: Mapping[str, Sequence[Any]] | Records,
    policy: Mapping[str, Any],
    knob: str,
    values: Sequence[Any] | None = None,
    *,
    times: TimeModel = TIMES,
) -> KnobCurve:
    """Quality, time saved and bypass share at each value of one knob.

    Args:
        values: None: the knob's own range (quantiles of the field it is compared with, or even steps), see
            ``values_to_try``.
    Raises:
        InvalidInput: there is no such knob, or no values were given for one that has no range.
    """
    records = columns if isinstance(columns, Records) else read_columns(columns)
    chosen = list(values) if values is not None else values_to_try(records, knob)
    if not chosen:
        raise InvalidInput(f"{knob} has no range of its own; say which values to try.")
    points = [
        SensitivityPoint(value=value, outcome=outcome(records, parse_pipeline({**policy, knob: value}), times))
        for value in chosen
    ]
    return KnobCurve(knob=knob, points=tuple(points))


def values_to_try(records: Records, knob: str, n: int = N_VALUES) -> list[Any]:
    """Values between which the records differ: quantiles for a threshold,
    all for a switch or a mode, even steps for a share.
    """
    import numpy as np

    known = knob_of(knob)
    if known is None:
        raise InvalidInput(unknown_knob(knob))
    field = filter.FIELD_OF.get(known.name.removeprefix("filter."))
    if field is not None:
        if field not in records.recorded:
            return []
        quantiles = np.nanquantile(records.values[field], np.linspace(0, 1, n))
        steps = np.ceil(quantiles) if known.kind == "integer" else np.round(quantiles, 4)
        return [int(v) if known.kind == "integer" else float(v) for v in np.unique(steps)]
    if known.kind == "flag":
        return [False, True]
    if known.kind == "text" and known.name.startswith("route.") and not knob.endswith(".priority"):
        return list(MODES)
    if known.kind == "integer" and known.low is not None and known.high is not None:
        return list(range(int(known.low), int(known.high) + 1))
    return [float(round(v, 4)) for v in np.linspace(0, 1, n)] if known.kind == "share" else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Every threshold of one knob at once: columns, in rising order of ``thresholds``.

    ``quality`` is NaN where nothing is judged.
    """

    knob: str
    thresholds: Any
    full_share: Any
    time_saved_share: Any
    quality: Any


def sweep(
    columns: Mapping[str, Sequence[Any]] | Records, policy: Mapping[str, Any], knob: str, *, times: TimeModel = TIMES
) -> Sweep:
    """All thresholds of a filter's knob that differ in what they do: exact, by one sort.

    A record depends on the threshold only if the two ends of the range treat it differently; it then changes where its
    own value lies. Such records sorted by that value, sums of what changes give the outcome of every threshold.

    Raises:
        InvalidInput: the knob is no threshold of the filter, or no record carries its value.
    """
    import numpy as np

    records = columns if isinstance(columns, Records) else read_columns(columns)
    field = filter.FIELD_OF.get(knob.removeprefix("filter."))
    if field is None or field not in records.recorded:
        raise InvalidInput(
            f"{knob} cannot be swept: it is no threshold of the filter, or no record carries the value it is compared"
            " with."
        )
    own = {name: value for name, value in policy.items() if not name.startswith(f"{knob}.")}
    known = knob_of(knob)
    beyond = int(np.nanmax(records.values[field])) + 1 if known is not None and known.kind == "integer" else 1.0
    loosest, strictest = (ways(records, parse_pipeline({**own, knob: value})) for value in (0, beyond))
    weights = np.ones(records.n) if records.weights is None else records.weights
    measured = ~np.isnan(records.quality)
    judged = np.where(measured, weights, 0.0)
    worth = np.where(measured, records.quality, 0.0) * judged

    def cost(routes: Any) -> Any:
        return (
            routes.full * times.full
            + routes.lightweight * times.lightweight
            + sum(routes.exits[c] * times.exits[c] for c in routes.exits)
        )

    values = records.values[field]
    moved = np.flatnonzero(loosest.lightweight != strictest.lightweight)
    order = moved[np.argsort(values[moved], kind="stable")]
    thresholds = np.unique(values[order])
    below = np.searchsorted(values[order], thresholds, side="left")  # how many fail at each threshold

    def running(column: Any, start: float) -> Any:
        return start + np.concatenate([[0.0], np.cumsum(column[order])])[below]

    gained = (cost(strictest) - cost(loosest)) * weights
    total = float(weights.sum())
    full, n_judged, sum_worth = (
        running(-1.0 * column * loosest.full, float(column[loosest.full].sum())) for column in (weights, judged, worth)
    )
    spent = running(gained, float((cost(loosest) * weights).sum()))
    with np.errstate(invalid="ignore", divide="ignore"):
        quality = np.where(n_judged > 1e-9, sum_worth / n_judged, np.nan)
    return Sweep(
        knob=knob,
        thresholds=thresholds,
        full_share=full / total,
        time_saved_share=1 - spent / total / times.full,
        quality=quality,
    )
