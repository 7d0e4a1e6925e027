"""Which rule finds the best variant of a recorded table for a share of its calls?

Same pool, same order, same calls for every rule.

    python bench/prompt_tables.py [--development] [--draws N]

Needs the tables of DETENT_SHARED (data/prompt_tables, data/judge_calibration/hanna, data/cascade_logs). What each part
is for, and what is measured, stands on the page that this writes: docs/reference/search-tables-measured.md, beside
bench/results/prompt_tables.json. --development looks at the development tables alone, at the rules among which ours was
chosen too, and writes neither. Each table is kept when it is done (under DETENT_RECORDED, or in the user's cache
folder), so a stop loses at most one.

Exits 1 if at 20 % of the calls a published rule loses less than ours by its whole interval on any group of confirmation
tables, or if more than 5 % of studies report an improvement where none is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from common import CACHE, Cell, beside, data_of, options_of, table, write_result
from fixed_pool.page import worse_at_the_bar
from fixed_pool.pools import CONFIRMATION, DEVELOPMENT, Pool
from fixed_pool.studies import improved, without_differences
from fixed_pool.trials import CONSIDERED, RULES, TableResult, cells, groups, measure

from optimizer.core.statistics.interval import wilson_interval

STUDIES, STUDIED = range(1, 5), 120  # seeds for each table; examples, half of them held out
MOST_FALSE = 0.05


def main() -> int:
    options = options_of(__doc__, development=False, draws=(int, "of each table (default: 100, of the means 8)"))
    folder = data_of("prompt_tables")
    rows, measured, tables = list[Cell](), list[TableResult](), dict[str, Pool]()
    cache = CACHE / "prompt_tables"
    for part in (DEVELOPMENT,) if options.development else (DEVELOPMENT, CONFIRMATION):
        for group in groups(folder, part):
            rules = {**RULES, **CONSIDERED} if part == DEVELOPMENT else RULES
            trials = [
                measure(pool, cache, options.draws, n_examples=group.n_examples, rules=rules) for pool in group.pools
            ]
            print(f"{group.name} is done", file=sys.stderr, flush=True)
            tables |= {pool.name: pool for pool in group.pools if pool.means is None}
            rows += cells(group.name, trials)
            measured += trials
    if options.development:
        print(table(rows))
        return 0
    false = shuffled(list(tables.values()))
    n_same, n = (sum(one.agreed[i] for one in measured) for i in (0, 1))
    agreed = beside("agreed: choices of ours that the product's code makes too", n_same, n, "all", "choices", n)
    write_result("prompt_tables", [agreed, *rows, false])
    return verdict(rows, false)


def shuffled(tables: Sequence[Pool], seeds: Sequence[int] = STUDIES) -> Cell:
    """Studies with strategy race on STUDIED examples of each table at most, half of them held out,
    each example's scores dealt out among the variants by chance.
    """
    n_false = 0
    for pool in tables:
        some = pool.scores[:, np.random.default_rng(1).permutation(pool.scores.shape[1])[:STUDIED]]
        n_false += sum(improved(without_differences(some, seed)) for seed in seeds)
    n = len(tables) * len(seeds)
    bounds = wilson_interval(n_false, n)
    return Cell(
        case="shuffled: improvement reported by a study that races",
        ours=n_false / n,
        other=MOST_FALSE,
        other_name="the most allowed",
        low=bounds.lower,
        high=bounds.upper,
        unit="share of studies; bounds of ours",
        n=n,
    )


def verdict(rows: Sequence[Cell], false: Cell) -> int:
    worse = worse_at_the_bar([vars(cell) for cell in rows])
    print(f"At 20 % of the calls a rule loses less than ours by its whole interval: {'; '.join(worse) or 'nowhere'}.")
    print(f"Shuffled, {false.ours:.1%} of {false.n} studies report an improvement; at most {MOST_FALSE:.0%} may.")
    return 1 if worse or false.ours is None or false.ours > MOST_FALSE else 0


if __name__ == "__main__":
    sys.exit(main())
