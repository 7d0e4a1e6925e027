"""The port of a kind of family's studies, and the registry of those that answer.

What needs no store is ``FamilyKind`` in ``core/family/family.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from optimizer.core.base.registry import Registry, declares
from optimizer.core.base.values import Aim, Budget, ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.gates import GateSettings, WishedFloor
from optimizer.core.family.family import Family, KindRecord
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import Dataset, Definition, Study
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:  # what a run needs is not loaded to ask what a study would cost
    from optimizer.core.views.study_story import KnobEffect
    from optimizer.jobs.studies.context import StopFlag, StudyRun
    from optimizer.jobs.studies.evaluation import Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedStudyRequest:
    """The request for a study, checked as far as every kind checks it."""

    family: Family
    strategy: str  # as it was written
    names: Sequence[str]  # its parts, in order
    aim: Aim
    budget: Budget
    values: Mapping[str, Any]  # the definition as it was given
    definition: Definition
    space: Mapping[str, Any]
    n_points: float  # the most that the space has
    is_list_alone: bool  # no sets of examples are made, since the calls do not pay for them beside listed instructions
    champion_id: str
    champion: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study takes, worked out to the last figure before anything is written."""

    budget: Budget  # what it may spend, and so what it holds back from others
    dataset: Dataset
    estimate: CostEstimate


class StudyKind(Protocol):
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        """The aim of a study whose definition names none."""

    def plan(self, wish: CheckedStudyRequest, store: Store, models: ModelCatalogue) -> StudyPlan:
        """Its dataset and its CostEstimate. Raises as ``create_study``."""

    def evaluator(self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]) -> Measures:
        """Evaluates Variants; its spending counts for this study and purpose, and leaves over what ``held`` says.

        Minutes are the stop flag's: it knows what calls take, and leaves time for the confirmation.
        """

    def sensitivity(
        self, study: Study, family: Family, variants: Mapping[str, Variant], store: Store
    ) -> list[KnobEffect] | None:
        """What each knob that may vary does around the winner; None where only calls could tell."""

    def wished_floors(
        self,
        study: Study,
        champion: Sequence[ExampleResult],
        candidate: Sequence[ExampleResult],
        examples: Sequence[Example],
        settings: GateSettings,
        looks: int,
    ) -> Sequence[WishedFloor]:
        """What the study was asked to keep, tested on the sealed examples; results in their order. Empty without."""


StudyKindClass = TypeVar("StudyKindClass", bound=Callable[[], StudyKind])


studies_of: Callable[..., Callable[[StudyKindClass], StudyKindClass]] = declares(KindRecord)
STUDY_KINDS: Registry[KindRecord[StudyKind]] = Registry("detent.study_kinds", "kind of studies", KindRecord)


def study_kind(family: Family) -> StudyKind:
    return _named(family.kind)


@cache
def _named(name: str) -> StudyKind:
    return STUDY_KINDS[name].make()
