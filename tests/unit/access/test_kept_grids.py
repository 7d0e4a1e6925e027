"""Grids of comparisons stay in memory for a while: for who may read as much, as scored now, and nobody forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from api.kept_grids import KEPT_S, MOST_KEPT, PAUSE_S, GridKey, KeptGrids
from optimizer.core.base.errors import Busy

TEXTS = GridKey(run="cp_1", figures_only=False)


class Reads:
    """Counts how often a grid is read."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> int:
        self.n += 1
        return self.n


@pytest.fixture
def time() -> list[float]:
    return [0.0]


@pytest.fixture
def grids(time: list[float]) -> KeptGrids:
    return KeptGrids(now=lambda: time[0])


def test_a_grid_is_read_once_for_all_who_may_read_as_much(grids: KeptGrids) -> None:
    reads, family = Reads(), _family("a")
    assert [grids.of(TEXTS, family, reads) for _ in range(3)] == [1, 1, 1]
    assert grids.of(GridKey(run="cp_1", figures_only=True), family, reads) == 2
    assert grids.of(GridKey(run="cp_2", figures_only=False), family, reads) == 3


def test_a_grid_is_read_again_for_another_file_and_after_an_hour(grids: KeptGrids, time: list[float]) -> None:
    reads = Reads()
    assert [grids.of(TEXTS, _family(name), reads) for name in "aab"] == [1, 1, 2]
    time[0] = KEPT_S
    assert grids.of(TEXTS, _family("b"), reads) == 3


def test_the_grid_of_a_run_that_goes_on_is_read_again_as_it_goes_on_and_not_at_once(
    grids: KeptGrids, time: list[float]
) -> None:
    reads, family = Reads(), _family("a")
    assert [grids.of(TEXTS, family, reads, n_done=n) for n in (1, 1, 2)] == [1, 1, 1]
    time[0] = PAUSE_S
    assert [grids.of(TEXTS, family, reads, n_done=n) for n in (2, 2)] == [2, 2]
    assert grids.of(TEXTS, family, reads) == 3, "at its end at once"


def test_where_a_run_that_goes_on_cannot_be_read_now_what_was_read_before_is_shown(
    grids: KeptGrids, time: list[float]
) -> None:
    def busy() -> Any:
        raise Busy("Another read is under way.")

    family = _family("a")
    with pytest.raises(Busy):
        grids.of(TEXTS, family, busy, n_done=1)
    assert grids.of(TEXTS, family, Reads(), n_done=1) == 1
    time[0] = PAUSE_S
    assert grids.of(TEXTS, family, busy, n_done=2) == 1
    with pytest.raises(Busy):
        grids.of(TEXTS, family, busy)


def test_nothing_is_kept_of_before_somebody_was_forgotten(grids: KeptGrids) -> None:
    reads, family = Reads(), _family("a")
    grids.of(TEXTS, family, reads)
    grids.clear()

    def read_meanwhile() -> int:
        grids.clear()
        return reads()

    assert grids.of(TEXTS, family, read_meanwhile) == 2
    assert grids.of(TEXTS, family, reads) == 3


def test_only_so_many_are_kept(grids: KeptGrids) -> None:
    reads, family = Reads(), _family("a")
    for n in range(MOST_KEPT + 1):
        grids.of(GridKey(run=f"cp_{n}", figures_only=False), family, reads)
    assert grids.of(GridKey(run=f"cp_{MOST_KEPT}", figures_only=False), family, reads) == MOST_KEPT + 1
    assert grids.of(GridKey(run="cp_0", figures_only=False), family, reads) == MOST_KEPT + 2


def _family(name: str) -> Any:
    return name
