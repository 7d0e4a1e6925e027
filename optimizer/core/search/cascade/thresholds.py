"""The search for a cascade's thresholds, by replay: exact for one and two thresholds, pair by pair for three.

Its goal is the least cost with a loss of at most the margin. The one-sided upper bound of the loss has to be within it,
too, since the best of many thresholds is mostly lucky on the records. Start at ``search``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, log

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.phrasing import change_text, points_lost, threshold
from optimizer.core.search.cascade.cross_fitted import (
    folds_of,
    loss_path,
    setting_of,
)
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import (
    CascadeReplay,
    TierRecords,
    loss_upper,
    outcome,
    replay,
)
from optimizer.core.search.cascade.sweep import SLACK, curve, last_in_sequence

MARGIN = 0.01
LEVEL = 0.9  # of a one-sided bound, of a loss or of what is saved
MOST_TIERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastCost:
    """Least cost with a loss of at most ``margin`` against the strongest tier (of the score's range; .01
    is one point).
    """

    margin: float = MARGIN
    level: float = LEVEL  # of the one-sided bound
    exact: bool = False  # the bound of whole losses, such as a student's; the usual one is an approximation


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundThresholds:
    """What a search found. ``setting`` None: do not cascade; ``reason`` says why, or what was found, in words.

    ``loss_upper``: one-sided bound at the goal's level, out of sample with three tiers and more.
    """

    tiers: tuple[str, ...]
    setting: CascadeSetting | None = None
    replay: CascadeReplay | None = None
    loss_upper: float | None = None
    reason: str


def search(records: TierRecords, goal: LeastCost, *, folds: Sequence[int] | None = None) -> FoundThresholds:
    """The best thresholds of the records' own chain, two to four tiers.

    Args:
        records: complete; the last tier is the one that the loss is measured against.
        folds: with three tiers and more: the part (0, 1, ...) each record belongs to; rows of one
            query belong together. By default every fifth record.
    Raises:
        InvalidInput: one or more than four tiers.
    """
    if not 2 <= len(records.tiers) <= MOST_TIERS:
        raise InvalidInput(
            f"A cascade of {len(records.tiers)} tiers cannot be searched; name two to {MOST_TIERS}, cheapest first."
        )
    if len(records.tiers) > 2:
        path = loss_path(records, folds_of(len(records), folds), goal.margin, goal.level)
        return found_of(records, goal, path.chosen, upper=path.held_upper)
    swept = curve(records, level=goal.level, exact=goal.exact)
    at = last_in_sequence(swept.upper, goal.margin)
    upper = float(swept.upper[at]) if goal.exact else None
    return found_of(records, goal, (float(swept.threshold[at]),), upper=upper)


def chains_of(tiers: Sequence[str]) -> list[tuple[str, ...]]:
    """What a search looks at: the whole chain, and each pair with the strongest tier."""
    whole = tuple(tiers)
    return [whole, *(pair for pair in combinations(whole, 2) if pair != whole and pair[-1] == whole[-1])]


def bound_of(records: TierRecords, setting: CascadeSetting, level: float = LEVEL) -> float:
    """One-sided upper bound of one setting's loss, as if it had been chosen before the records were seen."""
    happened = outcome(records, setting)
    return loss_upper(
        records.score[:, -1] - happened.score, records.weight, happened.tier < len(setting.tiers) - 1, level
    )


def proving_records(goal: LeastCost) -> int:
    """How many records without a single loss prove the margin at the goal's level.

    Source: Clopper and Pearson (1934), for none of n.
    """
    return ceil(log(1 - goal.level) / log(1 - goal.margin)) if 0 < goal.margin < 1 else 0


def effective_number(records: TierRecords) -> float:
    """Records of equal weight that would say as much (Kish 1965, Survey Sampling, section 11.7)."""
    return float(records.weight.sum() ** 2 / (records.weight @ records.weight))


def found_of(
    records: TierRecords, goal: LeastCost, thresholds: tuple[float, ...], *, upper: float | None
) -> FoundThresholds:
    """Thresholds that were found, in words and figures; none, or none that saves: do not cascade.

    ``upper``: the bound out of sample.
    """
    setting = setting_of(records.tiers, thresholds)
    if setting is None:
        return FoundThresholds(tiers=records.tiers, reason=_refusal(records, goal))
    strong_usd = float(records.weight @ records.cost_usd[:, -1] / records.weight.sum())
    means, upper = replay(records, setting), bound_of(records, setting, goal.level) if upper is None else upper
    is_dearer = means.cost_usd.mean > strong_usd + SLACK
    is_cheaper = means.cost_usd.mean < strong_usd - SLACK
    # Where no model has a price there are no dollars to save, but time.
    strong_ms = float(records.weight @ records.latency_ms[:, -1] / records.weight.sum())
    is_quicker = not records.cost_usd.any() and means.latency_ms is not None and means.latency_ms.mean < strong_ms
    if is_dearer or not (is_cheaper or means.loss.mean < -SLACK or is_quicker):
        reason = (
            f"Do not cascade: with {' > '.join(setting.tiers)} a query would cost {means.cost_usd.mean:.3g} dollars,"
            f" and {records.strongest} alone costs {strong_usd:.3g}."
        )
        return FoundThresholds(tiers=records.tiers, reason=reason)
    reason = (
        f"{' > '.join(setting.tiers)} at accept {', '.join(map(threshold, setting.accept))} saves"
        f" {100 * means.saved_share.mean:.0f} % of what {records.strongest} alone costs and"
        f" {points_lost(means.loss.mean)} on {len(records)} records. With {goal.level:.0%} confidence it loses at most"
        f" {100 * goal.margin:.2f} points (its own bound is {change_text(upper)}).{_caution(records, goal)}"
    )
    return FoundThresholds(tiers=records.tiers, setting=setting, replay=means, loss_upper=upper, reason=reason)


def _refusal(records: TierRecords, goal: LeastCost) -> str:
    if len(records.tiers) == 2:
        swept = curve(records, level=goal.level, exact=goal.exact)
        first = 1 if len(swept.upper) > 1 else 0
        why = (
            f"where {records.tiers[0]} is surest ({100 * swept.answered_share[first]:.0f} % of the queries) it"
            f" {points_lost(float(swept.loss[first]))}, with {goal.level:.0%} confidence at worst"
            f" {change_text(float(swept.upper[first]))}, and {100 * goal.margin:.2f} are allowed"
        )
    else:
        why = (
            f"no thresholds of {' > '.join(records.tiers)} keep the loss within {100 * goal.margin:.2f} points by the"
            " rule 'confident'"
        )
    more = "More records, a better confidence or a wider margin may change that."
    return f"Do not cascade: {why}. {more}{_caution(records, goal)}"


def _caution(records: TierRecords, goal: LeastCost) -> str:
    """The remark that with few records even a clean sheet proves little, and the bound is an approximation."""
    proving, effective = proving_records(goal), effective_number(records)
    if effective >= proving:
        return ""
    return (
        f" Note: {effective:.0f} records are few; an exact test would ask for {proving} without a single loss before it"
        f" allowed {100 * goal.margin:.2f} points."
    )
