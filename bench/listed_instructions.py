"""Does a search of a list of instructions try each of them, and lose no more than its rule alone?

    python bench/listed_instructions.py [--draws N]

Claim: replayed races try every instruction of lists of 26 and 100 where the cap pays for four dev rows each; over 420
with each cap the mean loss lies within .2 points of the rule alone (ContinuousRejects) at equal calls.

Data: the recorded tables of DETENT_SHARED (data/prompt_tables) with answers that are right or wrong. Peer: the rule
alone on the same rows, with the same cap and in the same orders; its twin as published stands in
bench/prompt_tables.py. Races go through the strategy in memory. Some minutes; writes
bench/results/listed_instructions.json and docs/reference/listed-instructions-measured.md.

Exits 1 where a race leaves an instruction untried, or where the replays of a cap lose in the mean over MARGIN points
more than the rule.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product

import numpy as np
from common import Cell, cell, data_of, options_of, write_result
from fixed_pool.pools import CONFIRMATION, Pool, pools
from fixed_pool.trials import interval
from listed.page import MARGIN, mean_difference
from listed.replays import SearchResult, drawn, least_calls, raced

TABLES = ("trec_relevance_binary_gpt-4o", "trec_relevance_binary_mistral", "ups_sst2_opt-2.7b")
SIZES, CAPS = (20, 60), (1.0, 1.5, 2.0)


def main() -> int:
    options = options_of(__doc__, draws=(70, "replayed races of each table and size (default: 70)"))
    folder = data_of("prompt_tables")
    tables = [pool for pool in pools(folder, CONFIRMATION) if pool.name in TABLES]
    cells = [
        cell for n_dev, pool, cap in product(SIZES, tables, CAPS) for cell in replays(pool, n_dev, cap, options.draws)
    ]
    write_result("listed_instructions", cells)
    return verdict(cells)


def replays(pool: Pool, n_dev: int, cap: float, n_draws: int) -> list[Cell]:
    n = len(pool.scores)
    calls = round(least_calls(n) * cap)
    searches = [raced(drawn(pool.scores, seed, n_dev), seed, calls) for seed in range(n_draws)]
    case = f"replayed, {pool.name} ({n}), {n_dev} dev rows, {cap:g} x: "
    return [
        cell(
            f"{case}calls", np.mean([one.calls for one in searches]), "", n_draws, other=calls, by="cap of the search"
        ),
        cell(f"{case}tried", min(one.n_tried for one in searches), "", n_draws, other=n, by="the list"),
        *(_lost(f"{case}points lost on {where}", searches, at) for at, where in enumerate(("dev", "all rows"))),
    ]


def _lost(case: str, searches: Sequence[SearchResult], at: int) -> Cell:
    ours, rule = (np.array([getattr(one, name)[at] for one in searches]) for name in ("lost", "rule_lost"))
    unit = "points; bounds of ours - the rule's over the draws"
    return cell(case, ours.mean(), unit, len(searches), interval(ours - rule), rule.mean(), "the rule alone")


def verdict(cells: Sequence[Cell]) -> int:
    left = [c.case for c in cells if c.case.endswith(": tried") and c.ours != c.other]
    lost = {cap: mean_difference(cells, cap) for cap in CAPS}
    worse = [f"{cap:g} x" for cap, (mean, _) in lost.items() if mean is not None and mean > MARGIN]
    print(f"Left an instruction untried: {'; '.join(left) or 'none'}.")
    print(
        f"Lost over {MARGIN} points more than the rule, in the mean of a cap's replays: {', '.join(worse) or 'none'}."
    )
    return 1 if left or worse else 0


if __name__ == "__main__":
    sys.exit(main())
