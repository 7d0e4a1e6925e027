"""Strategy ``replay`` for families with tiers: every tier answers the training examples once, then all thresholds are tried without a call.

What is proposed is measured on dev by the machine that also serves (``steps.py``), mostly from the journal, and the sealed holdout decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from optimizer.core.gates import quality_margin
from optimizer.core.policy.cascade import CascadeSetting, Replay
from optimizer.core.policy.records import TierRecords
from optimizer.core.policy.shown_examples import EXAMPLES
from optimizer.core.policy.threshold_search import Found, LeastCost, search
from optimizer.core.strategy import REPLAY, Proposal, SearchSetting
from optimizer.core.study import ExampleResult
from optimizer.core.variant import Variant

PARTS = (0.5, 0.25)  # of the margin: the confirmation asks for the whole of it on its own examples, with as little room for luck
WORTH_A_RISK = 0.05  # of the strong tier's cost, that a bolder setting has to save more than a safer one
KNOBS_OF_A_CASCADE = ("tiers", "accept", "accept.2", "accept.3")


class CascadeSearch:
    """Proposes what the confident rule finds, for the whole chain and for each pair with the strongest tier.

    Where nothing cheaper is safe it proposes nothing, and the study says: do not cascade. The rule that believes the records as they are
    proposes nothing: the most saving of its settings would win on dev and fail on the holdout.
    """

    def __init__(self, setting: SearchSetting) -> None:
        self._setting = setting
        self._left: list[Proposal] | None = None

    def ask(self) -> Proposal | None:
        if self._left is None:
            self._left = self._found()[: int(self._setting.definition["n_settings"])]
        return self._left.pop(0) if self._left else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        pass

    def _found(self) -> list[Proposal]:
        setting = self._setting
        tiers = tuple(setting.start.policy.get("tiers") or setting.family.model.tiers)
        shown = {example.id for example in setting.start.examples}  # a prompt that holds the answer says nothing about how sure a model is
        asked = [example for example in setting.train if example.id not in shown]
        rows = setting.tier_rows(_with_policy(setting.start, {"tiers": list(tiers)}), asked)
        complete = [row for row in rows if len(row["tiers"]) == len(tiers)]
        if len(complete) < 2:
            return []
        records = TierRecords.from_rows(complete, tiers)
        margin = quality_margin(float(records.score[:, -1].mean()), setting.family.rollout.margin)
        chains = [tiers, *(pair for pair in combinations(tiers, 2) if pair != tiers and pair[-1] == tiers[-1])]
        found = [[search(records.chain(chain), LeastCost(margin=margin * part)) for part in PARTS] for chain in chains]
        setting.remark(" ".join(boldest.reason for boldest, *_ in found))
        first: dict[str, Proposal] = {}
        for chosen in (worth_their_risk(of_chain) for of_chain in found):
            for proposal in map(self._proposal, chosen):
                first.setdefault(proposal.variant.id, proposal)
        return [proposal for id, proposal in first.items() if id != setting.start.id]

    def _proposal(self, found: tuple[CascadeSetting, Replay]) -> Proposal:
        setting, on_train = found
        params = {"saved_on_train": on_train.saved_share.mean, "loss_on_train": on_train.loss.mean}
        return Proposal(variant=_with_policy(self._setting.start, setting.policy()), proposer=REPLAY, params=params)


def worth_their_risk(found: Sequence[Found]) -> list[tuple[CascadeSetting, Replay]]:
    """Of settings from the boldest to the safest those that save clearly more than the next safer one."""
    there = [(one.setting, one.replay) for one in found if one.setting is not None and one.replay is not None]
    safer = [*there, None][1:]
    return [
        one for one, next_one in zip(there, safer, strict=True)
        if next_one is None or one[1].saved_share.mean - next_one[1].saved_share.mean > WORTH_A_RISK
    ]  # fmt: skip


def _with_policy(start: Variant, cascade: Mapping[str, Any]) -> Variant:
    """The start with these knobs of a cascade in the place of its own; tiers that it leaves out lose their number of examples."""
    kept = {name: value for name, value in start.policy.items() if name not in KNOBS_OF_A_CASCADE}
    if kept.get(EXAMPLES.name):
        asked = {*cascade["tiers"], *(kept.get("votes.models") or ())}
        kept[EXAMPLES.name] = {model: n for model, n in kept[EXAMPLES.name].items() if model in asked}
    return replace(start, policy={**kept, **cascade})
