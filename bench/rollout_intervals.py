"""Whether the interval of the difference holds what it promises, simulated through the product's own gate and view.

    python bench/rollout_intervals.py [--runs 350] [--seed 1] [--processes 2]

Whole rollouts to their end; after each block that the gate counts, the interval is looked at: does it hold the
difference, where that stays the same, and does it hold the estimate shown beside it. 2,100 rollouts in six cases,
about two minutes of CPU; writes bench/results/rollout_intervals.json and its section of
docs/reference/statistics-measured.md. Fewer runs are printed alone.
"""

from __future__ import annotations

import argparse

from common import RESULTS, ROOT, table, write_result
from simulations.interval_coverage import table_interval
from simulations.limits_page import with_stored_sections

FULL = 350
PAGE = ROOT / "docs" / "reference" / "statistics-measured.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    cells = table_interval(arguments.runs, arguments.seed, processes=arguments.processes)
    if arguments.runs < FULL:
        print(table(cells))
        return
    write_result("rollout_intervals", cells, RESULTS)
    PAGE.write_text(with_stored_sections(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
