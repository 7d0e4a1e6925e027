"""Our `bootstrap` against DSPy's own random search: same rows, seeds, candidates and model;
who finds the better prompt?

    python bench/search_floor.py [--rows full|small] [--seeds 1 2 3] [--cache FOLDER]

Task: the one topic, of eight, of an arXiv abstract. Ours is a study as users run it. The other arm is a plain DSPy
program: its own template adapter and engine, BootstrapFewShotWithRandomSearch over the whole range of candidates,
DSPy's own choice. Both are scored on the same held-out rows. Answers are journaled in the cache folder, so that a
stopped run goes on; requests that are the same in both arms are asked once, and each arm's calls are counted as if it
had been alone.

Exits 1 when the mean of ours over the seeds is more than .05 below the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from common import RESULTS, SHARED, Cell, write_result
from floor.dspy_program import by_dspy
from floor.ours import ours
from floor.task import Arm, Bench, Row, Sizes, family_of

from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

BAR = 0.05
ROWS = {
    "full": Sizes(train=80, dev=40, holdout=100, candidates=8),
    "small": Sizes(train=8, dev=6, holdout=8, candidates=1),
}


def main() -> int:
    options = _options()
    data = SHARED / "data" / "document_analysis"
    if not data.is_dir():
        print(f"Skipped: the rows are not at {data}. Set DETENT_SHARED to the folder that holds data/.")
        return 0
    options.cache.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    settings = load_settings(home=options.cache)
    wiring.migrate_store(settings)
    store, models = wiring.open_store(settings), wiring.open_models(settings)
    bench = Bench(
        sizes=ROWS[options.rows], settings=settings, store=store, clock=wiring.open_clock(settings), models=models
    )
    try:
        arms = [(seed, *_both(bench, data, seed)) for seed in options.seeds]
    finally:
        models.close()
        store.close()
    return _report(arms, RESULTS if options.rows == "full" else options.cache)


def _both(bench: Bench, data: Path, seed: int) -> tuple[Arm, Arm]:
    sizes = bench.sizes
    train_rows, dev_rows = _read(data / "train.jsonl"), _read(data / "dev.jsonl")
    rng = random.Random(seed)
    rng.shuffle(train_rows)
    rng.shuffle(dev_rows)
    rows = {
        "train": train_rows[: sizes.train],
        "dev": train_rows[sizes.train : sizes.train + sizes.dev],
        "holdout": dev_rows[: sizes.holdout],
    }
    family = family_of(seed, sizes, rows)
    study, our_arm = ours(bench, family, rows, seed)
    other = by_dspy(bench, family, study, rows, seed)
    print(
        f"seed {seed}: ours {our_arm.mean:.3f} held out ({our_arm.dev_score:.3f} dev, {our_arm.n_calls} calls), "
        f"DSPy {other.mean:.3f} ({other.dev_score:.3f} dev, {other.n_calls} calls)",
        flush=True,
    )
    return our_arm, other


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _report(arms: Sequence[tuple[int, Arm, Arm]], folder: Path) -> int:
    def cell(case: str, ours: list[float], other: list[float]) -> Cell:
        a, b = sum(ours) / len(ours), sum(other) / len(other)
        interval = bootstrap_interval([x - y for x, y in zip(ours, other, strict=True)], seed=1)
        ratio = a / b if b else None
        unit = "held-out accuracy (low, high: of ours - other)"
        return Cell(
            case=case,
            ours=a,
            other=b,
            other_name="DSPy",
            ratio=ratio,
            low=interval.lower,
            high=interval.upper,
            unit=unit,
            n=len(ours),
        )

    cells = [cell(f"seed {seed}", ours.scores, other.scores) for seed, ours, other in arms]
    mean = cell("mean of seeds", [s for _, a, _ in arms for s in a.scores], [s for _, _, b in arms for s in b.scores])
    calls = [
        Cell(
            case=f"calls, seed {seed}",
            ours=a.n_calls,
            other=b.n_calls,
            other_name="DSPy",
            ratio=a.n_calls / b.n_calls,
            low=None,
            high=None,
            unit="calls of the search",
            n=1,
        )
        for seed, a, b in arms
    ]
    path = write_result("search_floor", [*cells, mean, *calls], folder)
    assert mean.other is not None
    passed = mean.ours >= mean.other - BAR
    print(
        f"{'Passed' if passed else 'Failed'}: ours {mean.ours:.3f}, DSPy {mean.other:.3f}, at most {BAR} below allowed."
        f" {path} {datetime.now(UTC):%H:%M} UTC"
    )
    return 0 if passed else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", choices=sorted(ROWS), default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    cache = Path(os.environ.get("XDG_CACHE_HOME", tempfile.gettempdir())) / "detent-bench-search-floor"
    parser.add_argument("--cache", type=Path, default=cache, help="where answers are journaled; outside the repository")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
