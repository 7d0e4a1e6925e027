"""Strategy ``bases``: the base prompts that the family's file has for models of other sizes, as starting points."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.core.base.values import ExampleResult
from optimizer.core.search import strategy_calls
from optimizer.core.search.strategy import BASES, Proposal, SearchSetting, strategy


@strategy(name=BASES, does="tries the family's base prompts for models of other sizes", n_trials=strategy_calls.n_bases)
class BaseSearch:
    """Each base once, from small to large, less what it starts from; skips a base whose requests are too long.

    It proposes nothing where the family declares no bases.
    """

    def __init__(self, setting: SearchSetting) -> None:
        others = [base for base in setting.family.bases() if base.id != setting.start.id]
        self._waiting = [base for base in others if setting.fits(base)]

    def ask(self) -> Proposal | None:
        return Proposal(variant=self._waiting.pop(0), proposer=BASES) if self._waiting else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        """It proposes the same whatever the scores are."""
