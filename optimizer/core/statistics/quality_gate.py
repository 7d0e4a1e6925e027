"""The quality gate: six kinds of evidence on one metric, each valid at every look.

    ship 3, 2, 1   "worse by at least 3, 2, 1 times the margin" is rejected: the candidate may go on
    sup            "not better" is rejected: only this allows the word better
    roll           "not worse" is rejected: the candidate is rolled back
    roll2          "worse by at most 2 margins" is rejected: it is rolled back at any hour (docs/adr/0009); rollouts
    that
                   do not wait for whole days do not use it

Nested margins need no correction: the first gate that passes wrongly is one false rejection at alpha. Source: Ville
(1939); Grünwald, de Heide and Koolen (2024), JRSS B 86(5), 1091-1128 (safe testing); the nesting is this project's.

``WholeDays`` is the evidence at the ends of whole days of assignment. Where the difference between the arms swings with
the hour, evidence peaks after the best hours, and its peak says more about them than about the day. Over a whole day
the swing cancels, so that the evidence at the ends of days is valid for the mean over the day's labelled outcomes
(docs/adr/0009-sequential-tests-over-blocks-and-whole-days.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal

from optimizer.core.statistics.outcomes import (
    NO_BET,
    Bet,
    Block,
    Evidence,
    Hypothesis,
    PlugIn,
    bernoulli_bet,
    bounded_bet,
    clip_rate,
    log_e,
    with_pending,
)

ALPHA_SHIP = 0.05
ALPHA_ROLL = 0.03  # the other .02 of "rolled back though not worse" belongs to the guardrails
ALPHA_ROLL_DAYS, ALPHA_ROLL_HOURS = 0.025, 0.005  # its parts with whole days: roll where one ends, roll2 at every look
MIN_BLOCK = 10  # labels of both arms together; 10 to 40 is best
NESTED = (3, 2, 1)
LARGEST_DROP = 0.999  # of a mean; larger ones, such as three margins of .4, cannot happen and have no projection

OutcomeKind = Literal["binary", "score"]


def ship_hypothesis(m: int, margin: float) -> Hypothesis:
    gaps = (m * margin, (m + 1) * margin, (m + 3) * margin)
    return Hypothesis(
        name=f"ship{m}", boundary=-min(m * margin, LARGEST_DROP), gaps=gaps, weights=(0.6, 0.25, 0.15), alpha=ALPHA_SHIP
    )


def roll_hypothesis(margin: float) -> Hypothesis:
    return Hypothesis(
        name="roll", boundary=0.0, gaps=(-margin, -2 * margin, -4 * margin), weights=(0.4, 0.3, 0.3), alpha=ALPHA_ROLL
    )


@lru_cache(maxsize=64)
def hypotheses(margin: float) -> tuple[Hypothesis, ...]:
    ships = (ship_hypothesis(m, margin) for m in NESTED)
    return (
        *ships,
        Hypothesis(
            name="sup", boundary=0.0, gaps=(margin, 2 * margin, 4 * margin), weights=(0.6, 0.25, 0.15), alpha=ALPHA_SHIP
        ),
        roll_hypothesis(margin),
        Hypothesis(
            name="roll2",
            boundary=-min(2 * margin, LARGEST_DROP),
            gaps=(-margin, -2 * margin, -4 * margin),
            weights=(0.4, 0.3, 0.3),
            alpha=ALPHA_ROLL_HOURS,
        ),
    )


def log_factors(
    hypothesis: Hypothesis, block: Block, champion: PlugIn, candidate: PlugIn, kind: OutcomeKind
) -> list[float]:
    """The block's log factor for each alternative."""
    return [log_e(bet, block) for bet in bets(hypothesis, block, champion, candidate, kind)]


def bets(hypothesis: Hypothesis, block: Block, champion: PlugIn, candidate: PlugIn, kind: OutcomeKind) -> list[Bet]:
    """A bet per alternative, which depends on ``block`` by its sizes alone.

    ``NO_BET`` where clipping leaves no room beyond the boundary, or where the alternative cannot be.
    """
    theta_b, d0, w = champion.mean, hypothesis.boundary, block.candidate.n / block.n
    all_bets = []
    for gap in hypothesis.gaps:
        theta_c = clip_rate(theta_b + d0 + gap)
        if (theta_c - theta_b - d0) * gap <= 0:
            all_bets.append(NO_BET)
        elif kind == "binary":
            all_bets.append(bernoulli_bet(theta_c=theta_c, theta_b=theta_b, w=w, d0=d0))
        else:
            var_c, var_b = candidate.variance, champion.variance
            all_bets.append(bounded_bet(theta_c=theta_c, theta_b=theta_b, d0=d0, w=w, var_c=var_c, var_b=var_b))
    return all_bets


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityGate:
    """All that the gate knows after some blocks. The same blocks always give the same value."""

    margin: float
    kind: OutcomeKind
    champion: PlugIn
    candidate: PlugIn
    evidence: tuple[Evidence, ...]  # in the order of ``hypotheses``; five without roll2
    min_block: int = MIN_BLOCK
    pending: Block | None = None  # carried to the next block of the same stage
    stage: int = 0
    n_blocks: int = 0
    labelled: int = 0  # used as evidence, both arms
    labelled_in_stage: int = 0

    @classmethod
    def start(
        cls,
        *,
        margin: float,
        champion_mean: float,
        champion_variance: float | None = None,
        kind: OutcomeKind = "binary",
        prior_n: float = 50.0,
        half_life: float | None = 300.0,
        min_block: int = MIN_BLOCK,
    ) -> QualityGate:
        """Args: ``margin`` absolute, in (0, 1); ``champion_mean`` and ``champion_variance`` of its recent outcomes."""
        if not 0 < margin < 1:
            raise ValueError(f"a margin is a difference of means between 0 and 1 (both excluded), got {margin}")
        prior = PlugIn(prior_mean=champion_mean, prior_variance=champion_variance, prior_n=prior_n, half_life=half_life)
        evidence = tuple(Evidence.none(h.weights) for h in hypotheses(margin)[:-1])
        return cls(margin=margin, kind=kind, champion=prior, candidate=prior, evidence=evidence, min_block=min_block)

    def with_roll2(self) -> QualityGate:
        return replace(self, evidence=(*self.evidence, Evidence.none(hypotheses(self.margin)[-1].weights)))

    @property
    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """The hypothesis of each evidence."""
        return hypotheses(self.margin)[: len(self.evidence)]

    def after(self, block: Block) -> QualityGate:
        """The gate one block later.

        A block that has no outcomes of one arm, or too few labels, waits for the next one of its stage.
        """
        merged = with_pending(self.pending, block)
        in_stage = self.labelled_in_stage if block.stage == self.stage else 0
        if not self._suffices(merged):
            return replace(self, pending=merged, stage=block.stage, labelled_in_stage=in_stage)
        return replace(
            self,
            evidence=tuple(
                e.after(log_factors(h, merged, self.champion, self.candidate, self.kind))
                for h, e in zip(self.hypotheses, self.evidence, strict=True)
            ),
            champion=self.champion.after(merged.champion),
            candidate=self.candidate.after(merged.candidate),
            pending=None,
            stage=block.stage,
            n_blocks=self.n_blocks + 1,
            labelled=self.labelled + merged.n,
            labelled_in_stage=in_stage + merged.n,
        )

    def counted(self, block: Block) -> Block | None:
        """The block as ``after`` counts it, with what was carried over; None where it waits."""
        merged = with_pending(self.pending, block)
        return merged if self._suffices(merged) else None

    def _suffices(self, merged: Block) -> bool:
        return merged.n >= self.min_block and merged.has_both_arms

    def of(self, name: str) -> Evidence:
        """Evidence by name: ship3, ship2, ship1, sup, roll, roll2."""
        return dict(zip((h.name for h in self.hypotheses), self.evidence, strict=True))[name]

    @property
    def peaks(self) -> dict[str, float]:
        """The highest log e-values so far, by name; 0 before the first block."""
        return {h.name: e.peak for h, e in zip(self.hypotheses, self.evidence, strict=True)}


def margin_needed(share: float, *, is_last: bool) -> int:
    """How many margins a stage's gate must rule out.

    3 below a share of .25, 2 below .50, else 1; the last stage always 1.
    """
    if is_last or share >= 0.50:
        return 1
    return 3 if share < 0.25 else 2


GAMES = ("ship1", "sup", "roll")  # hypotheses of the quality gate that are also tested on whole days
# Of roll's alternatives at the ends of days. Drops beyond two margins are found by roll2 at any hour, so a day stakes
# most on the smallest. Chosen on 2026-11-27 (docs/adr/0009-sequential-tests-over-blocks-and-whole-days.md).
ROLL_WEIGHTS = (0.9, 0.07, 0.03)
STAKES = (1.0, 1 / 4, 1 / 16, 1 / 64)
BUSY_PART = 3  # the usual number of labels is the one that a third of the blocks so far reach
LARGEST_WEIGHT = 2  # of a block, in usual numbers of labels

Factors = tuple[tuple[float, ...], ...]  # log factors, by stake and then by alternative


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEvidence:
    """What a block of ``n`` labels says at each of ``STAKES``. The stake is chosen where its day ends."""

    n: int
    factors: tuple[Factors, ...]  # in the order of GAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeDays:
    """The evidence at the ends of whole days, and the blocks of the day under way.

    All bets of a day rest on what was known at its start, so that the same difference weighs alike at each of its
    hours.
    """

    margin: float
    kind: OutcomeKind
    champion: PlugIn
    candidate: PlugIn
    evidence: tuple[Evidence, ...]  # in the order of GAMES, as the last day has left it
    ends_at: datetime | None = None  # when the day under way ends; cohorts from here on belong to the next one
    n: int = 0
    labelled: float = 0.0  # outcomes until the last day ended, each weighed by its stake
    blocks: tuple[BlockEvidence, ...] = ()
    sizes: tuple[int, ...] = ()  # labels of each block of the days before

    @classmethod
    def start(cls, gate: QualityGate, roll_weights: Sequence[float] | None = ROLL_WEIGHTS) -> WholeDays:
        """Args: roll_weights: of roll's alternatives; None: those of ``gate``, as in rollouts that have none fixed."""
        weights = {name: gate.of(name).weights for name in GAMES}
        if roll_weights is not None:
            weights["roll"] = tuple(roll_weights)
        return cls(
            margin=gate.margin,
            kind=gate.kind,
            champion=gate.champion,
            candidate=gate.candidate,
            evidence=tuple(map(Evidence.none, weights.values())),
        )

    def until(self, start: datetime, gate: QualityGate, *, day: timedelta, cohort: timedelta) -> WholeDays:
        """The whole days before the cohort that begins at ``start`` is added.

        If the cohort belongs to another day, the day under way is over, and the next one bets on what ``gate`` knows.
        The first cohort is usually a short one, and counts beside the first day. ``day`` may become shorter.
        """
        if self.ends_at is None or self.ends_at - start > day + cohort:
            return replace(self, ends_at=start + cohort + day)
        if start < self.ends_at:
            return self
        # Each block of the day gets the index of its stake. At full stake a burst of labels in the best hours would
        # speak for the whole day. Hours that are busy every day are no burst.
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
        """Args:
        block: of the day under way, with outcomes of both arms.
        """
        by_name = {one.name: one for one in hypotheses(self.margin)}
        all_bets = [bets(by_name[name], block, self.champion, self.candidate, self.kind) for name in GAMES]
        factors = tuple(
            tuple(tuple(log_e(bet.times(stake), block) for bet in of_game) for stake in STAKES) for of_game in all_bets
        )
        return replace(self, blocks=(*self.blocks, BlockEvidence(n=block.n, factors=factors)))

    def as_record(self) -> dict[str, float]:
        """What a decision keeps of the whole days, with the highest log e-values."""
        return {"n": self.n, "labelled": self.labelled, "ship1": self.peak("ship1"), "roll": self.peak("roll")}

    def of(self, name: str) -> Evidence:
        """Evidence by name: ship1, sup, roll."""
        return self.evidence[GAMES.index(name)]

    def peak(self, name: str) -> float:
        """The highest log e-value at the end of a day."""
        return self.of(name).peak


def _sums(factors: list[tuple[float, ...]], n: int) -> list[float]:
    """The sum per alternative. It adds one after another, since verification compares every digit."""
    totals = [0.0] * n
    for block in factors:
        totals = [total + factor for total, factor in zip(totals, block, strict=True)]
    return totals
