"""One user of the candidate whose every request fails, ten a minute for two hours,
while the candidate errs as rarely as the champion.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common import Cell

from optimizer.core.rollout.blocks import SECONDS, may_count
from optimizer.core.statistics.guardrails import Guardrail
from optimizer.core.statistics.outcomes import Block, Outcomes
from simulations.guardrail_alarms import HOPELESS
from simulations.tally import Tally, progress, share_cell

ERRORS = 0.01
SHARE = 0.10
VALUES_PER_STAGE = 30  # of the rule that lets a unit count once a minute
TWO_HOURS = 2 * 3600 // SECONDS  # blocks
REQUESTS_PER_BLOCK = 10 * SECONDS // 60 + 1


MayCount = Callable[[int, int | None, int], bool]  # (values given, minute of the last, minute) -> another one?

FEW_MORE = {
    "growing waits": 6,
    "a value a minute": VALUES_PER_STAGE,
    "every request counted": 10**9,
}  # values after which hardly any come

RULES: dict[str, MayCount] = {
    "growing waits": lambda n, last, minute: may_count(n_values=n, last_minute=last, minute=minute),  # the product's
    "a value a minute": lambda n, last, minute: last != minute and n < VALUES_PER_STAGE,
    "every request counted": lambda n, last, minute: True,
}


def run_heavy(rng: np.random.Generator, rps: float, *, rule: str) -> str:
    """How a stage of two hours ends for one rollout whose candidate has that user."""
    guardrail, values, last = Guardrail.start("errors", champion_mean=ERRORS), 0, None
    for block in range(TWO_HOURS):
        minute = block * SECONDS // 60
        counts = RULES[rule](values, last, minute)
        mine = (REQUESTS_PER_BLOCK if rule == "every request counted" else 1) if counts else 0
        if counts:
            values, last = values + 1, minute
        n = int(rng.poisson(SECONDS * rps))
        n_c = int(rng.binomial(n, SHARE))
        failed = int(rng.binomial(n_c, ERRORS)) + mine
        champion = Outcomes.binary(n - n_c, int(rng.binomial(n - n_c, ERRORS)))
        guardrail = guardrail.after(Block(stage=0, candidate=Outcomes.binary(n_c + mine, failed), champion=champion))
        if guardrail.alarmed:
            return "alarm"
        if values >= FEW_MORE[rule] and guardrail.evidence.log_e < HOPELESS:
            break
    return "none"


def table_heavy(runs: int, seed: int) -> list[Cell]:
    cells = []
    for rps in (1.0, 5.0, 20.0):
        tallies = {rule: Tally() for rule in RULES}
        for rule, tally in tallies.items():
            for run in range(runs):
                tally.add(run_heavy(np.random.default_rng([seed, 10, int(rps), run]), rps, rule=rule), 0, 0)
        ours = tallies.pop("growing waits")
        for rule, tally in tallies.items():
            cells.append(
                share_cell(f"heavy user, {rps:g}/s, growing waits: alarm", ours, "alarm", tally.share("alarm"), rule)
            )
        progress(f"heavy user {rps:g}/s")
    return cells
