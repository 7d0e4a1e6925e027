"""What a knob does, measured: the same records are replayed at each of its values, everything else as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.pipeline import knob_of, parse_pipeline, unknown_knob
from optimizer.content.core.policy.route import MODES
from optimizer.content.core.search.replay import Records, outcome
from optimizer.core.base.errors import InvalidInput
from optimizer.core.views.study_story import KnobEffect, KnobValue

N_VALUES = 21


def curve(records: Records, policy: Mapping[str, Any], knob: str, values: Sequence[Any], *, meaning: str) -> KnobEffect:
    """Quality, time saved and share of full processing at each value of one knob, of which there is at least one."""
    outcomes = [outcome(records, parse_pipeline({**policy, knob: value})) for value in values]
    return KnobEffect(
        knob=knob,
        meaning=meaning,
        values=tuple(
            KnobValue(
                value=value,
                time_saved_share=shares.time_saved_share,
                full_share=shares.full_share,
                quality=shares.quality,
                n_judged=shares.n_judged,
            )
            for value, shares in zip(values, outcomes, strict=True)
        ),
        is_flat=all(shares == outcomes[0] for shares in outcomes),
    )


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
