"""One user of the candidate whose every request fails, ten a minute for six hours, while the candidate errs as rarely as the champion."""

from __future__ import annotations

import numpy as np
from common import Cell

from optimizer.core.blocks import SECONDS, VALUES_PER_STAGE
from optimizer.core.statistics.guardrails import Guardrail
from optimizer.core.statistics.outcomes import Block, Outcomes
from simulations.guardrail_alarms import HOPELESS, SIX_HOURS
from simulations.tally import Tally, progress, share_cell

ERRORS = 0.01
SHARE = 0.10
REQUESTS_PER_BLOCK = 10 * SECONDS // 60 + 1


def run_heavy(rng: np.random.Generator, rps: float, *, most: int | None) -> str:
    """``most`` values of that user, one a minute as the tick counts; None: every request."""
    guardrail, values = Guardrail.start("errors", champion_mean=ERRORS), 0
    for block in range(SIX_HOURS):
        mine = REQUESTS_PER_BLOCK if most is None else int(block % (60 // SECONDS) == 0 and values < most)
        values += mine
        n = int(rng.poisson(SECONDS * rps))
        n_c = int(rng.binomial(n, SHARE))
        failed = int(rng.binomial(n_c, ERRORS)) + mine
        champion = Outcomes.binary(n - n_c, int(rng.binomial(n - n_c, ERRORS)))
        guardrail = guardrail.after(Block(stage=0, candidate=Outcomes.binary(n_c + mine, failed), champion=champion))
        if guardrail.alarmed:
            return "alarm"
        if values == most and guardrail.evidence.log_e < HOPELESS:
            break
    return "none"


def table_heavy(runs: int, seed: int) -> list[Cell]:
    cells = []
    for rps in (1.0, 5.0, 20.0):
        tallies = {most: Tally() for most in (VALUES_PER_STAGE, 3, None)}
        for most, tally in tallies.items():
            for run in range(runs):
                tally.add(run_heavy(np.random.default_rng([seed, 10, int(rps), run]), rps, most=most), 0, 0)
        ours = tallies.pop(VALUES_PER_STAGE)
        for most, tally in tallies.items():
            name = "every request counted" if most is None else f"{most} values a stage"
            cells.append(
                share_cell(f"heavy user, {rps:g}/s, {VALUES_PER_STAGE} values a stage: alarm", ours, "alarm", tally.share("alarm"), name)
            )
        progress(f"heavy user {rps:g}/s")
    return cells
