"""What a knob does, measured: the same records are replayed at each of its values, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.pipeline import knob_of, parse_pipeline, unknown_knob
from optimizer.content.core.policy.route import MODES
from optimizer.content.core.search.replay import Records, ReplayedShares, outcome
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
    records: Records,
    policy: Mapping[str, Any],
    knob: str,
    values: Sequence[Any],
) -> KnobCurve:
    """Quality, time saved and bypass share at each value of one knob, of which there is at least one."""
    points = [
        SensitivityPoint(value=value, outcome=outcome(records, parse_pipeline({**policy, knob: value})))
        for value in values
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
        if field not in records.recorded or np.isnan(records.values[field]).all():  # of a type that never has it
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
