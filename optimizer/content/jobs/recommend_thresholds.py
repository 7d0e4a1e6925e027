"""Recommends the knobs of a content pipeline from what was collected: reported items and training examples.

Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from optimizer.content.core.records.record import UNNAMED
from optimizer.content.core.search.recommend import PipelineRecommendation, recommend
from optimizer.content.jobs.compare_thresholds import require_pipeline
from optimizer.core.base.errors import Conflict
from optimizer.core.feedback.pipeline_record import PipelineRecord
from optimizer.jobs.context import Context
from optimizer.jobs.studies.recommend_cascade import RecommendThresholdsRequest

MOST_RECORDS = 100_000


def recommend_thresholds(context: Context, request: RecommendThresholdsRequest) -> PipelineRecommendation:
    """What a search by replay finds beside the champion's policy, judged on records that it did not see: as `detent
    thresholds recommend`. Training examples count whatever their age; the holdout stays sealed.

    It is read by a process of its own, one at a time.

    Raises:
        InvalidInput: the family is no policy.
        Conflict: the family has no champion yet.
        DatasetTooSmall: names everything that is missing.
    """
    family, store, hours = context.family(request.family), context.store, request.hours
    require_pipeline(family)
    since = context.clock.now() - timedelta(hours=hours)
    with store.read() as tx:
        champion = store.champions.current(tx, family.name)
        record = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
        reported = store.pipeline_stats.records(tx, since, MOST_RECORDS)
        examples = store.examples.of_split(tx, family.name, split="train")
    if record is None:
        raise Conflict(
            f"Family {family.name!r} has no champion yet, so there is nothing to compare with. Start the server or the"
            " worker once."
        )
    collected = [*({**e.input, "quality": e.expected.get("quality")} for e in examples), *map(_reported, reported)]
    return recommend(collected, present=record.variant.policy)


def _reported(record: PipelineRecord) -> Mapping[str, Any]:
    return {
        "content_type": record.content_type if record.content_type != UNNAMED else None,
        "quality_score": record.quality_score,
        "exit_checkpoint": record.exit_checkpoint,
    }
