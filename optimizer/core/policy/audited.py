"""Estimates from production, where most requests stop at the first tier whose answer stands and only an audited share asks all.

What a tier would have said is known only where it was asked. A record on which a setting can be replayed stands for as many requests as
there were for each one of its kind that could be: one, if production itself went far enough; 1 / audit_share, if only audits did. So the
estimates are unbiased for every setting, also for those that stop later than production does.

Source: Horvitz and Thompson (1952), JASA 47(260), 663-685; the ratio form is Hajek's (1971).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.core.errors import InvalidInput
from optimizer.core.policy.cascade import CascadeSetting, answering_tier
from optimizer.core.policy.records import Column, TierRecords
from optimizer.core.policy.weighted import LOSSES, SHARES, Figure, figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of one setting, per request. ``n_known``: records on which it could be replayed, of ``n_records``; intervals 95 %.

    ``loss`` is against the strongest tier; None: its answers are not known on any of them. The plain means are Hajek's; ``*_unbiased`` are Horvitz and Thompson's, unbiased for any number of
    records but wider.
    """

    n_records: int
    n_known: int
    quality: Figure
    cost_usd: Figure
    loss: Figure | None
    quality_unbiased: Figure
    cost_usd_unbiased: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCost:
    """What asking all tiers for ``audit_share`` of the requests adds to the mean cost of one, in dollars and as a share of the setting's cost."""

    audit_share: float
    extra_usd: Figure
    extra_share: float


def estimate(
    records: TierRecords, setting: CascadeSetting, *, asked_up_to: NDArray[np.intp], audited: NDArray[np.bool_], audit_share: float
) -> Estimate:
    """Quality, cost and loss that ``setting`` would have had on the requests of ``records``.

    Args:
        records: all requests of the period with the setting's tiers, NaN where a tier was not asked. Their weights are kept (1 as a rule).
        asked_up_to: per record, index of the last tier that production asked by its own rule; for an audited one, would have asked.
        audited: whether all tiers were asked because of the audit.
        audit_share: chance of an audit, in (0, 1], drawn independently of the request.
    Raises:
        InvalidInput: no audited share, or no record on which the setting can be replayed.
    """
    _check(records, asked_up_to, audited, audit_share)
    if setting.tiers != records.tiers:
        raise InvalidInput(
            f"The setting asks {' > '.join(setting.tiers)}, and the records are of {' > '.join(records.tiers)}: take their chain first."
        )
    # Where a tier was not asked its confidence is NaN, so the setting goes past it, to the last tier, and the record is not known.
    needed, last = answering_tier(records.confidence, setting.accept), len(setting.tiers) - 1
    rows = np.flatnonzero((needed <= asked_up_to) | audited)
    if not len(rows):
        raise InvalidInput("The setting cannot be replayed on any record: nothing was audited yet. Wait for audits, or raise audit_share.")
    tier, reached, given = needed[rows], asked_up_to[rows], records.weight[rows]
    weight = given / np.where(tier <= reached, 1.0, audit_share)
    score = records.score[rows, tier]
    cost = np.cumsum(np.nan_to_num(records.cost_usd), axis=1)[rows, tier]
    # A loss is known where the last tier answers (none), and where its answer is there to compare with.
    compared = given / np.where(reached == last, 1.0, audit_share) * (audited[rows] | (reached == last))
    compared = np.where(tier == last, weight, compared)
    return Estimate(
        n_records=len(records),
        n_known=len(rows),
        quality=figure(score, weight, SHARES),
        cost_usd=figure(cost, weight),
        loss=figure(np.nan_to_num(records.score[rows, last] - score), compared, LOSSES) if compared.any() else None,
        quality_unbiased=_totalled(score * weight, records.weight, rows),
        cost_usd_unbiased=_totalled(cost * weight, records.weight, rows),
    )


def complete_records(records: TierRecords, *, asked_up_to: NDArray[np.intp], audited: NDArray[np.bool_], audit_share: float) -> TierRecords:
    """The records on which every setting can be replayed, weighted for those on which it cannot: what a search is given.

    Arguments and errors as for ``estimate``.
    """
    _check(records, asked_up_to, audited, audit_share)
    last = len(records.tiers) - 1
    by_rule = asked_up_to == last
    kept = records.take(by_rule | audited)
    if not len(kept):
        raise InvalidInput("No record has all tiers: nothing was audited yet. Wait for audits, or raise audit_share.")
    return replace(kept, weight=kept.weight / np.where(by_rule[by_rule | audited], 1.0, audit_share)).complete()


def audit_cost(records: TierRecords, setting: CascadeSetting, audit_share: float) -> AuditCost:
    """The price of the audits, before any is made: from complete records, such as those of the study that found the setting."""
    complete = records.complete()
    chain = complete.chain(setting.tiers)
    tier = answering_tier(chain.confidence, setting.accept)
    spent = np.cumsum(chain.cost_usd, axis=1)[np.arange(len(tier)), tier]
    extra = figure(audit_share * (chain.cost_usd.sum(axis=1) - spent), complete.weight)
    usual = figure(spent, complete.weight).mean
    return AuditCost(audit_share=audit_share, extra_usd=extra, extra_share=extra.mean / usual if usual else 0.0)


def _check(records: TierRecords, asked_up_to: NDArray[np.intp], audited: NDArray[np.bool_], audit_share: float) -> None:
    if not 0 < audit_share <= 1:
        raise InvalidInput(f"audit_share is above 0 and at most 1, not {audit_share!r}; without audits what was not asked stays unknown.")
    if len(asked_up_to) != len(records) or len(audited) != len(records):
        raise InvalidInput(
            f"{len(records)} records need as many entries of asked_up_to and audited, not {len(asked_up_to)} and {len(audited)}."
        )


def _totalled(values: Column, weight: Column, rows: NDArray[np.intp]) -> Figure:
    """Sum of weighted values over the number of all requests, known or not; records that are not known add 0."""
    every = np.zeros(len(weight))
    every[rows] = values
    total = weight.sum()
    spread = figure(every / weight.mean(), np.ones(len(weight)))
    return Figure(mean=float(every.sum() / total), low=spread.low, high=spread.high)
