"""Studies with strategy ``race`` on recorded tables, half of the examples held out, where no variant is better than
another: how often one reports an improvement.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from fixed_pool.pools import Array
from optimizer.core.base.values import ExampleResult
from optimizer.core.evaluation.comparison import compare_scores
from optimizer.core.evaluation.gates import (
    IMPROVED,
    ConfirmationEvidence,
    GateSettings,
    all_passed,
    confidence_of,
    evaluate_gates,
)
from optimizer.core.family.variant import Variant
from optimizer.core.search.proposers.race import RacedSearch
from optimizer.core.search.strategy import Proposal


@dataclass(frozen=True, kw_only=True)
class Study:
    """``scores``: of each variant on every example, the champion first."""

    scores: Sequence[Sequence[float]]
    dev: Sequence[int]
    held: Sequence[int]
    seed: int

    def mean(self, variant: int) -> float:
        return sum(self.scores[variant][i] for i in self.dev) / len(self.dev)


def without_differences(table: Array, seed: int) -> Study:
    """The champion first, the others in an order of their own; each example's scores dealt out among the variants.

    This shuffles which variant gave which answer. (Shuffled expected outputs would leave true differences: whoever
    names the most frequent class most often would still win.)
    """
    rng = random.Random(seed)
    n_variants, n_examples = table.shape
    examples = rng.sample(range(n_examples), n_examples)
    others = list(range(1, n_variants))
    rng.shuffle(others)
    half = n_examples // 2
    rng = random.Random(f"shuffled {seed}")
    columns = [[float(table[variant, example]) for variant in (0, *others)] for example in range(n_examples)]
    for column in columns:
        rng.shuffle(column)
    scores = [[column[variant] for column in columns] for variant in range(n_variants)]
    return Study(scores=scores, dev=examples[:half], held=examples[half:], seed=seed)


def improved(study: Study) -> bool:
    """The search, and one look at the held-out examples if its winner leads on dev; then the product's gates."""
    winner = _raced(study)
    if winner == 0 or study.mean(winner) <= study.mean(0):
        return False
    before, after = ([study.scores[variant][i] for i in study.held] for variant in (0, winner))
    comparison = compare_scores(before, after, seed=study.seed)
    evidence = ConfirmationEvidence(
        champion=comparison.champion_mean,
        candidate=comparison.candidate_mean,
        champion_quality=comparison.champion_mean,
        p=comparison.p,
        looks=1,
        drops=[c - b for b, c in zip(before, after, strict=True)],
    )
    # as many as are held out: the gate on n is not what is tried here
    gates = evaluate_gates(evidence, GateSettings(n=len(before)))
    return all_passed(gates) and confidence_of(comparison.p, 1) >= IMPROVED


def _raced(study: Study) -> int:
    """The variant that leads at the end."""
    proposals = [_proposal(variant) for variant in range(len(study.scores))]
    number = {proposal.variant.id: variant for variant, proposal in enumerate(proposals)}
    examples = {f"{i}": i for i in study.dev}
    search = RacedSearch(proposals[0].variant, [lambda _: _ListStrategy(proposals)], list(examples), seed=study.seed)
    winner = 0
    while heats := search.heats():
        for heat in heats:
            scores = study.scores[number[heat.proposal.variant.id]]
            results = [ExampleResult(example=e, score=scores[examples[e]], output=None) for e in heat.turn.examples]
            search.tell(heat, results)
        leader = search.leader()
        winner = number[leader.variant.id] if leader is not None else 0
    return winner


class _ListStrategy:
    """A Strategy that proposes what it is given and learns nothing."""

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self._left = list(proposals)

    def ask(self) -> Proposal | None:
        return self._left.pop(0) if self._left else None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        pass


@cache
def _proposal(variant: int) -> Proposal:
    """A name in the race; what is in it is in the table."""
    message = {"role": "user", "content": f"{variant}"}
    return Proposal(variant=Variant(messages=(message,), model={"name": "table"}), proposer="table")
