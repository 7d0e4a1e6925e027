"""How a search is driven: a Strategy is asked for a Proposal and told its score. Sequences hand the best variant on.

``strategies.py`` has those that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.values import Aim, ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.search.playbook.entries import Edit, Entries
from optimizer.core.search.study import CONFIRM, Study, Trial

BASES = "bases"  # the family's own base prompts
RACE = "race"
RACED = ("bootstrap", "settings")  # whose proposals race
GEPA = "gepa"
MIPRO, JOINT = "mipro", "joint"
EXAMPLES = "examples"
COPRO, SIMBA = "copro", "simba"
PLAYBOOK = "playbook"
REPLAY = "replay"  # knobs of policies, tried on recorded items or answers
DEFAULT_STRATEGY = "bootstrap+settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A Variant that is worth evaluating, who proposed it and with which parameters (for the record)."""

    variant: Variant
    proposer: str
    params: Mapping[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """Deterministic given the setting's seed and the answers: replayed against the journal it proposes the same."""

    def ask(self) -> Proposal | None:
        """The next proposal, or None when the strategy has nothing left to try."""

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        """What a proposal of any strategy is worth: its mean dev score where that is the aim (None: not measured).

        ``results``: on dev; empty while the proposal races, and the score is an estimate.
        """


class Answer(Protocol):
    def __call__(self, variant: Variant, example: Example, draw: int = 0, /) -> str: ...


class KeptPlaybook(Protocol):
    """The family's playbook as one study sees it."""

    def opened(self) -> Entries:
        """As it stood when the study began, also where the study was killed and has added to it since."""

    def keep(self, step: int, edits: Sequence[Edit]) -> None:
        """Keeps the edits of one step, counted from 1, together and once.

        A study that was killed keeps a step again: what is kept of it stays, and what is new comes behind it.
        """


class NoPlaybook:
    """A playbook that is empty and keeps nothing."""

    def opened(self) -> Entries:
        return {}

    def keep(self, step: int, edits: Sequence[Edit]) -> None:
        """It is forgotten."""


Propose = Callable[[Sequence[Mapping[str, Any]], str], str]
TierRows = Callable[[Variant, Sequence[Example]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSetting:
    """All that a strategy may read. ``answer`` goes through the journal and the budget; the holdout is not in reach."""

    family: Family
    start: Variant
    train: Sequence[Example]
    dev: Sequence[Example]
    scorer: Scorer
    seed: int
    definition: Mapping[str, Any]
    answer: Answer
    """Gives the model's text for (variant, example), or raises ModelFailed; another draw is another text, above
    temperature 0. BudgetExhausted and StudyStopped are no Exceptions and pass through."""
    propose: Propose
    """Gives the proposer model's text for (messages, draw) likewise."""
    fits: Callable[[Variant], bool]  # whether the variant's longest request is allowed
    tier_rows: TierRows
    """Lets every tier of the variant's policy answer every example: rows of ``TierRecords.from_rows``."""
    remark: Callable[[str], None]  # keeps a sentence on the search for the readers of the study
    aim: Aim = "quality"
    study: str = ""  # its id
    keep_finding: Callable[[str, Any], None] = lambda name, values: None
    """Keeps under this name what was measured beside the trials, as plain JSON values."""
    leaks: Callable[[Variant], bool] = lambda variant: False
    """Whether a variant quotes an example that is sealed or not released; it is then refused and counted."""
    playbook: KeptPlaybook = field(default_factory=NoPlaybook)

    @property
    def space(self) -> Mapping[str, Any]:
        """The study's own, else the family's."""
        return self.definition.get("space") or self.family.space


StrategyMaker = Callable[[str, SearchSetting], Strategy]


def check_aim(family: Family, aim: Aim) -> None:
    """Raises InvalidInput for an aim that a family of this kind cannot have."""
    if aim == "latency" and not kind_of(family).asks_models:
        detail = (
            f"Family {family.name!r} is of kind {family.kind}: replay calls no model, so there is no latency "
            "to compare. Use aim cost, which saves time."
        )
        raise InvalidInput(detail, [Fault(pointer="/aim", detail=detail)])


def check_kind(names: Sequence[str], family: Family, aim: Aim = "quality") -> None:
    """Raises InvalidInput for a strategy or aim that cannot search this family."""
    check_aim(family, aim)
    kind = kind_of(family)
    if (fault := kind.strategy_fault(names)) is not None:
        raise unusable(f"Strategy {'+'.join(names)} cannot search {family.name!r}: {fault}.")
    if kind.asks_models and REPLAY in names and len(family.model.tiers) < 2:
        raise unusable(
            f"Strategy {REPLAY} searches the thresholds of a cascade, and {family.name!r} has one tier only. "
            "Name two models or more in family.yaml (model: {tiers: [cheap, strong]}), or leave the strategy out."
        )


def searched_tiers(names: Sequence[str], family: Family) -> tuple[str, ...]:
    """The models of the cascade whose thresholds a study searches; none where it searches no cascade."""
    return family.model.tiers if REPLAY in names and kind_of(family).asks_models else ()


def may_write(space: Mapping[str, Any]) -> bool:
    return bool((space.get("instruction") or {}).get("propose"))


def proposers_of(strategy: str) -> tuple[str, ...]:
    """Who proposes in a study of this strategy, in order."""
    return RACED if strategy == RACE else () if strategy == CONFIRM else tuple(strategy.split("+"))


def without_turn(study: Study, trials: Sequence[Trial]) -> tuple[str, ...]:
    """The proposers of whom nothing was evaluated, because the search was cut short before."""
    tried = {trial.proposer for trial in trials}
    return tuple(name for name in proposers_of(study.strategy) if name not in tried) if study.spend.search_cut else ()


def unusable(detail: str) -> InvalidInput:
    """What a study is answered that asks for such a strategy."""
    return InvalidInput(detail, [Fault(pointer="/strategy", detail=detail)])


class Sequential:
    """Strategies one after the other; each starts from the best variant told so far (the first of equals)."""

    def __init__(self, names: Sequence[str], setting: SearchSetting, make: StrategyMaker) -> None:
        self._waiting = list(names)
        self._setting = setting
        self._make = make
        self._current: Strategy | None = None
        self._best: tuple[float, Proposal, Sequence[ExampleResult]] | None = None

    def ask(self) -> Proposal | None:
        while True:
            if self._current is None:
                if not self._waiting:
                    return None
                name = self._waiting.pop(0)
                start = self._best[1].variant if self._best else self._setting.start
                strategy = self._make(name, replace(self._setting, start=start))
                if self._best:
                    strategy.tell(self._best[1], self._best[0], self._best[2])
                self._current = strategy
            proposal = self._current.ask()
            if proposal is not None:
                return proposal
            self._current = None

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, proposal, results)
        if self._current is not None:
            self._current.tell(proposal, score, results)
