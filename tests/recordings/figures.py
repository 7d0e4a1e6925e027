"""Figures of the core by hash: ids and buckets, one search, cascades' thresholds; and, by the command alone, the tables
of simulated rollouts and of recorded cascades.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from importlib import import_module
from itertools import product
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.search.cascade.thresholds import LeastCost, search
from optimizer.core.serving.assignment import bucket
from tests.clock import Clock
from tests.recordings.fixed import fixed
from tests.recordings.home import KEPT
from tests.rows.policy_records import drawn_records
from tests.worlds.study_world import START, World

FIGURES, TABLES = KEPT / "figures.json", KEPT / "tables.json"
Figures = dict[str, dict[str, str]]  # of what > case > hash
BENCH = Path(__file__).parents[2] / "bench"
RUNS = 100


def _hash(value: Any) -> str:
    """Of nine digits: processors add long columns up in different orders."""
    shown = re.sub(r"\d+\.\d+(e[-+]\d+)?", lambda number: f"{float(number[0]):.9g}", repr(value))
    return sha256(shown.encode()).hexdigest()[:16]


def variant_ids() -> dict[str, str]:
    """Of 10,000 drawn variants and units, by the hundred."""
    draw, found = Random(33), {}
    for hundred in range(100):
        ids = []
        for _ in range(100):
            text = "".join(draw.choices("abcäß \n\u2028日", k=draw.randrange(40)))
            shots = tuple(FewShot(id=f"e{i}", input={"text": text}, output="x") for i in range(draw.randrange(3)))
            model = draw.choice(({}, {"temperature": draw.random()}, {"max_tokens": 7, "top_p": 1.0}))
            made = Variant(messages=({"role": "user", "content": f"{text} {{{{a}}}}"},), examples=shots, model=model)
            ids.append((made.id, bucket(made.id, f"{text}{draw.random()}")))
        found[f"hundred {hundred}"] = _hash(ids)
    return found


def thresholds() -> dict[str, str]:
    found = {}
    for n, n_tiers, seed in product((40, 400, 2000), (2, 3), (1, 2)):
        records = drawn_records(n, n_tiers, seed=seed, binary=seed == 1)
        found[f"{n} records, {n_tiers} tiers, seed {seed}"] = _hash(search(records, LeastCost()))
    return found


def searches(*strategies: str) -> dict[str, str]:
    """Every trial but its times, every call and the confirmation of studies on the topics of ``study_world``."""
    found = {}
    sizes = {"n_train": 12, "n_dev": 18, "n_holdout": 20, "n_candidates": 4, "n_settings": 4}
    for strategy in strategies or ("race",):
        with TemporaryDirectory() as folder, fixed(Clock(START)):
            world = World(Path(folder)).fill(n_dev=18)
            study = world.run(world.create(strategy=strategy, definition=sizes, seed=3))
            for trial in world.trials(study):
                # The clock goes on with each look at it, and how often code looks is no figure.
                found[f"{strategy}: trial {trial.number}"] = _hash(
                    asdict(replace(trial, started_at=START, finished_at=None))
                )
            found[f"{strategy}: calls"] = _hash([(one.key, one.purpose) for one in world.calls(study)])
            found[f"{strategy}: end"] = _hash([study.outcome, study.winner, study.confirmation])
            world.store.close()
    return found


def tables() -> Figures:
    """More searches, every cell of ``bench/rollout_statistics.py --runs 100``, and of recorded cascades some draws."""
    sys.path[:0] = [] if str(BENCH) in sys.path else [str(BENCH)]
    rollouts = import_module("rollout_statistics").TABLES
    found = {"searches": searches("bootstrap+settings", "examples", "joint")}
    found |= {name: _cells(table(RUNS, 1)) for name, table in rollouts.items()}
    measures, sets = import_module("cascade_logs.measures"), import_module("cascade_logs.tables")
    for name in sets.CONFIDENT_SETS:
        if (logs := sets.read(name)) is not None:  # data of DETENT_SHARED
            found[f"cascades of {name}"] = _cells(measures.with_confidence(logs, n_draws=5, n_chain_draws=2))
    return found


def _cells(cells: Iterable[Any]) -> dict[str, str]:
    """By case, and by number where a case has several; not what a clock has measured."""
    found: dict[str, str] = {}
    for place, cell in enumerate(cells):
        if "second" not in cell.unit:
            name = cell.case if cell.case not in found else f"{cell.case} ({place})"
            found[name] = _hash(asdict(cell))
    return found


QUICK: Mapping[str, Callable[[], dict[str, str]]] = {
    "variants": variant_ids,
    "thresholds": thresholds,
    "searches": searches,
}


def quick_figures() -> Figures:
    return {name: figures() for name, figures in QUICK.items()}


def write_figures() -> None:
    _write(FIGURES, quick_figures())


def write_tables() -> None:
    _write(TABLES, tables())


def _write(file: Path, figures: Figures) -> None:
    file.write_text(json.dumps(figures, indent=0, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def differing(file: Path, now: Figures) -> list[str]:
    """The cases whose figures are others."""
    before: Figures = json.loads(file.read_text(encoding="utf-8"))
    return [
        f"{name}: {case}"
        for name in sorted(before.keys() | now.keys())
        for case in sorted(before.get(name, {}).keys() | now.get(name, {}).keys())
        if before.get(name, {}).get(case) != now.get(name, {}).get(case)
    ]
