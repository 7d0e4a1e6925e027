"""Rules of a fixed number of calls, on many draws at once: (draws x variants x examples, budgets in calls)
-> choice of each (budget, draw).

Everybody that is left meets the same examples, in one order. The last of equals is dropped first, the first of equals
is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log2

import numpy as np

from fixed_pool.pools import Array
from optimizer.core.search.racing import first_look, reach

Rule = Callable[[Array, Sequence[int]], Array]


def each(rule: Callable[[Array, int], Array]) -> Rule:
    """One budget after another."""
    return lambda scores, budgets: np.array([rule(scores, calls) for calls in budgets])


def logbar(n: int) -> Array:
    """1/2 + 1/2 + 1/3 + ... + 1/j for j = 0 to n (0 below 1): Audibert, Bubeck and Munos (2010), COLT, 41-53."""
    terms = np.array([0.0, 0.5, *(1 / i for i in range(2, n + 1))])
    sums: Array = terms.cumsum()
    return sums


def continuous_rejects(
    *,
    against: str = "average",
    weight: float = 1.0,
    first: int = 1,
    step: int = 1,
    several: bool = False,
    own_orders: bool = False,
) -> Rule:
    """Wang, Tzeng and Proutiere (2023), NeurIPS 36.

    With t examples met by the j that are left, and T' = calls less those of the dropped:

    the worst is dropped once ``weight`` x (its gap to the others) > 1/sqrt(b) - 1, with b = t x j x logbar(j) / T'.

    Args:
        against: "average" of the others (CR-A) or the "closest" of them (CR-C).
        first, step: levels (examples met) at which one looks: first, first + step, ...
        several: more than one may fall at a level; False: one, as published.
        own_orders: every variant meets the examples in an order of its own, as in TRIPLE-CR (Shi et al. 2024, NeurIPS
            37; its code drops where CR-A or CR-C does, which is where CR-A does).
    """

    def run(scores: Array, budgets: Sequence[int]) -> Array:
        if own_orders:
            scores = np.random.default_rng(1).permuted(scores, axis=2)
        n_draws, n_variants, n_examples = scores.shape
        sums, bars = scores.cumsum(axis=2), logbar(n_variants)
        calls = np.repeat(np.array(budgets, float), n_draws)  # all budgets at once: row = budget * n_draws + draw
        left, spent, met = np.ones((len(calls), n_variants), bool), np.zeros(len(calls)), np.ones(len(calls), int)
        for t in _levels(first, step, n_examples):
            n_left = left.sum(axis=1)
            goes_on = (n_left > 1) & (spent + n_left * t <= calls)
            if not goes_on.any():
                break
            met[goes_on] = t
            means = np.tile(sums[:, :, t - 1] / t, (len(budgets), 1))
            while goes_on.any():
                worst, gap, j = _worst(means, left, against)
                used = t * j * bars[j] / np.maximum(1.0, calls - spent)
                falls = goes_on & (j > 1) & (weight * gap > 1 / np.sqrt(used) - 1)
                left[falls, worst[falls]] = False
                spent += falls * t
                goes_on = falls & several
        at = np.tile(sums, (len(budgets), 1, 1)) if len(budgets) > 1 else sums
        return _best(at, left, met).reshape(len(budgets), n_draws)

    return run


def within_the_rows(
    scores: Array, calls: int, *, weight: float = 1.0, first: int | None = None, step: int = 1
) -> Array:
    """``ContinuousRejects`` of the product on many draws at once.

    Args:
        weight, first, step: as of ``continuous_rejects``; weight 0: gaps do not count; first None: as the product.
    """
    n_draws, n_variants, n_examples = scores.shape
    sums, first = scores.cumsum(axis=2), first or first_look(calls, n_variants)
    left, spent, met = np.ones((n_draws, n_variants), bool), np.zeros(n_draws, int), np.ones(n_draws, int)
    far = np.full(n_draws, reach(n_variants, calls, n_examples))
    for t in _levels(first, step, n_examples):
        n_left = left.sum(axis=1)
        goes_on = (n_left > 1) & (spent + n_left * t <= calls) if t > first else np.ones(n_draws, bool)
        if not goes_on.any():
            break
        met[goes_on] = t
        while goes_on.any():
            worst, gap, j = _worst(sums[:, :, t - 1] / t, left, "average")
            falls = goes_on & (j > 1) & (weight * gap > np.sqrt(far / (t * j)) - 1)
            left[falls, worst[falls]] = False
            spent += falls * t
            for draw in np.flatnonzero(falls):
                far[draw] = reach(int(j[draw]) - 1, calls - int(spent[draw]), n_examples)
            goes_on = falls
    return _best(sums, left, met)


def _levels(first: int, step: int, n_examples: int) -> list[int]:
    return [*range(min(first, n_examples), n_examples, step), n_examples]


def _worst(means: Array, left: Array, against: str) -> tuple[Array, Array, Array]:
    """(the worst of those left, its gap to the others, how many are left) of each row."""
    known = np.where(left, means, np.inf)
    worst = means.shape[1] - 1 - known[:, ::-1].argmin(axis=1)
    lowest, j = known.min(axis=1), left.sum(axis=1)
    if against == "closest":
        return worst, np.nan_to_num(np.partition(known, 1, axis=1)[:, 1] - lowest, posinf=0.0), j
    return worst, ((means * left).sum(axis=1) - lowest) / np.maximum(1, j - 1) - lowest, j


def _best(sums: Array, left: Array, met: Array) -> Array:
    """The highest mean over the examples met, of those left in each draw."""
    at = np.take_along_axis(sums, (met - 1)[:, None, None], axis=2)[:, :, 0]
    best: Array = np.where(left, at, -np.inf).argmax(axis=1)
    return best


def successive_rejects(scores: Array, calls: int) -> Array:
    """Audibert, Bubeck and Munos (2010): the worst falls at levels that are known beforehand."""
    n_draws, n_variants, n_examples = scores.shape
    sums, bar = scores.cumsum(axis=2), logbar(n_variants)[n_variants]
    left, t = np.ones((n_draws, n_variants), bool), 1
    for k in range(1, n_variants):
        t = min(n_examples, max(1, ceil((calls - n_variants) / (bar * (n_variants + 1 - k)))))
        worst, _, _ = _worst(sums[:, :, t - 1], left, "average")
        left[np.arange(n_draws), worst] = False
    return _best(sums, left, np.full(n_draws, t))


def sequential_halving(scores: Array, calls: int) -> Array:
    """Karnin, Koren and Somekh (2013), ICML, 1238-1246: the better half goes on, what was measured before counts."""
    n_draws, n_variants, n_examples = scores.shape
    sums, rounds = scores.cumsum(axis=2), max(1, ceil(log2(n_variants)))
    left, t = np.ones((n_draws, n_variants), bool), 0
    for _ in range(rounds):
        j = int(left[0].sum())
        t = min(n_examples, t + max(1, calls // (j * rounds)))
        known = np.where(left, sums[:, :, t - 1], -np.inf)
        better = np.argsort(-known, axis=1, kind="stable")[:, : ceil(j / 2)]
        left = np.zeros_like(left)
        np.put_along_axis(left, better, True, axis=1)
    return _best(sums, left, np.full(n_draws, t))


def random_subset(scores: Array, calls: int) -> Array:
    """The champion and the first others, each on every example."""
    k = max(1, calls // scores.shape[2])
    best: Array = scores[:, :k].mean(axis=2).argmax(axis=1)
    return best


def fewer_examples(scores: Array, calls: int) -> Array:
    """All variants on equally many examples."""
    m = max(1, min(scores.shape[2], calls // scores.shape[1]))
    best: Array = scores[:, :, :m].mean(axis=2).argmax(axis=1)
    return best
