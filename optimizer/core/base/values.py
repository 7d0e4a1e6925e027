"""Values that every stage uses: a study's aim, its budget, how a Variant did on one Example, figures not yet known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from operator import add, mul, sub
from typing import Any, Literal, TypeVar, get_args

K = TypeVar("K")
V = TypeVar("V")


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The values of each key, keys and values in the order in which they come."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


Aim = Literal["quality", "cost", "latency"]
AIMS: tuple[Aim, ...] = get_args(Aim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps for everything a study spends, confirmation included; None = no cap of that kind."""

    usd: float | None = None
    calls: int | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a study has used so far.

    Calls in flight count at their reserved price; ``n_lost`` were in flight at a kill.
    """

    usd: float = 0.0
    n_calls: int = 0
    n_lost: int = 0
    n_from_journal: int = 0
    remark: str | None = None  # what a strategy says of its search beside its candidates, such as "Do not cascade: …"
    # The sentence on why the search could spend no more; None where its strategies came to their end.
    search_cut: str | None = None


REFUSED = "refused"  # by a student that answers alone: score 0, and no text


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """One Variant on one Example.

    ``score`` None means it could not be measured; ``error`` then says why. Never 0 for missing.
    """

    example: str
    score: float | None
    output: str | None
    error: str | None = None
    cost_usd: float = 0.0
    latency_ms: float | None = None  # the latency of a fresh call; None when the journal answered
    from_journal: bool = False
    call_key: str | None = None
    n_retries: int = 0  # calls of a policy's gate and validator that asked a model again
    # What the judge said of the output, if one was asked; its calls do not count as the answer's cost.
    judgement: Mapping[str, Any] | None = None
    answered_by: str | None = None  # of a policy with tiers: whose answer went out, or REFUSED

    @property
    def is_failed(self) -> bool:
        """Whether there is no answer, or one that cannot be read; one that its judge could not score is neither."""
        return self.error is not None and (self.score is not None or self.judgement is None)


def mean_score(results: Sequence[ExampleResult]) -> float | None:
    """Mean over the examples that could be measured; None when none could."""
    scores = [r.score for r in results if r.score is not None]
    return sum(scores) / len(scores) if scores else None


MIN_TIMED = 20  # fresh calls that a 95th percentile needs


def timed_ms(results: Iterable[ExampleResult]) -> dict[str, float]:
    """Latency by example, of those freshly asked.

    Empty where tiers answer and one of these answers holds a call from the journal: the others are then mostly of tiers
    that ask no model, and say nothing of the whole.
    """
    results = list(results)
    if any(r.answered_by is not None and r.output is not None and r.latency_ms is None for r in results):
        return {}
    return {r.example: r.latency_ms for r in results if r.latency_ms is not None}


def p95_ms(results: Sequence[ExampleResult]) -> float | None:
    """p95 latency of the freshly asked; None, not measured, where fewer than MIN_TIMED are timed."""
    timed = timed_ms(results)
    return p95(list(timed.values())) if len(timed) >= MIN_TIMED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    lower: float
    upper: float


def p95(values: Sequence[float]) -> float:
    """The 95th percentile by nearest rank, of at least one value."""
    return sorted(values)[ceil(0.95 * len(values)) - 1]


def on_lines(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """The value at ``at`` of the straight lines between the points (x, y), ``x`` rising; level beyond the ends."""
    above = bisect_right(x, at)
    if above == 0:
        return y[0]
    if above == len(x):
        return y[-1]
    x0, x1, y0, y1 = x[above - 1], x[above], y[above - 1], y[above]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


def scores_by_example(results: Iterable[ExampleResult]) -> dict[str, float]:
    """Score by example, of those that have one."""
    return {r.example: r.score for r in results if r.score is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The least, the expected and the most: of calls whole numbers, of dollars and minutes none."""

    low: int | float
    expected: int | float
    high: int | float

    @classmethod
    def exactly(cls, n: float) -> Spread:
        return cls(low=n, expected=n, high=n)

    def with_each(self, function: Callable[[float, float], float], other: Spread | float) -> Spread:
        """``function`` of the two least, the two expected and the two most."""
        by = other if isinstance(other, Spread) else Spread.exactly(other)
        return Spread(
            low=function(self.low, by.low),
            expected=function(self.expected, by.expected),
            high=function(self.high, by.high),
        )

    def __add__(self, other: Spread) -> Spread:
        return self.with_each(add, other)

    def __sub__(self, other: Spread) -> Spread:
        return self.with_each(sub, other)

    def __mul__(self, factor: Spread | float) -> Spread:
        return self.with_each(mul, factor)

    def capped(self, cap: Spread | float | None) -> Spread:
        return self if cap is None else self.with_each(min, cap)


NONE = Spread.exactly(0)
