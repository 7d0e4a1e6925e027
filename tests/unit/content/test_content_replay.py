"""Replay of records, what a knob does to them, and thresholds recommended from them."""

from __future__ import annotations

import random
from dataclasses import asdict
from functools import cache
from statistics import fmean
from typing import Any

import pytest

from optimizer.content.core.policy.files import read_files
from optimizer.content.core.policy.pipeline import KNOBS, parse_pipeline
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.search.recommend import MIN_FULL, PipelineRecommendation, recommend
from optimizer.content.core.search.replay import ReplayedShares, _texts, outcome, read_rows
from optimizer.content.core.search.score import processed_quality
from optimizer.content.core.search.sensitivity import curve, values_to_try
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput

CHECKPOINTS = ("post_download", "post_transcription", "post_quality_filtering", "post_analysis")


def collected(n: int = 600, seed: int = 1, **fixed: Any) -> list[dict[str, Any]]:
    """Items whose worth shows in their coherence, half of it chance; words say nothing."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        coherence = rng.random()
        counts = {"word_count": rng.randrange(3000), "sentence_count": rng.randrange(100)}
        scores = {"coherence_score": coherence, "overall_quality": rng.random()}
        quality, left_at = 0.5 * coherence + 0.5 * rng.random(), CHECKPOINTS[i % 4] if i % 10 == 0 else None
        of = {"content_type": ("news", "podcast", "discussion")[i % 3], "quality": quality, "exit_checkpoint": left_at}
        rows.append({**of, **counts, **scores, **fixed})
    return rows + [{"content_type": "news", "quality": 0.2, "exit_checkpoint": c} for c in CHECKPOINTS]


def records(**fixed: Any) -> Any:
    return read_rows(collected(**fixed))


def replayed(rows: Any, *settings: dict[str, Any]) -> list[ReplayedShares]:
    columns = read_rows(rows)
    return [outcome(columns, parse_pipeline(setting)) for setting in settings]


def routed(mode: str) -> dict[str, Any]:
    return dict.fromkeys(("route.default", "route.news", "route.discussion"), mode)


# --- replay -----------------------------------------------------------------------------------------------------------


def test_one_outcome_per_setting_in_their_order() -> None:
    found = replayed(collected(), routed("full"), routed("lightweight"))
    assert [one.full_share for one in found] == [1.0, 0.0]
    assert [one.time_saved_share for one in found] == [pytest.approx(0.0), pytest.approx(0.85)]
    assert (found[0].quality is None, found[1].quality) == (False, None)


def test_the_score_is_the_mean_of_what_a_study_gives_each_item() -> None:
    policy = PRESETS["balanced"].policy | {"route.podcast": "full"}
    pipeline = parse_pipeline(policy)
    rows = collected()
    each = [processed_quality({"expected": {"quality": row["quality"]}}, asdict(pipeline.decide(row))) for row in rows]
    (found,) = replayed(rows, policy)
    assert 0 < found.n_full < len(rows)
    assert found.score == pytest.approx(fmean(each))


def test_without_the_quality_of_what_is_processed_in_full_there_is_no_score() -> None:
    rows = [row | ({"quality": None} if i == 0 else {}) for i, row in enumerate(collected())]
    found = replayed(rows, routed("full"), routed("lightweight"))
    assert (found[0].score, found[1].score) == (None, 0.5)


def test_a_search_that_writes_its_own_conditions_keeps_no_more_than_it_may() -> None:
    found = records()
    for i in range(600):
        outcome(found, parse_pipeline({"exit.post_transcription.conditions": [f"word_count < {i}"]}))
    assert len(found._columns) <= 256


# --- sensitivity ------------------------------------------------------------------------------------------------------


def test_a_knob_that_does_nothing_for_these_records_has_a_flat_curve() -> None:
    found = records()
    for knob, is_flat in (("exit.min_confidence", True), ("filter.min_coherence", False)):
        assert curve(found, {}, knob, values_to_try(found, knob), meaning="").is_flat is is_flat


def test_one_long_text_does_not_make_every_row_as_long() -> None:
    columns: list[list[str | None]] = [["short"] * 3, ["short", "x" * 50_000], ["short", None]]
    assert [_texts(column).dtype.kind for column in columns] == ["U", "O", "O"]


def test_every_knob_has_values_to_try_where_the_records_carry_what_it_is_compared_with() -> None:
    found = records()
    empty = {knob.name for knob in KNOBS if not values_to_try(found, knob.name)}
    scores = {f"filter.min_{name}" for name in ("completeness", "informativeness", "predicted_quality")}
    assert empty == scores | {"score", *(f"exit.{c}.conditions" for c in CHECKPOINTS)}
    unmeasured = [{**row, "word_count": None} for row in collected(20)]
    assert values_to_try(read_rows(unmeasured), "filter.min_words") == []
    with pytest.raises(InvalidInput, match=r"did you mean 'filter\.min_words'"):
        values_to_try(found, "filter.min_word")


@cache
def recommended() -> PipelineRecommendation:
    return recommend(collected(105))


# --- recommendation ---------------------------------------------------------------------------------------------------


def test_the_recommendation_finds_what_the_worth_shows_in_and_confirms_it_on_items_kept_back() -> None:
    found = recommend(collected(900))
    assert found.is_better
    assert found.after.quality > found.before.quality + 0.05
    assert found.after.time_saved_share >= 0.63
    assert found.after.n_judged >= MIN_FULL
    assert found.evidence["n_searched_on"] + found.evidence["n_kept_back"] == found.evidence["n_items"] == 904
    assert found.evidence["changed"] == found.changed
    assert any("coherence" in knob for knob in found.changed)


def test_the_same_records_give_the_same_recommendation() -> None:
    assert recommend(collected(105)).policy == recommended().policy
    assert recommended().evidence["checkpoints_not_seen"] == []


def test_its_file_can_be_read_back_as_the_policy_it_recommends() -> None:
    found = recommended()
    again = read_files({"optimal_config.yaml": found.optimal_config})
    assert again.policy == found.policy


def test_where_nothing_tells_good_from_bad_it_does_not_claim_to_be_better() -> None:
    """The worth is chance: what the search half likes, the other half does not confirm."""
    rng = random.Random(0)
    found = recommend([{**row, "quality": rng.random()} for row in collected(200, 0)])
    assert found.after.quality - 0.5 <= 2.5 * (found.after.quality_error or 1)


def test_knobs_whose_values_no_record_carries_are_left_as_they_are_and_named() -> None:
    rows = [{k: v for k, v in row.items() if k not in ("word_count", "sentence_count")} for row in collected(200)]
    found = recommend(rows)
    assert not any("words" in knob or "sentences" in knob for knob in found.changed)
    assert {"filter.min_words", "filter.min_sentences"} <= set(found.evidence["not_varied"])


def test_records_as_the_pipeline_reports_them_are_enough_and_the_note_says_what_they_cannot_show() -> None:
    rng = random.Random(3)
    kinds, places = ("news", "podcast", "interview"), (*CHECKPOINTS[:3], "post_initial_analysis")
    rows = [
        {"processing_type": "full", "content_type": kinds[i % 3], "quality_score": rng.random()}
        | {"exit_checkpoint": places[i % 4] if i < 8 else None}
        for i in range(200)
    ]
    found = recommend(rows)
    assert found.evidence["exits_by_checkpoint"] == dict.fromkeys(CHECKPOINTS, 2)
    assert "says nothing about how good that score is" in found.evidence["note"]


def test_too_little_is_refused_and_everything_that_is_missing_named_at_once() -> None:
    rows = [{"content_type": "news", "quality_score": 0.5, "exit_checkpoint": "post_download"} for _ in range(40)]
    with pytest.raises(DatasetTooSmall) as refused:
        recommend(rows)
    assert refused.value.members["missing"] == [
        "60 more items with a measured quality (40 of 100)",
        "2 more content types (1 of 3: news)",
    ]


def test_checkpoints_that_were_seen_are_searched_and_the_others_keep_their_exits_and_are_named():
    ended_at = ("post_download", "post_quality_filtering")
    rows = [{**row, "exit_checkpoint": None} for row in collected(200)]
    rows += [{"content_type": "news", "quality": 0.1, "exit_checkpoint": checkpoint} for checkpoint in ended_at]
    found = recommend(rows)
    unseen = [c for c in CHECKPOINTS if c not in ended_at]
    assert found.evidence["checkpoints_not_seen"] == unseen
    now, after = (parse_pipeline(policy) for policy in (PRESETS["balanced"].policy, found.policy))
    assert [after.exits(c, "news") for c in unseen] == [now.exits(c, "news") for c in unseen]
    assert found.changed


@pytest.mark.parametrize("n", [99, 100])
def test_a_hundred_items_are_enough(n: int) -> None:
    rows = [{"content_type": "abc"[i % 3], "quality": 0.5, "exit_checkpoint": CHECKPOINTS[i % 4]} for i in range(n)]
    if n == 100:
        assert recommend(rows).evidence["n_items"] == 100
    else:
        with pytest.raises(DatasetTooSmall, match="1 more items"):
            recommend(rows)
