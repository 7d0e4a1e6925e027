"""Thresholds recommended from what was collected: reported items and training examples,
and never the sealed holdout.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from optimizer.content.core.records.fields import CHECKPOINTS
from optimizer.content.core.records.record import UNNAMED
from optimizer.content.core.search.recommend import recommend
from optimizer.content.jobs.recommend_thresholds import recommend_thresholds
from optimizer.core.base.errors import DatasetTooSmall, InvalidInput
from optimizer.core.feedback.pipeline_record import PipelineRecord
from optimizer.jobs.studies.recommend_cascade import RecommendThresholdsRequest
from tests.unit.policies.test_policy_studies import items, pipeline_family
from tests.worlds.contexts import context_of
from tests.worlds.study_world import START, World


def reported(n: int, *, age_hours: float = 1.0) -> list[PipelineRecord]:
    """Items of three content types, of which one in four was given up, at each checkpoint in turn."""
    return [
        PipelineRecord(
            id=f"r{i}",
            received_at=START - timedelta(hours=age_hours),
            processing_type="early_exit" if i % 4 == 0 else "full",
            content_type=("news", "interview", "qa_forum")[i % 3],
            quality_score=(i % 10) / 10,
            exit_checkpoint=CHECKPOINTS[i // 4 % 4] if i % 4 == 0 else "",
        )
        for i in range(n)
    ]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, family=pipeline_family()).fill(
        examples=[*items(200, "train"), *items(50, "dev"), *items(50, "holdout")]
    )


def report(world: World, records: list[PipelineRecord]) -> None:
    world.store.write(lambda tx: world.store.pipeline_stats.add(tx, records))


def recommended(world: World, hours: float = 24.0) -> dict[str, object]:
    context = context_of(world.store, world.clock, family=lambda name: world.family)
    asked = RecommendThresholdsRequest(family=world.family.name, hours=hours)
    return dict(recommend_thresholds(context, asked).evidence)


def test_reported_items_and_training_examples_are_searched_together_and_the_sealed_ones_are_not(world: World) -> None:
    """Those without a type are of none, and those older than the hours do not count."""
    unnamed = [replace(one, id=f"u{one.id}", content_type=UNNAMED) for one in reported(120, age_hours=30)]
    report(world, [*reported(120, age_hours=30), *unnamed])
    with pytest.raises(DatasetTooSmall, match="2 more content types"):
        recommended(world)
    found = recommended(world, hours=48)
    assert found["n_items"] == 120 + 120 + 200
    by_type = found["items_by_content_type"]
    assert isinstance(by_type, dict)
    assert (by_type[""], UNNAMED in by_type) == (120, False), "no rule is found for a type that is none"


def test_nothing_is_better_than_a_policy_whose_quality_was_never_measured() -> None:
    rows = [
        {"content_type": name, "word_count": 50 + i, "sentence_count": 30, "coherence_score": i / 120, "quality": 0.5}
        for name in ("news", "lesson", "blog")
        for i in range(120)
    ]
    light = dict.fromkeys(("route.default", "route.news", "route.lesson", "route.blog"), "lightweight")
    found = recommend(rows, present=light)
    assert (found.before.quality, found.after.quality, found.is_better) == (None, 0.5, False)
    assert "processed in full before, so no quality could be compared" in found.evidence["note"]


@pytest.mark.parametrize("hours", [0, -1, 1e6])
def test_hours_out_of_range_are_refused(hours: float) -> None:
    with pytest.raises(ValidationError, match="hours"):
        RecommendThresholdsRequest(family="content_pipeline", hours=hours)


def test_a_family_of_prompts_is_sent_to_a_study(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--strategy replay"):
        recommended(World(tmp_path).fill())
