"""What the units of one block showed, per arm: mergeable, independent of the order in which they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Count, sum and sum of squares of outcomes in [0, 1]; sums of parts add up to the sums of the whole."""

    n: float = 0.0  # a fraction where older outcomes weigh less
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Sums) -> Sums:
        return Sums(n=self.n + other.n, total=self.total + other.total, squares=self.squares + other.squares)

    def times(self, weight: float) -> Sums:
        return Sums(n=self.n * weight, total=self.total * weight, squares=self.squares * weight)

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    @property
    def variance(self) -> float | None:
        """Of one outcome, divided by n; at least 0."""
        return max(0.0, self.squares / self.n - (self.total / self.n) ** 2) if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """One value in [0, 1] per unit, as how many units had which value:
    two entries for 0/1, exact for scores as well.
    """

    counts: tuple[tuple[float, int], ...] = ()  # (value, units > 0), by value

    def __post_init__(self) -> None:
        for y, k in self.counts:
            if not 0 <= y <= 1 or k <= 0:
                raise ValueError(f"outcomes lie in [0, 1] and are counted from 1, got {self.counts}")

    @classmethod
    def of(cls, values: Iterable[float]) -> Outcomes:
        return cls(counts=tuple(sorted(Counter(map(float, values)).items())))

    @classmethod
    def binary(cls, n: int, successes: int) -> Outcomes:
        if not 0 <= successes <= n:
            raise ValueError(f"{successes} successes of {n} outcomes: the first must lie between 0 and the second")
        return cls(counts=tuple((y, k) for y, k in ((0.0, n - successes), (1.0, successes)) if k))

    def __add__(self, other: Outcomes) -> Outcomes:
        if not self.counts or not other.counts:
            return self if self.counts else other
        merged = Counter(dict(self.counts))
        merged.update(dict(other.counts))
        return Outcomes(counts=tuple(sorted(merged.items())))

    @property
    def n(self) -> int:
        return sum([k for _, k in self.counts])

    @property
    def sums(self) -> Sums:
        return Sums(
            n=self.n, total=fsum([y * k for y, k in self.counts]), squares=fsum([y * y * k for y, k in self.counts])
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The outcomes of both arms in one stretch of time of one stage, closed:
    what happened to units that shared the same conditions.
    """

    stage: int  # index into the ladder
    candidate: Outcomes = Outcomes()
    champion: Outcomes = Outcomes()

    def __add__(self, other: Block) -> Block:
        if self.stage != other.stage:
            raise ValueError(
                f"blocks of stages {self.stage} and {other.stage} are never merged: the share differs between them"
            )
        return Block(
            stage=self.stage, candidate=self.candidate + other.candidate, champion=self.champion + other.champion
        )

    @property
    def n(self) -> int:
        return self.candidate.n + self.champion.n

    @property
    def has_both_arms(self) -> bool:
        return bool(self.candidate.counts) and bool(self.champion.counts)


def gather(pending: Block | None, block: Block) -> Block:
    """``block`` with what was carried over to it;
    what is left of another stage is dropped (its share was another one).
    """
    return pending + block if pending is not None and pending.stage == block.stage else block
