"""Takes what a content pipeline reports about one item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.pipeline_record import PipelineRecord, read_record
from optimizer.jobs.ids import new_id
from optimizer.ports import Clock, Store


async def record_performance(values: Mapping[str, Any], *, store: Store, clock: Clock) -> PipelineRecord:
    """Keeps one record and adds it to the sums of its hour; returns once both are on disk. Raises InvalidInput naming every fault."""
    record = read_record(values, id=new_id("pr"), received_at=clock.now())
    await store.awrite(lambda tx: store.pipeline_stats.add(tx, [record]), rows=2)
    return record
