"""How soon a worse champion is told after a switch without evidence, and how often an equal one is called worse.

    python bench/switches.py [--runs 10000] [--seed 1]

Simulated with the constants of optimizer/core/rollout/switch_watch.py, all runs at once: the same blocks, bets and
thresholds in numpy, held against the product's own code by tests/unit/rollouts/test_switch_statistics.py. Writes
bench/results/switches.json and docs/reference/switches-measured.md. Exits 1 where more than one equal switch in 1,000
is called worse.

Users: every request is labelled, good outcomes come after five minutes on average, bad ones after one. The mean of .85
and the traffic go up and down with the day and the week; the switch is at a random hour of the week. Every request
comes from another user but where some come back: those count once in each week, with their first outcome.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import Cell, options_of, write_result
from numpy.typing import NDArray
from simulations.tally import wilson

from optimizer.core.rollout.switch_watch import (
    ALPHA,
    GAPS,
    HORIZONS_S,
    LEVEL,
    MIN_DROP,
    MIN_DROP_OF_WEEKS,
    MIN_DROP_UNMATCHED,
    MOST_WEEKS,
    SLOTS,
    WEIGHTS,
)
from optimizer.core.serving.assignment import HOLDBACK_SHARE
from optimizer.core.statistics.outcomes import HALF_LIFE, PRIOR_N, RATE_FLOOR, threshold
from optimizer.core.statistics.quality_gate import MIN_BLOCK

Floats = NDArray[np.float64]
RATES, DROPS = (5, 60, 3000), (0.10, 0.20, 0.50)  # requests a minute; of the mean
RUNS_OF_DROP = 400
MOST_RUNS_OF_USERS = 5000  # who come back: these take ten times as long
BASE, DAILY, WEEKEND, RESTLESS = 0.85, 0.05, 0.04, 0.01
GOOD_S, BAD_S = 300.0, 60.0  # mean delay of an outcome
TICK_S, SETTLED_S, DAY_S = 10.0, 5.0, 86_400.0
WEEK_S = 7 * DAY_S
HORIZONS = tuple(s for s in HORIZONS_S if s is not None)
N_WEEKS = 2
N_HORIZONS = 3  # up to an hour, in which with these delays all outcomes have come
RETURNING, RETURNING_MEAN = 3000, 0.60  # users who come once a day, beside
ONCE_A_DAY, ONCE_MEAN = 1500, 0.90  # those who come once
LOST = -12.0  # log of an e-value from which an equal champion is called worse once in two thousand million (Ville 1939)


class Tests:
    """The core's Comparison of one horizon for many runs at once."""

    def __init__(self, runs: int, min_drop: float, mean: float) -> None:
        self.d0, self.mean = -min_drop, mean
        self.log_e = np.zeros((runs, len(GAPS)))
        self.peak = np.zeros(runs)
        self.active = np.ones(runs, dtype=bool)  # the others are not looked at any more
        self.earlier = np.zeros((2, runs))  # n and sum of the champion before, older ones weighing less
        self.pending = np.zeros((4, runs))  # n and successes of the new one, and of the one before

    def look(self, block: Floats, *, gives_up: bool = False) -> None:
        """``block``: n and successes of the new one, and of the one before.

        ``gives_up``: of runs without a drop, those with hardly any evidence left are not looked at any more.
        """
        waiting = self.pending
        waiting += block
        enough = (waiting[0] + waiting[2] >= MIN_BLOCK) & (waiting[0] > 0) & (waiting[2] > 0)
        ready = np.flatnonzero(enough & self.active)
        if not ready.size:
            return
        merged, earlier = waiting[:, ready], self.earlier[:, ready]
        theta_b = np.clip((self.mean * PRIOR_N + earlier[1]) / (PRIOR_N + earlier[0]), RATE_FLOOR, 1 - RATE_FLOOR)
        for place, gap in enumerate(GAPS):
            self.log_e[ready, place] += log_factor(theta_b, self.d0, gap, merged)
        self.earlier[:, ready] = earlier * 2.0 ** (-merged[2] / HALF_LIFE) + merged[2:]
        waiting[:, ready] = 0
        top = self.log_e[ready].max(axis=1)
        mixed = top + np.log((np.array(WEIGHTS) * np.exp(self.log_e[ready] - top[:, None])).sum(axis=1))
        self.peak[ready] = np.maximum(self.peak[ready], mixed)
        if gives_up:
            self.active[ready] = mixed > LOST

    @property
    def alarmed(self) -> NDArray[np.bool_]:
        return self.peak >= threshold(ALPHA)


def log_factor(theta_b: Floats, d0: float, gap: float, block: Floats) -> Floats:
    """``bernoulli_bet`` and ``log_e`` of the core; ``block``: n and successes of the new one, and of the one before."""
    n_c, k_c, n_b, k_b = block
    theta_c = np.clip(theta_b + d0 + gap, RATE_FLOOR, 1 - RATE_FLOOR)
    m_b = projected(theta_c, theta_b, n_c / (n_c + n_b), d0)
    m_c = m_b + d0
    signals = (
        k_c * np.log(theta_c / m_c)
        + (n_c - k_c) * np.log((1 - theta_c) / (1 - m_c))
        + k_b * np.log(theta_b / m_b)
        + (n_b - k_b) * np.log((1 - theta_b) / (1 - m_b))
    )
    return np.where((theta_c - theta_b - d0) * gap <= 0, 0.0, signals)


def projected(theta_c: Floats, theta_b: Floats, w: Floats, d0: float) -> Floats:
    """``null_projection``'s m_b: Newton's step within its bounds, else half the way."""
    low, high = np.full_like(theta_b, max(0.0, -d0)), np.full_like(theta_b, min(1.0, 1.0 - d0))
    v, spread_c, spread_b = 1 - w, theta_c * (1 - theta_c) / w, theta_b * (1 - theta_b) / (1 - w)
    m_b = theta_b + (theta_c - theta_b - d0) * spread_b / (spread_c + spread_b)
    m_b = np.where((low < m_b) & (m_b < high), m_b, (low + high) / 2)
    for _ in range(60):
        m_c = m_b + d0
        var_c, var_b, e_c, e_b = m_c * (1 - m_c), m_b * (1 - m_b), m_c - theta_c, m_b - theta_b
        f = w * e_c * var_b + v * e_b * var_c
        low, high = np.where(f > 0, low, m_b), np.where(f > 0, m_b, high)
        slope = w * (var_b + e_c * (1 - 2 * m_b)) + v * (var_c + e_b * (1 - 2 * m_c))
        with np.errstate(divide="ignore", invalid="ignore"):
            following = m_b - f / slope
        inside = (slope > 0) & (low < following) & (following < high)
        following = np.where(inside | (following == m_b), following, (low + high) / 2)
        moved, m_b = np.abs(following - m_b).max(), following
        if moved <= 1e-10:
            break
    return m_b


@dataclass(kw_only=True)
class World:
    """Families at once, each switched at a random moment of its week."""

    rng: np.random.Generator
    runs: int
    per_minute: float
    drop: float = 0.0
    period_s: float = WEEK_S
    times: int = N_WEEKS
    restless: float = 0.0  # standard deviation of a week's own level
    base: float = BASE
    returning: int = 0  # users who come once a day on average, beside those who come once
    steady: bool = False  # whoever comes back says the same in each week

    def __post_init__(self) -> None:
        self.phase = self.rng.uniform(0, WEEK_S, self.runs)
        self.levels = self.rng.normal(0, self.restless, (self.times + 1, self.runs))
        # who has not come yet: by side (the weeks, that of the switch first, then the holdback), good or bad, and run
        n_weeks = self.times + 1
        drawn = self.rng.binomial(self.returning, RETURNING_MEAN, (1 if self.steady else n_weeks, self.runs))
        good = np.broadcast_to(drawn, (n_weeks, self.runs))
        weeks = np.stack([good, self.returning - good], axis=1)
        held = self.rng.binomial(weeks[0], HOLDBACK_SHARE)
        self.waiting = np.concatenate([(weeks[0] - held)[None], weeks[1:], held[None]])

    def mean(self, at_s: float) -> Floats:
        """Of an unchanged champion, ``at_s`` seconds after the switch."""
        at = self.phase + at_s
        weekend = at % WEEK_S >= 5 * DAY_S
        return self.base + DAILY * np.sin(2 * np.pi * at / DAY_S) - WEEKEND * weekend

    def rate(self, at_s: float) -> Floats:
        """Requests a second."""
        at = self.phase + at_s
        weekend = at % WEEK_S >= 5 * DAY_S
        return self.per_minute / 60 * (1 + 0.6 * np.sin(2 * np.pi * at / DAY_S - 0.5)) * np.where(weekend, 0.6, 1.0)

    def drawn(self, since_s: float, dt_s: float, *, shift: int, share: float, drop: float) -> Floats:
        """n and successes of those served in the next ``dt_s``, or ``shift`` periods before, by horizon: what they
        report within it.
        """
        at = since_s - shift * self.period_s
        p = np.clip(self.mean(at) + self.levels[shift] - drop, 0.001, 0.999)
        expected = self.rate(at) * share * dt_s
        outcomes, low = [np.zeros((2, self.runs))], 0.0
        for high in HORIZONS[:N_HORIZONS]:
            good = self.rng.poisson(expected * p * (np.exp(-low / GOOD_S) - np.exp(-high / GOOD_S)))
            bad = self.rng.poisson(expected * (1 - p) * (np.exp(-low / BAD_S) - np.exp(-high / BAD_S)))
            outcomes.append(outcomes[-1] + np.stack([good + bad, good]))
            low = high
        if not self.returning:
            return np.array(outcomes[1:])
        return np.array(outcomes[1:]) + self._came_back(-1 if share == HOLDBACK_SHARE else shift, dt_s)

    def _came_back(self, side: int, dt_s: float) -> Floats:
        """First visits of those who come back, as ``drawn``."""
        visits = self.rng.binomial(self.waiting[side], -np.expm1(-dt_s / DAY_S))
        self.waiting[side] -= visits
        outcomes, low = [np.zeros((2, self.runs))], 0.0
        delays = np.array([[GOOD_S], [BAD_S]])
        for high in HORIZONS[:N_HORIZONS]:
            good, bad = reported = self.rng.binomial(visits, -np.expm1((low - high) / delays))
            visits = visits - reported
            outcomes.append(outcomes[-1] + np.stack([good + bad, good]))
            low = high
        return np.array(outcomes[1:])


def steps(fine_s: float) -> Iterator[tuple[float, float]]:
    """(seconds since the switch, length): looks merge where nothing hangs on the second."""
    since = 0.0
    while since < WEEK_S:
        length = fine_s if since < 1800 else 6 * fine_s if since < DAY_S / 2 else 600.0
        yield since, length
        since += length


@dataclass(frozen=True, kw_only=True)
class AlarmTimes:
    """Seconds until each run's alarm and its labels by then; infinite where none came within the week."""

    holdback_s: Floats
    holdback_labels: Floats
    before_s: Floats
    before_labels: Floats


def simulate(world: World, *, min_drop: float = MIN_DROP_OF_WEEKS, fine_s: float = TICK_S) -> AlarmTimes:
    horizons = list(enumerate(HORIZONS[:N_HORIZONS]))
    sides = {"holdback": MIN_DROP, "before": min_drop}
    tests = {(name, place): Tests(world.runs, drop, BASE) for name, drop in sides.items() for place, _ in horizons}
    ends = {name: np.full((2, world.runs), np.inf) for name in sides}  # seconds, and labels until then
    labels = np.zeros(world.runs)
    for since, dt in steps(fine_s):
        new = world.drawn(since, dt, shift=0, share=1 - HOLDBACK_SHARE, drop=world.drop)
        held = world.drawn(since, dt, shift=0, share=HOLDBACK_SHARE, drop=0.0)
        shifts = [k for k in range(1, world.times + 1) if since < k * world.period_s]
        past = sum((world.drawn(since, dt, shift=k, share=1.0, drop=0.0) for k in shifts), start=np.zeros_like(new))
        labels += new[-1, 0] + held[-1, 0]
        for name, old in (("holdback", held), ("before", past)):
            for place, high in horizons:
                test = tests[name, place]
                test.look(np.concatenate([new[place], old[place]]), gives_up=not world.drop)
                slot = high / SLOTS
                at = np.ceil((since + dt) / slot) * slot + high + TICK_S / 2 + SETTLED_S
                first = test.alarmed & (at < ends[name][0])
                ends[name][:, first] = np.stack([np.full(world.runs, at), labels])[:, first]
        if since > max(times[0].max() for times in ends.values()) or not any(t.active.any() for t in tests.values()):
            break
    (a, a_labels), (b, b_labels) = ends["holdback"], ends["before"]
    return AlarmTimes(holdback_s=a, holdback_labels=a_labels, before_s=b, before_labels=b_labels)


def drop_cells(rate: int, drop: float, seed: int) -> list[Cell]:
    cells = []
    rng = np.random.default_rng([seed, rate, round(1000 * drop)])
    ends = simulate(World(rng=rng, runs=RUNS_OF_DROP, per_minute=rate, drop=drop))
    sides = {
        "holdback": (ends.holdback_s, ends.holdback_labels),
        "weeks before": (ends.before_s, ends.before_labels),
    }
    sides["whichever is first"] = tuple(np.minimum(*both) for both in zip(*sides.values(), strict=True))  # type: ignore[assignment]
    for name, (s, labels) in sides.items():
        case = f"{rate} requests a minute, {100 * drop:.0f} points lower, {name}"
        cells += [_quantiles(f"{case}: minutes", s / 60), _quantiles(f"{case}: labels", labels)]
    return cells


def _quantiles(case: str, values: Floats) -> Cell:
    low, mid, high = (float(x) for x in np.quantile(values, [0.1, 0.5, 0.9], method="higher"))
    ours, *ends = (None if np.isinf(x) else round(x, 2) for x in (mid, low, high))
    unit = "median; low and high: 10 % and 90 % of the runs"
    return Cell(case=case, ours=ours, low=ends[0], high=ends[1], unit=unit, n=len(values))


COMING_BACK: dict[str, Any] = {
    "per_minute": ONCE_A_DAY / 1440,
    "times": MOST_WEEKS,
    "base": ONCE_MEAN,
    "returning": RETURNING,
}
EQUAL: dict[str, tuple[dict[str, Any], float]] = {
    **{f"{rate} requests a minute, weeks before": ({"per_minute": rate}, MIN_DROP_OF_WEEKS) for rate in RATES},
    "3000 requests a minute, weeks that differ by a point": (
        {"per_minute": 3000, "restless": RESTLESS},
        MIN_DROP_OF_WEEKS,
    ),
    "60 requests a minute, day before": ({"per_minute": 60, "period_s": DAY_S, "times": 1}, MIN_DROP_UNMATCHED),
    "60 requests a minute, hours before": ({"per_minute": 60, "period_s": 7200.0, "times": 1}, MIN_DROP_UNMATCHED),
    "users who come back, four weeks before": (COMING_BACK, MIN_DROP_OF_WEEKS),
    "users who come back and say the same, four weeks before": ({**COMING_BACK, "steady": True}, MIN_DROP_OF_WEEKS),
}


def equal_cell(case: str, runs: int, seed: int) -> Cell:
    """No drop: how often either comparison calls it one within a week."""
    more, min_drop = EQUAL[case]
    runs = min(runs, MOST_RUNS_OF_USERS) if "returning" in more else runs
    n = 0
    for part in range(0, runs, 2000):
        rng = np.random.default_rng([seed, list(EQUAL).index(case), part])
        world = World(rng=rng, runs=min(2000, runs - part), **more)
        ends = simulate(world, min_drop=min_drop, fine_s=60.0)
        n += int((np.isfinite(ends.holdback_s) | np.isfinite(ends.before_s)).sum())
    low, high = wilson(n / runs, runs)
    unit, case = "share of switches within a week", f"{case}: false alarms"
    return Cell(case=case, ours=n / runs, other=LEVEL, other_name="level", low=low, high=high, unit=unit, n=runs)


def main() -> int:
    args = options_of(__doc__, runs=10_000, seed=1)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drops = [pool.submit(drop_cells, rate, drop, args.seed) for rate in RATES for drop in DROPS]
        equals = [pool.submit(equal_cell, case, args.runs, args.seed) for case in EQUAL]
        equal = [one.result() for one in equals]
        write_result("switches", [*(cell for one in drops for cell in one.result()), *equal])
    missed = [cell.case for cell in equal if (cell.ours or 0) > LEVEL and "differ" not in cell.case]
    print("\n".join(missed) or "No more than one equal switch in 1,000 is called worse.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
