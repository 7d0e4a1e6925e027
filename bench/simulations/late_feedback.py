"""Feedback that comes late, and bad news sooner than good: by order of arrival, by totals,
and by matured cohorts as the product counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, log

import numpy as np
from common import Cell
from rules.deciders import full_information
from rules.totals import asymptotic_bounds, stratified

from simulations.fixed_ramp import RAMP_A
from simulations.own_rule import BUDGET, LADDER, OwnRule
from simulations.tally import BASE, BLOCK, DELTA, Tally, as_block, draw_block, progress, share_cell

GOOD_H, BAD_H = 9.0, 1.0  # mean delay of good and of bad news
SLOWER = 2.0  # how many times as long the slower candidate's feedback takes
MAX_HOURS = 720
Simulation = Callable[[np.random.Generator, float, float], tuple[str, int, float]]


def window(share: float, slower: float) -> int:
    """Hours after which ``share`` of the feedback has come in the slower arm, from the end of the cohort's hour on."""
    h = 1.0
    while BASE * exp(-h / (GOOD_H * slower)) + (1 - BASE) * exp(-h / (BAD_H * slower)) > 1 - share:
        h += 1
    return int(h)


@lru_cache
def arrivals(mean_h: float) -> np.ndarray:
    """Chance to arrive in each hour after that of the assignment (units come evenly within it);
    the last takes the rest.
    """
    hours = np.arange(1, int(mean_h * log(1e4)) + 2)
    late = np.concatenate(
        [[1.0], mean_h * (exp(1 / mean_h) - 1) * np.exp(-hours / mean_h), [0.0]]
    )  # not yet there when an hour ends
    return np.asarray(late[:-1] - late[1:])


def draw_arrivals(rng: np.random.Generator, counts: list[int], slower: float, arriving: np.ndarray) -> None:
    """Adds the outcomes of one hour's units to ``arriving``: a row n_c, s_c, n_b, s_b per hour from now on."""
    for at, factor in ((0, slower), (2, 1.0)):
        n, s = counts[at], counts[at + 1]
        for k, mean_h, good in ((s, GOOD_H, 1), (n - s, BAD_H, 0)):
            if k:
                arrived = rng.multinomial(k, arrivals(mean_h * factor))
                arriving[: len(arrived), at] += arrived
                arriving[: len(arrived), at + 1] += good * arrived


def draw_in_time(rng: np.random.Generator, counts: list[int], slower: float, wait_h: int) -> list[int]:
    """What of one hour's units has arrived ``wait_h`` hours after it."""
    n_c, s_c, n_b, s_b = counts
    good_c, bad_c, good_b, bad_b = (
        int(rng.binomial(k, arrivals(mean_h)[: wait_h + 1].sum()))
        for k, mean_h in ((s_c, GOOD_H * slower), (n_c - s_c, BAD_H * slower), (s_b, GOOD_H), (n_b - s_b, BAD_H))
    )
    return [good_c + bad_c, good_c, good_b + bad_b, good_b]


def by_arrival(rng: np.random.Generator, difference: float, slower: float) -> tuple[str, int, float]:
    """What came in this hour is a block, whenever its units were assigned: the mistake."""
    rollout, arriving, on_candidate = OwnRule(), np.zeros((2 * MAX_HOURS, 4), dtype=int), 0
    for hour in range(MAX_HOURS):
        drawn = draw_block(rng, LADDER[rollout.stage], BASE + difference, BASE)
        on_candidate += drawn[0]
        draw_arrivals(rng, drawn, slower, arriving[hour:])
        ending = rollout.after(*arriving[hour].tolist())
        if ending:
            return ending, rollout.gate.labelled, on_candidate
    return "inconclusive", rollout.gate.labelled, on_candidate


def by_totals(rng: np.random.Generator, difference: float, slower: float) -> tuple[str, int, float]:
    """An always-valid interval on what has arrived of each stage's units so far;
    the ramp follows the clock, as in table A.
    """
    arriving, on_candidate = np.zeros((len(RAMP_A), 2 * MAX_HOURS, 4), dtype=int), 0
    strata = np.zeros((len(RAMP_A), 4), dtype=int)
    for hour in range(BUDGET // BLOCK):
        stage = next(i for i, (until, _) in enumerate(RAMP_A) if hour * BLOCK < until)
        drawn = draw_block(rng, RAMP_A[stage][1], BASE + difference, BASE)
        on_candidate += drawn[0]
        draw_arrivals(rng, drawn, slower, arriving[stage, hour:])
        strata += arriving[:, hour]
        if not (strata[:, [0, 2]] > 0).all(axis=1).any():
            continue
        bounds = asymptotic_bounds(
            stratified([tuple(s) for s in strata.tolist()]), best_information=full_information(DELTA), alpha=0.05
        )
        if bounds.upper < 0 or bounds.lower > -DELTA:
            return "roll_back" if bounds.upper < 0 else "promote", int(strata[:, [0, 2]].sum()), on_candidate
    return "inconclusive", int(strata[:, [0, 2]].sum()), on_candidate


def by_cohort(wait_h: int) -> Simulation:
    """The product's way: an hour's units are counted ``wait_h`` hours after it,
    with what came until then, and never again.
    """

    def run(rng: np.random.Generator, difference: float, slower: float) -> tuple[str, int, float]:
        rollout, waiting, on_candidate = OwnRule(), [], 0
        for hour in range(MAX_HOURS):
            drawn = draw_block(rng, LADDER[rollout.stage], BASE + difference, BASE)
            on_candidate += drawn[0]
            waiting.append((rollout.stage, drawn))
            if hour >= wait_h:
                stage, counts = waiting[hour - wait_h]
                counts = draw_in_time(rng, counts, slower, wait_h)
                ending = rollout.after_block(as_block(stage, counts)) if counts[0] + counts[2] else None
                if ending:
                    return ending, rollout.gate.labelled, on_candidate
        return "inconclusive", rollout.gate.labelled, on_candidate

    return run


def _tally(simulation: Simulation, runs: int, seed: int, difference: float, slower: float) -> Tally:
    tally = Tally()
    for run in range(runs):
        tally.add(
            *simulation(np.random.default_rng([seed, 6, round(difference * 1000) + 1000, run]), difference, slower)
        )
    return tally


def table_late(runs: int, seed: int) -> list[Cell]:
    """Bad news nine times as fast as good, in both arms."""
    cells = []
    for difference, end in ((0.0, "roll_back"), (-DELTA, "promote")):
        wait_h = window(0.99, 1.0)
        ours = _tally(by_cohort(wait_h), runs, seed, difference, 1.0)
        for name, simulation in (("blocks by arrival", by_arrival), ("totals by arrival", by_totals)):
            other = _tally(simulation, runs, seed, difference, 1.0)
            case = f"late, both arms alike, window {wait_h} h, {100 * difference:+.0f} pt: {end}"
            cells.append(share_cell(case, ours, end, other.share(end), name))
            progress(f"{case} vs {name}")
    return cells
