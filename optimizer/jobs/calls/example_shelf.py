"""The lists from which nearest examples come, read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from optimizer.core.base.errors import DetentError
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import ShownExamples, nearest_of, with_nearest
from optimizer.jobs.calls.shelf import Shelf
from optimizer.jobs.calls.student_shelf import StudentShelf
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:
    from optimizer.core.predictor.example_index import ExampleIndex

MOST = 8  # in memory; each holds some 20 MB at most

log = structlog.get_logger("examples")


class ExampleShelf:
    """Each is read once. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._indexes: Shelf[ExampleIndex] = Shelf(
            store, store.example_indexes.get, most=MOST, prepare=lambda index: index.prepare()
        )

    def shown(
        self, family: str, variant: Variant, input: Mapping[str, Any], *, apart: Example | None = None
    ) -> ShownExamples:
        """The variant with the examples for this request.

        Args:
            apart: the example that asks, in an evaluation; it, its group and near-duplicates of it are not shown.
        """
        nearest = nearest_of(variant.policy)
        if nearest is None:
            return ShownExamples(variant=variant)
        index = self._indexes.get(family, nearest.index)
        if index is None:
            return ShownExamples(variant=variant, is_missing=True)
        return with_nearest(variant, nearest, index.ranked(input, scope=nearest.scope, apart=apart))

    def served(self, family: str, variant: Variant, input: Mapping[str, Any]) -> ShownExamples:
        """The same for a user, who does not wait for a store that cannot be read."""
        try:
            return self.shown(family, variant, input)
        except DetentError as error:
            log.error("a list of examples could not be read; fixed ones are shown", family=family, error=error.detail)
            return ShownExamples(variant=variant, is_missing=True)

    def clear(self) -> None:
        self._indexes.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """All that a variant may name beside models."""

    students: StudentShelf
    examples: ExampleShelf

    @classmethod
    def of(cls, store: Store, models: ModelCatalogue) -> Shelves:
        return cls(students=StudentShelf(store, models), examples=ExampleShelf(store))
