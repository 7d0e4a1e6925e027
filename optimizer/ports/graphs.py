"""Graphs that were verified, with the repairs proposed for them and what a person decided."""

from __future__ import annotations

from typing import Protocol

from optimizer.core.graph.verified import VerifiedGraph
from optimizer.ports.transaction import Transaction


class Graphs(Protocol):
    def add(self, tx: Transaction, graph: VerifiedGraph) -> None:
        """Raises Conflict where the interaction has one already."""

    def get(self, tx: Transaction, id: str) -> VerifiedGraph | None: ...
    def of_interaction(self, tx: Transaction, family: str, interaction: str) -> VerifiedGraph | None: ...
    def page(
        self, tx: Transaction, *, family: str | None, pending: bool | None, cursor: str | None, limit: int
    ) -> tuple[list[VerifiedGraph], str | None]:
        """Oldest first. ``pending``: those of which a repair is, or is not; None: all."""

    def decide(self, tx: Transaction, before: VerifiedGraph, after: VerifiedGraph) -> None:
        """Keeps one more decision; raises StaleVersion where another was kept since ``before`` was read."""
