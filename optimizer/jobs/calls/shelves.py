"""What variants name by a hash, students and lists of examples, read from the store once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from optimizer.core.base.errors import DetentError, NotFound
from optimizer.core.dataset.examples import Example
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import ShownExamples, nearest_of, with_nearest
from optimizer.core.policy.policy import Policy
from optimizer.core.search.answer_bounds import models_of
from optimizer.jobs.calls.execute_policy import Student
from optimizer.ports import ModelCatalogue, Store, Transaction

if TYPE_CHECKING:
    from optimizer.core.predictor.example_index import ExampleIndex
    from optimizer.core.predictor.student import TaughtStudent

BYPASSES_S = 1.0  # for which the bypasses that were read hold
MOST_STUDENTS = 32  # in memory; each holds 20 MB at most, with short words a few
MOST_INDEXES = 8  # in memory; each holds some 20 MB at most
T = TypeVar("T")
log = structlog.get_logger("examples")


class Shelf(Generic[T]):
    """The last ones that were read. Thread-safe.

    Args:
        read: by family and hash; None where the store has none, such as one made of what a forgotten person said.
        most: in memory.
        prepare: what takes time and no store, before any request has it.
    """

    def __init__(
        self,
        store: Store,
        read: Callable[[Transaction, str, str], T | None],
        *,
        most: int,
        prepare: Callable[[T], None] = lambda read: None,
    ) -> None:
        self._store, self._read, self._most, self._prepare = store, read, most, prepare
        self._known: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._lock, self._reading = Lock(), Lock()
        self._n_cleared = 0

    def get(self, family: str, id: str) -> T | None:
        """None where the store has none. One is read at a time: those who want the same one wait for it."""
        if (known := self._at_hand(family, id)) is not None:
            return known
        with self._reading:
            return self._at_hand(family, id) or self._from_store(family, id)

    def _at_hand(self, family: str, id: str) -> T | None:
        with self._lock:
            known = self._known.get((family, id))
            if known is not None:
                self._known.move_to_end((family, id))
            return known

    def _from_store(self, family: str, id: str) -> T | None:
        n_cleared = self._n_cleared
        with self._store.read() as tx:
            read = self._read(tx, family, id)
        if read is not None:
            self._prepare(read)
        with self._lock:
            if read is not None and n_cleared == self._n_cleared:  # else it may hold what was forgotten meanwhile
                self._known[(family, id)] = read
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return read

    def clear(self) -> None:
        with self._lock:
            self._n_cleared += 1
            self._known.clear()


def is_student(models: ModelCatalogue, name: str) -> bool:
    """Whether config/models.yaml says that this name is a student's."""
    try:
        return models.describe(name).student
    except NotFound:
        return False


def students_among(
    models: ModelCatalogue, variants: Iterable[Variant], space: Mapping[str, Any] = MappingProxyType({})
) -> frozenset[str]:
    """The tiers of these variants, and of the space, that are students, taught or not: they answer without a call."""
    return frozenset(name for variant in variants for name in models_of(variant, space) if is_student(models, name))


class StudentShelf:
    """The students that answer as tiers. Thread-safe.

    Args:
        serves: users wait for the answers, so that bypassed students give none; studies and evaluations ask them all.
    """

    def __init__(self, store: Store, models: ModelCatalogue, *, serves: bool = False) -> None:
        self._store, self._models, self._serves = store, models, serves
        self._bypassed, self._bypassed_until = frozenset[tuple[str, str]](), 0.0  # monotonic seconds
        self._taught: Shelf[TaughtStudent] = Shelf(store, store.students.get, most=MOST_STUDENTS)
        self.clear = self._taught.clear

    def answering(self, family: str, policy: Policy, row: str | None = None) -> dict[str, Student]:
        """By tier, the students that answer as it.

        Args:
            row: of the example that is asked about; one that taught the student is answered out of fold.
        """
        if policy.cascade is None:
            return {}
        bypassed = self._bypasses() if self._serves and policy.cascade.students else frozenset()
        read = {
            tier: self._taught.get(family, id)
            for tier, id in policy.cascade.students.items()
            if (family, id) not in bypassed
        }
        return {tier: partial(one.answer, row=row) for tier, one in read.items() if one is not None}

    def passed_over(self, policy: Policy, answering: dict[str, Student]) -> frozenset[str]:
        """The tiers that nobody can answer as: students that were not taught, that the store no longer has, or that are
        bypassed.
        """
        return self.students_among(policy) - answering.keys()

    def students_among(self, policy: Policy) -> frozenset[str]:
        """The policy's tiers that are no models."""
        if policy.cascade is None:
            return frozenset()
        return frozenset(
            tier for tier in policy.cascade.models if tier in policy.cascade.students or is_student(self._models, tier)
        )

    def _bypasses(self) -> frozenset[tuple[str, str]]:
        if monotonic() >= self._bypassed_until:
            with self._store.read() as tx:
                self._bypassed = frozenset((one.family, one.student) for one in self._store.students.bypasses(tx))
            self._bypassed_until = monotonic() + BYPASSES_S
        return self._bypassed


class ExampleShelf:
    """The lists from which nearest examples come. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._indexes: Shelf[ExampleIndex] = Shelf(
            store, store.example_indexes.get, most=MOST_INDEXES, prepare=lambda index: index.prepare()
        )
        self.clear = self._indexes.clear

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """All that a variant may name beside models."""

    students: StudentShelf
    examples: ExampleShelf

    @classmethod
    def of(cls, store: Store, models: ModelCatalogue) -> Shelves:
        return cls(students=StudentShelf(store, models), examples=ExampleShelf(store))
