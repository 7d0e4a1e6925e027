"""The students that answer as tiers, read from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optimizer.core.base.errors import NotFound
from optimizer.core.family.variant import Variant
from optimizer.core.policy.policy import Policy
from optimizer.core.search.answer_bounds import models_of
from optimizer.jobs.calls.execute_policy import Student
from optimizer.jobs.calls.shelf import Shelf
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:
    from optimizer.core.predictor.student import TaughtStudent

BYPASSES_S = 1.0  # for which the bypasses that were read hold
MOST = 32  # in memory; each holds 20 MB at most, with short words a few


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
    """Each is read once. Thread-safe.

    Args:
        serves: users wait for the answers, so that bypassed students give none; studies and evaluations ask them all.
    """

    def __init__(self, store: Store, models: ModelCatalogue, *, serves: bool = False) -> None:
        self._store, self._models, self._serves = store, models, serves
        self._bypassed, self._bypassed_until = frozenset[tuple[str, str]](), 0.0  # monotonic seconds
        self._taught: Shelf[TaughtStudent] = Shelf(store, store.students.get, most=MOST)

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

    def clear(self) -> None:
        self._taught.clear()
