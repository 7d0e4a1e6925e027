"""Paired comparisons of two Variants on the same examples: tests, intervals, p-values. Pure and seeded; no state."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, comb
from typing import Any, Literal, TypeVar

from optimizer.core.base.values import Interval, grouped

T = TypeVar("T")
N_DRAWS = 10_000
MOST_DRAWN = 1_000_000  # differences held at once: 8 MB
# Differences that are not zero: 2^13 sign patterns are fewer than N_DRAWS, so they are all counted instead.
MAX_EXACT = 13
TIE = 1e-12  # sums of the same numbers in another order differ by less than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate against champion on ``n`` shared examples; ``lift`` = mean candidate score - mean champion score."""

    n: int
    champion_mean: float
    candidate_mean: float
    lift: float
    interval: Interval  # of the lift, 95 % two-sided
    p: float  # one-sided against "no gain"
    test: Literal["mcnemar", "sign_flip"]
    wins: int
    ties: int
    losses: int


def compare_scores(
    champion: Sequence[float],
    candidate: Sequence[float],
    *,
    seed: int,
    n_draws: int = N_DRAWS,
    groups: Sequence[str] | None = None,
) -> Comparison:
    """Compares two lists of scores in [0, 1], example by example.

    Exact McNemar where every score is 0 or 1, else the sign-flip permutation test.

    Args:
        groups: of each example its group. Examples of one group are no independent evidence: where any share one, whole
            groups change sign, by the sum of their differences, and whole groups are drawn for the interval. Lift,
            wins, ties and losses count examples.
    Raises:
        ValueError: lists of different length, or empty ones.
    """
    differences = _paired(champion, candidate)
    n, of_groups = len(differences), [sum(own) for own in _by_group(differences, groups)]
    wins, losses = sum(d > TIE for d in differences), sum(d < -TIE for d in differences)
    binary = len(of_groups) == n and all(s in (0.0, 1.0) for s in (*champion, *candidate))
    p = mcnemar_p(wins, losses) if binary else sign_flip_p(of_groups, seed=seed, n_draws=n_draws)
    return Comparison(
        n=n,
        champion_mean=sum(champion) / n,
        candidate_mean=sum(candidate) / n,
        lift=sum(differences) / n,
        interval=bootstrap_interval(differences, seed=seed, n_draws=n_draws, groups=groups),
        p=p,
        test="mcnemar" if binary else "sign_flip",
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
    )


def mcnemar_p(wins: int, losses: int) -> float:
    """One-sided exact McNemar: P(X >= wins), X binomial(wins + losses, 1/2). No discordant pair gives 1.

    Source: McNemar (1947), Psychometrika 12, 153-157, in its exact binomial form. 15 wins and 5 losses give 0.0207.
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"counts of wins and losses are at least 0, got {wins} and {losses}")
    n = wins + losses
    return sum(comb(n, k) for k in range(wins, n + 1)) / (1 << n)


def sign_flip_p(differences: Sequence[float], *, seed: int, n_draws: int = N_DRAWS) -> float:
    """One-sided sign-flip permutation p-value of "the mean difference is not above 0".

    With at most 13 differences that are not zero all sign patterns are counted; else ``n_draws`` seeded ones, the
    observed one included, so that p is never 0.

    Source: Fisher (1935), The Design of Experiments, section 21; the +1 of Phipson and Smyth (2010), SAGMB 9(1), 39.
    """
    sizes = [abs(d) for d in differences if abs(d) > TIE]
    observed = sum(differences)
    if not sizes:
        return 1.0
    if len(sizes) <= MAX_EXACT:
        sums = [sum(s * x for s, x in zip(signs, sizes, strict=True)) for signs in product((1, -1), repeat=len(sizes))]
        return sum(s >= observed - TIE for s in sums) / len(sums)
    import numpy as np  # at its use: processes that compare nothing need not load it

    rng, n, values = random.Random(seed), len(sizes), np.array(sizes)
    n_bytes, at_least, step = (n + 7) // 8, 1, max(1, MOST_DRAWN // n)
    for at in range(0, n_draws, step):
        drawn = b"".join(rng.getrandbits(n).to_bytes(n_bytes, "little") for _ in range(min(step, n_draws - at)))
        flips = np.unpackbits(np.frombuffer(drawn, np.uint8).reshape(-1, n_bytes), axis=1, count=n, bitorder="little")
        at_least += int((values.sum() - 2 * (flips @ values) >= observed - TIE).sum())
    return at_least / (n_draws + 1)


def bootstrap_interval(
    differences: Sequence[float],
    *,
    seed: int,
    confidence: float = 0.95,
    n_draws: int = N_DRAWS,
    groups: Sequence[str] | None = None,
) -> Interval:
    """Percentile interval of the mean of paired differences, examples drawn with replacement (Efron 1979).

    ``groups``: of each example its group; where several share one, whole groups are drawn. How groups differ cannot be
    told from a single one, so its interval is all that its examples span.
    """
    n = len(differences)
    if n == 0:
        raise ValueError("an interval needs at least one difference")
    n_groups = n if groups is None else len(set(groups))
    if groups is None or n_groups == n:
        means = sorted(total / n for total in _drawn_sums(differences, seed, n_draws))
    elif n_groups == 1:
        return Interval(lower=min(differences), upper=max(differences))
    else:
        import numpy as np  # at its use: processes that compare nothing need not load it

        values = np.array(differences, dtype=float)
        means = sorted(float(values[rows].mean()) for rows in group_draws(groups, seed=seed, n_draws=n_draws))
    tail = (1 - confidence) / 2
    return Interval(lower=means[int(tail * (n_draws - 1))], upper=means[ceil((1 - tail) * (n_draws - 1))])


def group_draws(groups: Sequence[str], *, seed: int, n_draws: int) -> Iterator[Any]:
    """Row numbers of ``n_draws`` samples of whole groups, drawn with replacement."""
    import numpy as np  # at its use: processes that compare nothing need not load it

    rng = np.random.default_rng(seed)
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    for _ in range(n_draws):
        drawn = rng.integers(len(names), size=len(names))
        yield drawn if len(names) == len(codes) else np.concatenate([members[code] for code in drawn])


def bootstrap_reduction_p(
    champion: Sequence[float],
    candidate: Sequence[float],
    *,
    statistic: Callable[[Sequence[float]], float] | None = None,
    seed: int,
    n_draws: int = N_DRAWS,
    groups: Sequence[str] | None = None,
) -> float:
    """One-sided paired bootstrap p-value of "the candidate's statistic is not below the champion's" (cost, latency).

    Pairs are drawn with replacement; p is the share of draws without a reduction, the observed one included.
    ``statistic`` None: the mean, for which the differences alone are drawn.

    ``groups``: of each pair its group; where several share one, whole groups are drawn. A bootstrap of few rejects too
    often (all draws of one group are that group), so p is then at least what the signs of G groups can show, 2^-G, and
    for the mean at least that of the sign-flip test.
    """
    differences = _paired(champion, candidate)
    members = _by_group(range(len(differences)), groups)
    is_grouped = len(members) < len(differences)
    if statistic is None:
        sums = [sum(differences[i] for i in own) for own in members]
        p = (1 + sum(total >= 0 for total in _drawn_sums(sums, seed, n_draws))) / (n_draws + 1)
        at_least = sign_flip_p([-each for each in sums], seed=seed, n_draws=n_draws) if is_grouped else 0.0
        return min(1.0, max(p, at_least))
    rng, without = random.Random(seed), 1
    for _ in range(n_draws):
        places = [i for own in rng.choices(members, k=len(members)) for i in own]
        without += statistic([candidate[i] for i in places]) >= statistic([champion[i] for i in places])
    return min(1.0, max(without / (n_draws + 1), 2.0 ** -len(members) if is_grouped else 0.0))


def _by_group(values: Sequence[T], groups: Sequence[str] | None) -> list[list[T]]:
    """The values of each group; None: each is its own."""
    if groups is None:
        return [[value] for value in values]
    return list(grouped(zip(groups, values, strict=True)).values())


def _drawn_sums(differences: Sequence[float], seed: int, n_draws: int) -> list[float]:
    """``n_draws`` sums of differences drawn with replacement, each over as many as there are; in parts,
    to save memory.
    """
    import numpy as np  # at its use: processes that compare nothing need not load it

    values, rng, sums = np.array(differences, dtype=float), np.random.default_rng(seed), list[float]()
    step = max(1, MOST_DRAWN // len(values))
    for at in range(0, n_draws, step):
        places = rng.integers(len(values), size=(min(step, n_draws - at), len(values)))
        sums += values[places].sum(axis=1).tolist()
    return sums


def _paired(champion: Sequence[float], candidate: Sequence[float]) -> list[float]:
    if len(champion) != len(candidate) or not champion:
        raise ValueError(
            f"a paired comparison needs the same examples for both, got {len(champion)} and {len(candidate)} scores"
        )
    return [c - b for b, c in zip(champion, candidate, strict=True)]
