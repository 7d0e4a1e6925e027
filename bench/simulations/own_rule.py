"""The product's rule in the form that ramps of others have in ``rules/ramps.py``: asked for its share,
then shown a block of that share.
"""

from __future__ import annotations

from rules.ramps import Ending

from optimizer.core.statistics.outcomes import Block
from optimizer.core.statistics.quality_gate import QualityGate
from optimizer.core.statistics.stopping_rule import RolloutPosition, stopping_rule
from simulations.tally import BASE, DELTA, as_block

LADDER = (0.10, 0.25, 0.50, 0.75)
BUDGET = 8_000
ENDINGS: dict[str, Ending] = {"promote": "promote", "roll_back": "roll_back", "inconclusive": "inconclusive"}


class OwnRule:
    """Gate and decision; ``labels`` = the budget of labelled outcomes."""

    def __init__(
        self, *, margin: float = DELTA, base: float = BASE, labels: int = BUDGET, ladder: tuple[float, ...] = LADDER
    ) -> None:
        self.gate = QualityGate.start(margin=margin, champion_mean=base)
        self.labels, self.ladder, self.stage = labels, ladder, 0

    @property
    def share(self) -> float:
        return self.ladder[self.stage]

    @property
    def champion_share(self) -> float:
        return 1 - self.ladder[self.stage]

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None:
        return self.after_block(as_block(self.stage, [n_c, s_c, n_b, s_b])) if n_c + n_b else None

    def after_block(self, block: Block, waits_for: tuple[str, ...] = ()) -> Ending | None:
        """How the rollout ends, or nothing yet; the block may be of an earlier stage.

        ``waits_for``: what withholds the next step.
        """
        self.gate = self.gate.after(block)
        in_stage = self.gate.labelled_in_stage if self.gate.stage == self.stage else 0
        seen = self.gate.labelled + (self.gate.pending.n if self.gate.pending is not None else 0)
        standing = RolloutPosition(
            ladder=self.ladder,
            stage=self.stage,
            peaks=self.gate.peaks,
            labelled_in_stage=in_stage,
            labelled=seen,
            max_labelled=self.labels,
            waits_for=waits_for,
        )
        action = stopping_rule(standing).action
        if action == "advance":
            self.stage += 1
        return ENDINGS.get(action)
