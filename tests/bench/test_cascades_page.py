"""The benchmark of cascades: its rules on drawn records, and its bars."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from optimizer.core.search.cascade.sweep import NEVER, curve
from tests.rows.policy_records import drawn_records, records_of

ROOT = Path(__file__).parents[2]
bench = importlib.import_module("cascades")
rules = importlib.import_module("cascade_logs.rules")
resampling = importlib.import_module("cascade_logs.resampling")
tables = importlib.import_module("cascade_logs.tables")

FILE = ROOT / "bench" / "results" / "cascades.json"
measured = pytest.mark.skipif(not FILE.exists(), reason="python bench/cascades.py has not been run here")


def result() -> dict[str, object]:
    found: dict[str, object] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


@measured
def test_every_bar_is_held_by_the_stored_figures():
    assert bench.verdict([bench.Cell(**cell) for cell in result()["cells"]]) == 0


@measured
def test_a_missed_bar_is_told():
    cells = [bench.Cell(**cell) for cell in result()["cells"]]
    missed = [
        bench.Cell(**{**vars(c), "ours": 0.5})
        if c.case.endswith((": above a point vs expected", ": drawn again"))
        else c
        for c in cells
    ]
    assert bench.verdict(missed) == 1


def test_score_test_and_plain_bound_are_those_of_their_formulas():
    lost, won, n = 4, 1, 638
    score = np.array([[0, 1]] * lost + [[1, 0]] * won + [[1, 1]] * (n - lost - won))
    pair = records_of(score, [[1.0, None]] * n)
    swept = curve(pair)
    squares = rules._squares(pair, swept)
    assert squares[1] * n == pytest.approx(lost + won)
    assert rules.score_test_p(n, swept, squares)[1] == pytest.approx(
        0.112, abs=0.001
    )  # Tango's restricted estimate: p- = .0011
    assert rules.plain_upper(n, swept, squares)[1] == pytest.approx(0.0047 + 1.2816 * 0.0035, abs=1e-4)
    found = rules.thresholds_of(pair)
    assert found["confident"] == found["plain bound"] == 1.0
    assert found["score test in sequence"] == NEVER


def test_a_rule_is_judged_by_what_it_would_cost_and_lose():
    pair = records_of([[1, 1], [0, 1], [1, 0]], [[0.9, None], [0.9, None], [0.1, None]])
    judged = rules.judge(pair, 0.9)
    assert judged.cost.tolist() == [1, 1, 4]
    assert judged.loss.tolist() == [0, 1, 0]
    assert rules.judge(pair, 0.9, before_call=True).cost.tolist() == [1, 1, 3]
    assert rules.judge(pair, NEVER).cost.tolist() == [3, 3, 3]


def test_draws_count_true_losses_of_the_pool():
    pool = drawn_records(400, 2, seed=3)
    drawn = resampling.pair_draws(pool, 300, 40, seed=1)
    assert drawn["confident"].above <= drawn["expected"].above
    assert drawn["confident"].saved <= drawn["expected"].saved
    assert drawn == resampling.pair_draws(pool, 300, 40, seed=1)


@pytest.mark.skipif(
    not (tables.FOLDER / "rlc_gsm8k").exists(), reason="the recorded cascades are not here (DETENT_SHARED)"
)
def test_recorded_sets_are_read_cheapest_first_with_the_same_tiers_on_both_sides():
    logs = tables.read("rlc_gsm8k")
    assert (len(logs.train), len(logs.dev), len(logs.train_queries)) == (157, 43, 157)
    assert logs.train.tiers == logs.dev.tiers
    assert list(logs.train.cost_usd.mean(axis=0)) == sorted(logs.train.cost_usd.mean(axis=0))
    assert len(list(logs.pairs())) == 36
    assert len(logs.pool) == 200
