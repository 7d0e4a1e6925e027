"""What each threshold of a cascade does, measured: a study's recorded tier answers replayed at other values, one
threshold at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.knob import Knob
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import knob_of, parse_policy
from optimizer.core.policy.tiers import CONFIDENCE, Tiers
from optimizer.core.search.cascade.exploration import audit_cost
from optimizer.core.search.cascade.figures import CascadeCurves, CascadeSetting, ThresholdCurve, ThresholdPoint
from optimizer.core.search.cascade.learned import is_recorded
from optimizer.core.search.cascade.records import NOT_REPLAYED, CascadeReplay, Column, TierRecords, replay

N_VALUES = 31  # of each threshold: quantiles of the recorded confidences


def cascade_curves(
    rows: Sequence[Mapping[str, Any]],
    tiers: Sequence[str],
    *,
    variant: Variant | None,
    champion: str,
    explicit_margin: float | None,
    recorded: Mapping[str, Any] | None,
    learned: Mapping[str, Mapping[str, Any]] | None = None,
) -> CascadeCurves | None:
    """Curves around the variant's thresholds, or without any of these tiers, of the cheapest tier before the strongest.

    Args:
        rows: as of ``TierRecords.from_rows``; those in which a tier is missing are left out and counted.
        recorded: the confidence that the rows hold, as of ``Policy.signal``; a variant that decides by another one has
            no curves here.
        explicit_margin: of the family; None: it follows from the strongest tier's quality.
        learned: the study's finding ``out_of_fold``; where the variant decides by these predictors, so do the curves.
    Returns:
        None with fewer than two complete rows.
    """
    complete = [row for row in rows if len(row.get("tiers") or {}) == len(tiers)]
    if len(complete) < 2 or len(tiers) < 2:
        return None
    not_replayed = dict(NOT_REPLAYED)
    if variant is not None and not _decides_by(variant, recorded, learned or {}):
        not_replayed[CONFIDENCE.name] = (
            f"{variant.id} decides by another confidence than the one recorded, so that its thresholds cannot be marked"
        )
        variant = None
    records = _records(complete, tiers, variant, learned or {}).complete()
    cascade = _cascade(variant.policy, tiers) if variant is not None else None
    chosen = CascadeSetting(tiers=cascade.models, accept=cascade.accept) if cascade is not None else None
    pair = (records.tiers[0], records.strongest)
    setting = chosen or CascadeSetting(tiers=pair, accept=(1.0,))
    chain = records.chain(setting.tiers)
    return CascadeCurves(
        tiers=setting.tiers,
        variant=variant.id if variant is not None and chosen is not None else None,
        is_found=variant is not None and chosen is not None and variant.id != champion,
        n_records=len(records),
        n_incomplete=len(rows) - len(complete),
        margin=quality_margin(float(records.score[:, -1].mean()), explicit_margin),
        curves=tuple(
            _curve(chain, setting, place, is_present=chosen is not None) for place in range(len(setting.accept))
        ),
        not_replayed=tuple((_knob(name), why) for name, why in not_replayed.items()),
        audit_cost=audit_cost(records, chosen, cascade.audit_share)
        if chosen is not None and cascade is not None
        else None,
    )


def _decides_by(variant: Variant, recorded: Mapping[str, Any] | None, learned: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether what is known of each answer, recorded or learned out of fold,
    is what the variant's thresholds are compared with.
    """
    signal = variant.policy.get(CONFIDENCE.name)
    after = (signal or {}).get("after") or {}
    if not after:
        return is_recorded(signal, recorded)
    return all(tier in learned and learned[tier]["hash"] == one.get("hash") for tier, one in after.items())


def _records(
    rows: Sequence[Mapping[str, Any]],
    tiers: Sequence[str],
    variant: Variant | None,
    learned: Mapping[str, Mapping[str, Any]],
) -> TierRecords:
    """With the confidence that the variant decides by: as recorded, or learned from these rows,
    which costs no second sample.
    """
    records = TierRecords.from_rows(rows, tiers)
    signal = variant.policy.get("confidence") if variant is not None else None
    after = signal.get("after") or {} if isinstance(signal, Mapping) else {}
    used = [tier for tier in after if tier in learned and learned[tier]["hash"] == after[tier].get("hash")]
    for tier in used:
        records = records.with_confidence(tier, np.array(learned[tier]["confidence"]))
    if used:
        records = replace(
            records, cost_usd=np.array([[row["tiers"][tier]["own_usd"] for tier in tiers] for row in rows])
        )
    return records


def _cascade(policy: Mapping[str, Any], tiers: Sequence[str]) -> Tiers | None:
    try:
        cascade = parse_policy(policy).cascade
    except InvalidInput:  # made before its knobs were checked
        return None
    if cascade is None or cascade.models[-1] != tiers[-1] or not set(cascade.models) <= set(tiers):
        return None
    return cascade


def _knob(name: str) -> Knob:
    knob = knob_of(name)
    assert knob is not None, name
    return knob


def _curve(chain: TierRecords, setting: CascadeSetting, place: int, *, is_present: bool) -> ThresholdCurve:
    at = setting.accept[place]
    accepts = [
        (value, (*setting.accept[:place], value, *setting.accept[place + 1 :]))
        for value in _values(chain.confidence[:, place], at)
    ]
    points = [_point(value, replay(chain, replace(setting, accept=accept)), place) for value, accept in accepts]
    name = "accept" if place == 0 else f"accept.{place + 1}"
    return ThresholdCurve(
        knob=_knob(name), tier=setting.tiers[place], present=at if is_present else None, points=tuple(points)
    )


def _values(confidence: Column, chosen: float) -> list[float]:
    """Quantiles of what was recorded, the value chosen, and 1, which only a whole confidence passes."""
    known = confidence[~np.isnan(confidence)]
    quantiles = np.quantile(known, np.linspace(0, 1, N_VALUES), method="lower") if len(known) else np.array([])
    return sorted({float(value) for value in quantiles} | {chosen, 1.0})


def _point(value: float, replayed: CascadeReplay, place: int) -> ThresholdPoint:
    # by this tier or before it
    return ThresholdPoint(
        value=value,
        quality=replayed.quality,
        loss=replayed.loss,
        cost_usd=replayed.cost_usd,
        escalated_share=max(0.0, 1 - sum(share.mean for share in replayed.answered_share[: place + 1])),
    )
