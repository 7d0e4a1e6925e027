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
from typing import Any

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
        import numpy as np  # at its use: processes that search nothing need not load it

        self._shared = ALIKE + np.array(similarity)
        self._covers = np.array([self._cover(t.chosen) for t in tried])
        scores = np.array([t.score for t in tried])
        self._mean = float(scores.mean())
        products = self._covers @ self._shared @ self._covers.T
        self._unit = max(float(scores.std()), LEAST_SPREAD) ** 2 / max(1.0, float(products.diagonal().max()))
        covariance = self._unit * products + LEAST_SPREAD**2  # the bare prompt's score, which all sets share
        self._precision = np.linalg.inv(covariance + noise**2 * np.eye(len(tried)))
        self._weights = self._precision @ (scores - self._mean)

    def reach(self, chosen: Chosen, *, spread: float = 1.0) -> float:
        """The expected score and ``spread`` standard deviations: what is unknown deserves a try."""
        row = self._shared @ self._cover(chosen)
        shared = self._unit * self._covers @ row + LEAST_SPREAD**2
        own = self._unit * row @ self._cover(chosen) + LEAST_SPREAD**2
        variance = max(0.0, float(own - shared @ self._precision @ shared))
        return self._mean + float(shared @ self._weights) + spread * math.sqrt(variance)

    def _cover(self, chosen: Chosen) -> Any:
        """The weight of each example of the pool in a set."""
        import numpy as np

        cover = np.zeros(len(self._shared))
        cover[list(chosen)] = 1.0
        cover[list(chosen[-1:])] = LAST
        return cover
