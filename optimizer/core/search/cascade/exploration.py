"""Estimates from production, where most requests stop at the first tier that is sure and only a share asks all tiers.

What a tier would have said is known only where it was asked. A record on which a setting can be replayed stands for all
requests of its kind: for one if production itself went far enough, for 1 / the chance of a complete audit if only
audits did. So the estimates are unbiased for every setting, even for those that stop later than production does.

An audit that was drawn and lost (the gateway was killed, a tier failed) is no audit: its record counts as not drawn,
and the chance in the weights is the drawn share times the share of the audits that succeeded (``kept_share``).

Source: Horvitz and Thompson (1952), JASA 47(260), 663-685; the ratio form is Hajek's (1971).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.core.search.cascade.figures import AuditCost, CascadeSetting, Figure, WeightedEstimate
from optimizer.core.search.cascade.records import LOSSES, SHARES, Column, Range, TierRecords, answering_tier, figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audits:
    """How much of each record is known, and why. One entry per record.

    asked_up_to: index of the last tier before the first that production did not ask by its own rule; -1: not even the
    first. scored_up_to: the same of tiers whose score is known by that; at most asked_up_to (an answer that is compared
    with the strongest
        tier's has no score before that is there).
    audited: all tiers are known, with their scores, because of the audit.
    share: chance of such an audit, in (0, 1], that does not depend on the request.
    """

    asked_up_to: NDArray[np.intp]
    scored_up_to: NDArray[np.intp]
    audited: NDArray[np.bool_]
    share: Column

    def chain(self, places: Sequence[int]) -> Audits:
        """The same records with these tiers only. How many of them production asked is counted from the first."""
        columns = np.array(places)

        def leading(up_to: NDArray[np.intp]) -> NDArray[np.intp]:
            known = np.minimum.accumulate(columns[None, :] <= up_to[:, None], axis=1)
            return np.asarray(known.sum(axis=1) - 1, dtype=np.intp)

        return replace(self, asked_up_to=leading(self.asked_up_to), scored_up_to=leading(self.scored_up_to))


def kept_share(audited: NDArray[np.bool_], complete: NDArray[np.bool_]) -> float:
    """Of the requests that needed an audit and were drawn for one, the share whose tiers are all known; 0 without any.

    Audits are lost for reasons that have nothing to do with the request, such as a killed process, so those that are
    left are representative.
    """
    n_drawn = int(np.count_nonzero(audited))
    return int(np.count_nonzero(audited & complete)) / n_drawn if n_drawn else 0.0


def estimate(records: TierRecords, setting: CascadeSetting, audits: Audits) -> WeightedEstimate:
    """Quality, cost and loss that ``setting`` would have had on the requests of ``records``.

    Args:
        records: all requests of the period with the setting's tiers, NaN where a tier was not asked; on one at least
            the setting can be replayed and scored. Their weights are kept (1 as a rule).
    """
    # A tier that was not asked has confidence NaN, so the setting passes it by, to the last tier, and the record is not
    # known.
    needed, last = answering_tier(records.confidence, setting.accept), len(setting.tiers) - 1
    weight = _standing_for(records, audits, needed <= audits.asked_up_to)
    scored = _standing_for(records, audits, needed <= audits.scored_up_to)
    # A loss is known where the last tier answers (none), and where its answer was recorded for comparison.
    compared = np.where(needed == last, weight, _standing_for(records, audits, audits.scored_up_to == last))
    every = np.arange(len(records))
    score = np.nan_to_num(records.score[every, needed])
    cost = np.cumsum(np.nan_to_num(records.cost_usd), axis=1)[every, needed]
    loss = np.where(needed == last, 0.0, np.nan_to_num(records.score[:, last]) - score)
    return WeightedEstimate(
        n_records=len(records),
        n_known=int(np.count_nonzero(scored)),
        quality=_figure(score, scored, SHARES),
        cost_usd=_figure(cost, weight),
        loss=_figure(loss, compared, LOSSES) if compared.any() else None,
        quality_unbiased=_totalled(score * scored, records.weight),
        cost_usd_unbiased=_totalled(cost * weight, records.weight),
    )


def complete_records(records: TierRecords, audits: Audits) -> TierRecords:
    """The records on which every setting can be replayed, weighted for the others: what a search is given."""
    weight = _standing_for(records, audits, audits.scored_up_to == len(records.tiers) - 1)
    places = np.flatnonzero(weight)
    return replace(records.take(places), weight=weight[places])


def audit_cost(records: TierRecords, setting: CascadeSetting, audit_share: float) -> AuditCost:
    """The price of the audits before any is made, from complete records such as those of the study that found the
    setting.
    """
    chain = records.chain(setting.tiers)
    tier = answering_tier(chain.confidence, setting.accept)
    spent = np.cumsum(chain.cost_usd, axis=1)[np.arange(len(tier)), tier]
    extra = figure(audit_share * (chain.cost_usd.sum(axis=1) - spent), records.weight)
    usual = figure(spent, records.weight).mean
    return AuditCost(audit_share=audit_share, extra_usd=extra, extra_share=extra.mean / usual if usual else 0.0)


def _standing_for(records: TierRecords, audits: Audits, by_rule: NDArray[np.bool_]) -> Column:
    """How many requests each record stands for.

    One that production's own rule completed stands for itself, an audited one for more, any other for none.
    """
    return records.weight * np.where(by_rule, 1.0, audits.audited / np.where(audits.audited, audits.share, 1.0))


def _figure(values: Column, weight: Column, bounds: Range | None = None) -> Figure:
    """The estimate over the records that count; the others are not known."""
    rows = np.flatnonzero(weight)
    return figure(values[rows], weight[rows], bounds)


def _totalled(values: Column, weight: Column) -> Figure:
    """Sum of weighted values over the number of all requests, known or not; records that are not known add 0."""
    spread = figure(values / weight.mean(), np.ones(len(weight)))
    return Figure(mean=float(values.sum() / weight.sum()), low=spread.low, high=spread.high)
