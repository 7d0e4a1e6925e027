"""What becomes of the studies' winners in rollouts that move by themselves, on public rows.

    python bench/family_rollouts.py [--families intent_routing ...] [--seeds 1 2] [--at-once 5] [--list]

First ``python bench/families.py``: it studies each family and keeps homes and answers under DETENT_FAMILIES. Here each
winner is confirmed on the rows that its home had sealed, which asks the model once (bench/lifts/confirming.py); then a
copy of that home is served, and users with the held-out rows come until the rollout has ended (bench/lifts/rolling.py):
it starts on evidence where the confirmation nominated the winner, and as forced elsewhere. Half an hour for all, a
quarter where the confirmations are kept. Writes bench/results/family_rollouts.json, the section "Rolled out" of
docs/reference/families-measured.md; of another model than the embedded one, beside its results. Exits 1
where a rollout ended as its rows say it should not.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import commit, options_of
from lifts.confirming import confirm
from lifts.kept import Work, publish, rolled_out
from lifts.plan import PLAN, SEEDS
from lifts.recorded import VersionPair, pair_of
from lifts.rolled import WRONG, earlier, ended, judged
from lifts.rolling import roll_out

Ready = tuple[VersionPair, Mapping[str, Any] | None]


def main() -> int:
    options = options_of(__doc__, families=list(PLAN), seeds=list(SEEDS), at_once=5, list=False)
    work = Work.from_environment()
    if not options.list:
        run(options.families, work, options.seeds, options.at_once)
    result = rolled_out(work)
    if result is None:
        print(f"Nothing was rolled out: no family is measured under {work.folder}. First: python bench/families.py")
        return 0
    publish(work)
    for cell in result["cells"]:
        print(f"{cell['family']}: {ended(cell)} after {cell['n_requests']:,} requests: {judged(cell)}")
    return 1 if any(judged(cell) == WRONG for cell in result["cells"]) else 0


def run(names: Sequence[str], work: Work, seeds: Sequence[int], at_once: int) -> None:
    """Confirms one after the other, so that the model answers alone, then rolls out ``at_once`` side by side.

    A family that fails says why and leaves the others alone.
    """
    with tempfile.TemporaryDirectory(prefix="detent-rollouts-") as folder:
        ready: dict[str, Ready] = {}
        for name in names:
            measured = [seed for seed in seeds if work.result(name, seed).is_file()]
            if measured:
                with _failures_said(name):
                    ready[name] = _ready(name, work, measured, Path(folder))
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            list(pool.map(lambda name: _roll_out(name, work, *ready[name]), ready))


def _ready(name: str, work: Work, seeds: Sequence[int], folder: Path) -> Ready:
    """Who is compared, in a copy of the home, and what the confirmation of a winner showed."""
    copy = Path(shutil.copytree(work.folder / name, folder / name))
    pair = pair_of(copy, name, seeds, work.data)
    if not pair.is_searched:
        return pair, None
    confirmed = confirm(name, pair, work.confirmed(name, pair.candidate.id))
    home = shutil.copytree(confirmed.home, folder / f"{name}_confirmed")
    return replace(pair, home=Path(home)), confirmed.record


def _roll_out(name: str, work: Work, pair: VersionPair, record: Mapping[str, Any] | None) -> None:
    with _failures_said(name):
        cell = {**roll_out(name, pair), "confirmed": record}
        path = work.rollout(name)
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        row = {**cell, "earlier": earlier(cell, before), "commit": commit()}
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        print(f"{name}: {ended(cell)}, {cell['minutes']:.1f} minutes", file=sys.stderr, flush=True)


@contextmanager
def _failures_said(name: str) -> Iterator[None]:
    """Says what fails, of one family; the others can still be rolled out."""
    try:
        yield
    except Exception as failure:
        print(f"{name}: {type(failure).__name__}: {str(failure)[:800]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
