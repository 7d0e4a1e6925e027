"""Takes what a content pipeline reports about one item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optimizer.content.core.records.record import read_record
from optimizer.core.feedback.pipeline_record import ProcessingType
from optimizer.jobs.ids import new_id
from optimizer.ports import Clock, Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordAnswer:
    status: Literal["recorded", "not recorded"]
    processing_type: ProcessingType


async def record_performance(
    values: Mapping[str, Any],
    *,
    store: Store,
    clock: Clock,
    keep_it: bool = True,
    idempotency: tuple[str, str, str] | None = None,
) -> RecordAnswer:
    """Keeps one record and adds it to the sums of its hour; returns the answer once both are on disk.

    Args:
        values: as ``read_record`` of ``optimizer/content/core/records/record.py`` takes them.
        keep_it: False where ENABLE_DASHBOARD_METRICS is off: the record is checked, and the answer says that it was not
            kept.
        idempotency: who sends, key, and hash of what was sent; the same again gets the first answer and counts once.
    Raises:
        InvalidInput: names every fault.
        KeyReused: the idempotency key came with other values before.
    """
    record = read_record(values, id=new_id("pr"), received_at=clock.now())
    if not keep_it:
        return RecordAnswer(status="not recorded", processing_type=record.processing_type)
    answer = RecordAnswer(status="recorded", processing_type=record.processing_type)

    def keep(tx: Transaction) -> RecordAnswer:
        if idempotency is not None:
            if (before := store.events.stored_answer(tx, *idempotency)) is not None:
                return RecordAnswer(**before)
            store.events.store_answer(tx, *idempotency, asdict(answer), record.received_at)
        store.pipeline_stats.add(tx, [record])
        return answer

    return await store.awrite(keep, rows=2)
