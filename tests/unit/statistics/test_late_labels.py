"""Labels that come later in one arm are told from those that do not, and the window that would hold them is named."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from optimizer.core.statistics.late_labels import ArmDelays, LateLabels
from optimizer.core.statistics.outcomes import Block, Outcomes

NO_HOURS = {"candidate": 0.0, "champion": 0.0}


def followed(seed: int, late: tuple[float, float], *, share: float = 0.5, n_blocks: int = 30) -> LateLabels:
    """Blocks of 40 labelled units; ``late``: shares of late labels of candidate and champion."""
    rng, known = np.random.default_rng([32, seed]), LateLabels()
    for _ in range(n_blocks):
        n_c = int(rng.binomial(40, share))
        candidate = Outcomes.binary(n_c, int(rng.binomial(n_c, late[0])))
        champion = Outcomes.binary(40 - n_c, int(rng.binomial(40 - n_c, late[1])))
        known = known.after(Block(stage=0, candidate=candidate, champion=champion), NO_HOURS)
        if known.later is not None:
            break
    return known


@pytest.mark.parametrize(
    ("late", "share"),
    [
        ((0.2, 0.2), 0.1),
        ((0.06, 0.05), 0.5),
        ((0.05, 0.06), 0.1),
        *(
            pytest.param(late, share, marks=pytest.mark.long)
            for late, share in (((0.2, 0.2), 0.5), ((0.06, 0.05), 0.1), ((0.05, 0.06), 0.5), ((0.01, 0.0), 0.5))
        ),
    ],
)
@pytest.mark.long
def test_delays_alike_up_to_a_point_are_found_different_in_one_rollout_of_a_hundred_at_most(
    late: tuple[float, float], share: float
) -> None:
    found = sum(followed(seed, late, share=share).later is not None for seed in range(200))
    assert found <= 6  # of 200 at .01: seven or more in one of two hundred such tests


@pytest.mark.parametrize(("late", "name"), [((0.05, 0.17), "champion_later"), ((0.17, 0.05), "candidate_later")])
def test_an_arm_whose_labels_come_later_is_named(late: tuple[float, float], name: str) -> None:
    found = [followed(seed, late).later for seed in range(40)]
    assert sum(one is not None for one in found) >= 34
    assert {one.name for one in found if one is not None} == {name}


def test_the_window_that_would_hold_99_percent_is_found_from_the_second_window() -> None:
    """Delays of 18 hours in the mean: 99 % come within 18 log(100) hours."""
    delays = np.random.default_rng(5).exponential(18.0, size=20_000)
    late = delays[(delays > 24) & (delays <= 48)] - 24
    known = ArmDelays(labelled=int((delays <= 48).sum()), late=len(late), hours=float(late.sum()))
    assert known.window_needed(24.0) == pytest.approx(18 * log(100), rel=0.05)
    assert (delays <= 24).mean() == pytest.approx(1 - exp(-24 / 18), abs=0.01)


def test_labels_that_do_not_dwindle_name_no_window() -> None:
    assert ArmDelays(labelled=200, late=100, hours=1200.0).window_needed(24.0) is None
    assert ArmDelays(labelled=200, late=0).window_needed(24.0) == 24.0
    assert ArmDelays(labelled=1000, late=2, hours=4.0).window_needed(24.0) == 24.0
    assert ArmDelays(labelled=100, late=4, hours=0.08).window_needed(24.0) == pytest.approx(24.0, rel=0.02)  # 72 s late


def test_evidence_that_leans_to_one_arm_is_told_before_it_suffices_and_falls_again() -> None:
    leaning = LateLabels()
    for _ in range(3):
        block = Block(stage=0, candidate=Outcomes.binary(20, 0), champion=Outcomes.binary(20, 2))
        leaning = leaning.after(block, NO_HOURS)
    assert leaning.later is None
    assert leaning.suspected is not None
    assert leaning.suspected.name == "champion_later"
    for _ in range(10):
        block = Block(stage=0, candidate=Outcomes.binary(20, 2), champion=Outcomes.binary(20, 2))
        leaning = leaning.after(block, NO_HOURS)
    assert leaning.suspected is None
