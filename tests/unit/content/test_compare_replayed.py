"""The A/B decision between two configurations that are replayed on the same items."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.content.core.search.compare import ReplayedComparison, compare_replayed
from optimizer.content.core.search.replay import Records, read_rows
from optimizer.content.jobs.compare_live_records import LiveComparisonRequest
from optimizer.content.jobs.compare_thresholds import (
    CompareThresholdsRequest,
    NamedConfiguration,
    ThresholdsComparison,
    compare_thresholds,
)
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.jobs.request import Request
from tests.unit.policies.test_policy_studies import items, pipeline_family
from tests.worlds.contexts import context_of
from tests.worlds.study_world import World

ALL_FULL = {"route.default": "full", "exit.enabled": False}


def from_words(n: int) -> dict[str, Any]:
    """Full from so many words on, lightweight below."""
    never = {"filter.min_sentences": 10**6, "filter.min_coherence": 1.0, "filter.min_overall": 1.0}
    words = {"filter.min_words": n, "filter.checks_needed": 1}
    return {**words, **never, "route.default": "quality_check", "exit.enabled": False}


def rows(n: int, seed: int, *, worth: float = 0.0) -> list[dict[str, Any]]:
    """Items of 0 to 1,000 words; ``worth`` is how much better the longest is than the shortest."""
    rng = random.Random(seed)
    found = []
    for _ in range(n):
        words = rng.randrange(1000)
        quality = min(1.0, max(0.0, 0.5 + worth * (words / 1000 - 0.5) + rng.gauss(0, 0.15)))
        scores = {"sentence_count": 1, "coherence_score": 0.5, "overall_quality": 0.5, "quality": quality}
        found.append({"content_type": "podcast", "word_count": words, **scores})
    return found


def records(given: list[dict[str, Any]]) -> Records:
    return read_rows(given)


def compared(
    given: list[dict[str, Any]], one: dict[str, Any], other: dict[str, Any], **options: Any
) -> ReplayedComparison:
    return compare_replayed(records(given), one, other, **options)


def test_more_time_saved_at_the_same_quality_is_aggressive() -> None:
    found = compared(rows(2000, 1), ALL_FULL, from_words(500))
    assert found.verdict.choice == "aggressive"
    assert found.verdict.time_saved_more.estimate == pytest.approx(found.aggressive.time_saved_share, abs=1e-9)
    assert found.n_differing == pytest.approx(1000, abs=100)


def test_much_quality_lost_is_conservative() -> None:
    """The stricter filter keeps what is worth most; the other takes everything."""
    found = compared(rows(2000, 2, worth=0.8), from_words(700), ALL_FULL)
    assert found.verdict.choice == "conservative"
    assert found.verdict.quality_lost.low > 0.05


def test_few_items_that_differ_cannot_tell() -> None:
    found = compared(rows(60, 3), ALL_FULL, from_words(60))
    assert found.verdict.choice is None
    assert "Measure more items" in found.verdict.reason


def test_the_same_configuration_twice_is_balanced_once_there_are_enough_items_in_an_interval_of_some_width() -> None:
    few, many = (compared(rows(n, 4), ALL_FULL, ALL_FULL) for n in (40, 400))
    assert (few.n_differing, many.n_differing) == (0, 0)
    assert few.verdict.choice is None, "forty items alike do not show that none in twenty would differ"
    assert many.verdict.choice == "balanced"
    assert many.verdict.time_saved_more.low < 0 < many.verdict.time_saved_more.high


def test_too_little_processed_in_full_is_refused_and_says_by_which() -> None:
    told = r"of 200 items the aggressive one processes \d+ with a measured quality"
    with pytest.raises(DatasetTooSmall, match=told) as refused:
        compared(rows(200, 5), ALL_FULL, from_words(950))
    assert refused.value.members["n_required"] == 30


def test_items_whose_quality_nobody_measured_count_for_time_alone() -> None:
    given = rows(300, 6)
    without = [{**row, "quality": None} for row in rows(300, 7)]
    found = compared(given + without, ALL_FULL, from_words(500))
    assert (found.n, found.conservative.n_judged) == (600, 300)


@pytest.mark.parametrize("confidence", [0, 1, -1, float("nan"), 0.9999999999999999])
@pytest.mark.parametrize("request_of", [CompareThresholdsRequest, LiveComparisonRequest])
def test_a_confidence_out_of_range_is_refused(request_of: type[Request], confidence: float) -> None:
    with pytest.raises(ValidationError, match="confidence"):
        request_of.model_validate({"confidence": confidence})


def test_both_intervals_hold_the_truth_together_in_95_of_100_draws_or_more() -> None:
    """Draws of 150 items; the truth is what the two do with 40,000 others.

    150 draws: 3 standard errors below .95 is .897.
    """
    one, other = from_words(300), from_words(550)
    truth = compared(rows(40_000, 10, worth=0.4), one, other).verdict
    held = 0
    for seed in range(150):
        found = compared(rows(150, 1000 + seed, worth=0.4), one, other).verdict
        held += (
            found.quality_lost.low <= truth.quality_lost.estimate <= found.quality_lost.high
            and found.time_saved_more.low <= truth.time_saved_more.estimate <= found.time_saved_more.high
        )
    assert held >= 0.897 * 150


def of_world(world: World, **sides: NamedConfiguration) -> ThresholdsComparison:
    context = context_of(world.store, world.clock, family=lambda name: world.family)
    return compare_thresholds(context, CompareThresholdsRequest(family=world.family.name, **sides))


def test_the_job_reads_train_and_dev_and_leaves_the_sealed_items_alone(tmp_path: Path) -> None:
    world = World(tmp_path, family=pipeline_family()).fill(
        examples=[*items(200, "train"), *items(90, "dev"), *items(50, "holdout")]
    )
    found = of_world(world, conservative=NamedConfiguration(name="balanced"))
    assert (found.n, found.conservative.configuration) == (290, "version balanced")


def test_a_family_without_items_and_a_family_of_prompts_are_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    everything = NamedConfiguration(name="a", policy=ALL_FULL)
    with pytest.raises(DatasetTooSmall, match="detent import FILE"):
        of_world(World(tmp_path / "a", family=pipeline_family()), aggressive=everything)
    with pytest.raises(InvalidInput, match="for content pipelines"):
        of_world(World(tmp_path / "b").fill())
