"""Evidence that grows block by block against one null hypothesis:
a mixture over a few alternatives, latched at its peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A null about mean_c - mean_b and the alternatives beyond it that are bet on;
    ``alpha`` is what the gate may err at.

    Gaps > 0: the null is "difference <= boundary". Gaps < 0: the null is "difference >= boundary".
    """

    name: str
    boundary: float
    gaps: tuple[float, ...]  # all of one sign
    weights: tuple[float, ...]  # sum to 1
    alpha: float

    def __post_init__(self) -> None:
        if len(self.gaps) != len(self.weights) or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(
                f"{self.name}: {len(self.gaps)} gaps need as many weights that sum to 1, got {self.weights}"
            )
        if not (all(g > 0 for g in self.gaps) or all(g < 0 for g in self.gaps)):
            raise ValueError(f"{self.name}: gaps lie on one side of the boundary, got {self.gaps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence against one null: the wealth of a mixture of bets."""

    weights: tuple[float, ...]
    components: tuple[float, ...]  # summed log factors, one per alternative
    peak: float = 0.0  # the largest log e-value so far, which gives the verdict; an e-value starts at 1

    @classmethod
    def none(cls, weights: Sequence[float]) -> Evidence:
        return cls(weights=tuple(weights), components=(0.0,) * len(weights))

    @property
    def log_e(self) -> float:
        return log_sum_exp([log(w) + c for w, c in zip(self.weights, self.components, strict=True)])

    def after(self, log_factors: Sequence[float]) -> Evidence:
        components = tuple([c + f for c, f in zip(self.components, log_factors, strict=True)])
        following = Evidence(weights=self.weights, components=components, peak=self.peak)
        return Evidence(weights=self.weights, components=components, peak=max(self.peak, following.log_e))


def threshold(alpha: float) -> float:
    """Natural log of 1 / alpha: reached under the null at any time with probability at most alpha (Ville 1939)."""
    return log(1 / alpha)


def log_sum_exp(logs: Sequence[float]) -> float:
    """log(sum(exp(x))) without overflow, for at least one finite x."""
    top, total = max(logs), 0.0
    for (
        x
    ) in logs:  # one after another: sum() adds differently from Python 3.12 on, and verification compares every digit
        total += exp(x - top)
    return top + log(total)
