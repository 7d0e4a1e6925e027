"""Strategy ``replay`` for families with tiers: every tier answers the rows that are not sealed once, then all thresholds are tried without a call.

Train and dev are one here: what a setting will do is predicted by cross-fitting, with the rows of a group always on one side, so no row need be
kept back for choosing. Where the space asks for it, a confidence is learned from the answers, and used where it beats the recorded one out of
fold. What is proposed runs on dev through the machine that also serves (``steps.py``), from the journal, and the sealed holdout decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.base.phrasing import count, points_lost, threshold
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.shown_examples import EXAMPLES
from optimizer.core.search.cascade.cross_fitted import folds_by_group
from optimizer.core.search.cascade.learned import (
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
from optimizer.core.search.cascade.path import FittedSetting, path_of_pair
from optimizer.core.search.cascade.records import TierRecords, as_compared
from optimizer.core.search.cascade.replay import CascadeReplay, CascadeSetting, outcome
from optimizer.core.search.cascade.skip import best_skip
from optimizer.core.search.cascade.thresholds import FoundThresholds, LeastCost, chains_of, cross_fitted, search
from optimizer.core.search.proposal_sequence import LOSS, SAVED
from optimizer.core.search.strategy import REPLAY, Proposal, SearchSetting

PARTS = tuple(k / 8 for k in range(8, 0, -1))  # of the margin, from the boldest to the safest, where dev chooses
PARTS_OF_CHAINS = (1.0, 0.75, 0.5, 0.25)  # of three tiers and more, whose search takes longer
ALLOWED = 0.5  # of the margin, where no sealed holdout will judge what is found
WORTH_A_RISK = 0.03  # of the strong tier's cost, that a bolder setting has to save more than a safer one
KNOBS_OF_A_CASCADE = ("tiers", "accept", "accept.2", "accept.3")
OF_A_SIGNAL = ("skip", "refine")  # compare a confidence with a number: another confidence makes another number of it
Chain = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Searched:
    """What was found for one chain by one confidence: by the confident rule at parts of the margin, and what may be proposed; the boldest first."""

    found: Sequence[FoundThresholds]
    boldest: FittedSetting | None  # of ``found``
    candidates: Sequence[FittedSetting]
    confidence: Mapping[str, Any] | None  # None: as the start has it
    skipping: tuple[FittedSetting, Mapping[str, Any]] | None = (
        None  # the boldest setting that leaves hopeless calls out, and its confidence
    )

    @property
    def saved(self) -> float:
        """What the boldest setting saves of the strong tier's cost; 0 where no setting is safe."""
        return next((one.replay.saved_share.mean for one in self.found if one.replay is not None), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Champion:
    """What is saved and lost is measured against it: mean score and dollars on the same rows."""

    score: float
    cost_usd: float


class CascadeSearch:
    """Proposes what the confident rule finds, for the whole chain and for each pair with the strongest tier.

    For aim cost only what is predicted to save ``gates.improvement`` and to lose less than the margin, the safest first; of a pair in small
    steps, since the holdout tests them in sequence. Where nothing cheaper is safe it proposes nothing, and the study says: do not cascade.

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
        asked = _rows_to_ask(setting)
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
        in_steps = setting.aim == "cost"  # the holdout then tests in sequence
        searched = [_searched(records.chain(chain), margin, signal, folds, in_steps=in_steps) for chain in chains]
        remarks = list[str]()
        if asks_to_learn(setting.space):
            learned = _LearnedTiers(setting, self._learn, [asked[at] for at in complete], kept, tiers)
            searched = [learned.better(chain, one, records, margin, folds) for chain, one in zip(chains, searched, strict=True)]
            setting.keep_finding("confidence", [finding.as_data() for finding in learned.findings()])
            setting.keep_finding(OUT_OF_FOLD, learned.out_of_fold())
            remarks = [finding.why for finding in learned.findings()]
        champion = _champion(setting.start, records)
        first: dict[str, Proposal] = {}
        for one in searched:
            of_chain = [*((found, one.confidence) for found in one.candidates), *([one.skipping] if one.skipping else ())]
            for found, confidence in of_chain:
                proposal = self._proposal(found, confidence, records, champion)
                first.setdefault(proposal.variant.id, proposal)
        others = [proposal for id, proposal in first.items() if id != setting.start.id]
        worth = setting.family.rollout.gates.improvement if setting.aim == "cost" else 0.0
        kept_back = [one for one in others if setting.aim == "cost" and one.params[LOSS] >= margin]
        enough = [one for one in others if one.params[SAVED] >= worth and one not in kept_back]
        proposed = _in_order(enough, int(setting.definition["n_settings"]))
        said = _on_proposals(proposed) if proposed else [one.found[0].reason for one in searched if one.found[0].setting is None]
        setting.remark(
            " ".join(
                [
                    *said,
                    *_too_little([one for one in others if one.params[SAVED] < worth], worth),
                    *_too_bold(kept_back, margin),
                    *remarks,
                    *_on_groups(groups),
                ]
            )
        )
        return proposed

    def _proposal(self, found: FittedSetting, confidence: Mapping[str, Any] | None, records: TierRecords, champion: _Champion) -> Proposal:
        lost = champion.score - float(records.score[:, -1].mean()) + found.loss
        saved = 1 - found.cost_usd / champion.cost_usd if champion.cost_usd > 0 else 0.0
        params = {SAVED: saved, LOSS: lost, "saved_fitted": found.saved_fitted, "loss_fitted": found.loss_fitted}
        return Proposal(variant=_with_policy(self._setting.start, found.setting.policy(), confidence), proposer=REPLAY, params=params)


def _rows_to_ask(setting: SearchSetting) -> list[Example]:
    """All that are not sealed. A prompt that holds the answer says nothing about how sure a model is; and what is learned from answers may keep
    words of them, so there only what somebody released is used."""
    shown = {example.id for example in setting.start.examples}
    learns = asks_to_learn(setting.space) and setting.family.privacy.examples_from != "any"
    dev = [example for example in setting.dev if example.released or not learns]
    return [example for example in (*setting.train, *dev) if example.id not in shown]


def _champion(start: Variant, records: TierRecords) -> _Champion:
    """The start on the records: the cascade that it is, the tier that it is, else the strongest one."""
    try:
        cascade = parse_policy(start.policy).cascade
    except InvalidInput:  # made before its knobs were checked
        cascade = None
    if cascade is not None and set(cascade.models) <= set(records.tiers):
        happened = outcome(records, CascadeSetting(tiers=cascade.models, accept=cascade.accept))
        return _Champion(score=float(happened.score.mean()), cost_usd=float(happened.cost_usd.mean()))
    name = str(start.model.get("name"))
    at = records.tiers.index(name) if name in records.tiers else -1
    return _Champion(score=float(records.score[:, at].mean()), cost_usd=float(records.cost_usd[:, at].mean()))


def _in_order(proposals: Sequence[Proposal], n: int) -> list[Proposal]:
    """The safest first; of more than ``n`` so many, evenly from the safest to the boldest."""
    ordered = sorted(proposals, key=lambda one: (one.params[LOSS], one.params[SAVED], one.variant.id))
    if len(ordered) <= n:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / max(1, n - 1))] for place in range(n)]


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
        in_steps = self._setting.aim == "cost"
        found = _searched(replayed, margin, {"kind": "predictor", "after": after}, folds, in_steps=in_steps)  # by confidences out of fold
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


def _searched(
    records: TierRecords, margin: float, confidence: Mapping[str, Any] | None, folds: Sequence[int], *, in_steps: bool
) -> _Searched:
    """``in_steps``: of a pair every small step, where the confident rule finds anything safe at all."""
    is_pair = len(records.tiers) == 2
    found, candidates = list[FoundThresholds](), list[FittedSetting]()
    for part in (1.0,) if is_pair and in_steps else PARTS if is_pair else PARTS_OF_CHAINS:
        goal = LeastCost(margin=margin * part)
        one = search(records, goal, folds=folds)
        found.append(one)
        if one.setting is not None and one.replay is not None:
            candidates.append(_candidate(records, goal, folds, one.setting, one.replay, one))
    boldest = next(iter(candidates), None)
    proposed = path_of_pair(records, folds) if is_pair and in_steps and boldest else worth_their_risk(candidates)
    return _Searched(found=found, boldest=boldest, candidates=proposed, confidence=confidence)


def _candidate(
    records: TierRecords, goal: LeastCost, folds: Sequence[int], setting: CascadeSetting, fitted: CascadeReplay, found: FoundThresholds
) -> FittedSetting:
    loss, cost_usd = cross_fitted(records, goal, folds, found)
    return FittedSetting(
        setting=setting, saved_fitted=fitted.saved_share.mean, loss_fitted=fitted.loss.mean, loss=float(loss.mean()),
        cost_usd=float(cost_usd.mean()),
    )  # fmt: skip


def _on_proposals(proposed: Sequence[Proposal]) -> list[str]:
    """Which variant has which thresholds and is predicted to do what, in the order in which the holdout will test them."""
    told = (
        f"{one.variant.id} ({' > '.join(one.variant.policy['tiers'])}, accept {', '.join(map(threshold, _accepts(one.variant)))}) saves "
        f"{one.params[SAVED]:.0%} and {points_lost(one.params[LOSS])}"
        for one in proposed
    )
    return [f"Proposed, the safest first, with what each is predicted to do on rows that it was not fitted to: {'; '.join(told)}."]


def _accepts(variant: Variant) -> list[float]:
    return [variant.policy[name] for name in KNOBS_OF_A_CASCADE[1:] if name in variant.policy]


def _too_little(left: Sequence[Proposal], worth: float) -> list[str]:
    if not left:
        return []
    most = max(one.params[SAVED] for one in left)
    return [
        f"{count(len(left), 'setting')} predicted to save at most {most:.0%} left out, since rollout.gates.improvement asks for {worth:.0%}."
    ]


def _too_bold(left: Sequence[Proposal], margin: float) -> list[str]:
    """What was safe on the rows it was fitted to and is not on others."""
    if not left:
        return []
    least = 100 * min(one.params[LOSS] for one in left)
    return [f"{count(len(left), 'setting')} predicted to lose {least:.2f} points or more left out, since the margin is {100 * margin:.2f}."]


def _on_groups(groups: Sequence[str]) -> list[str]:
    """What a bound does not know, where examples share a group."""
    n = len(set(groups))
    if n == len(groups):
        return []
    return [f"The {len(groups)} examples stand in {n} groups, and the bounds take them as independent: the holdout is the judge."]


def _skipping(searched: _Searched, known: Mapping[str, Learned], records: TierRecords) -> tuple[FittedSetting, Mapping[str, Any]] | None:
    """For a pair: the boldest setting with the best ``skip``, where that surely saves more. What is predicted stays that without it."""
    boldest = searched.boldest
    if boldest is None or len(boldest.setting.tiers) != 2 or searched.confidence is None:
        return None
    cheap = boldest.setting.tiers[0]
    skip = best_skip(records.chain(boldest.setting.tiers), boldest.setting.accept[0], np.array(known[cheap].before_out_of_fold))
    if skip is None:
        return None
    confidence = {**searched.confidence, "before": {cheap: dict(known[cheap].before)}}
    return replace(boldest, setting=replace(boldest.setting, skip=skip)), confidence


def worth_their_risk(candidates: Sequence[FittedSetting]) -> list[FittedSetting]:
    """Of settings from the boldest to the safest those that save clearly more than the next safer one that is kept."""
    kept = list[FittedSetting]()
    for one in reversed(candidates):
        if not kept or one.saved_fitted - kept[-1].saved_fitted > WORTH_A_RISK:
            kept.append(one)
    return kept[::-1]


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
