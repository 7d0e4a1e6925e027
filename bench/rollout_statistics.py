"""How often and how soon rollouts end rightly and wrongly,
simulated through the product's own gates beside other rules.

    python bench/rollout_statistics.py [--runs 2000] [--seed 1] [--only A,B,drift,late,returning,whole,C,heavy,D]

A: a fixed ramp watched by many rules. B: rules that drive the ramp themselves. drift: base rates and shares that move.
late: feedback that comes late, bad news first. returning: the same users again and again. whole: quality gate and
guardrails at once, by the functions that the tick calls. C: guardrails in seconds. heavy: one user that always fails.
D: monitors of the champion. Base .80, margin .05, blocks of 40 labelled outcomes. A run of all tables with 2,000 runs
or more writes the result and docs/reference/statistics-measured.md; any other is
printed. One process, one core, about an hour; with two cores, two processes with
--only and --part FILE each, then --merge FILE FILE.
"""

from __future__ import annotations

from simulations.command import command
from simulations.drift_monitors import table_d
from simulations.fixed_ramp import table_a
from simulations.guardrail_alarms import table_c
from simulations.heavy_user import table_heavy
from simulations.late_feedback import table_late
from simulations.own_ramps import table_b, table_drift
from simulations.returning_users import table_returning
from simulations.whole_rollout import table_whole

TABLES = {
    "A": table_a,
    "B": table_b,
    "drift": table_drift,
    "late": table_late,
    "returning": table_returning,
    "whole": table_whole,
    "C": table_c,
    "heavy": table_heavy,
    "D": table_d,
}

if __name__ == "__main__":
    command("rollout_statistics", TABLES, about=str(__doc__), full=2000)
