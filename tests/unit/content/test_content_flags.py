"""Feature flags by environment."""

from __future__ import annotations

import pytest

from optimizer.content.core.policy.flags import read_flags
from optimizer.core.base.errors import InvalidInput
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
