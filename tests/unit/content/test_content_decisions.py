"""What the content pipeline's policy decides about one record, and how its knobs are read."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.content.core.policy import filter
from optimizer.content.core.policy.filter import TIMES
from optimizer.content.core.policy.pipeline import KNOBS, parse_pipeline
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.records.fields import CHECKPOINTS, FIELDS, known_at
from optimizer.core.base.errors import InvalidInput
from tests.cases import named
from tests.rows.content_records import GOOD, decide


def but(**changes: Any) -> dict[str, Any]:
    return {**GOOD, **changes}


def faults(policy: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        parse_pipeline(policy)
    return {fault.pointer: fault.detail for fault in refused.value.faults}


# --- the filter -------------------------------------------------------------------------------------------------------


def test_the_overall_quality_is_the_weighted_sum_of_five_parts() -> None:
    names = ("length_score", "structure_score", "coherence_score", "topic_clarity_score", "language_score")
    parts = dict(zip(names, (1.0, 0.5, 0.2, 0.4, 0.6), strict=True))
    assert filter.overall_of(parts) == pytest.approx(0.25 * 1.0 + 0.15 * 0.5 + 0.25 * 0.2 + 0.20 * 0.4 + 0.15 * 0.6)
    assert sum(filter.WEIGHTS.values()) == pytest.approx(1.0)


def test_parts_that_are_all_at_the_threshold_pass_it() -> None:
    """A weighted sum of floats ends a hair beside .65; that hair decides nothing."""
    for value in (0.65, 0.6, 0.7, 0.1, 0.3):
        record = but(**dict.fromkeys(filter.WEIGHTS, value))
        assert decide({"filter.min_overall": value}, record).checks["overall"] is True


@named(
    ("changes", "kind"),
    {
        "four checks": ({}, "full"),
        "three checks are enough": ({"word_count": 499}, "full"),
        "two are not": ({"word_count": 499, "sentence_count": 9}, "lightweight"),
        "at the thresholds": ({"word_count": 500, "sentence_count": 10, "coherence_score": 0.6}, "full"),
        "one fails, one is not known": ({"word_count": 499, "sentence_count": None}, "full"),
        "two fail, one unknown": ({"word_count": 499, "sentence_count": None, "coherence_score": 0.2}, "lightweight"),
    },
)
def test_full_processing_needs_three_of_four_checks(changes: dict[str, Any], kind: str) -> None:
    assert decide({}, but(**changes)).processing_type == kind


def test_a_bypassed_item_is_told_which_checks_failed_and_by_how_much() -> None:
    decision = decide({}, but(word_count=120, sentence_count=3))
    assert decision.reason == "2 of 4 checks passed and 3 are needed (words 120 < 500, sentences 3 < 10)"
    assert decision.checks == {"words": False, "sentences": False, "coherence": True, "overall": True}
    assert (decision.time_share, decision.checkpoint, decision.confidence) == (0.15, None, None)


def test_an_item_of_which_nothing_is_known_is_processed_in_full_and_the_reason_says_so() -> None:
    decision = decide({}, {})
    assert decision.processing_type == "full"
    assert decision.checks == dict.fromkeys(filter.CHECKS)
    assert "not measured: words, sentences, coherence, overall" in decision.reason
    assert decision.overall_quality is None


def test_the_record_s_own_overall_quality_counts_only_where_a_part_is_missing() -> None:
    assert decide({}, but(overall_quality=0.1)).overall_quality == pytest.approx(filter.overall_of(GOOD))
    assert decide({}, but(overall_quality=0.1, length_score=None)).overall_quality == 0.1


@pytest.mark.parametrize("score", ["completeness", "informativeness", "predicted_quality"])
def test_the_other_minima_are_checked_only_where_a_record_carries_the_score(score: str) -> None:
    threshold, field = filter.MINIMA[score]
    policy = {f"filter.{threshold}": 0.6}
    assert score not in decide({}, but(**{field: 0.1})).checks
    assert decide(policy, GOOD).checks[score] is None
    assert decide(policy, GOOD).processing_type == "full"
    assert decide(policy, but(**{field: 0.59})).processing_type == "lightweight"
    assert decide(policy, but(**{field: 0.6})).processing_type == "full"


def test_a_content_type_s_own_threshold_comes_before_the_one_for_all() -> None:
    policy = {"filter.min_words": 800, "filter.min_words.news": 100, "filter.checks_needed": 4}
    assert decide(policy, but(word_count=150)).processing_type == "full"
    assert decide(policy, but(word_count=150, content_type="interview")).processing_type == "lightweight"


# --- the route --------------------------------------------------------------------------------------------------------

POOR = {"word_count": 10, "sentence_count": 1, "coherence_score": 0.1, "overall_quality": 0.2}


def test_full_is_always_full_lightweight_never_and_quality_check_as_the_filter_finds() -> None:
    kinds = {"discussion": ("full", "full"), "entertainment": ("lightweight",) * 2, "news": ("lightweight", "full")}
    for name, of_both in kinds.items():
        poor, good = decide({}, {**POOR, "content_type": name}), decide({}, but(content_type=name))
        assert (poor.processing_type, good.processing_type) == of_both
        assert name == "news" or good.reason == f"{name} is routed {of_both[1]}"


def test_custom_types_have_modes_too_and_others_get_the_default() -> None:
    policy = {"route.podcast": "lightweight", "route.default": "full"}
    assert decide(policy, but(content_type="podcast")).processing_type == "lightweight"
    assert decide(policy, {**POOR, "content_type": "cartoon"}).processing_type == "full"
    assert decide(policy, POOR).reason == "an item without a content type is routed full"


@pytest.mark.parametrize("name", ["default", "enabled", "news.priority", "a b", ""])
def test_a_content_type_that_sounds_like_a_knob_gets_the_default(name: str) -> None:
    policy = {"route.default": "lightweight", "route.news.priority": "full", "filter.min_words": 1}
    assert decide(policy, but(content_type=name)).processing_type == "lightweight"


# --- early exits ------------------------------------------------------------------------------------------------------


def exits(*entries: Any, checkpoint: str = "post_download", **knobs: Any) -> dict[str, Any]:
    return {
        f"exit.{checkpoint}.conditions": list(entries),
        **{name.replace("__", "."): value for name, value in knobs.items()},
    }


def test_the_first_true_condition_wins_and_is_told_with_its_confidence() -> None:
    policy = exits(
        {"condition": "duration_seconds < 10", "confidence": 0.99, "reason": "tiny"},
        {"condition": "duration_seconds < 60", "confidence": 0.9, "reason": "short"},
        "duration_seconds < 100",
    )
    decision = decide(policy, but(duration_seconds=50))
    assert (decision.processing_type, decision.checkpoint, decision.confidence) == ("early_exit", "post_download", 0.9)
    assert decision.reason == "short (confidence 0.9, 0.8 is needed)"
    assert decision.time_share == TIMES["post_download"]


def test_a_bare_condition_is_certain() -> None:
    decision = decide(exits("duration_seconds < 60", exit__min_confidence=1.0), but(duration_seconds=50))
    assert decision.confidence == 1.0


def test_a_condition_counts_from_the_confidence_that_its_checkpoint_asks_for() -> None:
    entry = {"condition": "duration_seconds < 60", "confidence": 0.8}
    short = but(duration_seconds=50)
    assert decide(exits(entry), short).processing_type == "early_exit"
    stricter = exits(entry, exit__min_confidence=0.81)
    assert decide(stricter, short).processing_type == "full"
    assert decide({**stricter, "exit.post_download.min_confidence": 0.8}, short).processing_type == "early_exit"


def test_of_the_confidences_asked_for_the_nearest_wins() -> None:
    of_all = {"exit.min_confidence": 0.1, "exit.post_download.min_confidence": 0.2}
    of_types = {"exit.min_confidence.news": 0.3, "exit.post_download.min_confidence.interview": 0.4}
    pipeline = parse_pipeline({**of_all, **of_types})
    asked = [pipeline.min_confidence("post_download", name) for name in ("interview", "news", "podcast")]
    assert [*asked, pipeline.min_confidence("post_analysis", "podcast")] == [0.4, 0.3, 0.2, 0.1]


def test_a_content_type_may_have_conditions_of_its_own_or_none() -> None:
    policy = {
        **exits("duration_seconds < 60"),
        "exit.post_download.conditions.news": [],
        "exit.post_download.conditions.podcast": ["view_count < 5"],
    }
    assert decide(policy, but(duration_seconds=5)).processing_type == "full"
    assert decide(policy, but(duration_seconds=5, content_type="podcast")).processing_type == "full"
    assert decide(policy, but(view_count=1, content_type="podcast")).processing_type == "early_exit"
    assert decide(policy, but(duration_seconds=5, content_type="interview")).processing_type == "early_exit"


@pytest.mark.parametrize(
    "off",
    [{"exit.enabled": False}, {"exit.post_download.enabled": False}, {"exit.post_download.enabled.news": False}],
    ids=lambda d: next(iter(d)),
)
def test_exits_can_be_switched_off(off: dict[str, Any]) -> None:
    assert decide({**exits("duration_seconds < 60"), **off}, but(duration_seconds=5)).processing_type == "full"


def test_a_single_condition_can_be_switched_off() -> None:
    policy = exits({"condition": "duration_seconds < 60", "enabled": False})
    assert decide(policy, but(duration_seconds=5)).processing_type == "full"


def test_what_is_processed_lightly_is_not_analysed_so_that_it_never_ends_after_the_analysis() -> None:
    policy = exits("analysis_confidence < 0.9", checkpoint="post_analysis")
    assert decide(policy, but(analysis_confidence=0.1)).checkpoint == "post_analysis"
    assert decide(policy, but(analysis_confidence=0.1, content_type="entertainment")).processing_type == "lightweight"


def test_checkpoints_come_in_the_order_of_the_pipeline() -> None:
    policy = dict[str, Any]()
    for checkpoint in reversed(CHECKPOINTS):
        policy |= exits("duration_seconds > 0", checkpoint=checkpoint)
        assert decide(policy, GOOD).checkpoint == checkpoint


def test_a_condition_names_only_what_is_known_at_its_checkpoint() -> None:
    assert "word_count" not in known_at("post_download")
    assert {f.name for f in FIELDS} == known_at("post_analysis")
    (said,) = faults(exits("overall_quality < 0.5")).values()
    assert "character 0: overall_quality is known from post_quality_filtering on, not yet at post_download" in said


@named(
    ("text", "says", "not_said"),
    {
        "known later": ("word_count < 5", "character 0: word_count is known from post_transcription", "did you mean"),
        "misspelt, too": ("word_cuont < 5", "mean word_count? word_count is known from post_transcription", "Known:"),
        "the first fault": ("word_count < 5 and and", "word_count is known from", "did you mean"),
        "misspelt, and known here": ("view_cuont < 5", "did you mean view_count? Known: age_days", "not yet at"),
        "after another": ("view_count = 5 and word_count < 5", "equality is written ==", "word_count is known"),
    },
)
def test_a_name_that_is_known_only_later_is_told_so_first_and_alone(text: str, says: str, not_said: str) -> None:
    said = faults(exits(text))["/exit.post_download.conditions/0"]
    assert says in said
    assert not_said not in said


def test_duration_is_another_name_of_duration_seconds() -> None:
    assert decide(exits("duration < 60"), {"duration_seconds": 5}).processing_type == "early_exit"
    assert decide(exits("duration_seconds < 60"), {"duration": 5}).processing_type == "early_exit"


# --- reading ----------------------------------------------------------------------------------------------------------


def test_all_faults_of_a_policy_come_at_once_with_their_place() -> None:
    percent = {"condition": "view_count < 3", "confidence": 95}
    found = faults(
        {
            "filter.min_overal": 0.5,
            "filter.min_wrods.news": 5,
            "filter.min_words": 2.5,
            "filter.checks_needed": 5,
            "route.news": "fast",
            "exit.post_initial_analysis.min_confidence": 0.5,
            "exit.post_download.conditions": ["duration_seconds <", {"conditon": "x"}, percent],
            "exit.post_transcription.conditions": "word_count < 3",
            "tiers": ["a"],
        }
    )
    assert found["/filter.min_overal"].endswith("did you mean 'filter.min_overall'?")
    assert found["/filter.min_wrods.news"].endswith("did you mean 'filter.min_words.news'?")
    assert "whole number" in found["/filter.min_words"]
    assert "from 0 to 4" in found["/filter.checks_needed"]
    assert "full, lightweight, quality_check" in found["/route.news"]
    assert "did you mean 'exit.post_analysis.min_confidence'" in found["/exit.post_initial_analysis.min_confidence"]
    assert "character 18" in found["/exit.post_download.conditions/0"]
    assert "did you mean 'condition'" in found["/exit.post_download.conditions/1/conditon"]
    assert "from 0 to 1" in found["/exit.post_download.conditions/2/confidence"]
    assert "are a list" in found["/exit.post_transcription.conditions"]
    assert "begin with filter., route. or exit." in found["/tiers"]
    assert len(found) == 12


def test_all_faults_of_a_record_come_at_once_with_their_place() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_pipeline({}).decide(
            {"word_count": "many", "overall_quality": 1.2, "sentiment_score": -1, "content_type": 3, "other": object()},
            at="/variables",
        )
    names = ("content_type", "word_count", "overall_quality")
    assert [fault.pointer for fault in refused.value.faults] == [f"/variables/{name}" for name in names]


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_every_knob_says_what_raising_it_or_switching_it_does(knob: Any) -> None:
    assert any(word in knob.meaning for word in ("raising", "off:", "From lightweight", "longer list"))
    assert knob.default is None or knob.fault(knob.default) is None


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_policy_in_which_its_pair_counts(name: str) -> None:
    pipeline = parse_pipeline(PRESETS[name].policy)
    assert pipeline.thresholds("news")["min_overall"] == PRESETS[name].min_overall
    assert {pipeline.min_confidence(c, "news") for c in CHECKPOINTS} == {PRESETS[name].min_exit_confidence}
    assert all(pipeline.exits(c, "news") for c in CHECKPOINTS if c != "post_analysis")
