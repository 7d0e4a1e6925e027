"""How long a bad candidate is served: rollouts on a real database, moved by the worker's own tick;
only time and users are simulated.

    python bench/guardrail_response.py [--runs 200] [--only "latency"] [--folder DIR]

A candidate that fails more often, is slower or dearer, at 5, 60 and 3,000 requests a minute (Poisson), a canary of 10
%, and ``tick`` of ``jobs/rollouts/tick.py`` every ten seconds on SQLite: seconds from the first candidate served to the
decision that takes it back, with the wait for late requests (30 s) and for the tick in them. And a candidate with 20
points fewer successes at 40 labels an hour, a margin of five points and a feedback window of 24 hours: labels used and
hours, beside table B of the note on the statistics. Every run has a seed; the first of a case is seed 1. An hour.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import sqrt
from pathlib import Path
from statistics import NormalDist, mean, quantiles, stdev
from typing import Any

import numpy as np
import structlog
from common import ROOT, Cell, beside, measured_before, options_of, write_result
from simulations.tally import REFERENCE, wilson

sys.path.insert(0, str(ROOT))

from tests.clock import Clock
from tests.stores import new_database
from tests.worlds.rollout_world import Behaviour, World

USUAL = Behaviour()
RATES = (5, 60, 3000)  # requests a minute of each rollout
FAULTS = {
    "errors 1 % -> 30 %": Behaviour(errors=0.30),
    "errors 1 % -> 100 %": Behaviour(errors=1.00),
    "latency x 3": Behaviour(latency_ms=3 * USUAL.latency_ms),
    "cost x 5": Behaviour(cost_usd=5 * USUAL.cost_usd),
}
TABLE_B = {  # median and 90 % point
    "errors 1 % -> 30 % at 60 requests/min": (130.0, 280.0),
    "errors 1 % -> 100 % at 60 requests/min": (30.0, 60.0),
}
TICK_S = 10.0
CANARY = (0.10, 0.25, 0.50, 0.75)
LONGEST_S = 12 * 3600
LABELS_AN_HOUR, LONGEST_H = 40, 24 * 7
LABEL_SCALE = 72.0  # an hour of rollout durations within 50 s, less than a lease


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """One run: its outcome, None when it still went on; how long it took; what was used up until then."""

    outcome: str | None
    took: float  # seconds of real time, or hours of rollout time
    used: float  # requests of the candidate, or labels


def faulty(folder: Path, seed: int, *, behaviour: Behaviour, a_minute: int) -> RunEnd:
    database = new_database(folder)
    world = World(store=database, seed=seed)
    world.history()
    world.behaviours[world.candidate] = behaviour
    world.start()
    rng = np.random.default_rng(seed)
    while world.rollout.is_active and (world.clock.at - world.rollout.started_at).total_seconds() < LONGEST_S:  # type: ignore[operator]
        if n := int(rng.poisson(TICK_S / 60 * a_minute)):
            world.requests(n, TICK_S)
        else:
            world.clock.pass_seconds(TICK_S)
            world.tick()
    rollout, blocks = world.rollout, world.blocks("guardrails")
    database.close()
    ended_at = rollout.ended_at or world.clock.at
    assert rollout.started_at is not None
    reports = sum(b.content["reports"]["candidate"] for b in blocks)
    return RunEnd(outcome=rollout.outcome, took=(ended_at - rollout.started_at).total_seconds(), used=reports)


def worse(folder: Path, seed: int, *, drop: float) -> RunEnd:
    database = new_database(folder)
    settings: dict[str, Any] = {
        "margin": 0.05,
        "min_labelled_per_stage": 200,
        "ladder": list(CANARY),
        "feedback_window": {"floor_hours": 24.0},
    }
    world = World(store=database, seed=seed, rollout_settings=settings, clock=Clock(scale=LABEL_SCALE))
    world.history(n_labelled=600)
    world.behaviours[world.candidate] = Behaviour(success=0.80 - drop)
    world.start()
    began = world.clock.rollout_now()
    for _ in range(LONGEST_H):
        if not world.rollout.is_active:
            break
        world.labels(LABELS_AN_HOUR, seconds=50.0)
    rollout, last = world.rollout, world.decisions[-1]
    hours = (world.clock.rollout_now() - began).total_seconds() / 3600
    database.close()
    return RunEnd(
        outcome=rollout.outcome, took=hours, used=(last.content["inputs"]["evidence"] or {}).get("labelled", 0)
    )


def runs_of(name: str, run: Callable[[Path, int], RunEnd], n: int, folder: Path) -> list[RunEnd]:
    cells = []
    for seed in range(1, n + 1):
        place = folder / "run"
        place.mkdir()
        cells.append(run(place, seed))
        shutil.rmtree(place)
        if seed % 20 == 0:
            print(
                f"{name}: {seed} of {n}, {sum(e.outcome is not None for e in cells)} ended", file=sys.stderr, flush=True
            )
    return cells


def share_cell(case: str, runs: list[RunEnd], outcome: str) -> Cell:
    share, n = sum(run.outcome == outcome for run in runs) / len(runs), len(runs)
    low, high = wilson(share, n)
    bounds = low, min(1.0, high)
    return beside(f"{case}, ended as {outcome}", share, None, "", "share of rollouts", n, bounds)


def mean_cell(case: str, values: list[float], other: float | None, unit: str) -> Cell:
    ours, half = mean(values), 1.96 * stdev(values) / sqrt(len(values))
    name = REFERENCE if other else ""
    return beside(f"{case}, mean", ours, other, name, unit, len(values), (ours - half, ours + half))


def quantile_cell(case: str, values: list[float], q: float, other: float | None, unit: str) -> Cell:
    """Bounds: order statistics between which the true quantile lies in 95 of 100 experiments."""
    ordered, n, z = sorted(values), len(values), NormalDist().inv_cdf(0.975)
    half = z * sqrt(n * q * (1 - q))
    bounds = ordered[max(0, int(n * q - half))], ordered[min(n - 1, int(n * q + half) + 1)]
    ours = quantiles(ordered, n=100, method="inclusive")[round(100 * q) - 1]
    name = "median" if q == 0.5 else f"{100 * q:g} % point"
    return beside(f"{case}, {name}", ours, other, REFERENCE if other else "", unit, n, bounds)


def main() -> int:
    options = options_of(
        __doc__,
        runs=(200, "rollouts per case (default 200)"),
        only=("", "cases whose name holds this; the others stay as they were"),
        folder=(Path, "where the databases of the runs stand (default: a temporary one)"),
    )
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    cells = []
    with tempfile.TemporaryDirectory(prefix="detent-bench-", dir=options.folder) as name:
        folder = Path(name)
        for fault, a_minute in product(FAULTS, RATES):
            case = f"{fault} at {a_minute:,} requests/min"
            if options.only not in case:
                cells += measured_before("guardrail_response", f"{case}, ")
                continue
            runs = runs_of(case, partial(faulty, behaviour=FAULTS[fault], a_minute=a_minute), options.runs, folder)
            cells += [share_cell(case, runs, "guardrail")]
            cells += [
                quantile_cell(case, [r.took for r in runs], q, t, "seconds until taken back")
                for q, t in zip((0.5, 0.9), TABLE_B.get(case, (None, None)), strict=True)
            ]
            cells += [mean_cell(case, [r.used for r in runs], None, "requests of the candidate")]
        case = "20 points fewer successes, 40 labels/h"
        if options.only in case:
            runs = runs_of(case, partial(worse, drop=0.20), options.runs, folder)
            cells += [share_cell(case, runs, "worse")]
            cells += [
                mean_cell(case, [r.used for r in runs], 526.0, "labels used"),
                quantile_cell(case, [r.used for r in runs], 0.9, 920.0, "labels used"),
            ]
            cells += [
                quantile_cell(case, [r.took for r in runs], q, None, "hours, 24 of them the feedback window")
                for q in (0.5, 0.9)
            ]
        else:
            cells += measured_before("guardrail_response", f"{case}, ")
    write_result("guardrail_response", cells)
    (bar,) = (c for c in cells if c.case == "errors 1 % -> 30 % at 60 requests/min, median")
    print(
        f"\nBar: {bar.ours:.0f} s until an error rate of 30 % is taken back (median), below 300 s:"
        f" {'met' if bar.ours < 300 else 'MISSED'}"
    )
    return 0 if bar.ours < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
