"""Cascade thresholds found on train and judged on dev: what they save, what they lose,
and how often that is more than allowed.

    python bench/cascades.py [--draws 500] [--chain-draws 60]

Reads the recorded cascades of DETENT_SHARED/data/cascade_logs in place.
Writes bench/results/cascades.json and docs/reference/cascades-measured.md. With the two others of `make bench-data`
half an hour.

Exits 1 unless the confident rule saves, for gpt-4o-mini > gpt-4o, within three points what a plain implementation
saves and refuses truthfulqa, and over the draws of every pair its loss exceeds a point in at most 10 % within binomial
error (pairs above it in their first draws are decided by 3,000 others, since of 177 pairs some are above by luck).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from math import sqrt

from cascade_logs.measures import ALLOWED, CHEAP, STRONG, hardest, query_only, with_confidence
from cascade_logs.tables import CONFIDENT_SETS, QUERY_SETS, read
from common import Cell, data_of, options_of, write_result

YARDSTICKS = {"rlc_mmlu": 0.43, "rlc_medmcqa": 0.31, "rlc_triviaqa": 0.69, "rlc_gsm8k": 0.52}
REFUSED = "rlc_truthfulqa"
TOLERANCE = 0.03


def main() -> int:
    options = options_of(__doc__, draws=500, chain_draws=60)
    data_of("cascade_logs")
    logs = [log for name in (*CONFIDENT_SETS, *QUERY_SETS) if (log := read(name)) is not None]
    cells = list[Cell]()
    for one in logs:
        started = time.monotonic()
        cells += (
            with_confidence(one, n_draws=options.draws, n_chain_draws=options.chain_draws)
            if one.name in CONFIDENT_SETS
            else query_only(one)
        )
        print(f"{one.name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    cells += [hardest(n) for n in (157, 230, 400, 638, 918, 2000)]
    write_result("cascades", cells)
    return verdict(cells)


def verdict(cells: Sequence[Cell]) -> int:
    """Prints every bar that is missed; 0 if none is."""
    by_case = {cell.case: cell for cell in cells}
    missed = []
    for name, yardstick in YARDSTICKS.items():
        cell = by_case[f"{name}: {CHEAP} > {STRONG}: saved on dev vs plain bound"]
        if cell.ours < yardstick - TOLERANCE or cell.ours < (cell.other or 0) - TOLERANCE:
            missed.append(f"{cell.case}: {cell.ours:.3f}, and {yardstick} less {TOLERANCE} are asked for")
    if by_case[f"{REFUSED}: {CHEAP} > {STRONG}: saved on dev vs plain bound"].ours != 0:
        missed.append(f"{REFUSED} is not refused")
    drawn = [c for c in cells if c.case.endswith(": above a point vs expected") and " > " in c.case]
    for first in drawn:
        cell = by_case.get(first.case.replace(": above a point vs expected", ": drawn again"), first)
        if cell.ours > ALLOWED + 1.645 * sqrt(ALLOWED * (1 - ALLOWED) / cell.n):
            missed.append(f"{cell.case}: {cell.ours:.3f} of {cell.n} draws")
    worst = max(drawn, key=lambda c: c.ours)
    print(
        f"Of {len(drawn)} pairs the confident rule exceeds a point most often in {worst.case.split(': above')[0]}:"
        f" {worst.ours:.3f} of the draws."
    )
    print("\n".join(["Every bar is held."] if not missed else ["Missed:", *missed]))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
