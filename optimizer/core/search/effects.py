"""How good each Variant may be, when all have met the first examples of one order, but not equally many.

Mixed model: score of Variant v on example i = difficulty of i + effect of v + noise, with effects normal around their
common mean. An effect measured on few examples is drawn towards that mean, so that luck does not lead. Difficulties
cancel between Variants that met the same examples. All measurements are used, so it does not matter by which rule it
was decided to measure (the likelihood does not depend on the stopping rule).

Source: Henderson (1975), Biometrics 31(2), 423-447 (best linear unbiased prediction); variances by moments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

LEAST_SPREAD = 0.02  # least standard deviation of the effects: Variants of one family seldom differ by less
LEAST_NOISE = 0.05  # least standard deviation of the noise: a few equal scores do not prove equality
PRIOR_COUNT = 4.0  # the belief that all variance is noise counts as so many scores; few scores would underrate noise

Scores = Sequence[float | None]


def estimate(scores: Mapping[str, Scores]) -> dict[str, float]:
    """The effects of all Variants that have a score; empty without any. Only their differences count."""
    import numpy as np  # at its use: processes that search nothing need not load it

    measured = {v: s for v, s in scores.items() if any(x is not None for x in s)}
    if not measured:
        return {}
    ends = sorted({len(s) for s in measured.values()})
    segments = [  # within a segment the same Variants have met every example
        (a, b) for a, b in pairwise([0, *ends]) if any(x is not None for s in measured.values() for x in s[a:b])
    ]
    counts = {v: tuple(sum(x is not None for x in s[a:b]) for a, b in segments) for v, s in measured.items()}
    sums = {v: [sum(x for x in s[a:b] if x is not None) for a, b in segments] for v, s in measured.items()}
    noise, spread = _variances(measured)
    # With the two variances known, the effects are eliminated first, which leaves one equation per segment.
    kinds = Counter(counts.values())
    precision = {kind: sum(kind) / noise + 1 / spread for kind in kinds}
    loads = {kind: [c / (noise * p) for c in kind] for kind, p in precision.items()}
    n_segments = len(next(iter(kinds)))
    matrix = [[0.0] * n_segments for _ in range(n_segments)]
    for kind, n in kinds.items():
        for k, c in enumerate(kind):
            matrix[k][k] += n * c / noise
            matrix[k] = [x - n * c * load / noise for x, load in zip(matrix[k], loads[kind], strict=True)]
    right = [0.0] * n_segments
    for v, kind in counts.items():
        total = sum(sums[v])
        right = [r + (s - load * total) / noise for r, s, load in zip(right, sums[v], loads[kind], strict=True)]
    covariance = np.linalg.inv(matrix).tolist()
    difficulty = [_dot(row, right) for row in covariance]
    return {v: sum(sums[v]) / (noise * precision[kind]) - _dot(loads[kind], difficulty) for v, kind in counts.items()}


def _variances(measured: Mapping[str, Scores]) -> tuple[float, float]:
    """(noise, spread of the effects), both variances, by moments over the examples that two Variants or more have met.

    Noise: the scores' residual without example and Variant, all Variants together. Spread: the variance of the
    Variants' leads over the others on the same examples, less what noise alone makes of it.
    """
    longest = max(len(s) for s in measured.values())
    columns = [{v: x for v, s in measured.items() if i < len(s) and (x := s[i]) is not None} for i in range(longest)]
    columns = [column for column in columns if len(column) > 1]
    leads: dict[str, list[float]] = {v: [] for v in measured}
    for column in columns:
        level = sum(column.values()) / len(column)
        for v, x in column.items():
            leads[v].append(x - level)
    compared = {v: lead for v, lead in leads.items() if lead}
    if len(compared) < 2:
        return 0.25, 0.25 / PRIOR_COUNT  # the variance of a fair coin
    average = {v: sum(lead) / len(lead) for v, lead in compared.items()}
    residual = sum((x - average[v]) ** 2 for v, lead in compared.items() for x in lead)
    n = sum(map(len, compared.values()))
    free = max(1.0, n - len(columns) - len(compared) + 1)
    whole = sum(x * x for lead in compared.values() for x in lead) / n
    noise = max(LEAST_NOISE**2, (residual + PRIOR_COUNT * whole) / (free + PRIOR_COUNT))
    centre = sum(average.values()) / len(average)
    between = sum((a - centre) ** 2 for a in average.values()) / (len(average) - 1)
    by_chance = sum(noise / len(lead) for lead in compared.values()) / len(compared)
    return noise, max(LEAST_SPREAD**2, between - by_chance)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
