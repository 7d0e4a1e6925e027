"""What a kind of family answers about its studies, and the table of who answers.

What needs no store is ``core/family/kind.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol, cast

from optimizer.core.base.values import Aim, Budget, ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.gates import GateSettings, WishedFloor
from optimizer.core.family.family import Family
from optimizer.core.family.variant import Variant
from optimizer.core.models.budget import HeldBack
from optimizer.core.search.cost_estimate import CostEstimate
from optimizer.core.search.study import Definition, Study
from optimizer.ports import ModelCatalogue, Store

if TYPE_CHECKING:
    from optimizer.core.views.study_story import KnobEffect
    from optimizer.jobs.studies.context import StopFlag, StudyRun
    from optimizer.jobs.studies.evaluation import Measures

STUDY_KINDS: Mapping[str, str] = {  # as ``KINDS``: by name, since the content pipeline's jobs know those of studies
    "prompt": "optimizer.jobs.studies.kinds.prompt:PROMPT",
    "policy": "optimizer.content.jobs.replayed_study:REPLAYED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedStudy:
    """A study as it was asked for, checked as far as every kind checks it."""

    family: Family
    strategy: str  # as it was written
    names: Sequence[str]  # its parts, in order
    aim: Aim
    budget: Budget
    values: Mapping[str, Any]  # the definition as it was given
    definition: Definition
    space: Mapping[str, Any]
    champion_id: str
    champion: Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study takes, worked out to the last figure before anything is written."""

    budget: Budget  # what it may spend, and so what it holds back from others
    dataset: Mapping[str, Any]
    estimate: CostEstimate


class StudyKind(Protocol):
    def aim(self, family: Family, definition: Mapping[str, Any], store: Store) -> Aim:
        """The aim of a study whose definition names none."""

    def plan(self, asked: AskedStudy, store: Store, models: ModelCatalogue) -> StudyPlan:
        """Its dataset and its CostEstimate; raises what ``create_study`` does."""

    def evaluator(self, run: StudyRun, *, purpose: str, stop: StopFlag, held: Callable[[], HeldBack]) -> Measures:
        """Who evaluates Variants; what it spends counts for this study and this purpose."""

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


def study_kind(family: Family) -> StudyKind:
    return _named(family.kind)


@cache
def _named(name: str) -> StudyKind:
    return cast(StudyKind, resolve_name(STUDY_KINDS[name]))
