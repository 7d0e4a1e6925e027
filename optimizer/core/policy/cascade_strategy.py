"""Strategy ``replay`` for families with tiers: every tier answers the training examples once, then all thresholds are tried without a call.

Where the space asks for it, a confidence is learned from these answers, and used where it beats the recorded one out of fold. What is
proposed is measured on dev by the machine that also serves (``steps.py``), mostly from the journal, and the sealed holdout decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.core.errors import DatasetTooSmall
from optimizer.core.gates import quality_margin
from optimizer.core.policy.cascade import CascadeSetting, Replay
from optimizer.core.policy.cross_fitted import folds_by_group
from optimizer.core.policy.learned import (
    OUT_OF_FOLD,
    RECORDED,
    Learn,
    Learned,
    TierFinding,
    asks_to_learn,
    beats,
    has_labels,
    is_less_wrong,
    judged,
    n_from_production,
    recorded_signal,
)
from optimizer.core.policy.records import TierRecords, as_compared
from optimizer.core.policy.shown_examples import EXAMPLES
from optimizer.core.policy.skip_search import best_skip
from optimizer.core.policy.threshold_search import Found, LeastCost, chains_of, search
from optimizer.core.strategy import REPLAY, Proposal, SearchSetting
from optimizer.core.study import ExampleResult
from optimizer.core.variant import Variant

PARTS = (0.5, 0.25)  # of the margin: the confirmation asks for the whole of it on its own examples, with as little room for luck
WORTH_A_RISK = 0.05  # of the strong tier's cost, that a bolder setting has to save more than a safer one
KNOBS_OF_A_CASCADE = ("tiers", "accept", "accept.2", "accept.3")
OF_A_SIGNAL = ("skip", "refine")  # compare a confidence with a number: another confidence makes another number of it
Chain = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    """What was found for one chain by one confidence, at each part of the margin, the boldest first."""

    found: Sequence[Found]
    confidence: Mapping[str, Any] | None  # None: as the start has it
    skipping: tuple[Found, Mapping[str, Any]] | None = None  # the boldest setting that leaves hopeless calls out, and its confidence

    @property
    def saved(self) -> float:
        """What the boldest setting saves of the strong tier's cost; 0 where no setting is safe."""
        return next((one.replay.saved_share.mean for one in self.found if one.replay is not None), 0.0)


class CascadeSearch:
    """Proposes what the confident rule finds, for the whole chain and for each pair with the strongest tier.

    Where nothing cheaper is safe it proposes nothing, and the study says: do not cascade. The rule that believes the records as they are
    proposes nothing: the most saving of its settings would win on dev and fail on the holdout.

    Args:
        learn: trains a confidence; asked where the space names ``policy.confidence`` with ``{kind: predictor}``.
    """

    def __init__(self, setting: SearchSetting, learn: Learn) -> None:
        self._setting = setting
        self._learn = learn
        self._left: list[Proposal] | None = None

    def ask(self) -> Proposal | None:
        if self._left is None:
            self._left = self._found()
        return self._left.pop(0) if self._left else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        pass

    def _found(self) -> list[Proposal]:
        setting = self._setting
        tiers = tuple(setting.start.policy.get("tiers") or setting.family.model.tiers)
        own = setting.start.policy.get("confidence")
        recorded = recorded_signal(setting.space, own)
        signal = recorded if recorded != own else None
        shown = {example.id for example in setting.start.examples}  # a prompt that holds the answer says nothing about how sure a model is
        asked = [example for example in setting.train if example.id not in shown]
        rows = setting.tier_rows(_with_policy(setting.start, {"tiers": list(tiers)}, signal), asked)
        complete = [at for at, row in enumerate(rows) if len(row["tiers"]) == len(tiers)]
        if len(complete) < 2:
            return []
        setting.keep_finding(RECORDED, recorded)
        kept = [rows[at] for at in complete]
        records = TierRecords.from_rows(kept, tiers)
        margin = quality_margin(float(records.score[:, -1].mean()), setting.family.rollout.margin)
        groups = [asked[at].group for at in complete]
        folds = folds_by_group(groups)
        chains = chains_of(tiers)
        searched = [_searched(records.chain(chain), margin, signal, folds) for chain in chains]
        remarks = [one.found[0].reason for one in searched]
        if asks_to_learn(setting.space):
            learned = _LearnedTiers(setting, self._learn, [asked[at] for at in complete], kept, tiers)
            searched = [learned.better(chain, one, records, margin, folds) for chain, one in zip(chains, searched, strict=True)]
            setting.keep_finding("confidence", [finding.as_data() for finding in learned.findings()])
            setting.keep_finding(OUT_OF_FOLD, learned.out_of_fold())
            remarks = [one.found[0].reason for one in searched] + [finding.why for finding in learned.findings()]
        first: dict[str, Proposal] = {}
        for one in searched:
            for chosen in worth_their_risk(one.found):
                proposal = self._proposal(chosen, one.confidence)
                first.setdefault(proposal.variant.id, proposal)
            if one.skipping is not None:
                found, confidence = one.skipping
                for chosen in worth_their_risk([found]):
                    proposal = self._proposal(chosen, confidence)
                    first.setdefault(proposal.variant.id, proposal)
        proposed = [proposal for id, proposal in first.items() if id != setting.start.id][: int(setting.definition["n_settings"])]
        setting.remark(" ".join([*remarks, *_on_groups(groups), *_on_proposals(proposed)]))
        return proposed

    def _proposal(self, found: tuple[CascadeSetting, Replay], confidence: Mapping[str, Any] | None) -> Proposal:
        setting, on_train = found
        params = {"saved_on_train": on_train.saved_share.mean, "loss_on_train": on_train.loss.mean}
        return Proposal(variant=_with_policy(self._setting.start, setting.policy(), confidence), proposer=REPLAY, params=params)


class _LearnedTiers:
    """Each tier's learned confidence, trained when a chain first asks for it."""

    def __init__(
        self, setting: SearchSetting, learn: Learn, examples: Sequence[Any], rows: Sequence[Mapping[str, Any]], tiers: Chain
    ) -> None:
        self._examples, self._rows = examples, rows
        self._setting, self._learn = setting, learn
        self._trained = {tier: self._train(tier) for tier in tiers[:-1]}
        self._used: set[str] = set()

    def better(self, chain: Chain, recorded: _Searched, records: TierRecords, margin: float, folds: Sequence[int]) -> _Searched:
        """The chain with its learned confidence where that beats the recorded one, else as it was found."""
        trained = {tier: self._trained[tier] for tier in chain[:-1]}
        if not all(isinstance(one, Learned) and is_less_wrong(one.gain_low) for one in trained.values()):
            return recorded
        known = {tier: one for tier, one in trained.items() if isinstance(one, Learned)}
        replayed = records
        for tier, one in known.items():
            replayed = replayed.with_confidence(tier, np.array(one.out_of_fold))
        alone = np.array([[row["tiers"][tier]["own_usd"] for tier in records.tiers] for row in self._rows])
        after = {tier: dict(one.predictor) for tier, one in known.items()}
        replayed = replace(replayed, cost_usd=alone).chain(chain)
        found = _searched(replayed, margin, {"kind": "predictor", "after": after}, folds)
        if not beats(min(one.gain_low for one in known.values()), saved=found.saved, saved_recorded=recorded.saved):
            return recorded
        self._used |= set(known)
        return replace(found, skipping=_skipping(found, known, replayed))

    def out_of_fold(self) -> dict[str, dict[str, Any]]:
        """By tier that has one: the predictor's hash, and what it says of each complete row without having seen it."""
        trained = {tier: one for tier, one in self._trained.items() if isinstance(one, Learned)}
        return {
            tier: {"hash": one.predictor["hash"], "confidence": as_compared(np.array(one.out_of_fold)).tolist()}
            for tier, one in trained.items()
        }

    def findings(self) -> list[TierFinding]:
        return [self._finding(tier, one) for tier, one in self._trained.items()]

    def _train(self, tier: str) -> Learned | str:
        """What came of it, or why nothing could be learned."""
        answers = [judged(example, row["tiers"][tier]) for example, row in zip(self._examples, self._rows, strict=True)]
        production = n_from_production(self._examples)
        trained_on = {"study": self._setting.study, "model": tier, "rows": len(answers), "from_production": production}
        try:
            return self._learn(answers, has_labels=has_labels(self._setting.family), trained_on=trained_on, seed=self._setting.seed)
        except DatasetTooSmall as error:
            return error.detail

    def _finding(self, tier: str, one: Learned | str) -> TierFinding:
        if isinstance(one, str):
            return TierFinding(tier=tier, is_used=False, why=f"No confidence was learned for {tier}: {one}")
        is_used = tier in self._used
        figures = f"log loss {one.gain:.3f} less than the recorded one's out of fold, at least {one.gain_low:.3f} with 90 % confidence"
        if is_used:
            why = f"The learned confidence of {tier} is used: {figures}, and its thresholds save more."
        elif is_less_wrong(one.gain_low):
            why = f"The learned confidence of {tier} is not used: {figures}, but its thresholds save no more."
        else:
            why = f"The learned confidence of {tier} is not used: it is not surely less wrong than the recorded one ({figures})."
        return TierFinding(
            tier=tier, is_used=is_used, why=why, predictor=str(one.predictor["hash"]), learned=one.learned, recorded=one.recorded
        )


def _searched(records: TierRecords, margin: float, confidence: Mapping[str, Any] | None, folds: Sequence[int]) -> _Searched:
    return _Searched(found=[search(records, LeastCost(margin=margin * part), folds=folds) for part in PARTS], confidence=confidence)


def _on_proposals(proposed: Sequence[Proposal]) -> list[str]:
    """Which variant has which thresholds: the boldest of a chain, which is told first, need not be the one that wins."""
    if not proposed:
        return []
    told = (
        f"{one.variant.id} ({' > '.join(one.variant.policy['tiers'])}, accept {one.variant.policy['accept']:.4g}, saved {one.params['saved_on_train']:.0%} on train)"
        for one in proposed
    )
    return [f"Proposed: {', '.join(told)}."]


def _on_groups(groups: Sequence[str]) -> list[str]:
    """What a bound does not know, where examples share a group."""
    n = len(set(groups))
    if n == len(groups):
        return []
    return [f"The {len(groups)} examples stand in {n} groups, and the bounds take them as independent: the holdout is the judge."]


def _skipping(searched: _Searched, known: Mapping[str, Learned], records: TierRecords) -> tuple[Found, Mapping[str, Any]] | None:
    """For a pair: the boldest setting with the best ``skip``, where that surely saves more. ``loss`` and ``saved`` stay those without it."""
    boldest = next((one for one in searched.found if one.setting is not None), None)
    if boldest is None or boldest.setting is None or len(boldest.setting.tiers) != 2 or searched.confidence is None:
        return None
    cheap = boldest.setting.tiers[0]
    skip = best_skip(records.chain(boldest.setting.tiers), boldest.setting.accept[0], np.array(known[cheap].before_out_of_fold))
    if skip is None:
        return None
    confidence = {**searched.confidence, "before": {cheap: dict(known[cheap].before)}}
    return replace(boldest, setting=replace(boldest.setting, skip=skip)), confidence


def worth_their_risk(found: Sequence[Found]) -> list[tuple[CascadeSetting, Replay]]:
    """Of settings from the boldest to the safest those that save clearly more than the next safer one."""
    there = [(one.setting, one.replay) for one in found if one.setting is not None and one.replay is not None]
    safer = [*there, None][1:]
    return [
        one for one, next_one in zip(there, safer, strict=True)
        if next_one is None or one[1].saved_share.mean - next_one[1].saved_share.mean > WORTH_A_RISK
    ]  # fmt: skip


def _with_policy(start: Variant, cascade: Mapping[str, Any], confidence: Mapping[str, Any] | None) -> Variant:
    """The start with these knobs of a cascade in the place of its own; ``confidence`` None: as the start has it.

    Tiers that the cascade leaves out lose their number of examples, and a ``refine`` that could never apply goes.
    """
    replaced = KNOBS_OF_A_CASCADE if confidence is None else (*KNOBS_OF_A_CASCADE, *OF_A_SIGNAL, "confidence")
    kept = {name: value for name, value in start.policy.items() if name not in replaced}
    accept = [cascade[name] for name in KNOBS_OF_A_CASCADE[1:] if name in cascade]
    if kept.get("refine") is not None and kept["refine"] > min(accept, default=0.0):
        del kept["refine"]
    if kept.get(EXAMPLES.name):
        named = {*cascade["tiers"], *(kept.get("votes.models") or ())}
        kept[EXAMPLES.name] = {model: n for model, n in kept[EXAMPLES.name].items() if model in named}
    signal = {} if confidence is None else {"confidence": dict(confidence)}
    return replace(start, policy={**kept, **cascade, **signal})
