"""Three rules of a race beside the product's own: what a benchmark compares it with.

* ``Halving``: the better part of each rung goes on. Jamieson and Talwalkar (2016), AISTATS, 240-248; Li et al. (2020),
  MLSys 2.
* ``SignedRank``: who is behind the leader by Wilcoxon's paired test falls out. Birattari et al. (2002), GECCO, 11-18.
* ``ExpectedGain``: by a mixed model (``optimizer/core/search/effects.py``) the next examples go where they may gain
  most over the leader. Maron and Moore (1994), NIPS 6, 59-66; Moore and Lee (1994), ICML, 190-198; Chick and Inoue
  (2001), Operations Research 49(5), 732-743.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, erf, exp, floor, pi, sqrt

from fixed_pool.signed_rank import signed_rank_p
from optimizer.core.search.effects import VariantEffects
from optimizer.core.search.racing import FIRST, Advance, RaceStanding, by_mean, estimated_effects, furthest_best


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """Successive halving: rungs at ``first`` x ``eta`` ^ k examples; one in ``eta`` of those on a rung goes on."""

    first: int = 4
    eta: float = 2.0

    def __post_init__(self) -> None:
        if self.first < 1 or self.eta <= 1:
            raise ValueError(
                f"the first rung has at least 1 example and eta is above 1, got {self.first} and {self.eta}"
            )

    def advances(self, standing: RaceStanding) -> list[Advance]:
        rungs = self._rungs(standing.n_examples)
        late = [Advance(variant=v, upto=rungs[0]) for v, s in standing.scores.items() if len(s) < rungs[0]]
        if late:
            return late
        for below, upto in reversed(list(pairwise(rungs))):
            there = [v for v, s in standing.scores.items() if len(s) >= below]
            best = by_mean(standing, there, below)[: floor(len(there) / self.eta)]
            due = [Advance(variant=v, upto=upto) for v in best if len(standing.scores[v]) < upto]
            if due:
                return due
        return []

    def leader(self, standing: RaceStanding) -> str | None:
        return furthest_best(standing)

    def _rungs(self, n_examples: int) -> list[int]:
        rungs, rung = [min(self.first, n_examples)], float(self.first)
        while rungs[-1] < n_examples:
            rung *= self.eta
            rungs.append(min(max(ceil(rung), rungs[-1] + 1), n_examples))
        return rungs


def _late(standing: RaceStanding, first: int) -> list[Advance]:
    """Who has not been asked the first examples yet."""
    upto = min(first, standing.n_examples)
    return [Advance(variant=v, upto=upto) for v, s in standing.scores.items() if len(s) < upto]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRank:
    """All go on together by ``step`` examples; who is behind the leader with p below ``alpha`` falls out.

    The test is repeated at each step and per contender, so alpha bounds no error rate of the race as a whole: it is a
    setting that trades calls for the risk of losing the best one early.
    """

    first: int = 8
    step: int = 4
    alpha: float = 0.1

    def __post_init__(self) -> None:
        if self.first < 1 or self.step < 1 or not 0 < self.alpha < 1:
            raise ValueError(
                f"first and step are at least 1 and alpha is in (0, 1), got {self.first}, {self.step} and {self.alpha}"
            )

    def advances(self, standing: RaceStanding) -> list[Advance]:
        if late := _late(standing, self.first):
            return late
        leader = self.leader(standing)
        if leader is None:
            return []
        contenders = [v for v in standing.scores if v == leader or not self._is_behind(standing, v, leader)]
        shortest = min(len(standing.scores[v]) for v in contenders)
        if len(contenders) == 1 or shortest >= standing.n_examples:
            return []
        upto = min(shortest + self.step, standing.n_examples)
        return [Advance(variant=v, upto=upto) for v in contenders if len(standing.scores[v]) < upto]

    def leader(self, standing: RaceStanding) -> str | None:
        return furthest_best(standing)

    def _is_behind(self, standing: RaceStanding, variant: str, leader: str) -> bool:
        pairs = zip(standing.scores[leader], standing.scores[variant], strict=False)
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        return sum(differences) > 0 and signed_rank_p(differences) < self.alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedGain:
    """The next ``step`` examples go to who may gain most over the leader; ``z`` standard errors behind is out,
    and so is an expected gain below ``least_gain``.

    ``width`` calls are given out at once where as many can be used: set it to the concurrency of the model, 1 for one
    after another.
    """

    first: int = FIRST
    step: int = 4
    z: float = 2.0
    least_gain: float = 0.002  # in score; what is left below it is asked for in vain (record 0011, in docs/adr/0039)
    width: int = 1

    def __post_init__(self) -> None:
        if self.first < 1 or self.step < 1 or self.z <= 0 or self.least_gain < 0 or self.width < 1:
            raise ValueError(
                f"first, step and width are at least 1, z is above 0 and least_gain is not below 0, got {self}"
            )

    def advances(self, standing: RaceStanding) -> list[Advance]:
        if late := _late(standing, self.first):
            return late
        effects = estimated_effects(standing)
        leader = _leading(effects)
        if leader is None:
            return []
        return self._given_out(standing, self._wanted(standing, effects, leader))

    def leader(self, standing: RaceStanding) -> str | None:
        return _leading(estimated_effects(standing))

    def _wanted(self, standing: RaceStanding, effects: VariantEffects, leader: str) -> list[str]:
        """Who should go on, the most useful first: who may gain most,
        and the leader before it where less is known of that.
        """
        rivals = []
        for v in standing.scores:
            behind, error = effects.gap(leader, v)
            gain = _expected_excess(behind, error)
            if v != leader and behind <= self.z * error and gain >= self.least_gain:
                rivals.append((gain, v))
        wanted: dict[str, None] = {}  # in order, each once
        for _, v in sorted(rivals, key=lambda r: -r[0]):
            pair = (leader, v) if len(standing.scores[leader]) < len(standing.scores[v]) else (v, leader)
            wanted.update(dict.fromkeys(one for one in pair if len(standing.scores[one]) < standing.n_examples))
        return list(wanted)

    def _given_out(self, standing: RaceStanding, wanted: Sequence[str]) -> list[Advance]:
        given: list[Advance] = []
        n_calls = 0
        for v in wanted:
            if n_calls >= self.width:
                break
            at = len(standing.scores[v])
            upto = min(at + self.step, standing.n_examples)
            given.append(Advance(variant=v, upto=upto))
            n_calls += upto - at
        return given


def _leading(effects: VariantEffects) -> str | None:
    """The highest estimated effect; the first of equals."""
    return max(effects.means, key=lambda v: effects.means[v], default=None)


def _expected_excess(behind: float, error: float) -> float:
    """E[max(0, X)] of X normal with mean -behind and standard deviation ``error``:
    what a challenger may gain over the leader.
    """
    if error <= 0:
        return max(0.0, -behind)
    u = behind / error
    density, tail = exp(-u * u / 2) / sqrt(2 * pi), (1 - erf(u / sqrt(2))) / 2
    return error * (density - u * tail)
