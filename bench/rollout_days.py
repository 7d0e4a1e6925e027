"""How often rollouts end wrongly where the difference between the arms swings with the hour or the week, simulated
through the product's own gate and rule, beside the rule before.

    python bench/rollout_days.py [--runs 2000] [--seed 43] [--only 0,3] [--part FILE | --merge FILE FILE]

Base .80, margin .05, 40 labels an hour, ladder 10, 25, 50, 75 %. A run of all cases with 2,000 runs or more writes
bench/results/rollout_days.json and its section of docs/reference/statistics-measured.md. An hour on one idle core; with
two, two processes with --only and --part each, then --merge. Fewer runs are printed alone.
"""

from __future__ import annotations

from functools import partial

from simulations.command import command
from simulations.whole_days import CASES, table_days

TABLES = {f"{number}": partial(table_days, names=[name]) for number, name in enumerate(CASES)}

if __name__ == "__main__":
    command("rollout_days", TABLES, about=str(__doc__), full=2000, seed=43)
