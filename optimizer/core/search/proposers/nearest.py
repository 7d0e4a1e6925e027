"""Strategy ``nearest``: to each request the released examples that are most like it, in place of the same ones to all.

It starts from the best prompt so far, whose own examples stay its fixed rendering: scored already, and shown where
nobody can look up the nearest ones.
"""

from __future__ import annotations

from dataclasses import replace

from optimizer.core.policy.nearest import INDEX, NEAREST, SCOPE
from optimizer.core.policy.policy import EXAMPLES
from optimizer.core.search import strategy_calls
from optimizer.core.search.strategy import Proposal, SearchSetting, Strategy, strategy


@strategy(
    name=NEAREST,
    does="shows each request the examples most like it",
    n_trials=lambda definition: len(strategy_calls.nearest_counts(definition.max_examples)),
    calls=strategy_calls.nearest_calls,
)
class NearestSearch(Strategy):
    """Each number of examples once, the largest first; none where no list of examples could be made.

    The champion's scope holds on: fixed examples that have a value of it, and would be shown to all, are left out.
    """

    def __init__(self, setting: SearchSetting) -> None:
        self._knobs, scope = setting.of_nearest, setting.of_nearest.get(SCOPE.name)
        fixed = (shot for shot in setting.start.examples if scope is None or shot.input.get(scope) in (None, ""))
        self._start, self._fits = replace(setting.start, examples=tuple(fixed)), setting.fits
        self._index = setting.example_index
        self._waiting = strategy_calls.nearest_counts(int(setting.definition["max_examples"]))
        if self._index is None:
            self._waiting = []
            if setting.unindexed:
                setting.remark(setting.unindexed)

    def ask(self) -> Proposal | None:
        while self._waiting:
            k = self._waiting.pop(0)
            policy = self._start.policy
            own = {EXAMPLES.name: {**(policy.get(EXAMPLES.name) or {}), NEAREST: k}, INDEX.name: self._index}
            variant = replace(self._start, policy={**policy, **self._knobs, **own})
            if variant.id != self._start.id and self._fits(variant):
                return Proposal(variant=variant, proposer=NEAREST, params={"k": k, "fixed": self._start.id})
        return None
