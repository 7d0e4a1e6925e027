"""What is kept for a time only: rows with texts and units of production, and what studies recorded per example."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from optimizer.ports.transaction import Transaction

OldRows = Literal[
    "interactions",
    "later_parts",
    "feedback_events",
    "examples",
    "reviews",
    "graphs",
    "idempotency_keys",
    "model_calls",
    "texts_of_model_calls",
    "outputs_of_studies",
    "tier_answers",
    "reports_of_evaluations",
    "confidences_of_studies",
    "traffic_sums",
    "outbox",
    "pipeline_records",
]
Key = tuple[Any, ...]


class RetainedRows(Protocol):
    """``before``: of the rows of studies the time at which the study ended, of the outbox that of sending, else that of
    receipt. A rollout's newest item of the outbox stays: its verification compares with it.

    ``family`` None: rows of no family.
    """

    def families(self, tx: Transaction) -> list[str]:
        """Families that have interactions or feedback, in order."""

    def n_old(self, tx: Transaction, rows: OldRows, family: str | None, before: datetime) -> int: ...
    def old(self, tx: Transaction, rows: OldRows, family: str | None, before: datetime, limit: int) -> list[Key]:
        """Keys of up to so many."""

    def remove(self, tx: Transaction, rows: OldRows, family: str | None, keys: Sequence[Key]) -> int:
        """Deletes these rows; of calls and results of studies only the texts, since their money and scores stay.

        Returns how many.
        """

    def forget(self, tx: Transaction, family: str, limit: int) -> int:
        """Deletes up to ``limit`` rows with texts of a retired family, whatever their age.

        Of rows whose figures stay, only the texts. Returns how many.
        """
