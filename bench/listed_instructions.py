"""Does a search of a list of instructions try each of them, and lose no more than its rule alone?

    python bench/listed_instructions.py [--draws N] [--minutes M]

Claim: of 60 paired runs of `detent study run` all try every instruction of lists of 26 and 100 where the cap pays for
four dev rows each; over 420 replayed races with each cap the mean loss lies within .2 points of the rule alone
(ContinuousRejects) at equal calls.

Data: the recorded tables of DETENT_SHARED (data/prompt_tables) with answers that are right or wrong. Peers: the rule
alone on the same rows, for the replays with the same cap and in the same orders, for the runs with as many calls as the
whole search made; its twin as published stands in bench/prompt_tables.py. The runs go through the command and a
stand-in provider on loopback, the replays through the strategy in memory. A quarter of an hour on two cores; writes
bench/results/listed_instructions.json and docs/reference/listed-instructions-measured.md. What is done is kept under
var/bench/listed, and not done again by the same commit.

Exits 1 where a run leaves an instruction untried, or where the replays of a cap lose in the mean over MARGIN points
more than the rule.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from common import ROOT, Cell, cell, commit, data_of, options_of, write_result
from fixed_pool.pools import CONFIRMATION, Pool, pools
from fixed_pool.trials import interval
from listed.page import MARGIN, mean_difference
from listed.replays import SearchResult, drawn, least_calls, raced
from listed.studies import PLAIN, study

Make = Callable[[], list[Cell]]
KEPT = ROOT / "var" / "bench" / "listed" / str(commit())
ROOMY_SEEDS = (2, *range(4, 11))  # of runs with three times the least cap
TABLES = ("trec_relevance_binary_gpt-4o", "trec_relevance_binary_mistral", "ups_sst2_opt-2.7b")
N_HOLDOUT, SIZES, CAPS = 100, (20, 60), (1.0, 1.5, 2.0)


def main() -> int:
    options = options_of(
        __doc__,
        draws=(70, "replayed races of each table and size (default: 70)"),
        minutes=(float, "after so many nothing new is begun (default: no end)"),
    )
    folder = data_of("prompt_tables")
    tables = [pool for pool in pools(folder, CONFIRMATION) if pool.name in TABLES]
    started, cells = time.monotonic(), list[Cell]()
    for name, make in tasks(tables, options.draws):
        is_late = options.minutes is not None and time.monotonic() - started > 60 * options.minutes
        cells += cells_of(name, None if is_late else make)
    write_result("listed_instructions", cells)
    return verdict(cells)


def tasks(tables: Sequence[Pool], n_draws: int) -> list[tuple[str, Make]]:
    """Runs of each table with both strategies: with the least cap and nothing but the list, with the least cap and
    every size as it comes, and with three times that cap, with several seeds; and its replays.
    """
    definitions: list[tuple[int, int, Mapping[str, Any]]] = [(1, 1, PLAIN), (3, 1, {})]
    definitions += [(seed, 3, {}) for seed in ROOMY_SEEDS]
    raced_again, typed = list[tuple[str, Make]](), list[tuple[str, Make]]()
    for n_dev, pool, cap in product(SIZES, tables, CAPS):
        name = f"replayed {pool.name} {n_dev} {cap} {n_draws}"
        raced_again.append((name, partial(replays, pool, n_dev, cap, n_draws)))
    for (seed, times, definition), pool, strategy in product(definitions, tables, ("race", "joint")):
        n = len(pool.scores)
        cap = 2 * N_HOLDOUT + times * least_calls(n)
        typed.append((f"run {pool.name} {strategy} {seed}", partial(run, pool, seed, strategy, cap, definition)))
    half = len(raced_again) // 2
    return [*raced_again[:half], *typed, *raced_again[half:]]


def cells_of(name: str, make: Make | None) -> list[Cell]:
    """What was made before under this name, else what is made now, if anything is: a stop loses one run or one size."""
    path = KEPT / f"{name.replace(' ', '_')}.json"
    if not path.exists():
        if make is None:
            return []
        KEPT.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(cell) for cell in make()]), encoding="utf-8")
        print(f"{name}: done", file=sys.stderr, flush=True)
    return [Cell(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))]


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


def run(pool: Pool, seed: int, strategy: str, cap: int, definition: Mapping[str, Any]) -> list[Cell]:
    """A race over nothing but the list is replayed on the same rows, too."""
    one, same = study(pool.scores, seed, strategy=strategy, cap=cap, definition=definition), list[Cell]()
    case = f"run, {pool.name} ({len(pool.scores)}), {strategy}, seed {seed}, cap of {cap} calls: "
    print(f"{case}{one.said}", file=sys.stderr)
    searched = one.searched
    if strategy == "race" and definition == PLAIN:
        is_same = raced(one.drawn, seed, cap - 2 * N_HOLDOUT).chosen == searched.chosen
        same = [cell(f"{case}chosen by the replay too", float(is_same), "", 1, other=1, by="the run")]
    lost = zip(("dev", "all rows"), searched.lost, searched.rule_lost, strict=True)
    return [
        cell(f"{case}tried", searched.n_tried, "", 1, other=searched.n, by="the list"),
        cell(f"{case}calls of its search", searched.calls, "", 1),
        *(
            cell(f"{case}points lost on {where}", ours, "", 1, other=rule, by="the rule alone")
            for where, ours, rule in lost
        ),
        *same,
    ]


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
