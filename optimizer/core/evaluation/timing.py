"""How fast a Variant answers, alone and beside the champion, from fresh answers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from optimizer.core.base.values import ExampleResult, p95

N_TIMED = 20  # fresh answers from which a latency is told
IN_A_ROW = 5  # of one Variant, so that a model's prefix cache is as warm as in service
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Latencies in ms of fresh answers.

    ``pairs``: of the Variant and of the champion, for the same request; ``why``: what kept them from being measured.
    """

    mine: Sequence[float] = ()
    pairs: Sequence[tuple[float, float]] = ()
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
        ratios = [mine / theirs for mine, theirs in self.pairs if theirs > 0]
        return median(ratios) - 1 if ratios else None


def timing_of(results: Sequence[ExampleResult], champion: Sequence[ExampleResult] = (), *, why: str = "") -> Timing:
    """What an evaluation measured besides: fresh answers, and those examples that were fresh for both."""
    theirs = {r.example: r.latency_ms for r in champion}
    mine = {r.example: r.latency_ms for r in results if r.latency_ms is not None}
    pairs = [(ms, other) for example, ms in mine.items() if (other := theirs.get(example)) is not None]
    return Timing(mine=list(mine.values()), pairs=pairs, why=why)


def turns(rows: Sequence[T], n: int = N_TIMED) -> list[list[T]]:
    """``n`` rows, the given ones again and again, in blocks of ``IN_A_ROW``."""
    cycled = [rows[i % len(rows)] for i in range(n)]
    return [cycled[start : start + IN_A_ROW] for start in range(0, n, IN_A_ROW)]
