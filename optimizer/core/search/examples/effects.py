"""What each few-shot example adds, learned from the scores of the sets it stood in:
says of a set not tried what it may reach.

A set's score is the bare prompt's and the sum of its examples' effects; examples that are alike have like effects. So a
Gaussian process over sets, whose covariance is the similarity of their members summed over pairs. The last example
stands next to the request and counts more (Zhao et al. 2021, arXiv 2102.09690),
so that two orders of one set differ, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.search.examples.sets import Chosen

LAST = 1.5  # weight of the last example; the others have 1
ALIKE = 0.5  # covariance that any two effects share: examples as such help, or harm
LEAST_SPREAD = 0.05  # of scores between sets, expected before anything is known


@dataclass(frozen=True, slots=True, kw_only=True)
class SetScore:
    """A set and its score."""

    chosen: Chosen
    score: float


class ExampleEffects:
    """The posterior after ``tried`` (one or more).

    Args:
        noise: standard deviation of a score as measured, above 0: dev examples are few.
    """

    def __init__(self, similarity: Sequence[Sequence[float]], tried: Sequence[SetScore], *, noise: float) -> None:
        self._covers = [_weights(t.chosen) for t in tried]
        self._reach = [([sum(b * (ALIKE + row[j]) for j, b in cover) for row in similarity]) for cover in self._covers]
        self._similarity = similarity
        self._mean = sum(t.score for t in tried) / len(tried)
        deviations = [t.score - self._mean for t in tried]
        spread = math.sqrt(sum(d * d for d in deviations) / len(tried))
        self._unit = max(spread, LEAST_SPREAD) ** 2 / max(
            1.0, max(self._kernel(cover, at) for at, cover in enumerate(self._covers))
        )
        rows = [
            [self._unit * self._kernel(cover, at) + self._bare for at in range(len(tried))] for cover in self._covers
        ]
        for at, row in enumerate(rows):
            row[at] += noise**2
        self._root = _cholesky(rows)
        forward, n = _forward(self._root, deviations), len(self._root)
        solution = [0.0] * n
        for i in reversed(range(n)):
            solution[i] = (forward[i] - sum(self._root[j][i] * solution[j] for j in range(i + 1, n))) / self._root[i][i]
        self._weights = solution

    @property
    def _bare(self) -> float:
        """Variance of the bare prompt's score, which all sets share."""
        return LEAST_SPREAD**2

    def reach(self, chosen: Chosen, *, spread: float = 1.0) -> float:
        """The expected score and ``spread`` standard deviations: what is unknown deserves a try."""
        cover = _weights(chosen)
        shared = [self._unit * self._kernel(cover, at) + self._bare for at in range(len(self._covers))]
        own = (
            self._unit * sum(a * (sum(b * (ALIKE + self._similarity[i][j]) for j, b in cover)) for i, a in cover)
            + self._bare
        )
        forward = _forward(self._root, shared)
        variance = max(0.0, own - sum(v * v for v in forward))
        return (
            self._mean + sum(s * w for s, w in zip(shared, self._weights, strict=True)) + spread * math.sqrt(variance)
        )

    def _kernel(self, cover: Sequence[tuple[int, float]], at: int) -> float:
        reach = self._reach[at]
        return sum(weight * reach[i] for i, weight in cover)


def _weights(chosen: Chosen) -> list[tuple[int, float]]:
    return [(i, LAST if at == len(chosen) - 1 else 1.0) for at, i in enumerate(chosen)]


def _cholesky(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    root: list[list[float]] = []
    for i, row in enumerate(rows):
        new: list[float] = []
        for j in range(i + 1):
            residual = row[j] - sum(a * b for a, b in zip(new, root[j] if j < i else new, strict=False))
            new.append(math.sqrt(residual) if j == i else residual / root[j][j])
        root.append(new)
    return root


def _forward(root: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    solution: list[float] = []
    for row, value in zip(root, values, strict=True):
        solution.append((value - sum(a * b for a, b in zip(row, solution, strict=False))) / row[-1])
    return solution
