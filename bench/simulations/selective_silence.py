"""Users of the candidate who stay silent when they are unhappy:
how often a candidate that is worse by the margin then ships.

The same runs make the comparison of both arms' rates of feedback, as the product does at every block: a rate that
differs withholds the next step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from common import Cell

from optimizer.core.statistics.sample_ratio import label_rates_differ
from simulations.own_rule import BUDGET, LADDER, OwnRule
from simulations.tally import BASE, BLOCK, DELTA, Tally, as_block, progress, share_cell
from simulations.whole_days import MAX_HOURS, OURS, Rules

SILENT = (0.05, 0.10, 0.20)  # of the unhappy
FEEDBACK = {1.0: "everybody else gives feedback", 0.2: "one in five of the others does"}
SEEN = "the rates of feedback are seen to differ"


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Which share of the unhappy of either arm stays silent, and which share of all others gives feedback."""

    candidate: float
    champion: float = 0.0
    feedback: float = 1.0


def run_silent(rng: np.random.Generator, silence: Silence) -> tuple[str, int, float, bool]:
    """A candidate at -5 points: how it ended, labels in all, units on the candidate,
    whether the rates of feedback were ever seen to differ.

    A block has as many units as would give 40 outcomes if nobody were silent.
    """
    rollout, seen, on_candidate, ever = OwnRule(), 0, 0, False
    counts, stage, differ = (
        np.zeros(4, dtype=int),
        0,
        False,
    )  # labelled and units of the candidate, then of the champion
    while seen < BUDGET:
        if rollout.stage != stage:
            counts, stage, differ = np.zeros(4, dtype=int), rollout.stage, False
        units, outcomes = draw_units(rng, rollout.share, silence)
        counts += [outcomes[0], units[0], outcomes[2], units[1]]
        labelled_c, units_c, labelled_b, units_b = counts.tolist()
        differ = differ or label_rates_differ(labelled_c, labelled_b, units_c=units_c, units_b=units_b)
        ever = ever or differ
        seen, on_candidate = seen + outcomes[0] + outcomes[2], on_candidate + units[0]
        ending = rollout.after_block(as_block(stage, outcomes), waits_for=(SEEN,) if differ else ())
        if ending:
            return ending, seen, on_candidate, ever
    return "inconclusive", seen, on_candidate, ever


def run_silent_days(rng: np.random.Generator, silence: Silence) -> tuple[str, int, float]:
    """As ``run_silent`` by the default rule, which waits for whole days, with a block an hour. Nothing waits for the
    rates of feedback.
    """
    rules, on_candidate = Rules(names=(OURS,), week=False, budget=BUDGET), 0
    for hour in range(MAX_HOURS):
        units, outcomes = draw_units(rng, LADDER[rules.stage], silence)
        on_candidate += units[0]
        rules.after(as_block(rules.stage, outcomes), cohort=hour, now=hour + 1)
        if rules.over:
            break
    ending, labels, _ = rules.ends.get(OURS, ("inconclusive", rules.gate.labelled, MAX_HOURS))
    return ending, labels, on_candidate


def draw_units(rng: np.random.Generator, share: float, silence: Silence) -> tuple[list[int], list[int]]:
    """Units of either arm, and n_c, s_c, n_b, s_b of those whose outcome is told."""
    n = round(BLOCK / silence.feedback)
    n_c = int(rng.binomial(n, share))
    outcomes = []
    for units, good, silent in ((n_c, BASE - DELTA, silence.candidate), (n - n_c, BASE, silence.champion)):
        gives = int(rng.binomial(units, silence.feedback))
        happy = int(rng.binomial(gives, good))
        outcomes += [happy + int(rng.binomial(gives - happy, 1 - silent)), happy]
    return [n_c, n - n_c], outcomes


def table_silent(runs: int, seed: int) -> list[Cell]:
    cases = [(f"{share:.0%} of the candidate's unhappy", Silence(candidate=share)) for share in SILENT]
    cases.append(("10% of the unhappy of both arms", Silence(candidate=0.10, champion=0.10)))
    cells = []
    for at, (name, silence) in enumerate(cases):
        for feedback, others in FEEDBACK.items():
            tally, n_seen = Tally(), 0
            for run in range(runs):
                *ended, differ = run_silent(
                    np.random.default_rng([seed, 9, at, run]), replace(silence, feedback=feedback)
                )
                tally.add(*ended)
                n_seen += differ
            cells.append(share_cell(f"silent, {name}, {others}: ships", tally, "promote", n_seen / runs, SEEN))
            progress(cells[-1].case)
    tally = Tally()
    for run in range(runs):
        tally.add(*run_silent_days(np.random.default_rng([seed, 13, run]), Silence(candidate=0.10)))
    case = "silent, 10% of the candidate's unhappy, everybody else gives feedback, whole days: ships"
    cells.append(share_cell(case, tally, "promote", None, SEEN))
    progress(cells[-1].case)
    return cells
