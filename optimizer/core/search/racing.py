"""Which Variant deserves the next example: a race over common examples in one shuffled order.

Every contender meets the examples in the same order, so what is known of it is a list, its scores on the first examples
of that order, and any two are compared on examples that both have met. A rule reads those lists and says who goes on,
and how far. It has no memory: the same scores give the same answer, so a study that is run again with its journal takes
the same way. The seed of the order is the only randomness. A race can be stopped after any call, and still knows its
leader.

Studies race by ``ContinuousRejects`` (docs/adr/0039-race-uses-continuous-rejects.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import floor, inf, sqrt

from optimizer.core.base.canonical import digest

FIRST = 4  # the most examples that a contender meets before anything is decided about it
SHARE = 0.5  # the most calls of a race, as a share of contenders x examples
Scores = Sequence[float | None]  # on the first examples of the common order; None where there is no score


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceStanding:
    """What a race knows: contenders in order of entry, the champion first, each with its scores so far."""

    n_examples: int
    scores: Mapping[str, Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceTurn:
    """One Variant's next examples: ids, which are asked in a row while its prefix is cached."""

    variant: str
    examples: tuple[str, ...]


class Race:
    """Keeps the order and the scores, and asks its rule. Contenders may enter at any time."""

    def __init__(self, examples: Sequence[str], rule: ContinuousRejects, *, seed: int) -> None:
        # The order of the examples that are left stays the same where one is gone.
        self.order = tuple(sorted(examples, key=lambda e: digest(f"{seed} {e}".encode())))
        self.rule = rule  # another one may take its place, as where more calls may be made
        self._scores: dict[str, list[float | None]] = {}

    @property
    def standing(self) -> RaceStanding:
        return RaceStanding(n_examples=len(self.order), scores={v: tuple(scores) for v, scores in self._scores.items()})

    def enter(self, variant: str) -> None:
        """Adds a contender without scores. One that is in already stays as it is."""
        self._scores.setdefault(variant, [])

    @property
    def n_met(self) -> int:
        """Examples met by all contenders together."""
        return sum(map(len, self._scores.values()))

    def __contains__(self, variant: str) -> bool:
        return variant in self._scores

    def withdraw(self, variant: str) -> None:
        """Takes a contender out, with its scores."""
        self._scores.pop(variant, None)

    def turns(self) -> list[RaceTurn]:
        """What to ask next, all of it before the rule is asked again; empty when the race is decided."""
        variants, upto = self.rule.due(self.standing)
        return [RaceTurn(variant=v, examples=self.order[len(self._scores[v]) : upto]) for v in variants]

    def tell(self, turn: RaceTurn, scores: Scores) -> None:
        """Takes the scores of a turn, in its order; they are fewer than asked where it was interrupted."""
        self._scores[turn.variant].extend(scores)

    def until(self, variant: str, n: int) -> RaceTurn | None:
        """The turn with what ``variant`` has not met of the first ``n`` examples; None where it has met all."""
        remaining = self.order[len(self._scores[variant]) : n]
        return RaceTurn(variant=variant, examples=remaining) if remaining else None

    def leader(self) -> str | None:
        return self.rule.leader(self.standing)

    def estimates(self, anchor: str) -> dict[str, float]:
        """What each contender with a score may reach on all examples, relative to what ``anchor`` reached on those it
        has met.

        Means over different examples say little, and leads over one contender can be compared. Empty while ``anchor``
        has no score.
        """
        effects, measured = estimated_effects(self.standing), [s for s in self._scores[anchor] if s is not None]
        if not measured:
            return {}
        level = sum(measured) / len(measured) - effects[anchor]
        return {v: level + effect for v, effect in effects.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousRejects:
    """All remaining contenders meet the same examples. The worst is dropped once its gap is large for the calls that
    remain.

    With t examples met by each of the j contenders, the one with the lowest mean (the last of equals) is dropped when

        mean of the others - its mean > sqrt(C / (t * j)) - 1

    where C is how far the calls reach (``reach``): the more of it is used, the smaller a gap is enough, and from t * j
    = C on none is needed. Each example is followed by a look, which may drop several. While the calls let no contender
    meet all examples this is CR-A of Wang, Tzeng and Proutiere (2023), which drops one at a time.

    A race keeps to its calls, unless the first examples alone take more. Each look replays the drops from the scores,
    so a contender that enters later may bring back one that would now be dropped too early.

    Args:
        calls: the most that the whole race may make; None: only the next cap.
        share: the most calls of the race as a share of contenders x examples; in (0, 1].
    """

    calls: int | None = None
    share: float = SHARE

    def due(self, standing: RaceStanding) -> tuple[list[str], int]:
        """Who goes on, in the order in which to ask, until each has met so many of the first examples.

        Nobody, when the winner cannot change any more.
        """
        remaining, _, n_due = self._replayed(standing)
        return [v for v in remaining if len(standing.scores[v]) < n_due], n_due

    def leader(self, standing: RaceStanding) -> str | None:
        """The highest mean of those that are left; None before the first score.

        While they have met unequally many examples, the highest estimated effect.
        """
        remaining, met, due = self._replayed(standing)
        if due:
            effects = estimated_effects(standing)
            return max(
                (v for v in remaining if v in effects), key=lambda v: effects[v], default=furthest_best(standing)
            )
        best = next(iter(by_mean(standing, remaining, met)), None)
        measured = best is not None and any(x is not None for x in standing.scores[best])
        return best if measured else furthest_best(standing)

    def _replayed(self, standing: RaceStanding) -> tuple[list[str], int, int]:
        """(remaining contenders, examples that all of them have met, how many they are due to meet).

        The last is 0 when the race is decided.
        """
        remaining, spent, met = list(standing.scores), 0, 0
        calls = floor(self.share * len(remaining) * standing.n_examples)
        calls = calls if self.calls is None else min(calls, self.calls)
        means = {v: _prefix_means(scores) for v, scores in standing.scores.items()}
        first = min(first_look(calls, len(remaining)), standing.n_examples) or 1
        for level in range(first, standing.n_examples + 1):
            due = sum(max(level, len(standing.scores[v])) for v in remaining)
            if met and (len(remaining) < 2 or spent + due > calls):
                break
            if any(len(standing.scores[v]) < level for v in remaining):
                return remaining, met, level
            met = level
            while (
                worst := _falls({v: means[v][level - 1] for v in remaining}, level, calls - spent, standing)
            ) is not None:
                remaining.remove(worst)
                spent += len(standing.scores[worst])
        return remaining, met, 0


def _falls(means: dict[str, float], met: int, calls: int, standing: RaceStanding) -> str | None:
    if (n := len(means)) < 2:
        return None
    worst = min(reversed(means), key=lambda v: means[v])
    gap = (sum(means.values()) - means[worst]) / (n - 1) - means[worst]
    return worst if gap > sqrt(reach(n, calls, standing.n_examples) / (met * n)) - 1 else None


def first_look(calls: int | None, n_contenders: int) -> int:
    """Examples that each contender meets before anything is decided: FIRST, or fewer, so that the calls pay for twice
    as many.

    A contender that is alone waits for nobody.
    """
    if calls is None:
        return FIRST
    return max(1, min(FIRST, calls // (2 * n_contenders))) if n_contenders > 1 else 1


@lru_cache(maxsize=100_000)
def reach(n: int, calls: int, n_examples: int) -> float:
    """C with which ``calls`` are used up.

    Of ``n`` contenders the i-th from the last meets C / i examples, the last as many as the last but one, and none more
    than ``n_examples``; infinite where all may meet all. It solves sum over i = 2..n of min(n_examples, C / i) +
    min(n_examples, C / 2) = calls. Without the bound C = calls / logbar(n), the levels of successive rejects (Audibert,
    Bubeck and Munos 2010).
    """
    for n_whole in (0, *range(2, n)):  # n_whole of the last meet all examples
        c = max(1, calls - n_whole * n_examples) / (_harmonic(n) - (_harmonic(n_whole) if n_whole else 0.5))
        if c / max(2, n_whole + 1) <= n_examples:
            return float(c)
    return inf


@lru_cache(maxsize=10_000)
def _harmonic(n: int) -> float:
    return float(sum(1 / i for i in range(1, n + 1)))


def _prefix_means(scores: Scores) -> list[float]:
    """The means of the first 1, 2, ... scores; -1 before the first that was measured."""
    sums = accumulate(0.0 if x is None else x for x in scores)
    counts = accumulate(x is not None for x in scores)
    return [total / n if n else -1.0 for total, n in zip(sums, counts, strict=True)]


def estimated_effects(standing: RaceStanding) -> Mapping[str, float]:
    return estimate(tuple((v, tuple(s)) for v, s in standing.scores.items()))


def by_mean(standing: RaceStanding, variants: Sequence[str], upto: int) -> list[str]:
    """Variants by their mean over the first ``upto`` examples, the best first; of equals the first comes first.

    Those that could not be measured at all come last.
    """
    return sorted(variants, key=lambda v: -_mean(standing.scores[v][:upto]))


def furthest_best(standing: RaceStanding) -> str | None:
    """The one with the highest mean among those that have met most examples."""
    measured = [v for v, s in standing.scores.items() if any(x is not None for x in s)]
    longest = max((len(standing.scores[v]) for v in measured), default=0)
    return next(iter(by_mean(standing, [v for v in measured if len(standing.scores[v]) == longest], longest)), None)


def _mean(scores: Scores) -> float:
    measured = [s for s in scores if s is not None]
    return sum(measured) / len(measured) if measured else -1.0


LEAST_SPREAD = 0.02  # least standard deviation of the effects: Variants of one family seldom differ by less
LEAST_NOISE = 0.05  # least standard deviation of the noise: a few equal scores do not prove equality
PRIOR_COUNT = 4.0  # the belief that all variance is noise counts as so many scores; few scores would underrate noise


@lru_cache(maxsize=8)  # one round asks for the leader several times, with the same scores
def estimate(scores: tuple[tuple[str, tuple[float | None, ...]], ...]) -> Mapping[str, float]:
    """How good each Variant that has a score may be, when all have met the first examples of one order, but not equally
    many; empty without any. Only the differences count.

    Mixed model: score of Variant v on example i = difficulty of i + effect of v + noise, with effects normal around
    their common mean. An effect measured on few examples is drawn towards that mean, so that luck does not lead.
    Difficulties cancel between Variants that met the same examples. All measurements are used, so it does not matter by
    which rule it was decided to measure (the likelihood does not depend on the stopping rule).

    Source: Henderson (1975), Biometrics 31(2), 423-447 (best linear unbiased prediction); variances by moments.
    """
    import numpy as np  # at its use: processes that search nothing need not load it

    measured = {v: s for v, s in scores if any(x is not None for x in s)}
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
    difficulty = [_dot(row, right) for row in np.linalg.inv(matrix).tolist()]
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
