"""How fast a Variant answers, alone and beside the champion, from fresh answers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import NamedTuple, TypeVar

from optimizer.core.base.values import ExampleResult, p95

N_TIMED = 20  # fresh answers from which a latency is told
MOST_ROUNDS = 3  # of so many, while they cannot tell which of two is slower by how much
ALPHA = 0.025  # of the sign test, to either side
MIN_PAIRS = 6  # fewer can never tell at ALPHA
IN_A_ROW = 5  # of one Variant, so that a model's prefix cache is as warm as in service
T = TypeVar("T")


class TimedPair(NamedTuple):
    """Latencies in ms of the Variant and of the champion, for the same request."""

    example: str
    mine: float
    theirs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Latencies in ms of fresh answers; ``why``: what kept them from being measured."""

    mine: Sequence[float] = ()
    pairs: Sequence[TimedPair] = ()
    why: str = ""

    @property
    def p95_ms(self) -> float | None:
        """None without a fresh answer."""
        return p95(self.mine) if self.mine else None

    @property
    def slowdown(self) -> float | None:
        """By which share the Variant is slower: the median over the pairs of (its latency / the champion's - 1).

        A median, since one request that had to wait elsewhere would decide a mean or a p95 of twenty. None without a
        pair.
        """
        ratios = self._ratios
        return median(ratios) - 1 if ratios else None

    def n_slower(self, share: float) -> tuple[int, int]:
        """(requests in which the Variant was slower by more than ``share``, all that were compared)."""
        ratios = self._ratios
        return sum(ratio > 1 + share + 1e-12 for ratio in ratios), len(ratios)

    def is_slower(self, share: float) -> bool | None:
        """Whether the slowdown lies above ``share``, by the exact sign test of its median; None: these cannot tell."""
        above, n = self.n_slower(share)
        if _tail(above, n) <= ALPHA:
            return True
        return False if _tail(n - above, n) <= ALPHA else None

    @property
    def _ratios(self) -> list[float]:
        return [mine / theirs for _, mine, theirs in self.pairs if theirs > 0]


def _tail(k: int, n: int) -> float:
    """The probability of ``k`` heads or more in ``n`` throws of a fair coin."""
    return float(sum(comb(n, i) for i in range(k, n + 1)) / 2**n)


def timing_of(results: Sequence[ExampleResult], champion: Sequence[ExampleResult] = (), *, why: str = "") -> Timing:
    """What an evaluation measured besides: fresh answers, and those examples that were fresh for both."""
    theirs = {r.example: r.latency_ms for r in champion}
    mine = {r.example: r.latency_ms for r in results if r.latency_ms is not None}
    pairs = [TimedPair(e, ms, other) for e, ms in mine.items() if (other := theirs.get(e)) is not None]
    return Timing(mine=list(mine.values()), pairs=pairs, why=why)


def turns(rows: Sequence[T], n: int = N_TIMED) -> list[list[T]]:
    """``n`` rows, the given ones again and again, in blocks of ``IN_A_ROW``."""
    cycled = [rows[i % len(rows)] for i in range(n)]
    return [cycled[start : start + IN_A_ROW] for start in range(0, n, IN_A_ROW)]
