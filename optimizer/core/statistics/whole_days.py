"""What the evidence says where whole days of assignment end.

Where the difference between the arms swings with the hour, evidence is at its largest after the best hours, and its
peak says more about them than about the day. Over a whole day the swing cancels: at the ends of days alone, evidence is
valid for the mean over the day's labelled outcomes (docs/adr/0009-sequential-tests-over-blocks-and-whole-days.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from optimizer.core.statistics.outcomes import Block, Evidence, Hypothesis, PlugIn, log_e
from optimizer.core.statistics.quality_gate import OutcomeKind, QualityGate, bets, hypotheses

GAMES = ("ship1", "sup", "roll")  # of the quality gate, whose claims have to stand for whole days
STAKES = (1.0, 1 / 4, 1 / 16, 1 / 64)
BUSY_PART = 3  # one in so many of the blocks so far has the usual number of labels, or more
LARGEST_WEIGHT = 2  # of a block, in usual ones

Factors = tuple[tuple[float, ...], ...]  # log factors by stake and alternative


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEvidence:
    """What a block of ``n`` labels says at each of ``STAKES``: how much it may weigh is known where its day ends."""

    n: int
    factors: tuple[Factors, ...]  # in the order of GAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDays:
    """The evidence at the ends of whole days, and the blocks of the day under way.

    Bets of a day rest on what was known where it began, so that the same difference weighs alike at each of its hours.
    """

    margin: float
    kind: OutcomeKind
    champion: PlugIn
    candidate: PlugIn
    evidence: tuple[Evidence, ...]  # in the order of GAMES, as the last day has left it
    ends_at: datetime | None = None  # of the day under way; cohorts from here on are the next day's
    n: int = 0
    labelled: float = 0.0  # outcomes until the last end of a day, each as it was staked
    blocks: tuple[BlockEvidence, ...] = ()
    sizes: tuple[int, ...] = ()  # of the blocks of all days before

    @classmethod
    def start(cls, gate: QualityGate) -> WholeDays:
        return cls(
            margin=gate.margin,
            kind=gate.kind,
            champion=gate.champion,
            candidate=gate.candidate,
            evidence=tuple(Evidence.none(gate.of(name).weights) for name in GAMES),
        )

    def until(self, start: datetime, gate: QualityGate, *, day: timedelta, cohort: timedelta) -> WholeDays:
        """Before the outcomes of the cohort that begins at ``start`` are added: if they are another day's, the day
        under way is over, and the next one bets on what ``gate`` knows.

        The first cohort is usually a broken one, and counts beside the first day. ``day`` may become shorter.
        """
        if self.ends_at is None or self.ends_at - start > day + cohort:
            return replace(self, ends_at=start + cohort + day)
        if start < self.ends_at:
            return self
        # The blocks of the day, each with the index of its stake. A burst of labels in the best hours would speak for
        # the whole day. Busy hours of every day are no burst.
        sizes = sorted([*self.sizes, *(block.n for block in self.blocks)], reverse=True)
        most = LARGEST_WEIGHT * sizes[len(sizes) // BUSY_PART] if sizes else 0
        stakes = [
            (block, next((i for i, stake in enumerate(STAKES) if stake * block.n <= most), len(STAKES) - 1))
            for block in self.blocks
        ]
        return replace(
            self,
            champion=gate.champion,
            candidate=gate.candidate,
            evidence=tuple(
                one.after(_sums([block.factors[game][at] for block, at in stakes], len(one.weights)))
                for game, one in enumerate(self.evidence)
            ),
            ends_at=self.ends_at + ((start - self.ends_at) // day + 1) * day,
            n=self.n + 1,
            labelled=self.labelled + sum(STAKES[at] * block.n for block, at in stakes),
            blocks=(),
            sizes=(*self.sizes, *(block.n for block in self.blocks)),
        )

    def after(self, block: Block) -> WholeDays:
        """``block``: of the day under way, with outcomes of both arms."""
        by_name = {one.name: one for one in hypotheses(self.margin)}
        factors = tuple(self._factors(by_name[name], block) for name in GAMES)
        return replace(self, blocks=(*self.blocks, BlockEvidence(n=block.n, factors=factors)))

    def _factors(self, hypothesis: Hypothesis, block: Block) -> Factors:
        placed = bets(hypothesis, block, self.champion, self.candidate, self.kind)
        return tuple(tuple(log_e(bet.times(stake), block) for bet in placed) for stake in STAKES)

    def as_record(self) -> dict[str, float]:
        """What a decision keeps of it, with the largest log e-values."""
        return {"n": self.n, "labelled": self.labelled, "ship1": self.peak("ship1"), "roll": self.peak("roll")}

    def of(self, name: str) -> Evidence:
        """Evidence by name: ship1, sup, roll."""
        return self.evidence[GAMES.index(name)]

    def peak(self, name: str) -> float:
        """The largest log e-value at the end of a day."""
        return self.of(name).peak


def _sums(factors: list[tuple[float, ...]], n: int) -> list[float]:
    """Per alternative; added one after another, since verification compares every digit."""
    totals = [0.0] * n
    for block in factors:
        totals = [total + factor for total, factor in zip(totals, block, strict=True)]
    return totals
