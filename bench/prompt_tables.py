"""Which rule finds the best variant of a recorded table for a share of its calls? Same pool, same order, same calls for every rule.

    python bench/prompt_tables.py [--development] [--draws N]

Needs the tables of DETENT_SHARED (data/prompt_tables). What each part is for, and what is measured, stands on the page that this
writes: docs/reference/search-tables-measured.md, beside bench/results/prompt_tables.json. --development looks at the development
tables alone and writes neither. Each table is kept when it is done (folder of DETENT_RECORDED), so a stop loses at most one.

Exits 1 if ours loses more than continuous rejects as published (CR-A) on the confirmation tables by more than the error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from common import RESULTS, ROOT, SHARED, Cell, table, write_result
from fixed_pool.page import page
from fixed_pool.pools import CONFIRMATION, DEVELOPMENT, MEANS, pools
from fixed_pool.trials import Measured, cells, measure
from record_answers import recorded_folder

PAGE = ROOT / "docs" / "reference" / "search-tables-measured.md"
PUBLISHED = "continuous rejects, CR-A"


def main() -> int:
    options = _options()
    folder = SHARED / "data" / "prompt_tables"
    if not folder.is_dir():
        print(f"Skipped: no tables at {folder}. Set DETENT_SHARED to the folder that holds data/.")
        return 0
    made, measured = list[Cell](), list[Measured]()
    for part in (DEVELOPMENT,) if options.development else (DEVELOPMENT, CONFIRMATION, MEANS):
        found = []
        for pool in pools(folder, part):
            found.append(measure(pool, part, recorded_folder() / "prompt_tables", options.draws))
            print(f"{part}: {pool.name} is done", file=sys.stderr)
        made += cells(part, found)
        measured += found
    if options.development:
        print(table(made))
        return 0
    path = write_result("prompt_tables", [_agreed(measured), *made], RESULTS)
    PAGE.write_text(page(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    return verdict(made)


def verdict(made: Sequence[Cell]) -> int:
    bars = [c for c in made if c.case.startswith(f"{CONFIRMATION}: ") and c.other_name == PUBLISHED]
    worse = [c.case for c in bars if c.low is not None and c.low > 0]
    print(f"Ours loses more than {PUBLISHED} by more than the error: {', '.join(worse) or 'nowhere'}.")
    return 1 if worse else 0


def _agreed(measured: Sequence[Measured]) -> Cell:
    n_same, n = (sum(one.agreed[i] for one in measured) for i in (0, 1))
    return Cell(
        case="agreed: choices of ours that the product's code makes too", ours=n_same, other=n, other_name="all", ratio=n_same / n,
        low=None, high=None, unit="choices", n=n,
    )  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--draws", type=int, help="of each table (default: 40, of the means 10)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
