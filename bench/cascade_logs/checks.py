"""Whether exact search is exact, how hard a world can be for the rule, and how quick replay is:
as cells of the result file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from common import Cell

from cascade_logs.many_settings import replay_many
from cascade_logs.measures import ALLOWED, STRONG, cell_of, ending
from cascade_logs.resampling import hardest_case
from cascade_logs.rules import MARGIN
from cascade_logs.tables import Logs
from optimizer.core.search.cascade.figures import CascadeSetting
from optimizer.core.search.cascade.records import TierRecords
from optimizer.core.search.cascade.replay import replay
from optimizer.core.search.cascade.sweep import Limit, best_thresholds, curve, setting_of
from optimizer.core.search.cascade.thresholds import LeastCost, search
from optimizer.core.statistics.interval import wilson_interval

N_BRUTE = 40  # records of a brute-force search of three tiers: some 40 x 40 settings


def hardest(n_rows: int) -> Cell:
    n = 20_000
    share = hardest_case(n_rows, n, seed=1)
    between = wilson_interval(round(share * n), n)
    return cell_of(
        f"hardest case, {n_rows} records",
        share,
        ALLOWED,
        "allowed",
        between.lower,
        between.upper,
        "share of draws accepted though the true loss is .0101",
        n,
    )


def exactness(logs: Sequence[Logs]) -> list[Cell]:
    """Exact search against brute force: every pair of every set, and chains of three on some of the records."""
    worst, n = 0.0, 0
    for one in logs:
        for pair in one.pairs():
            records = one.train.chain(pair)
            worst, n = max(worst, _gap(records)), n + 1
    worst3, n3 = 0.0, 0
    for one in logs:
        for at, tiers in enumerate(ending(one.train.tiers[: one.train.tiers.index(STRONG)], 2)):
            rows = np.random.default_rng(at).choice(len(one.train), size=N_BRUTE, replace=False)
            worst3, n3 = max(worst3, _gap(one.train.chain(tiers).take(rows), 0.05)), n3 + 1
    unit = "largest difference of the least cost, share of the strong model's cost"
    return [
        cell_of("exact search: pairs", worst, 0.0, "brute force", None, None, unit, n),
        cell_of("exact search: chains of three", worst3, 0.0, "brute force", None, None, unit, n3),
    ]


def _gap(records: TierRecords, margin: float = MARGIN) -> float:
    """Least cost within the margin: exact search less brute force over every distinct threshold,
    with tiers left out as well.
    """
    strong = float(records.cost_usd[:, -1].mean())
    least = strong
    for asked in product((False, True), repeat=len(records.tiers) - 1):
        if not any(asked):
            continue
        chain = records.chain([t for t, yes in zip(records.tiers, (*asked, True), strict=True) if yes])
        distinct = [
            np.unique(chain.confidence[:, at][~np.isnan(chain.confidence[:, at])]) for at in range(len(chain.tiers) - 1)
        ]
        means = replay_many(chain, np.array(list(product(*distinct))).reshape(-1, len(distinct)))
        allowed = means.cost_usd[means.loss <= margin + 1e-12]
        least = min([least, *allowed])
    found = best_thresholds(records, "cost_usd", [Limit(most=margin)])[0]
    setting = setting_of(records.tiers, found) if found else None
    cost = replay(records, setting).cost_usd.mean if setting else strong
    return abs(cost - least) / strong


def speed() -> list[Cell]:
    rng = np.random.default_rng(1)

    def records(n: int, tiers: int) -> TierRecords:
        score = (rng.random((n, tiers)) < 0.8).astype(float)
        return TierRecords(
            tiers=tuple(f"t{i}" for i in range(tiers)),
            score=score,
            cost_usd=rng.random((n, tiers)) * 3.0 ** np.arange(tiers),
            latency_ms=rng.random((n, tiers)),
            confidence=rng.random((n, tiers)),
            weight=np.ones(n),
        )

    million, some = records(1_000_000, 2), records(10_000, 4)
    sweep_s = min(_timed(lambda: curve(million)) for _ in range(3))
    many_s = min(_timed(lambda: replay_many(some, rng.random((1000, 3)))) for _ in range(3))
    three_s = _timed(lambda: search(some.chain(["t0", "t1", "t3"]), LeastCost(rule="expected")))
    one_s = min(
        _timed(lambda: replay(some, CascadeSetting(tiers=some.tiers, accept=(0.5, 0.5, 0.5)))) for _ in range(3)
    )
    return [
        cell_of(
            "speed: settings x records replayed",
            1000 * 10_000 / many_s,
            1e6,
            "asked for",
            None,
            None,
            "per second of CPU, chain of four, one core",
            1000,
        ),
        cell_of(
            "speed: 1,000 settings on 10,000 records", many_s, 10.0, "asked for", None, None, "seconds of CPU", 1000
        ),
        cell_of(
            "speed: all thresholds of one knob over 1,000,000 records",
            sweep_s,
            1.0,
            "asked for",
            None,
            None,
            "seconds of CPU",
            1_000_000,
        ),
        cell_of(
            "speed: exact search of two thresholds, 10,000 records",
            three_s,
            None,
            "-",
            None,
            None,
            "seconds of CPU",
            10_000,
        ),
        cell_of(
            "speed: one setting with all intervals, 10,000 records",
            one_s,
            None,
            "-",
            None,
            None,
            "seconds of CPU",
            10_000,
        ),
    ]


def _timed(act: Callable[[], object]) -> float:
    """Seconds of CPU, so that what else the machine does stays out of it."""
    started = time.process_time()
    act()
    return time.process_time() - started
