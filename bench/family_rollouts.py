"""What becomes of the studies' winners in rollouts that move by themselves, on public rows; no model is asked.

    python bench/family_rollouts.py [--families intent_routing ...] [--seeds 1 2] [--at-once 5] [--list]

First ``python bench/families.py``: it studies each family and keeps homes and answers under DETENT_FAMILIES. Here a
copy of each home is served, and users with the held-out rows come until the rollout has ended (bench/lifts/rolling.py).
Some minutes for all. Writes bench/results/family_rollouts.json, the section "Rolled out" of
docs/reference/families-measured.md and a sentence of each family's page; of another model than the embedded one, beside
its results. Exits 1 where a rollout ended as its rows say it should not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from common import commit
from lifts.kept import Work, cache, publish, rolled_out
from lifts.plan import PLAN, SEEDS
from lifts.recorded import pair_of
from lifts.rolled import WRONG, earlier, ended, judged
from lifts.rolling import roll_out

MIGRATING = Lock()  # stores of a process are brought up to date one after the other


def main() -> int:
    options = _options()
    work = Work.below(options.cache)
    measured = [name for name in options.families if _measured(work, name, options.seeds)]
    if not options.list:
        with ThreadPoolExecutor(max_workers=options.at_once) as pool:
            list(pool.map(lambda name: run(name, work, options.seeds), measured))
    result = rolled_out(work)
    if result is None:
        print(f"Nothing was rolled out: no family is measured under {work.folder}. First: python bench/families.py")
        return 0
    publish(work)
    for cell in result["cells"]:
        print(f"{cell['family']}: {ended(cell)} after {cell['n_requests']:,} requests: {judged(cell)}")
    return 1 if any(judged(cell) == WRONG for cell in result["cells"]) else 0


def run(name: str, work: Work, seeds: Sequence[int]) -> None:
    """One family, kept; one that fails says why and leaves the others alone."""
    with tempfile.TemporaryDirectory(prefix="detent-rollout-") as folder:
        copy = Path(shutil.copytree(work.folder / name, Path(folder) / name))
        try:
            with MIGRATING:
                pair = pair_of(copy, name, _measured(work, name, seeds), work.data)
            cell = roll_out(name, pair)
        except Exception as failure:  # of one family; the others can still be rolled out
            print(f"{name}: {type(failure).__name__}: {str(failure)[:800]}", file=sys.stderr, flush=True)
            return
    path = work.rollout(name)
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    kept = {**cell, "earlier": earlier(cell, before), "commit": commit()}
    path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    print(f"{name}: {ended(cell)}, {cell['minutes']:.1f} minutes", file=sys.stderr, flush=True)


def _measured(work: Work, name: str, seeds: Sequence[int]) -> list[int]:
    return [seed for seed in seeds if work.result(name, seed).is_file()]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=list(PLAN), default=list(PLAN))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), help="the first whose study changed it")
    parser.add_argument("--at-once", type=int, default=5, help="homes that are served side by side")
    parser.add_argument("--list", action="store_true", help="roll out nothing; write what is kept")
    parser.add_argument("--cache", type=Path, default=cache())
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
