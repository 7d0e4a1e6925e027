"""Rules that drive the ramp themselves: what table B and the replays compare.

Each is asked for its share, then shown a block of that share.

Sources: Flagger, docs.flagger.app/usage/how-it-works (interval, threshold 5, stepWeight 10, maxWeight 50). GrowthBook,
docs.growthbook.io/features/safe-rollouts (coverage 10, 25, 50, 75, 100 % in the first quarter of the duration, split
evenly, one-sided sequential guardrails, shipping what shows no harm). Guarded rollouts by the clock:
launchdarkly.com/docs/home/releases/guarded-rollouts.
"""

from __future__ import annotations

from typing import Literal, Protocol

from rules.deciders import Look, Rule, full_information
from rules.totals import Bounds, Difference, asymptotic_bounds, gbstats_one_sided, stratified

Ending = Literal["promote", "roll_back", "inconclusive"]


class Ramp(Protocol):
    """``share`` of all units on the candidate; ``champion_share`` of all units that are compared with it."""

    @property
    def share(self) -> float: ...

    @property
    def champion_share(self) -> float: ...

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None: ...


class FailedChecks:
    """Flagger: the candidate's success rate in each interval against a threshold; five failed checks end it,
    every passed one adds 10 %.
    """

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
    """Shares by the clock; a one-sided sequential test of "not worse" may stop it; what is not stopped is shipped.

    ``block`` = units that come by, in the comparison or not, between two looks; ``duration`` in such units.
    """

    def __init__(
        self, *, duration: int, delta: float, block: int = 40, shares: tuple[float, ...] = (0.10, 0.25, 0.50, 0.75)
    ) -> None:
        self.duration, self.delta, self.block, self.shares = duration, delta, block, shares
        self.seen = 0
        self.strata: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * len(shares)
        self._set(0)

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None:
        self.strata[self.step] = tuple(a + b for a, b in zip(self.strata[self.step], (n_c, s_c, n_b, s_b), strict=True))  # type: ignore[assignment]
        self.seen += self.block
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
    """GrowthBook: the ramp takes the first quarter of the duration, both arms get half of the coverage,
    then everybody is in the test.

    Its defaults: one-sided at .05, tightest at 5,000 units, no margin.
    """

    def __init__(self, *, duration: int, delta: float, block: int = 40) -> None:
        super().__init__(duration=duration, delta=delta, block=block, shares=(0.10, 0.25, 0.50, 0.75, 1.0))

    def _bounds(self, d: Difference) -> Bounds:
        return gbstats_one_sided(d, n=sum(n_c + n_b for n_c, _, n_b, _ in self.strata))

    def _steps_per_duration(self) -> int:
        return 16  # four ramp steps in a quarter

    def _set(self, step: int) -> None:
        self.step = step
        self.share = self.champion_share = self.shares[step] / 2


class WatchedRamp:
    """A rule that watches, on a ramp that goes by outcomes: (until so many, share)."""

    def __init__(self, rule: Rule, ramp: tuple[tuple[int, float], ...]) -> None:
        self.rule, self.ramp, self.seen = rule, ramp, 0
        self.strata: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * len(ramp)

    @property
    def step(self) -> int:
        return next((i for i, (until, _) in enumerate(self.ramp) if self.seen < until), len(self.ramp) - 1)

    @property
    def share(self) -> float:
        return self.ramp[self.step][1]

    @property
    def champion_share(self) -> float:
        return 1 - self.share

    def after(self, n_c: int, s_c: int, n_b: int, s_b: int) -> Ending | None:
        step = self.step
        self.strata[step] = tuple(a + b for a, b in zip(self.strata[step], (n_c, s_c, n_b, s_b), strict=True))  # type: ignore[assignment]
        self.seen += n_c + n_b
        if not any(s[0] and s[2] for s in self.strata):
            return None
        verdict = self.rule(Look(tuple(self.strata)))
        return None if verdict is None else "promote" if verdict == "ship" else "roll_back"
