"""What content pipelines report about their items, and its sums by hour."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.core.feedback.pipeline_record import PipelineRecord, PipelineSums
from optimizer.ports.transaction import Transaction

Grouping = Literal["hour", "processing_type", "content_type", "exit_checkpoint", "exit_reason"]


class PipelineStats(Protocol):
    def add(self, tx: Transaction, records: Sequence[PipelineRecord]) -> None:
        """Keeps records, whose ids are new, and adds them to the sums of their hours."""

    def sums(
        self, tx: Transaction, since: datetime, by: Sequence[Grouping], *, processing_type: str | None = None
    ) -> dict[tuple[Any, ...], PipelineSums]:
        """Sums of the hours that begin at ``since`` or later, by their values of ``by``, in that order.

        Reads no record.
        """

    def records(self, tx: Transaction, since: datetime, limit: int) -> list[PipelineRecord]:
        """The last ``limit`` records received at ``since`` or later, oldest first."""

    def n_old(self, tx: Transaction, before: datetime) -> int:
        """How many records ``prune`` would delete in the end."""

    def prune(self, tx: Transaction, before: datetime, limit: int) -> int:
        """Deletes up to ``limit`` of the records received before then, oldest first; their sums stay.

        Returns how many.
        """
