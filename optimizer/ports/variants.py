"""Variants as stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from optimizer.core.family.variant import Variant
from optimizer.ports.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRecord:
    """A Variant as stored, with its origin."""

    family: str
    variant: Variant
    source: Literal["file", "study", "person", "import", "environment"]
    created_at: datetime
    created_by: str
    note: str = ""
    file_version: str | None = None
    parent: str | None = None
    study: str | None = None


class Variants(Protocol):
    def add(self, tx: Transaction, record: VariantRecord) -> bool:
        """False when the family already holds this content."""

    def get(self, tx: Transaction, family: str, id: str) -> VariantRecord | None: ...
    def of_family(self, tx: Transaction, family: str) -> list[VariantRecord]: ...
    def ids(self, tx: Transaction, family: str) -> set[str]: ...
