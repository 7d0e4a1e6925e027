"""Whether the interval of the difference holds what it promises, simulated through the product's own gate and view.

    python bench/rollout_intervals.py [--runs 350] [--seed 1]

Whole rollouts to their end; after each block that the gate counts, the interval is looked at: does it hold the
difference, where that stays the same, and does it hold the estimate shown beside it. 2,100 rollouts in six cases,
about two minutes of CPU; writes bench/results/rollout_intervals.json and its section of
docs/reference/statistics-measured.md. Fewer runs are printed alone.
"""

from __future__ import annotations

from simulations.command import command
from simulations.interval_coverage import table_interval

if __name__ == "__main__":
    command("rollout_intervals", {"interval": table_interval}, about=str(__doc__), full=350)
