"""Variants, what an evaluation found of them, and the playbooks that their texts hold; what families are
called, and which inputs stay sealed for who takes the name of a retired one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from optimizer.adapters.store.tables.row import Row, json_field, time_field


class VariantRow(Row):
    """Written by variants.py. After the insert only a draft's origin changes, once it is saved or put to use."""

    __tablename__ = "variants"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    content: dict[str, Any] = json_field()
    source: str  # file, study, person, import, environment, draft
    note: str = ""
    file_version: str | None = None
    parent: str | None = None
    study: str | None = None
    created_by: str
    created_at: datetime = time_field()


class EvaluationBatchRow(Row):
    """Written by variants.py: one Variant on one Dataset, summed up."""

    __tablename__ = "evaluation_batches"
    id: str = Field(primary_key=True)
    family: str = Field(index=True)
    variant: str
    model: str
    dataset_hash: str
    split: str
    scorer_version: str
    n: int
    n_errors: int
    mean_score: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    cost_usd: float
    p95_latency_ms: float | None = None
    n_calls: int
    suite: str | None = None  # the targets of its checks
    checks: list[Any] | None = json_field(nullable=True)
    created_by: str
    created_at: datetime = time_field()


class PlaybookEntryRow(Row):
    """Written by variants.py. No row is removed: an entry that has gone says why."""

    __tablename__ = "playbook_entries"
    family: str = Field(primary_key=True)
    id: str = Field(primary_key=True)  # from the text
    position: int
    kind: str  # directive, strategy, lesson
    text: str
    evidence: list[str] = json_field()  # ids of examples
    helpful: int
    harmful: int
    state: str  # active, merged, retired
    merged_into: str | None = None
    reason: str
    study: str
    created_at: datetime = time_field()
    changed_at: datetime = time_field()
    changed_by: str


class PlaybookStepRow(Row):
    """Written by variants.py: which steps of a study a playbook has taken in; 0 is how it stood before.
    Ids and counts, no text.
    """

    __tablename__ = "playbook_steps"
    study: str = Field(primary_key=True)
    step: int = Field(primary_key=True)
    family: str
    record: list[dict[str, Any]] = json_field()
    at: datetime = time_field()


class FamilyNameRow(Row):
    """Written by families.py. A family without a row has its name for a key."""

    __tablename__ = "family_names"
    name: str = Field(primary_key=True)
    key: str = Field(index=True)  # under which its rows stand in every table
    current: bool  # the name that it has now; else one that it had
    since: datetime = time_field()


class SealedInputRow(Row):
    """Written by families.py: an input that was in the holdout of a retired family of this name, by hash."""

    __tablename__ = "sealed_inputs"
    name: str = Field(primary_key=True)
    input_hash: str = Field(primary_key=True)
    family: str = Field(primary_key=True)  # the retired one, under whose key the looks stand
    example: str = Field(primary_key=True)
