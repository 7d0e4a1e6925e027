"""Rules that watch one ramp that somebody else drives, and say when they have seen enough:
what table A and the replays compare.

Each says "roll" (the candidate is worse), "ship" (it is not worse by delta) or nothing yet, after every block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import log
from typing import Literal

from rules import gbstats_package
from rules.gbstats_package import Totals
from rules.group_sequential import lan_demets_bounds
from rules.totals import NORMAL, WALD_BOUND, Difference, asymptotic_bounds, msprt_log_lr, sprt_llr, stratified

Verdict = Literal["roll", "ship"] | None


@dataclass(frozen=True)
class Look:
    """All outcomes so far, (n_c, s_c, n_b, s_b) per stage of the ramp; at least one stage has both arms."""

    strata: Sequence[Totals]

    @cached_property
    def d(self) -> Difference:
        """Difference over all stages, each compared within itself."""
        return stratified(self.strata)

    @property
    def totals(self) -> Totals:
        """Over all stages together, as experiment platforms are given them."""
        n_c, s_c, n_b, s_b = map(sum, zip(*self.strata, strict=True))
        return n_c, s_c, n_b, s_b


Rule = Callable[[Look], Verdict]

LOOKS = 5


def full_information(delta: float, *, alpha: float = 0.05, power: float = 0.9) -> float:
    """1 / variance at which one look finds a difference of delta with this power."""
    return ((NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf(power)) / delta) ** 2


@lru_cache
def _bounds(alpha: float) -> list[float]:
    return lan_demets_bounds([(i + 1) / LOOKS for i in range(LOOKS)], alpha=alpha)


def wald(delta: float) -> Rule:
    def rule(look: Look) -> Verdict:
        llr = sprt_llr(look.d, delta=delta)
        return "ship" if llr >= WALD_BOUND else "roll" if llr <= -WALD_BOUND else None

    return rule


def mixture_sprt(delta: float, *, alpha: float = 0.05) -> Rule:
    def rule(look: Look) -> Verdict:
        d = look.d
        if d.diff < 0 and msprt_log_lr(d, theta0=0.0, tau=delta) >= log(1 / alpha):
            return "roll"
        return "ship" if d.diff > -delta and msprt_log_lr(d, theta0=-delta, tau=delta) >= log(1 / alpha) else None

    return rule


def asymptotic(delta: float, *, alpha: float = 0.05) -> Rule:
    def rule(look: Look) -> Verdict:
        bounds = asymptotic_bounds(look.d, best_information=full_information(delta), alpha=alpha)
        return "roll" if bounds.upper < 0 else "ship" if bounds.lower > -delta else None

    return rule


def growthbook_sequential(delta: float) -> Rule:
    def rule(look: Look) -> Verdict:
        result = gbstats_package.sequential(look.totals)
        return None if result is None else "roll" if result.upper < 0 else "ship" if result.lower > -delta else None

    return rule


def growthbook_bayes(delta: float) -> Rule:
    """GrowthBook's default engine: its chance to win below 5 % rolls back;
    the chance to lose less than delta above 95 % ships.
    """

    def rule(look: Look) -> Verdict:
        result = gbstats_package.bayes(look.totals)
        if result is None:
            return None
        return (
            "roll"
            if result.chance_to_win < 0.05
            else "ship"
            if NORMAL.cdf((result.mean + delta) / result.sd) > 0.95
            else None
        )

    return rule


def obrien_fleming(delta: float, *, alpha: float = 0.05) -> Rule:
    """Five planned looks at equal steps of information, made anew per rollout;
    "neither" at the last one stays undecided.
    """
    bounds = _bounds(alpha)
    full, done = full_information(delta), [0]

    def rule(look: Look) -> Verdict:
        d, at = look.d, done[0]
        if at == LOOKS or 1 / d.variance < full * (at + 1) / LOOKS:
            return None
        done[0] += 1
        return _beyond(d, delta, bounds[at])

    return rule


def one_look(delta: float, *, alpha: float = 0.05) -> Rule:
    full, z, done = full_information(delta), NORMAL.inv_cdf(1 - alpha), [False]

    def rule(look: Look) -> Verdict:
        if done[0] or 1 / look.d.variance < full:
            return None
        done[0] = True
        return _beyond(look.d, delta, z)

    return rule


def peeking(delta: float, *, alpha: float = 0.05) -> Rule:
    z = NORMAL.inv_cdf(1 - alpha)

    def rule(look: Look) -> Verdict:
        return _beyond(look.d, delta, z)

    return rule


def _beyond(d: Difference, delta: float, z: float) -> Verdict:
    sd = d.variance**0.5
    return "roll" if d.diff / sd <= -z else "ship" if (d.diff + delta) / sd >= z else None


RULES: dict[str, Callable[[float], Rule]] = {
    "Wald SPRT, normal score": wald,
    "mixture SPRT": mixture_sprt,
    "asymptotic confidence sequence": asymptotic,
    f"gbstats sequential, {gbstats_package.source()}": growthbook_sequential,
    "O'Brien-Fleming, 5 looks": obrien_fleming,
    "one look at fixed n": one_look,
    "fixed z with peeking (wrong)": peeking,
    f"gbstats Bayes 95 % with peeking (wrong), {gbstats_package.source()}": growthbook_bayes,
}
