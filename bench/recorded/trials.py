"""Searches on recorded tables: which examples a search may see,
what its choice is worth on the others, and what a study reports.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.core.base.values import Interval
from optimizer.core.evaluation.comparison import bootstrap_interval, compare_scores
from optimizer.core.evaluation.gates import (
    IMPROVED,
    ConfirmationEvidence,
    GateSettings,
    all_passed,
    confidence_of,
    evaluate_gates,
)
from recorded.schedules import Problem, Schedule, Trace
from recorded.tables import Table


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """A search with what it does not see: the means of its Variants on the held-out examples,
    in the order of ``problem.arms``.
    """

    problem: Problem
    held: Sequence[int]

    @property
    def quality(self) -> list[float]:
        return [sum(arm.scores[i] for i in self.held) / len(self.held) for arm in self.problem.arms]


def deal(table: Table, seed: int) -> Dealt:
    """Half of the examples to search on, half held out; the champion first,
    the other Variants in an order of their own.
    """
    rng = random.Random(seed)
    examples = rng.sample(range(len(table.examples)), len(table.examples))
    champion, *others = table.arms
    rng.shuffle(others)
    half = len(examples) // 2
    return Dealt(problem=Problem(arms=[champion, *others], dev=examples[:half], seed=seed), held=examples[half:])


def without_differences(dealt: Dealt) -> Dealt:
    """The same search with each example's scores dealt out among the Variants by chance: none is better than another.

    This shuffles which Variant gave which answer. (Shuffled expected outputs would leave true differences: whoever
    names the most frequent class most often would still win.)
    """
    rng = random.Random(f"shuffled {dealt.problem.seed}")
    columns = [list(column) for column in zip(*(arm.scores for arm in dealt.problem.arms), strict=True)]
    for column in columns:
        rng.shuffle(column)
    arms = [replace(arm, scores=tuple(column[i] for column in columns)) for i, arm in enumerate(dealt.problem.arms)]
    return Dealt(problem=replace(dealt.problem, arms=arms), held=dealt.held)


def regrets(dealt: Dealt, trace: Trace, checkpoints: Sequence[int]) -> list[float]:
    """Best held-out mean there is less that of the choice, after each number of calls."""
    quality = dealt.quality
    return [max(quality) - quality[trace.after(n)] for n in checkpoints]


@dataclass(frozen=True, kw_only=True)
class Reported:
    """What a study says of its winner; all of it None or False where the champion stays."""

    selection_lift: float | None = None  # on the examples it was selected on
    holdout_lift: float | None = None
    improved: bool = False


def report(dealt: Dealt, schedule: Schedule) -> Reported:
    """A whole study: search, and one look at the held-out examples if the winner leads on dev;
    then the product's gates.
    """
    trace = schedule(dealt.problem)
    winner = trace.after(trace.n_calls)
    lift = _mean(dealt.problem.scores(winner)) - _mean(dealt.problem.scores(0))
    if winner == 0 or lift <= 0:
        return Reported()
    before, after = ([dealt.problem.arms[arm].scores[i] for i in dealt.held] for arm in (0, winner))
    comparison = compare_scores(before, after, seed=dealt.problem.seed)
    evidence = ConfirmationEvidence(
        champion=comparison.champion_mean,
        candidate=comparison.candidate_mean,
        champion_quality=comparison.champion_mean,
        p=comparison.p,
        looks=1,
        drops=[c - b for b, c in zip(before, after, strict=True)],
    )
    gates = evaluate_gates(
        evidence, GateSettings(n=len(before))
    )  # as many as are held out: the gate on n is not what is tried here
    improved = all_passed(gates) and confidence_of(comparison.p, 1) >= IMPROVED
    return Reported(selection_lift=lift, holdout_lift=comparison.lift, improved=improved)


def paired_interval(ours: Sequence[float], other: Sequence[float]) -> Interval:
    """95 % interval of the mean difference over the seeds, by bootstrap."""
    return bootstrap_interval([a - b for a, b in zip(ours, other, strict=True)], seed=1, n_draws=4000)


def curves(
    table: Table, schedules: Mapping[str, Schedule], seeds: Sequence[int], checkpoints: Sequence[int]
) -> dict[str, list[list[float]]]:
    """Schedule -> per checkpoint the regrets of all seeds, the same splits for every schedule."""
    found: dict[str, list[list[float]]] = {name: [[] for _ in checkpoints] for name in schedules}
    for seed in seeds:
        dealt = deal(table, seed)
        for name, schedule in schedules.items():
            for at, regret in enumerate(regrets(dealt, schedule(dealt.problem), checkpoints)):
                found[name][at].append(regret)
    return found


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
