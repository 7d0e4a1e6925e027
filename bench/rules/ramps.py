"""Rules that drive the ramp themselves: what table B compares. Each is asked for its share, then shown a block of that share.

Sources: Flagger, docs.flagger.app/usage/how-it-works (interval, threshold 5, stepWeight 10, maxWeight 50). GrowthBook,
docs.growthbook.io/features/safe-rollouts (coverage 10, 25, 50, 75, 100 % in the first quarter of the duration, split evenly, one-sided
sequential guardrails, shipping what shows no harm). Guarded rollouts by the clock: launchdarkly.com/docs/home/releases/guarded-rollouts.
"""

from __future__ import annotations

from typing import Literal, Protocol

from rules.deciders import full_information
from rules.totals import Bounds, Difference, asymptotic_bounds, gbstats_one_sided, stratified

Ending = Literal["promote", "roll_back", "inconclusive"]


class Ramp(Protocol):
    """``share`` of all units on the candidate; ``champion_share`` of all units that are compared with it."""

    share: float
    champion_share: float

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None: ...


class FailedChecks:
    """Flagger: the candidate's success rate in each interval against a threshold; five failed checks end it, every passed one adds 10 %."""

    def __init__(self, *, least: float, failures: int = 5, step: float = 0.10, most: float = 0.50) -> None:
        self.least, self.left, self.step, self.most = least, failures, step, most
        self.share, self.champion_share = step, 1 - step

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None:
        if not n_c:
            return None
        if s_c / n_c < self.least:
            self.left -= 1
            return "roll_back" if not self.left else None
        if self.share >= self.most - 1e-9:
            return "promote"
        self.share = min(self.most, self.share + self.step)
        self.champion_share = 1 - self.share
        return None


class Clock:
    """Shares by the clock; a one-sided sequential test of "not worse" may stop it; what is not stopped is shipped."""

    def __init__(self, *, duration: int, delta: float, shares: tuple[float, ...] = (0.10, 0.25, 0.50, 0.75)) -> None:
        self.duration, self.delta, self.shares = duration, delta, shares
        self.seen = 0
        self.strata: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * len(shares)
        self._set(0)

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None:
        self.strata[self.step] = tuple(a + b for a, b in zip(self.strata[self.step], (n_c, s_c, n_b, s_b), strict=True))  # type: ignore[assignment]
        self.seen += 40
        if any(s[0] and s[2] for s in self.strata) and self._bounds(stratified(self.strata)).upper < 0:
            return "roll_back"
        if self.seen >= self.duration:
            return "promote"
        self._set(min(len(self.shares) - 1, int(self.seen / self.duration * self._steps_per_duration())))
        return None

    def _bounds(self, d: Difference) -> Bounds:
        return asymptotic_bounds(d, best_information=full_information(self.delta), alpha=0.05)

    def _steps_per_duration(self) -> int:
        return len(self.shares)

    def _set(self, step: int) -> None:
        self.step = step
        self.share, self.champion_share = self.shares[step], 1 - self.shares[step]


class SafeRollout(Clock):
    """GrowthBook: the ramp takes the first quarter of the duration, both arms get half of the coverage, then everybody is in the test.

    Its defaults: one-sided at .05, tightest at 5,000 units, no margin.
    """

    def __init__(self, *, duration: int, delta: float) -> None:
        super().__init__(duration=duration, delta=delta, shares=(0.10, 0.25, 0.50, 0.75, 1.0))

    def _bounds(self, d: Difference) -> Bounds:
        return gbstats_one_sided(d, n=sum(n_c + n_b for n_c, _, n_b, _ in self.strata))

    def _steps_per_duration(self) -> int:
        return 16  # four ramp steps in a quarter

    def _set(self, step: int) -> None:
        self.step = step
        self.share = self.champion_share = self.shares[step] / 2
