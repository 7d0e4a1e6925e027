"""Strategy ``bases``: the base prompts that the family's file has for models of other sizes, as starting points."""

from __future__ import annotations

from optimizer.core.family.variant import SIZES
from optimizer.core.search.move import moved
from optimizer.core.search.strategy import BASES, Proposal, SearchSetting, Strategy, strategy


@strategy(name=BASES, does="tries the family's base prompts for models of other sizes", n_trials=lambda _: len(SIZES))
class BaseSearch(Strategy):
    """Each base once, from small to large, less what it starts from; skips a base whose requests are too long.

    It proposes nothing where the family declares no bases.
    """

    def __init__(self, setting: SearchSetting) -> None:
        model, bases = setting.definition.get("move_to"), setting.family.bases()
        bases = bases if model is None else tuple(moved(base, model) for base in bases)
        others = [base for base in bases if base.id != setting.start.id]
        self._waiting = [base for base in others if setting.fits(base)]

    def ask(self) -> Proposal | None:
        return Proposal(variant=self._waiting.pop(0), proposer=BASES) if self._waiting else None
