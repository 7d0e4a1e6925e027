"""Rules that watch one ramp that somebody else drives, and say when they have seen enough: what table A compares.

Each says "roll" (the candidate is worse), "ship" (it is not worse by delta) or nothing yet, after every block.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import log
from typing import Literal

from rules.group_sequential import lan_demets_bounds
from rules.totals import NORMAL, WALD_BOUND, Difference, asymptotic_bounds, gbstats_bayes, gbstats_sequential, msprt_log_lr, sprt_llr

Verdict = Literal["roll", "ship"] | None
Rule = Callable[[Difference, int, float], Verdict]  # (difference over all strata, outcomes so far, the champion's mean so far)

LOOKS = 5


def full_information(delta: float, *, alpha: float = 0.05, power: float = 0.9) -> float:
    """1 / variance at which one look finds a difference of delta with this power."""
    return ((NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf(power)) / delta) ** 2


@lru_cache
def _bounds(alpha: float) -> list[float]:
    return lan_demets_bounds([(i + 1) / LOOKS for i in range(LOOKS)], alpha=alpha)


def wald(delta: float) -> Rule:
    def rule(d: Difference, n: int, champion: float) -> Verdict:
        llr = sprt_llr(d, delta=delta)
        return "ship" if llr >= WALD_BOUND else "roll" if llr <= -WALD_BOUND else None

    return rule


def mixture_sprt(delta: float, *, alpha: float = 0.05) -> Rule:
    def rule(d: Difference, n: int, champion: float) -> Verdict:
        if d.diff < 0 and msprt_log_lr(d, theta0=0.0, tau=delta) >= log(1 / alpha):
            return "roll"
        return "ship" if d.diff > -delta and msprt_log_lr(d, theta0=-delta, tau=delta) >= log(1 / alpha) else None

    return rule


def asymptotic(delta: float, *, alpha: float = 0.05) -> Rule:
    def rule(d: Difference, n: int, champion: float) -> Verdict:
        found = asymptotic_bounds(d, best_information=full_information(delta), alpha=alpha)
        return "roll" if found.upper < 0 else "ship" if found.lower > -delta else None

    return rule


def growthbook_sequential(delta: float) -> Rule:
    def rule(d: Difference, n: int, champion: float) -> Verdict:
        found = gbstats_sequential(d, n=n)
        return "roll" if found.upper < 0 else "ship" if found.lower > -delta else None

    return rule


def growthbook_bayes(delta: float) -> Rule:
    def rule(d: Difference, n: int, champion: float) -> Verdict:
        if gbstats_bayes(d, champion_mean=champion).chance_to_win < 0.05:
            return "roll"
        above = gbstats_bayes(Difference(diff=d.diff + delta, variance=d.variance), champion_mean=champion)
        return "ship" if above.chance_to_win > 0.95 else None

    return rule


def obrien_fleming(delta: float, *, alpha: float = 0.05) -> Rule:
    """Five planned looks at equal steps of information, made anew per rollout; "neither" at the last one stays undecided."""
    bounds = _bounds(alpha)
    full, done = full_information(delta), [0]

    def rule(d: Difference, n: int, champion: float) -> Verdict:
        look = done[0]
        if look == LOOKS or 1 / d.variance < full * (look + 1) / LOOKS:
            return None
        done[0] += 1
        sd = d.variance**0.5
        return "roll" if d.diff / sd <= -bounds[look] else "ship" if (d.diff + delta) / sd >= bounds[look] else None

    return rule


def one_look(delta: float, *, alpha: float = 0.05) -> Rule:
    full, z, done = full_information(delta), NORMAL.inv_cdf(1 - alpha), [False]

    def rule(d: Difference, n: int, champion: float) -> Verdict:
        if done[0] or 1 / d.variance < full:
            return None
        done[0] = True
        sd = d.variance**0.5
        return "roll" if d.diff / sd <= -z else "ship" if (d.diff + delta) / sd >= z else None

    return rule


def peeking(delta: float, *, alpha: float = 0.05) -> Rule:
    z = NORMAL.inv_cdf(1 - alpha)

    def rule(d: Difference, n: int, champion: float) -> Verdict:
        sd = d.variance**0.5
        return "roll" if d.diff / sd <= -z else "ship" if (d.diff + delta) / sd >= z else None

    return rule


RULES: dict[str, Callable[[float], Rule]] = {
    "Wald SPRT, normal score": wald,
    "mixture SPRT": mixture_sprt,
    "asymptotic confidence sequence": asymptotic,
    "gbstats sequential": growthbook_sequential,
    "O'Brien-Fleming, 5 looks": obrien_fleming,
    "one look at fixed n": one_look,
    "fixed z with peeking (wrong)": peeking,
    "gbstats Bayes 95 % with peeking (wrong)": growthbook_bayes,
}
