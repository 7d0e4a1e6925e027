"""Which thresholds a cascade should have, from what production recorded.

It estimates the present thresholds, searches complete records for better ones, and gives advice. It also measures what
each threshold does: a study's recorded tier answers are replayed at other values, one threshold at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np

from optimizer.core.base.knob import Knob
from optimizer.core.base.phrasing import change_text, count, points_lost, threshold
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.policy.policy import EXAMPLES, Policy, knob_of, parse_policy
from optimizer.core.policy.tiers import CONFIDENCE, REFUSE, STUDENTS, Tiers
from optimizer.core.search.cascade.exploration import audit_cost, complete_records, estimate
from optimizer.core.search.cascade.figures import (
    CascadeAdvice,
    CascadeCurves,
    CascadeSetting,
    StrongestAlone,
    ThresholdCurve,
    ThresholdPoint,
)
from optimizer.core.search.cascade.learned import DEFAULT_SIGNAL
from optimizer.core.search.cascade.production import Production
from optimizer.core.search.cascade.records import (
    NOT_REPLAYED,
    SHARES,
    TierRecords,
    figure,
    loss_upper,
    replay,
)
from optimizer.core.search.cascade.strategy import ALLOWED
from optimizer.core.search.cascade.sweep import curve
from optimizer.core.search.cascade.thresholds import (
    LeastCost,
    bound_of,
    chains_of,
    effective_number,
    proving_records,
    search,
)

MIN_AUDITS = 30  # complete ones, before anything is said: a weighted mean of fewer has no honest normal interval
WORTH_A_CHANGE = (
    0.01  # other thresholds have to save this share of the strongest tier's cost more than the present ones
)
NO_CASCADES: Mapping[str, str] = {  # what else a policy may do with an answer
    "gate": "its further calls are no part of a tier's own answer",
    "refuse": "what is refused gets no answer, and records say what the tier behind it would have answered",
}


def advise(production: Production, policy: Policy, *, explicit_margin: float | None) -> CascadeAdvice:
    """Estimates and advice.

    The search allows half of the family's margin, as a study does: what is found is lucky on its own records.

    Args:
        policy: the champion's, with a cascade of the records' tiers.
        explicit_margin: of the family; None: it follows from the strongest tier's quality.
    """
    cascade = policy.cascade
    assert cascade is not None
    records, audits = production.records, production.audits
    present = CascadeSetting(tiers=cascade.models, accept=cascade.accept)
    used = {
        "refine": cascade.refine is not None,
        "refuse": cascade.refuse,
        "skip": cascade.skip is not None,
        "gate": policy.gate is not None,
    }
    not_replayed = {name: why for name, why in {**NOT_REPLAYED, **NO_CASCADES}.items() if used[name]}
    so_far = CascadeAdvice(verdict="cannot_tell", reason="", present=present, not_replayed=not_replayed)
    # A request that asks all tiers by itself is complete, and no audit.
    lacking = float(np.mean(audits.asked_up_to < len(records.tiers) - 1)) if len(records) else 1.0
    n = production.counted.complete if lacking else len(records)
    if n < MIN_AUDITS:
        return _too_few(so_far, production, cascade.audit_share, lacking, MIN_AUDITS - n)
    complete = complete_records(records, audits)
    strongest = StrongestAlone(
        quality=figure(complete.score[:, -1], complete.weight, SHARES),
        cost_usd=figure(complete.cost_usd[:, -1], complete.weight),
    )
    allowed = ALLOWED * quality_margin(strongest.quality.mean, explicit_margin)
    so_far = replace(
        so_far,
        estimated=estimate(records, present, audits),
        strongest=strongest,
        audit_cost=audit_cost(complete, present, cascade.audit_share),
        margin=allowed,
    )
    goal = LeastCost(margin=allowed)
    # The result that saves most; where none has thresholds, that of the whole chain
    options = [search(complete.chain(chain), goal) for chain in chains_of(records.tiers)]
    there = [option for option in options if option.replay is not None]
    best = max(
        there, key=lambda option: 0.0 if option.replay is None else option.replay.saved_share.mean, default=options[0]
    )
    if best.setting is None:
        refusal = refusal_of(complete, goal)
        if refusal.missing is not None:
            return _too_few(so_far, production, cascade.audit_share, lacking, refusal.missing, refusal.reason)
        return replace(so_far, verdict="do_not_cascade", reason=refusal.reason)
    places = [records.tiers.index(tier) for tier in best.setting.tiers]
    so_far = replace(
        so_far,
        recommended=best.setting,
        estimated_recommended=estimate(records.chain(best.setting.tiers), best.setting, audits.chain(places)),
        policy=_changed(policy, best.setting),
        reason=best.reason,
    )
    # Unless the present thresholds are known to lose too much, others have to save clearly more.
    assert best.replay is not None
    gain = best.replay.saved_share.mean - replay(complete, present).saved_share.mean
    is_worth_it = bound_of(complete, present) > allowed or gain > WORTH_A_CHANGE
    return replace(so_far, verdict="change" if is_worth_it else "keep")


def _changed(policy: Policy, setting: CascadeSetting) -> dict[str, Any]:
    """Knobs to lay over the present policy's; null takes one out that would mean something else now."""
    cascade, knobs = policy.cascade, setting.policy()
    assert cascade is not None
    if setting.tiers == cascade.models:
        del knobs["tiers"]
    removed = [f"accept.{place}" for place in range(len(setting.accept) + 1, len(cascade.accept) + 1)]
    if cascade.refine is not None and cascade.refine > min(setting.accept):
        removed.append("refine")  # it could never apply, and such a policy is refused
    # A tier that is left out takes with it what the policy says of it.
    left_out = set(cascade.models) - set(setting.tiers)
    if not left_out.isdisjoint(policy.examples):
        nearest = {NEAREST: policy.nearest.k} if policy.nearest is not None else {}
        knobs[EXAMPLES.name] = nearest | {m: n for m, n in policy.examples.items() if m not in left_out} or None
    if not left_out.isdisjoint(cascade.students):
        knobs[STUDENTS.name] = {t: id for t, id in cascade.students.items() if t not in left_out} or None
        removed += [REFUSE.name] if cascade.refuse and left_out.issuperset(cascade.students) else []
    return knobs | dict.fromkeys(removed)


def _too_few(
    so_far: CascadeAdvice,
    production: Production,
    audit_share: float,
    lacking: float,
    missing: int,
    finding: str = "",
) -> CascadeAdvice:
    """Cannot tell, with about how many audits are missing. ``lacking``: share of the records that need one."""
    records, n_complete = len(production.records), production.counted.complete
    per_request = (n_complete / records if n_complete else audit_share * lacking) if lacking else 1.0
    if records:  # requests to come are left out as often
        per_request *= records / (records + sum(production.left_out.values()))
    n_requests = ceil(missing / per_request) if per_request > 0 else None
    more = f"{'more than' if missing >= MOST_MISSING else 'about'} {missing:,} more would tell"
    if not lacking:
        text = f"Each of {count(records, 'request')} asked all tiers by itself, and {more}."
    elif audit_share == 0:
        text = (
            "The policy's audit_share is 0, so no request asks all tiers. Make a variant with an audit_share above 0"
            " and let it serve."
        )
    else:
        text = (
            f"There are {n_complete:,} complete audits, and {more}: some {n_requests:,} more requests at an audit_share"
            f" of {audit_share:g}. A larger audit_share gets there sooner."
        )
    return replace(
        so_far,
        verdict="cannot_tell",
        reason=f"{finding} {text}".strip(),
        audits_missing=missing,
        requests_missing=n_requests if audit_share or not lacking else None,
    )


N_LOOKED_AT = 40  # thresholds of a pair, evenly by share answered
WORTH_SAVING = 0.01  # share of the strongest tier's cost; thresholds that save less are not proposed
MOST_MISSING = 100_000  # more audits than this are named as "more than"


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRefusal:
    """``missing``: about how many more complete records are needed to tell. None: a cascade is ruled out; see
    ``reason``.
    """

    missing: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ThresholdPlace:
    """One threshold of a pair that saves something; loss with its one-sided bounds, each at the level."""

    cheap: str
    accept: float
    loss: float
    low: float
    high: float

    def needed(self, n: float, allowed: float) -> float:
        """Records with which the same loss would be clearly within what is allowed.

        Bounds shrink with the square root of their number, and those of a loss of 0 with the number itself.
        """
        half = self.high - self.loss if self.loss <= allowed else self.loss - self.low
        gap = abs(allowed - self.loss)
        if gap == 0:
            return float(MOST_MISSING)
        return n * (half / gap) ** (2 if self.loss else 1)


def refusal_of(records: TierRecords, goal: LeastCost) -> CascadeRefusal:
    """The refusal for complete records on which the confident rule found nothing.

    A cascade is ruled out where every threshold that saves a hundredth of the cost surely loses more than is allowed,
    or where none saves so much. Only pairs with the strongest tier are tried: a longer chain answers with the same
    cheap answers.
    """
    allowed, n = goal.margin, effective_number(records)
    places = [
        place
        for pair in (records.chain(chain) for chain in chains_of(records.tiers) if len(chain) == 2)
        for place in _places(pair, goal.level)
    ]
    if not places:
        return CascadeRefusal(
            missing=None,
            reason=f"Do not cascade: no thresholds save {WORTH_SAVING:.0%} of what {records.strongest} alone costs.",
        )
    safest = min(places, key=lambda one: (one.low, one.loss))
    if safest.low > allowed:
        return CascadeRefusal(
            missing=None,
            reason=(
                f"Do not cascade: {_place_text(safest)}, with {goal.level:.0%} confidence at least"
                f" {100 * safest.low:z.2f}, and {100 * allowed:.2f} are allowed."
            ),
        )
    # The place that could be shown safe with the fewest records; else all that are not ruled out.
    safe = [one.needed(n, allowed) for one in places if one.loss < allowed]
    needed = min(safe) if safe else max(one.needed(n, allowed) for one in places if one.low <= allowed)
    return CascadeRefusal(
        missing=min(MOST_MISSING, max(1, ceil(needed - n), proving_records(goal) - int(n))),
        reason=(
            f"{_place_text(safest)}, with {goal.level:.0%} confidence between {change_text(safest.low)} and"
            f" {change_text(safest.high)}, and {100 * allowed:.2f} are allowed."
        ),
    )


def _place_text(place: _ThresholdPlace) -> str:
    return f"{place.cheap} at accept {threshold(place.accept)} {points_lost(place.loss)}"


def _places(pair: TierRecords, level: float) -> list[_ThresholdPlace]:
    swept = curve(pair, level=level)
    strong = float(pair.weight @ pair.cost_usd[:, 1] / pair.weight.sum())
    # Where the strong tier costs nothing, so does the point at which it answers everything.
    saving = np.flatnonzero((swept.cost_usd <= (1 - WORTH_SAVING) * strong) & np.isfinite(swept.threshold))
    if not len(saving):
        return []
    places, loss = [], pair.score[:, 1] - pair.score[:, 0]
    for at in saving[np.unique(np.linspace(0, len(saving) - 1, N_LOOKED_AT).astype(int))]:
        is_kept = pair.confidence[:, 0] >= swept.threshold[at]
        places.append(
            _ThresholdPlace(
                cheap=pair.tiers[0],
                accept=float(swept.threshold[at]),
                loss=float(swept.loss[at]),
                low=-loss_upper(-np.where(is_kept, loss, 0.0), pair.weight, is_kept, level),
                high=float(swept.upper[at]),
            )
        )
    return places


N_VALUES = 31  # values of each threshold, which are quantiles of the recorded confidences


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
    if sum(row.get("weight", 1.0) > 0 for row in complete) < 2 or len(tiers) < 2:
        return None
    not_replayed = dict(NOT_REPLAYED)
    if variant is not None and not _decides_by(variant, recorded, learned or {}):
        not_replayed[CONFIDENCE.name] = (
            f"{variant.id} decides by another confidence than the one recorded, so that its thresholds cannot be marked"
        )
        variant = None
    records = _records(complete, tiers, variant, learned or {})
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
        margin=quality_margin(records.mean(records.score[:, -1]), explicit_margin),
        curves=tuple(
            _curve(chain, setting, place, is_present=chosen is not None) for place in range(len(setting.accept))
        ),
        not_replayed=tuple((_knob(name), why) for name, why in not_replayed.items()),
        audit_cost=audit_cost(records, chosen, cascade.audit_share)
        if chosen is not None and cascade is not None
        else None,
    )


def _decides_by(variant: Variant, recorded: Mapping[str, Any] | None, learned: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the variant's thresholds compare with the confidence that is known here, recorded or
    learned out of fold.
    """
    signal = variant.policy.get(CONFIDENCE.name)
    after = (signal or {}).get("after") or {}
    if not after:
        # Whether a policy's confidence is the recorded one; None is the default of both.
        return (signal or DEFAULT_SIGNAL) == (recorded or DEFAULT_SIGNAL)
    return all(tier in learned and learned[tier]["hash"] == one.get("hash") for tier, one in after.items())


def _records(
    rows: Sequence[Mapping[str, Any]],
    tiers: Sequence[str],
    variant: Variant | None,
    learned: Mapping[str, Mapping[str, Any]],
) -> TierRecords:
    """The rows with the confidence that the variant decides by: as recorded, or learned from them without a second
    sample.
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
    cascade = parse_policy(policy).cascade
    if cascade is None or cascade.models[-1] != tiers[-1] or not set(cascade.models) <= set(tiers):
        return None
    return cascade


def _knob(name: str) -> Knob:
    knob = knob_of(name)
    assert knob is not None, name
    return knob


def _curve(chain: TierRecords, setting: CascadeSetting, place: int, *, is_present: bool) -> ThresholdCurve:
    at = setting.accept[place]
    # Quantiles of what was recorded, the value chosen, and 1, which only a whole confidence passes.
    confidence = chain.confidence[:, place]
    known = confidence[~np.isnan(confidence)]
    quantiles = np.quantile(known, np.linspace(0, 1, N_VALUES), method="lower") if len(known) else np.array([])
    accepts = [
        (value, (*setting.accept[:place], value, *setting.accept[place + 1 :]))
        for value in sorted({float(value) for value in quantiles} | {at, 1.0})
    ]
    points: list[ThresholdPoint] = []
    for value, accept in accepts:
        replayed = replay(chain, replace(setting, accept=accept))
        points.append(
            ThresholdPoint(
                value=value,
                quality=replayed.quality,
                loss=replayed.loss,
                cost_usd=replayed.cost_usd,
                escalated_share=max(0.0, 1 - sum(share.mean for share in replayed.answered_share[: place + 1])),
            )
        )
    name = "accept" if place == 0 else f"accept.{place + 1}"
    return ThresholdCurve(
        knob=_knob(name), tier=setting.tiers[place], present=at if is_present else None, points=tuple(points)
    )
