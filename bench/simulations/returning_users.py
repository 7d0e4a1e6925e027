"""Five hundred users who keep coming back: counted once per stage, as the product does, and once per block, as if they were new each time."""

from __future__ import annotations

from math import inf

import numpy as np
from common import Cell

from optimizer.core.statistics.outcomes import Block, Outcomes
from simulations.own_rule import LADDER, OwnRule
from simulations.tally import BASE, BLOCK, DELTA, Tally, progress, share_cell

USERS = 500
LIKENESS = 0.5  # correlation of two outcomes of one user under one variant
MAX_HOURS = 720


def draw_users(rng: np.random.Generator, difference: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per user: where its bucket lies in [0, 1), and how likely the candidate's and the champion's answers please it.

    A user who is hard to please stays so under both variants; means are the base rate and the base rate plus the difference.
    """
    strength = 1 / LIKENESS - 1
    p_b = rng.beta(strength * BASE, strength * (1 - BASE), USERS)
    p_c = p_b * (BASE + difference) / BASE if difference < 0 else p_b
    return rng.random(USERS), p_c, p_b


def run_users(rng: np.random.Generator, difference: float, *, once_per_stage: bool) -> tuple[str, int, float]:
    """Forty requests an hour, each with an outcome at once; a block is an hour's units, each with its mean."""
    bucket, p_c, p_b = draw_users(rng, difference)
    rollout, counted_in, on_candidate = OwnRule(), np.full(USERS, -1), 0
    last_new = 0
    for hour in range(MAX_HOURS):
        in_candidate = bucket < LADDER[rollout.stage]
        user = rng.integers(0, USERS, BLOCK)
        good = rng.random(BLOCK) < np.where(in_candidate, p_c, p_b)[user]
        requests = np.bincount(user, minlength=USERS)
        counted = (requests > 0) & (counted_in < rollout.stage if once_per_stage else True)
        if counted.any():
            last_new = hour
            mean = np.bincount(user, good, minlength=USERS)[counted] / requests[counted]
            counted_in[counted] = rollout.stage
            on_candidate += int((in_candidate & counted).sum())
            ending = rollout.after_block(
                Block(
                    stage=rollout.stage,
                    candidate=Outcomes.of(np.round(mean[in_candidate[counted]], 4)),
                    champion=Outcomes.of(np.round(mean[~in_candidate[counted]], 4)),
                )
            )
            if ending:
                return ending, rollout.gate.labelled, on_candidate
        elif (hour - last_new if once_per_stage else -inf) > 24:  # every user has counted in this stage: nothing more will come
            break
    return "inconclusive", rollout.gate.labelled, on_candidate


def table_returning(runs: int, seed: int) -> list[Cell]:
    cells = []
    for difference in (0.0, -DELTA):
        tallies = {}
        for once_per_stage in (True, False):
            tally = tallies[once_per_stage] = Tally()
            for run in range(runs):
                at = [seed, 7, round(difference * 1000) + 1000, run]
                tally.add(*run_users(np.random.default_rng(at), difference, once_per_stage=once_per_stage))
        for end in ("promote", "roll_back", "inconclusive"):
            case = f"returning, {USERS} users, {100 * difference:+.0f} pt: {end}"
            cells.append(share_cell(case, tallies[True], end, tallies[False].share(end), "once per block"))
        progress(f"returning {difference:+.2f}")
    return cells
