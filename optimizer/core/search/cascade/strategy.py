"""Strategy ``replay`` for families with tiers: every tier answers each unsealed row once, then thresholds cost no call.

Train and dev are one here: what a setting will do is predicted by cross-fitting, with the rows of a group always on one
side, so no row is reserved for the choice. Where the space asks for it, a confidence is learned from the answers, and
used where it beats the recorded one out of fold. The proposals run on dev through the code that also serves
(``steps.py``), from the journal, and the sealed holdout decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from optimizer.core.base.phrasing import count, points_lost, threshold
from optimizer.core.evaluation.gates import quality_margin
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.policy.policy import EXAMPLES, parse_policy
from optimizer.core.policy.tiers import NO_SECOND_ANSWER, REFUSE, STUDENTS, student_fault
from optimizer.core.search.cascade.chain_search import KNOBS_OF_A_CASCADE, LearnedTiers, search_chain
from optimizer.core.search.cascade.cross_fitted import FittedSetting, folds_by_group, shares_of, thresholds_at
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.learned import (
    RECORDED,
    Learn,
    asks_to_learn,
    recorded_signal,
)
from optimizer.core.search.cascade.records import TierRecords, answering_tier, outcome
from optimizer.core.search.cascade.thresholds import chains_of
from optimizer.core.search.run_off import LOSS, SAVED
from optimizer.core.search.strategy import REPLAY, Proposal, SearchSetting, Strategy
from optimizer.core.search.study import OUT_OF_FOLD

ALLOWED = 0.5  # part of the margin that may be used where no sealed holdout will judge the result
STUDENT_SHARE = "student_share"
OF_A_SIGNAL = ("skip", "refine")  # compare a confidence with a number: another confidence makes another number of it


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChampionFigures:
    """What is saved and lost is measured against it: mean score and dollars on the same rows."""

    score: float
    cost_usd: float


class CascadeSearch(Strategy):
    """Proposes what the confident rule finds, for the whole chain and for each pair with the strongest tier.

    For aim cost only what is predicted to save ``gates.improvement`` and to lose less than the margin, the safest
    first; of a pair in small steps, since the holdout tests them in sequence. Where nothing cheaper is safe it proposes
    nothing, and the study says: do not cascade.

    Args:
        learn: trains a confidence; asked where the space names ``policy.confidence`` with ``{kind: predictor}``.
    """

    def __init__(self, setting: SearchSetting, learn: Learn) -> None:
        self._setting = setting
        self._learn = learn
        self._waiting: list[Proposal] | None = None

    def ask(self) -> Proposal | None:
        if self._waiting is None:
            self._waiting = self._fitted_proposals()
        return self._waiting.pop(0) if self._waiting else None

    def _fitted_proposals(self) -> list[Proposal]:
        start = self._setting.start
        named = tuple(start.policy.get("tiers") or self._setting.family.searched_tiers)
        recorded = recorded_signal(self._setting.space, own := start.policy.get("confidence"))
        signal = recorded if recorded != own else None
        with_tiers = _with_policy(start, {"tiers": list(named)}, signal)
        setting = self._setting = _without_misplaced(self._setting.teach(self._setting, with_tiers))
        taught = tuple(tier for tier in setting.students if tier not in named)  # which the file's champion lacks
        tiers = tuple(tier for tier in (*taught, *named) if tier not in setting.untaught)
        if len(tiers) < 2:
            setting.remark(" ".join(setting.untaught.values()))
            return []
        # All that are not sealed and not in the prompt, which says nothing about how sure a model is of their
        # answers.
        shown = {example.id for example in setting.start.examples}
        learns = asks_to_learn(setting.space) and setting.family.privacy.examples_from != "any"
        dev = [example for example in setting.dev if example.released or not learns]
        examples = [example for example in (*dev, *setting.train) if example.id not in shown]
        rows = setting.tier_rows(
            _with_policy(setting.start, {"tiers": list(tiers)}, signal, setting.students), examples
        )
        complete = [at for at, row in enumerate(rows) if len(row["tiers"]) == len(tiers)]
        if sum(rows[at].get("weight", 1.0) > 0 for at in complete) < 2:
            return []
        setting.keep_finding(RECORDED, recorded)
        records = TierRecords.from_rows(complete_rows := [rows[at] for at in complete], tiers)
        margin = quality_margin(records.mean(records.score[:, -1]), setting.family.rollout.margin)
        groups = [examples[at].group for at in complete]
        folds = folds_by_group(groups)
        chains = chains_of(tiers)
        search = partial(search_chain, margin=margin, confidence=signal, folds=folds, in_steps=setting.is_sequenced)
        searched = [
            search(records.chain(chain), exact=not setting.students.keys().isdisjoint(chain)) for chain in chains
        ]
        cut = f"{len(complete)} of {count(len(examples), 'example')} were answered by every tier."
        remarks = [
            *([cut] if len(complete) < len(examples) else []),
            *setting.untaught.values(),
            *(sentence for sentence in (setting.taught_by, setting.on_newest) if sentence),
        ]
        if asks_to_learn(setting.space):
            learned = LearnedTiers(setting, self._learn, [examples[at] for at in complete], complete_rows, tiers)
            searched = [
                learned.better(chain, one, records, margin, folds) for chain, one in zip(chains, searched, strict=True)
            ]
            setting.keep_finding("confidence", [asdict(finding) for finding in learned.findings()])
            setting.keep_finding(OUT_OF_FOLD, learned.out_of_fold())
            remarks += [finding.why for finding in learned.findings()]
        champion = _champion(setting.start, records, setting.students)
        first: dict[str, Proposal] = {}
        for one in searched:
            of_chain = [
                *((fitted, one.confidence) for fitted in one.candidates),
                *([one.skipping] if one.skipping else ()),
            ]
            for fitted, confidence in of_chain:
                proposal = self._proposal(fitted, confidence, records, champion, folds)
                first.setdefault(proposal.variant.id, proposal)
        others = [proposal for id, proposal in first.items() if id != setting.start.id]
        worth = setting.family.rollout.gates.improvement if setting.aim == "cost" else 0.0
        kept_back = [one for one in others if setting.aim == "cost" and one.params[LOSS] >= margin]
        enough = [one for one in others if one.params[SAVED] >= worth and one not in kept_back]
        proposed = _in_order(enough, int(setting.definition["n_settings"]))
        summary = (
            _on_proposals(proposed)
            if proposed
            else [one.found[0].reason for one in searched if one.found[0].setting is None]
        )
        setting.remark(
            " ".join(
                [
                    *summary,
                    *_too_little([one for one in others if one.params[SAVED] < worth], worth),
                    *_too_bold(kept_back, margin),
                    *remarks,
                    *_on_groups(groups),
                ]
            )
        )
        return proposed

    def _proposal(
        self,
        fitted: FittedSetting,
        confidence: Mapping[str, Any] | None,
        records: TierRecords,
        champion: _ChampionFigures,
        folds: Sequence[int],
    ) -> Proposal:
        loss, cost_usd = champion.score - records.mean(records.score[:, -1]) + fitted.loss, fitted.cost_usd
        policy = fitted.setting.policy()
        if self._setting.family.student_alone and not self._setting.students.keys().isdisjoint(fitted.setting.tiers):
            policy[REFUSE.name] = True
            alone = _alone(records, fitted.setting, self._setting.students, folds)
            loss, cost_usd = champion.score - alone.score, alone.cost_usd
        saved = 1 - cost_usd / champion.cost_usd if champion.cost_usd > 0 else 0.0
        return Proposal(
            variant=_with_policy(self._setting.start, policy, confidence, self._setting.students),
            proposer=REPLAY,
            params={
                SAVED: saved,
                LOSS: loss,
                "saved_fitted": fitted.saved_fitted,
                "loss_fitted": fitted.loss_fitted,
                **self._student_share(fitted.setting, records),
            },
        )

    def _student_share(self, cascade: CascadeSetting, records: TierRecords) -> dict[str, float]:
        """The share of the records that a student answers; nothing where none is asked."""
        places = [at for at, tier in enumerate(cascade.tiers) if tier in self._setting.students]
        if not places:
            return {}
        answers = outcome(records, cascade)
        is_student = sum(answers.tier == at for at in places)
        return {STUDENT_SHARE: float(records.weight @ is_student / records.weight.sum())}


def _without_misplaced(setting: SearchSetting) -> SearchSetting:
    """Without students where the start, which other strategies may have found, has a policy that no student joins."""
    knob = student_fault(setting.start.policy)
    if knob is None or not setting.students:
        return setting
    why = f"its prompt's policy has {knob}, and {NO_SECOND_ANSWER}."
    left_out = {tier: f"The tier {tier} is left out: {why}" for tier in setting.students}
    return replace(setting, students={}, untaught={**setting.untaught, **left_out})


def _champion(start: Variant, records: TierRecords, students: Collection[str]) -> _ChampionFigures:
    """The start on the records: the cascade that it is, the tier that it is, else the strongest one.

    A tier of ``students`` that the start has not been taught is passed over; where it was, the new student stands for
    the old one.
    """
    cascade = parse_policy(start.policy).cascade
    if cascade is not None:
        tried = [at for at, tier in enumerate(cascade.models) if tier not in students or tier in cascade.students]
        models = tuple(cascade.models[at] for at in tried)
    if cascade is not None and len(models) > 1 and set(models) <= set(records.tiers):
        setting = CascadeSetting(tiers=models, accept=tuple(cascade.accept[at] for at in tried[:-1]))
        if cascade.refuse and cascade.students:
            return _alone(records, setting, cascade.students)
        happened = outcome(records, setting)
        return _ChampionFigures(score=records.mean(happened.score), cost_usd=records.mean(happened.cost_usd))
    name = str(start.model.get("name"))
    at = records.tiers.index(name) if name in records.tiers else -1
    return _ChampionFigures(score=records.mean(records.score[:, at]), cost_usd=records.mean(records.cost_usd[:, at]))


def _alone(
    records: TierRecords, setting: CascadeSetting, students: Collection[str], folds: Sequence[int] | None = None
) -> _ChampionFigures:
    """A student that refuses what it is not sure of, at a score of 0.

    ``folds``: the part of each record, of a setting that was fitted to these: every part is judged by the thresholds at
    which the tiers answer as much of the other parts, as by ``cross_fitted``. None: by the setting's own.
    """
    place = next(at for at, tier in enumerate(setting.tiers) if tier in students)
    chain, rows = records.chain(setting.tiers), np.arange(len(records))
    accept = np.tile(np.array(setting.accept)[:, None], len(records))
    if folds is not None:
        shares, parts = shares_of(chain, setting.accept), np.asarray(folds)
        for part in np.unique(parts):
            accept[:, parts == part] = np.array(thresholds_at(chain.take(parts != part), shares))[:, None]
    tier = answering_tier(chain.confidence, accept)
    score = np.where(tier <= place, chain.score[rows, tier], 0.0)
    cost_usd = np.cumsum(chain.cost_usd, axis=1)[rows, np.minimum(tier, place)]
    return _ChampionFigures(score=records.mean(score), cost_usd=records.mean(cost_usd))


def _in_order(proposals: Sequence[Proposal], n: int) -> list[Proposal]:
    """The safest first; of more than ``n`` so many, evenly from the safest to the boldest."""
    ordered = sorted(proposals, key=lambda one: (one.params[LOSS], one.params[SAVED], one.variant.id))
    if len(ordered) <= n:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / max(1, n - 1))] for place in range(n)]


def _on_proposals(proposed: Sequence[Proposal]) -> list[str]:
    """The record of each variant's thresholds and predicted figures, in the order in which the holdout tests them."""
    remarks = []
    for one in proposed:
        policy, params = one.variant.policy, one.params
        tiers, accepted = policy["tiers"], ", ".join(map(threshold, _accepted(policy)))
        who = f"{tiers[0]} alone, which refuses the rest" if policy.get(REFUSE.name) else " > ".join(tiers)
        by_student = f", {params[STUDENT_SHARE]:.0%} answered by the student" if STUDENT_SHARE in params else ""
        remarks.append(
            f"{one.variant.id} ({who}, accept {accepted}) saves {params[SAVED]:.0%} and"
            f" {points_lost(params[LOSS])}{by_student}"
        )
    return [
        "Proposed, the safest first, with what each is predicted to do on rows that it was not fitted to:"
        f" {'; '.join(remarks)}."
    ]


def _accepted(policy: Mapping[str, Any]) -> list[float]:
    return [policy[name] for name in KNOBS_OF_A_CASCADE if name.startswith("accept") and name in policy]


def _too_little(omitted: Sequence[Proposal], worth: float) -> list[str]:
    if not omitted:
        return []
    most = max(one.params[SAVED] for one in omitted)
    return [
        f"{count(len(omitted), 'setting')} predicted to save at most {most:.0%} left out, since"
        f" rollout.gates.improvement asks for {worth:.0%}."
    ]


def _too_bold(omitted: Sequence[Proposal], margin: float) -> list[str]:
    """What was safe on the rows it was fitted to and is not on others."""
    if not omitted:
        return []
    least = 100 * min(one.params[LOSS] for one in omitted)
    return [
        f"{count(len(omitted), 'setting')} predicted to lose {least:.2f} points or more left out, since the margin is"
        f" {100 * margin:.2f}."
    ]


def _on_groups(groups: Sequence[str]) -> list[str]:
    """What a bound does not know, where examples share a group."""
    n = len(set(groups))
    if n == len(groups):
        return []
    return [
        f"The {len(groups)} examples stand in {n} groups, and the bounds take them as independent: the holdout is the"
        " judge."
    ]


def _with_policy(
    start: Variant,
    cascade: Mapping[str, Any],
    confidence: Mapping[str, Any] | None,
    students: Mapping[str, str] | None = None,
) -> Variant:
    """The start with these knobs of a cascade in place of its own; ``confidence`` None: as in the start.

    Tiers that the cascade leaves out lose their number of examples, and a ``refine`` that could never apply goes.
    """
    replaced = KNOBS_OF_A_CASCADE if confidence is None else (*KNOBS_OF_A_CASCADE, *OF_A_SIGNAL, "confidence")
    policy = {name: value for name, value in start.policy.items() if name not in replaced}
    if policy.get("refine") is not None and policy["refine"] > min(_accepted(cascade), default=0.0):
        del policy["refine"]
    if policy.get(EXAMPLES.name):
        named = {NEAREST, *cascade["tiers"], *(policy.get("votes.models") or ())}
        policy[EXAMPLES.name] = {model: n for model, n in policy[EXAMPLES.name].items() if model in named}
    taught = {tier: id for tier, id in (students or {}).items() if tier in cascade["tiers"]}
    signal = {} if confidence is None else {"confidence": dict(confidence)}
    return replace(start, policy={**policy, **cascade, **({STUDENTS.name: taught} if taught else {}), **signal})
