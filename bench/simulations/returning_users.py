"""Users who keep coming back: counted once per stage, as the product does, and once per block,
as if they were new each time.

``FEW`` are five hundred, all alike in how often they come. ``HARDEST`` is the hardest case that was found from outside:
small shares, six thousand users of whom a few send most requests (Zipf), and a base rate that swings by the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sin

import numpy as np
from common import Cell

from optimizer.core.statistics.outcomes import Block, Outcomes
from simulations.own_rule import LADDER, OwnRule
from simulations.tally import BASE, BLOCK, DELTA, REFERENCE, Tally, progress, share_cell

CORRELATION = 0.5  # correlation of two outcomes of one user under one variant
MAX_HOURS = 720
ENDS = ("promote", "roll_back", "inconclusive")
FOUND_OUTSIDE = 172 / 4000  # wrong ends that another simulation of the hardest case counted


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """``zipf``: the n-th user sends 1 / n^zipf as many requests as the first.

    ``swing``: points that a day's best hour lies above its mean.
    """

    users: int
    ladder: tuple[float, ...] = LADDER
    requests_per_hour: int = BLOCK
    zipf: float = 0.0
    swing: float = 0.0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Who sends the requests of an hour."""
        if not self.zipf:
            return rng.integers(0, self.users, self.requests_per_hour)
        weights = 1 / np.arange(1, self.users + 1) ** self.zipf
        return np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(self.requests_per_hour))

    def base(self, hour: int) -> float:
        """The champion's mean in that hour."""
        return BASE + self.swing * sin(2 * pi * hour / 24)


FEW = Crowd(users=500)
HARDEST = Crowd(users=6_000, ladder=(0.05, 0.20, 0.40), requests_per_hour=160, zipf=1.0, swing=0.10)


def draw_users(rng: np.random.Generator, crowd: Crowd = FEW) -> tuple[np.ndarray, np.ndarray]:
    """Per user: where its bucket lies in [0, 1),
    and how likely the champion's answers please it in the day's best hour.

    A user who is hard to please stays so under both variants and at every hour.
    """
    strength, best = 1 / CORRELATION - 1, BASE + crowd.swing
    pleased = rng.beta(strength * best, strength * (1 - best), crowd.users)
    return rng.random(crowd.users), pleased


def run_users(
    rng: np.random.Generator, difference: float, *, once_per_stage: bool, crowd: Crowd = FEW
) -> tuple[str, int, float]:
    """Each request has an outcome at once; a block is an hour's units, each with its mean."""
    bucket, pleased = draw_users(rng, crowd)
    rollout, counted_in, on_candidate = OwnRule(ladder=crowd.ladder), np.full(crowd.users, -1), 0
    last_new = 0
    for hour in range(MAX_HOURS):
        in_candidate = bucket < rollout.share
        user = crowd.draw(rng)
        base = crowd.base(hour)
        chance = (
            pleased * base / (BASE + crowd.swing)
        )  # its mean over users is the hour's, and the candidate's as much lower in every hour
        good = (
            rng.random(crowd.requests_per_hour)
            < (np.where(in_candidate, (base + difference) / base, 1.0) * chance)[user]
        )
        requests = np.bincount(user, minlength=crowd.users)
        counted = (requests > 0) & (counted_in < rollout.stage if once_per_stage else True)
        if counted.any():
            last_new = hour
            mean = np.bincount(user, good, minlength=crowd.users)[counted] / requests[counted]
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
        elif (
            hour - last_new if once_per_stage else -inf
        ) > 24:  # every user has counted in this stage: nothing more will come
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
        for end in ENDS:
            case = f"returning, {FEW.users} users, {100 * difference:+.0f} pt: {end}"
            cells.append(share_cell(case, tallies[True], end, tallies[False].share(end), "once per block"))
        progress(f"returning {difference:+.2f}")
    return cells


def table_hardest(runs: int, seed: int) -> list[Cell]:
    """Half of the wrong ends that are counted together are those of an equal candidate,
    half those of one at -5 points.
    """
    both, cells = Tally(), []
    for difference, wrong in ((0.0, "roll_back"), (-DELTA, "promote")):
        ours = Tally()
        for run in range(runs):
            at = [seed, 10, round(difference * 1000) + 1000, run]
            ours.add(*run_users(np.random.default_rng(at), difference, once_per_stage=True, crowd=HARDEST))
        cells += [share_cell(f"hardest, {100 * difference:+.0f} pt: {end}", ours, end, None, "none") for end in ENDS]
        for end, labels, on_candidate in zip(ours.ends, ours.labels, ours.on_candidate, strict=True):
            both.add("wrong" if end == wrong else "other", labels, on_candidate)
        progress(f"hardest {difference:+.2f}")
    return [*cells, share_cell("hardest, wrong ends of both", both, "wrong", FOUND_OUTSIDE, REFERENCE)]
