"""The replays of bench/listed_instructions.py on a made-up table, and its bars."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    for name in [name for name in sys.modules if name == "listed" or name.startswith("listed.")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_replay_tries_a_list_whole_at_the_least_cap_and_finds_what_is_far_better(bench: None) -> None:
    from listed.replays import drawn, least_calls, raced

    table = (np.random.default_rng(3).random((12, 60)) < 0.2).astype(float)
    table[7] = 1.0
    of = drawn(table, seed=1, n_dev=20)
    found = raced(of, 1, least_calls(12))
    assert (found.n, found.n_tried) == (12, 12)
    assert found.calls <= least_calls(12) == 48
    assert of.scores[found.chosen].mean() == 1.0
    assert found.lost == (0.0, 0.0)


def test_the_bars_name_what_was_left_and_what_lost_more(bench: None, capsys: pytest.CaptureFixture[str]) -> None:
    from common import Cell
    from listed_instructions import verdict

    def cell(case: str, ours: float, other: float) -> Cell:
        return Cell(case=case, ours=ours, other=other, unit="", n=1)

    lost = "replayed, a (26), 20 dev rows, 1 x: points lost on dev"
    assert verdict([cell("run, a: tried", 26, 26), cell(lost, 1.1, 1)]) == 0
    assert verdict([cell("run, a: tried", 25, 26)]) == 1
    assert verdict([cell(lost, 2, 1)]) == 1
    assert verdict([cell(lost, 1.3, 1), cell(lost.replace("(26)", "(100)"), 1, 1)]) == 0  # the mean of the cap counts
