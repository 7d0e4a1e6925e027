"""The core computes, to nine digits, what it computed."""

from __future__ import annotations

import pytest

from tests.recordings.figures import FIGURES, TABLES, differing, quick_figures, tables


def test_ids_buckets_thresholds_and_searches_are_what_they_were() -> None:
    assert differing(FIGURES, quick_figures()) == []


@pytest.mark.long
def test_every_cell_of_the_simulated_rollouts_and_recorded_cascades_is_what_it_was() -> None:
    assert differing(TABLES, tables()) == []
