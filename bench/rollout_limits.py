"""Where the promise of 5 in 100 ends, the hardest case in which it was kept, and both gates together by the default,
simulated through the product's own gate.

    python bench/rollout_limits.py [--runs 2000] [--seed 1] [--only default] [--part FILE | --merge FILE FILE]

silent: users of a candidate that is worse by the margin do not say so. hardest: shares of .05, .20, .40, 6,000
returning users of whom a few send most requests, a base rate that swings by ten points a day. steep: the difference
swings by twenty points a day, at 400 and 2,000 labels an hour, so that hours lie below two margins. slow: the
candidate's labels take twice as long, the window is 24 hours, and one stage has all the evidence. default: an equal
candidate under the quality gate and the guardrails, with whole days. Base .80, margin .05. Half an hour on one core;
writes bench/results/rollout_limits.json and its sections of docs/reference/statistics-measured.md. Fewer runs are
printed alone.
"""

from __future__ import annotations

from functools import partial

from simulations.command import command
from simulations.late_labels import table_one_stage
from simulations.returning_users import table_hardest
from simulations.selective_silence import table_silent
from simulations.whole_days import STEEP, table_days
from simulations.whole_rollout import table_default

TABLES = {
    "silent": table_silent,
    "hardest": table_hardest,
    "steep": partial(table_days, names=list(STEEP), cases=STEEP),
    "slow": table_one_stage,
    "default": table_default,
}

if __name__ == "__main__":
    command("rollout_limits", TABLES, about=str(__doc__), full=2000)
