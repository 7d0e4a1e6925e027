"""How often and how soon rollouts end rightly and wrongly, simulated through the product's own gates beside other rules.

    python bench/rollout_statistics.py [--runs 2000] [--seed 1] [--only A,B,C,drift]

A: a fixed ramp watched by many rules. B: rules that drive the ramp themselves. C: guardrails in seconds. drift: B's gate while the base
rate moves. Base .80, margin .05, blocks of 40 labelled outcomes. One process, one core; about half an hour for 2,000 runs on an idle one.
"""

from __future__ import annotations

import argparse

from common import write_result
from simulations.fixed_ramp import table_a
from simulations.guardrail_alarms import table_c
from simulations.own_ramps import table_b, table_drift

TABLES = {"A": table_a, "B": table_b, "drift": table_drift, "C": table_c}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(TABLES), help="tables, with commas between them")
    arguments = parser.parse_args()
    cells = [cell for name in arguments.only.split(",") for cell in TABLES[name](arguments.runs, arguments.seed)]
    name = "rollout_statistics" if arguments.only == ",".join(TABLES) else f"rollout_statistics_{arguments.only.replace(',', '_')}"
    write_result(name, cells)


if __name__ == "__main__":
    main()
