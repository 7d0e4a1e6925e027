"""What people are shown of a rollout's evidence, and what they are not."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest

from optimizer.cli.rollout.picture import BAR, bar
from optimizer.core.statistics.outcomes import Block, Evidence, Outcomes
from optimizer.core.statistics.quality_gate import QualityGate
from optimizer.core.views.rollout_evidence import CLAIMS, difference_of, gates_of, late_alert, verdict_of
from optimizer.core.views.rollout_status import ArmView
from tests.cases import named

START = QualityGate.start(margin=0.05, champion_mean=0.8)


def with_peaks(**peaks: float) -> QualityGate:
    """A gate whose largest e-values are given by name."""
    evidence = [
        Evidence(weights=e.weights, components=e.components, peak=log(peaks.get(h.name, 1.0)))
        for h, e in zip(START.hypotheses, START.evidence, strict=True)
    ]
    return replace(START, evidence=tuple(evidence))


def block(n_c: int, good_c: int, n_b: int, good_b: int, stage: int = 0) -> Block:
    return Block(stage=stage, candidate=Outcomes.binary(n_c, good_c), champion=Outcomes.binary(n_b, good_b))


@named(
    ("peaks", "words"),
    {
        "nothing yet": ({}, "Nothing has been shown"),
        "three margins": ({"ship3": 20.1}, "not worse than the champion by 0.15 or more"),
        "two margins": ({"ship3": 500.0, "ship2": 20.1}, "by 0.1 or more"),
        "the margin": ({"ship3": 900.0, "ship2": 500.0, "ship1": 20.1}, "by 0.05 or more; whether it differs at all"),
        "superior": ({"ship1": 900.0, "sup": 20.1}, "is better"),
        "worse, whatever was shown before": ({"ship3": 900.0, "roll": 34.0}, "is worse"),
        "just below every threshold": ({"ship3": 19.9, "sup": 19.9, "roll": 33.2}, "Nothing has been shown"),
    },
)
def test_the_verdict_says_the_strongest_thing_that_was_shown(peaks: dict[str, float], words: str) -> None:
    assert words in verdict_of(with_peaks(**peaks))


def test_the_word_better_needs_the_evidence_for_it() -> None:
    almost = with_peaks(ship3=1e9, ship2=1e9, ship1=1e9, sup=19.9)
    shown = [verdict_of(almost), *CLAIMS.values(), *(g.text for g in gates_of(almost))]
    assert "better" not in " ".join(shown)
    assert "better" in verdict_of(with_peaks(sup=20.1))


def test_the_way_to_a_threshold_is_measured_on_the_log_scale() -> None:
    found = {g.name: g for g in gates_of(with_peaks(ship3=20**0.5, roll=1e6))}
    assert found["ship3"].share_of_way == pytest.approx(0.5)
    assert (found["ship3"].text, found["ship3"].passed) == ("4.47 of 20", False)
    assert (found["roll"].share_of_way, found["roll"].passed) == (1.0, True)


def test_evidence_that_rounds_to_its_threshold_is_not_shown_as_enough() -> None:
    texts = {e_value: gates_of(with_peaks(ship3=e_value))[0].text for e_value in (19.9, 19.97, 20.01)}
    assert texts == {19.9: "19.9 of 20", 19.97: "just under 20 of 20", 20.01: "20 of 20"}


@pytest.mark.parametrize(("e_value", "n"), [(1.0, 0), (20**0.5, BAR // 2), (19.99, BAR - 1), (20.01, BAR), (1e12, BAR)])
def test_a_bar_is_full_only_when_the_threshold_was_reached(e_value: float, n: int) -> None:
    (gate,) = [g for g in gates_of(with_peaks(ship1=e_value)) if g.name == "ship1"]
    assert bar(gate) == "█" * n + "░" * (BAR - n)


def test_an_e_value_beyond_every_float_is_still_shown() -> None:
    evidence = [replace(e, peak=5000.0) for e in START.evidence]
    found = gates_of(replace(START, evidence=tuple(evidence)))[0]
    assert found.text == "10^2171 of 20"
    assert found.e_value < float("inf")


def arm(name: str, late: int, of: int) -> ArmView:
    nothing = {"units": 0, "labelled": 0, "label_rate": None, "mean": None}
    return ArmView(arm=name, variant="v", late=late, late_of=of, late_share=late / of if of else None, **nothing)


def test_more_than_one_percent_of_one_arms_late_feedback_is_an_alert_that_names_the_arm() -> None:
    assert late_alert([arm("candidate", 1, 100), arm("champion", 9, 1000)]) is None
    assert late_alert([arm("candidate", 0, 0), arm("champion", 0, 0)]) is None
    found = late_alert([arm("candidate", 2, 100), arm("champion", 9, 1000)])
    assert found is not None
    assert "2.0 % of the candidate's (2 of 100)" in found
    assert "champion" not in found
    assert "feedback_window" in found


def test_without_a_block_that_the_gate_counts_nothing_is_said_of_the_difference() -> None:
    found = difference_of(START, [block(0, 0, 5, 5)])
    assert (found.observed, found.lower, found.upper) == (None, -1.0, 1.0)
