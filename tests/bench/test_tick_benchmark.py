"""The benchmark of the tick times the product's tick on databases that it takes for its own."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from sqlalchemy import inspect, text

bench = importlib.import_module("tick")


@pytest.fixture
def stored(tmp_path):
    found = bench.build(200, tmp_path)
    yield found
    found.database.close()


def test_a_built_database_holds_its_events_with_every_index_of_the_product(stored):
    with stored.database.read() as tx:
        counts = [
            tx.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in ("interactions", "feedback_events")
        ]
        indexes = {index["name"] for index in inspect(tx).get_indexes("interactions")}
    assert counts == [140, 60]
    assert indexes == {index.name for index in bench.INTERACTIONS.indexes}


def test_every_tick_watches_and_the_cohorts_close_one_after_another(stored):
    times = bench.Times()
    for _ in range(61):
        bench.let_pass(stored)
        bench.timed_tick(stored, times)
    assert (len(times.closing), len(times.plain), len(times.all)) == (2, 59, 61)
    with stored.database.read() as tx:
        blocks = stored.database.blocks.of_rollout(tx, bench.ROLLOUT, kind="quality")
        state = stored.database.blocks.state(tx, bench.ROLLOUT)
    assert bench.from_text(state.state).state.quality.labelled > 0
    assert blocks[-1].content["units"]["champion"] > 100


def test_the_first_ticks_of_a_worker_hold_the_one_that_reads_for_what_units_were_counted(stored):
    assert stored.database.unit_counts._books == {}
    assert bench.slowest_of_the_first(stored) > 0
    (book,) = stored.database.unit_counts._books.values()
    assert len(book.stages[0]) >= stored.n_units


def test_after_a_round_the_small_database_is_made_anew(tmp_path):
    times = bench.Times(), bench.Times()
    large = bench.build(400, tmp_path)
    for number in range(2):
        bench.measure_round(number, [(large, times[0]), (bench.build(200, tmp_path), times[1])])
    large.database.close()
    assert [len(one.closing) for one in times] == [8, 8]
    assert [len(one.all) for one in times] == [2 * bench.TICKS] * 2


def test_a_tick_that_did_not_watch_is_not_measured(stored):
    stored.clock.at += bench.timedelta(days=2)  # the lease is over
    with pytest.raises(SystemExit, match="nothing was measured"):
        bench.timed_tick(stored, bench.Times())


@pytest.mark.parametrize(("of", "ratio"), [(np.median, 2.0), (np.mean, 20 / 9)])
def test_a_ratio_of_ticks_stands_within_its_bounds(of, ratio):
    cell = bench.ratio_cell("case", [0.02, 0.03, 0.05] * 20, [0.01, 0.015, 0.02] * 20, 10, of)
    assert cell.ratio == pytest.approx(ratio)
    assert cell.low <= cell.ratio + 1e-9
    assert cell.high >= cell.ratio - 1e-9
    assert cell.unit.startswith(f"ms a tick, {of.__name__}")
