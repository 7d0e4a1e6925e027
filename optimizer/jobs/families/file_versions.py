"""Shared steps of syncing and adopting a family's file: its prompt versions as stored Variants, and a tenure
of one of them.
"""

from __future__ import annotations

from datetime import datetime

from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.serving.rollout import Champion, Decision
from optimizer.jobs.record_change import end_active_rollout, record_tenure
from optimizer.ports import Clock, Store, Transaction

FILE_ACTOR = "system:family-file"  # makes champions by the file alone: the first, and edits under serve_file_edits


def file_version_record(family: Family, version: str, at: datetime) -> VariantRecord:
    """The version's Variant as a record with ``source: file``."""
    return VariantRecord(
        family=family.name,
        variant=family.variant(version),
        source="file",
        created_at=at,
        created_by=FILE_ACTOR,
        note=family.prompt.versions[version].description,
        file_version=version,
    )


def store_file_version(
    tx: Transaction, store: Store, family: Family, version: str, at: datetime
) -> tuple[VariantRecord, bool]:
    """The version's record, and whether its content is new to the store."""
    record = file_version_record(family, version, at)
    return record, store.variants.add(tx, record)


def promote_file_version(tx: Transaction, store: Store, clock: Clock, tenure: Champion) -> Decision | None:
    """Lets a tenure of a file's Variant begin; returns the end of the rollout that was active."""
    ended = end_active_rollout(tx, store, clock, tenure.family, at=tenure.since, actor=tenure.by, why=tenure.why)
    record_tenure(tx, store, tenure, action="champion.adopt")
    return ended
