"""Where the promise of 5 in 100 ends, and the hardest case in which it was kept,
simulated through the product's own gate.

    python bench/rollout_limits.py [--runs 1000] [--seed 1]

silent: users of a candidate that is worse by the margin do not say so. hardest: shares of .05, .20, .40, 6,000
returning users of whom a few send most requests, a base rate that swings by ten points a day. Base .80, margin .05.
About eight minutes on one busy core; writes bench/results/rollout_limits.json and the last sections of
docs/reference/statistics-measured.md. Fewer runs are printed alone.
"""

from __future__ import annotations

import argparse

from common import RESULTS, ROOT, table, write_result
from simulations.limits_page import with_stored_sections
from simulations.returning_users import table_hardest
from simulations.selective_silence import table_silent

FULL = 1000
PAGE = ROOT / "docs" / "reference" / "statistics-measured.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    cells = [*table_silent(arguments.runs, arguments.seed), *table_hardest(arguments.runs, arguments.seed)]
    if arguments.runs < FULL:
        print(table(cells))
        return
    write_result("rollout_limits", cells, RESULTS)
    PAGE.write_text(with_stored_sections(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
