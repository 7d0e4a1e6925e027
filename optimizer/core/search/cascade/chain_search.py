"""One chain of tiers, and its best settings: by the recorded confidence, or by a learned one where that is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example
from optimizer.core.policy.tiers import REFUSE, STUDENTS
from optimizer.core.search.cascade.cross_fitted import FittedSetting, cross_fitted, path_of_pair, shares_of
from optimizer.core.search.cascade.learned import (
    FROM_PRODUCTION,
    Learn,
    TierFinding,
    TrainingResult,
    beats,
    is_less_wrong,
    training_row,
)
from optimizer.core.search.cascade.records import Column, TierRecords, mean_upper, rounded_down
from optimizer.core.search.cascade.thresholds import LEVEL, FoundThresholds, LeastCost, search
from optimizer.core.search.strategy import SearchSetting

PARTS = tuple(k / 8 for k in range(8, 0, -1))  # parts of the margin from the boldest to the safest; dev chooses one
PARTS_OF_CHAINS = (1.0, 0.75, 0.5, 0.25)  # the same for three tiers and more, whose search takes longer
WORTH_A_RISK = 0.03  # a bolder setting has to save this share of the strong tier's cost more than a safer one
Chain = tuple[str, ...]
KNOBS_OF_A_CASCADE = ("tiers", "accept", "accept.2", "accept.3", STUDENTS.name, REFUSE.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedChain:
    """The settings of one chain by one confidence: the confident rule's at parts of the margin, the boldest first."""

    found: Sequence[FoundThresholds]
    boldest: FittedSetting | None  # of ``found``
    candidates: Sequence[FittedSetting]
    confidence: Mapping[str, Any] | None  # None: as the start has it
    # The boldest setting that leaves hopeless calls out, and its confidence.
    skipping: tuple[FittedSetting, Mapping[str, Any]] | None = None

    @property
    def saved(self) -> float:
        """What the boldest setting saves of the strong tier's cost; 0 where no setting is safe."""
        return next((option.replay.saved_share.mean for option in self.found if option.replay is not None), 0.0)


class LearnedTiers:
    """Each tier's learned confidence, trained when a chain first asks for it."""

    def __init__(
        self,
        setting: SearchSetting,
        learn: Learn,
        examples: Sequence[Example],
        rows: Sequence[Mapping[str, Any]],
        tiers: Chain,
    ) -> None:
        self._examples, self._rows = examples, rows
        self._setting, self._learn = setting, learn
        # A student is calibrated as it is taught.
        self._trained = {tier: self._train(tier) for tier in tiers[:-1] if tier not in setting.students}
        self._used: set[str] = set()

    def better(
        self, chain: Chain, recorded: SearchedChain, records: TierRecords, margin: float, folds: Sequence[int]
    ) -> SearchedChain:
        """The chain with its learned confidence where that beats the recorded one, else unchanged."""
        tried = [tier for tier in chain[:-1] if tier in self._trained]
        known = {
            tier: training
            for tier in tried
            if isinstance(training := self._trained[tier], TrainingResult) and is_less_wrong(training.gain_low)
        }
        if not known or len(known) < len(tried):
            return recorded
        replayed = records
        for tier, training in known.items():
            replayed = replayed.with_confidence(tier, np.array(training.out_of_fold))
        alone = np.array([[row["tiers"][tier]["own_usd"] for tier in records.tiers] for row in self._rows])
        after = {tier: dict(training.predictor) for tier, training in known.items()}
        replayed = replace(replayed, cost_usd=alone).chain(chain)
        searched = search_chain(
            replayed,
            margin,
            {"kind": "predictor", "after": after},
            folds,
            in_steps=self._setting.is_sequenced,
            exact=not self._setting.students.keys().isdisjoint(chain),
        )  # by confidences out of fold
        if not beats(
            min(training.gain_low for training in known.values()), saved=searched.saved, saved_recorded=recorded.saved
        ):
            return recorded
        self._used |= set(known)
        return replace(searched, skipping=_skipping(searched, known, replayed))

    def out_of_fold(self) -> dict[str, dict[str, Any]]:
        """By tier: the predictor's hash, and its confidence in each complete row that it was not trained on."""
        return {
            tier: {
                "hash": training.predictor["hash"],
                "confidence": rounded_down(np.array(training.out_of_fold)).tolist(),
            }
            for tier, training in self._trained.items()
            if isinstance(training, TrainingResult)
        }

    def findings(self) -> list[TierFinding]:
        return [self._finding(tier, training) for tier, training in self._trained.items()]

    def _train(self, tier: str) -> TrainingResult | str:
        """What came of it, or why nothing could be learned."""
        answers = [
            training_row(example, row["tiers"][tier]) for example, row in zip(self._examples, self._rows, strict=True)
        ]
        trained_on = {
            "study": self._setting.study,
            "model": tier,
            "rows": len(answers),
            "from_production": sum(example.origin in FROM_PRODUCTION for example in self._examples),
        }
        has_labels = self._setting.family.output.parser == "label"
        try:
            return self._learn(answers, has_labels=has_labels, trained_on=trained_on, seed=self._setting.seed)
        except DatasetTooSmall as error:
            return error.detail

    def _finding(self, tier: str, result: TrainingResult | str) -> TierFinding:
        if isinstance(result, str):
            return TierFinding(tier=tier, is_used=False, why=f"No confidence was learned for {tier}: {result}")
        is_used = tier in self._used
        figures = (
            f"log loss {result.gain:.3f} less than the recorded one's out of fold, at least {result.gain_low:.3f} with"
            " 90 % confidence"
        )
        if is_used:
            why = f"The learned confidence of {tier} is used: {figures}, and its thresholds save more."
        elif is_less_wrong(result.gain_low):
            why = f"The learned confidence of {tier} is not used: {figures}, but its thresholds save no more."
        else:
            why = (
                f"The learned confidence of {tier} is not used: it is not surely less wrong than the recorded one"
                f" ({figures})."
            )
        return TierFinding(
            tier=tier,
            is_used=is_used,
            why=why,
            predictor=str(result.predictor["hash"]),
            learned=result.learned,
            recorded=result.recorded,
        )


def search_chain(
    records: TierRecords,
    margin: float,
    confidence: Mapping[str, Any] | None,
    folds: Sequence[int],
    *,
    in_steps: bool,
    exact: bool = False,
) -> SearchedChain:
    """``in_steps``: of a pair every small step, where the confident rule finds anything safe at all. ``exact``: as of
    LeastCost, for a chain with a student.
    """
    is_pair = len(records.tiers) == 2
    settings, candidates = list[FoundThresholds](), list[FittedSetting]()
    for part in (1.0,) if is_pair and in_steps else PARTS if is_pair else PARTS_OF_CHAINS:
        option = search(records, LeastCost(margin=margin * part, exact=exact), folds=folds)
        settings.append(option)
        if option.setting is not None and option.replay is not None:
            chain = records.chain(option.setting.tiers)
            ((loss, cost_usd),) = cross_fitted(chain, [shares_of(chain, option.setting.accept)], folds)
            candidates.append(
                FittedSetting(
                    setting=option.setting,
                    saved_fitted=option.replay.saved_share.mean,
                    loss_fitted=option.replay.loss.mean,
                    loss=loss,
                    cost_usd=cost_usd,
                )
            )
    boldest = next(iter(candidates), None)
    proposed = path_of_pair(records, folds) if is_pair and in_steps and boldest else worth_their_risk(candidates)
    return SearchedChain(found=settings, boldest=boldest, candidates=proposed, confidence=confidence)


def _skipping(
    searched: SearchedChain, known: Mapping[str, TrainingResult], records: TierRecords
) -> tuple[FittedSetting, Mapping[str, Any]] | None:
    """For a pair: the boldest setting with the best ``skip``, where that surely saves more.

    The predicted figures stay those without ``skip``.
    """
    boldest = searched.boldest
    if boldest is None or len(boldest.setting.tiers) != 2 or searched.confidence is None:
        return None
    cheap = boldest.setting.tiers[0]
    if cheap not in known:
        return None
    skip = best_skip(
        records.chain(boldest.setting.tiers), boldest.setting.accept[0], np.array(known[cheap].before_out_of_fold)
    )
    if skip is None:
        return None
    confidence = {**searched.confidence, "before": {cheap: dict(known[cheap].before)}}
    return replace(boldest, setting=replace(boldest.setting, skip=skip)), confidence


def worth_their_risk(candidates: Sequence[FittedSetting]) -> list[FittedSetting]:
    """Of settings from the boldest to the safest, those that save clearly more than the next safer one."""
    worthwhile = list[FittedSetting]()
    for candidate in reversed(candidates):
        if not worthwhile or candidate.saved_fitted - worthwhile[-1].saved_fitted > WORTH_A_RISK:
            worthwhile.append(candidate)
    return worthwhile[::-1]


def best_skip(pair: TierRecords, accept: float, before: Column) -> float | None:
    """The confidence before the call below which the cheap tier is not asked, in (0, 1]; None where none surely saves.

    Args:
        pair: complete records of two tiers, with the confidence that ``accept`` is compared with.
        before: for each record the confidence in [0, 1] from the request alone, by a predictor that has not seen it.
    """
    cheap, strong = pair.cost_usd[:, 0], pair.cost_usd[:, 1]
    # Dollars by which skipping makes a request dearer.
    more = np.where(pair.confidence[:, 0] >= accept, strong - cheap, -cheap)
    order = np.argsort(before, kind="stable")
    summed = np.cumsum((pair.weight * more)[order])
    # Equal ones are skipped together, and never all.
    last = np.flatnonzero(np.append(np.diff(before[order]) != 0, True))[:-1]
    if not len(last):
        return None
    at = last[int(np.argmin(summed[last]))]
    # As a Variant keeps it.
    threshold = float(np.ceil(before[order][at + 1] * 1e6) / 1e6 if at + 1 < len(order) else 1.0)
    dearer = np.where(before < threshold, more, 0.0)
    return threshold if 0 < threshold <= 1 and mean_upper(dearer, pair.weight, LEVEL) < 0 else None
