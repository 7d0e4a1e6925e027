"""Variants as stored, and the playbooks of which studies make some."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol, TypedDict

from optimizer.core.family.variant import Source, VariantRecord
from optimizer.core.search.playbook.entries import Entry, Kind, State
from optimizer.ports.transaction import Transaction


class Variants(Protocol):
    def add(self, tx: Transaction, record: VariantRecord) -> bool:
        """False when the family already holds this content; a draft of it takes this record's origin, which is True."""

    def get(self, tx: Transaction, family: str, id: str) -> VariantRecord | None: ...
    def of_family(self, tx: Transaction, family: str, sources: Collection[Source] | None = None) -> list[VariantRecord]:
        """Oldest first; of these sources, where some are given."""

    def ids(self, tx: Transaction, family: str) -> set[str]: ...


class StepRecord(TypedDict, total=False):
    """An entry as it stood when a study began, or what one edit of a later step did, without the entry's texts."""

    id: str
    edit: str
    kind: Kind
    evidence: Sequence[str]
    state: State
    helpful: int
    harmful: int
    into: str


class Playbooks(Protocol):
    def entries(self, tx: Transaction, family: str) -> dict[str, Entry]:
        """Every entry by its id, in the order of positions, those that are no longer active too."""

    def put(self, tx: Transaction, family: str, entries: Sequence[Entry]) -> None:
        """Adds an entry, or changes what may change of it: its text and kind stay."""

    def step(self, tx: Transaction, study: str, step: int) -> list[StepRecord] | None:
        """What was recorded of a step; None where it has not been kept."""

    def add_to_step(
        self, tx: Transaction, family: str, study: str, step: int, record: Sequence[StepRecord], at: datetime
    ) -> None:
        """Records this behind what is recorded of the step."""
