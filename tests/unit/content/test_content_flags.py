"""Feature flags by environment, and the levels of the pipeline's figures."""

from __future__ import annotations

import pytest

from optimizer.content.core.policy.flags import read_flags
from optimizer.core.base.errors import InvalidInput
from optimizer.core.feedback.pipeline_record import TARGETS, Target
from tests.rows.content_records import GOOD, decide


def test_an_environment_without_flags_changes_nothing() -> None:
    flags = read_flags({"PATH": "/bin", "ENABLE_EARLY_EXIT": ""})
    assert flags.over({"filter.min_overall": 0.7}) == {"filter.min_overall": 0.7}
    assert flags.records_metrics


@pytest.mark.parametrize(("text", "on"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)])
def test_switches_are_read_however_they_are_written(text: str, on: bool) -> None:
    flags = read_flags({"ENABLE_QUALITY_FILTERING": text, "ENABLE_DASHBOARD_METRICS": text})
    assert (flags.knobs, flags.records_metrics) == ({"filter.enabled": on}, on)


def test_each_switch_turns_its_part_off() -> None:
    poor = {**GOOD, "word_count": 1, "sentence_count": 1}
    policy = {"exit.post_download.conditions": ["view_count < 3"]}
    assert decide(read_flags({"ENABLE_QUALITY_FILTERING": "0"}).over(policy), poor).reason == "the filter is off"
    assert (
        decide(read_flags({"ENABLE_EARLY_EXIT": "0"}).over(policy), {**GOOD, "view_count": 1}).processing_type == "full"
    )
    routed = {**GOOD, "content_type": "entertainment"}
    assert decide(read_flags({"ENABLE_CONTENT_ROUTING": "0"}).over(policy), routed).processing_type == "full"


def test_a_threshold_of_the_environment_holds_for_every_content_type() -> None:
    flags = read_flags({"QUALITY_MIN_OVERALL": "0.5", "QUALITY_MIN_COHERENCE": "0.4"})
    policy = {"filter.min_overall": 0.7, "filter.min_overall.news": 0.9, "filter.min_words.news": 3}
    assert flags.over(policy) == {"filter.min_overall": 0.5, "filter.min_coherence": 0.4, "filter.min_words.news": 3}


def test_all_wrong_flags_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        read_flags({"ENABLE_EARLY_EXIT": "maybe", "QUALITY_MIN_OVERALL": "65", "QUALITY_MIN_COHERENCE": "high"})
    assert [f.pointer for f in refused.value.faults] == [
        "/ENABLE_EARLY_EXIT",
        "/QUALITY_MIN_OVERALL",
        "/QUALITY_MIN_COHERENCE",
    ]


@pytest.mark.parametrize(
    ("figure", "value", "colour"),
    [
        ("bypass_rate", 0.39, "red"),
        ("bypass_rate", 0.40, "yellow"),
        ("bypass_rate", 0.50, "green"),
        ("bypass_rate", 0.81, "yellow"),
        ("quality_score_avg", 0.64, "red"),
        ("quality_score_avg", 0.69, "yellow"),
        ("quality_score_avg", 0.99, "green"),
        ("early_exit_rate", 0.61, "yellow"),
        ("avg_time_savings", 0.49, "red"),
    ],
)
def test_a_figure_has_the_colour_of_its_level(figure: str, value: float, colour: str) -> None:
    assert TARGETS[figure].colour(value) == colour


def test_levels_that_do_not_rise_contradict_one_another() -> None:
    assert all(target.fault() is None for target in TARGETS.values())
    assert "warning_low (0.5) lies above target (0.3)" in (Target(target=0.3, warning_low=0.5).fault() or "")
