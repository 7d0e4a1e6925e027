"""How a search is driven: a Strategy is asked for a Proposal, and is told its score.

Every strategy is known by name. ``@strategy`` declares it, in ``proposers/`` or in a room that has libraries; packages
add theirs by an entry point of group ``detent.strategies``. A new strategy is a module;
docs/how-to/add-a-strategy-or-scorer.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, Literal, Protocol

from optimizer.core.base.errors import Fault, InvalidInput
from optimizer.core.base.registry import Registration, Registry, declares
from optimizer.core.base.values import AIMS, Aim, ExampleResult, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.search import strategy_calls
from optimizer.core.search.cascade.learned import RECORDED
from optimizer.core.search.cost_estimate import LAST
from optimizer.core.search.playbook.entries import Edit, Entries
from optimizer.core.search.strategy_calls import Sizes
from optimizer.core.search.study import CONFIRM, Definition, Study, Trial

BASES = "bases"  # the family's own base prompts
RACE = "race"
RACED = ("bootstrap", "settings")  # whose proposals race
GEPA = "gepa"
MIPRO, JOINT = "mipro", "joint"
EXAMPLES = "examples"
COPRO, SIMBA = "copro", "simba"
PLAYBOOK = "playbook"
REPLAY = LAST  # tries knobs of policies on recorded items or answers
DEFAULT_STRATEGY = "bootstrap+settings+nearest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A Variant that is worth evaluating; who proposed it and with which parameters is for the record."""

    variant: Variant
    proposer: str
    params: Mapping[str, Any] = field(default_factory=dict)


class Strategy(Protocol):
    """Deterministic given the setting's seed and the answers: with the same journal it proposes the same."""

    def ask(self) -> Proposal | None:
        """The next proposal; None when the strategy has nothing left to try."""

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        """Takes what a proposal of any strategy is worth: its mean dev score where that is the aim; None: not measured.

        ``results``: on dev; empty while the proposal races, and then the score is an estimate. A strategy whose
        proposals are fixed derives from this class and takes nothing.
        """
        return


class Answer(Protocol):
    def __call__(self, variant: Variant, example: Example, draw: int = 0, /) -> str: ...


class PlaybookStore(Protocol):
    """The family's playbook, as one study sees it."""

    def opened(self) -> Entries:
        """The playbook as it was when the study began, even where the study was killed and has added to it since."""

    def keep(self, step: int, edits: Sequence[Edit]) -> None:
        """Stores the edits of one step, counted from 1, together and once.

        A study that was killed stores a step again: what is stored of it stays, and what is new comes behind it.
        """


Propose = Callable[[Sequence[Mapping[str, Any]], str], str]
TierRows = Callable[[Variant, Sequence[Example]], list[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSetting:
    """All that a strategy may read. ``answer`` goes through the journal and the budget; the holdout is out of reach."""

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
    fits: Callable[[Variant], bool]  # whether it is servable, and its longest request short enough
    tier_rows: TierRows
    """Lets every tier of the variant's policy answer every example: rows of ``TierRecords.from_rows``."""
    remark: Callable[[str], None]  # stores a sentence on the search for those who read the study
    aim: Aim = "quality"
    is_sequenced: bool = False  # whether the holdout tests the proposals in sequence
    study: str = ""  # its id
    keep_finding: Callable[[str, Any], None] = lambda name, values: None
    """Keeps under this name what was measured beside the trials, as plain JSON values."""
    leaks: Callable[[Variant], bool] = lambda variant: False
    """Whether a variant quotes an example that is sealed or not released; it is then refused and counted."""
    playbook: PlaybookStore | None = None  # every study has one
    students: Mapping[str, str] = field(default_factory=dict)  # by tier the hash of the student taught for this study
    untaught: Mapping[str, str] = field(default_factory=dict)  # by tier the sentence why no student could be taught
    on_newest: str = ""  # the sentence how a student of the older rows does on the newest ones
    taught_by: str = ""  # the sentence which answers taught the student; empty where labels did
    teach: Callable[[SearchSetting, Variant], SearchSetting] = lambda setting, variant: setting
    """Gives the setting with its student, which the last tier of the variant's policy teaches where that is asked for:
    by its answers with this prompt, so not before the turn of the thresholds."""
    example_index: str | None = None  # the hash of the list from which nearest examples come
    of_nearest: Mapping[str, Any] = field(default_factory=dict)  # knobs of the champion beside it: scope and max_tokens
    unindexed: str = ""  # the sentence why there is none

    @property
    def space(self) -> Mapping[str, Any]:
        """The study's own space, else the family's."""
        own = self.definition.get("space")
        return self.family.space if own is None else own


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
    if kind.asks_models and REPLAY in names and len(family.searched_tiers) < 2:
        raise unusable(
            f"Strategy {REPLAY} searches the thresholds of a cascade, and {family.name!r} has one tier only. "
            "Name two models or more in family.yaml (model: {tiers: [cheap, strong]}), or leave the strategy out."
        )


def searched_tiers(names: Sequence[str], family: Family) -> tuple[str, ...]:
    """The models of the cascade whose thresholds a study searches; empty where it searches none."""
    return family.searched_tiers if REPLAY in names and kind_of(family).asks_models else ()


def may_write(space: Mapping[str, Any]) -> bool:
    return bool((space.get("instruction") or {}).get("propose"))


def proposers_of(strategy: str) -> tuple[str, ...]:
    """Who proposes in a study of this strategy, in order."""
    return RACED if strategy == RACE else () if strategy == CONFIRM else tuple(strategy.split("+"))


def without_turn(study: Study, trials: Sequence[Trial]) -> tuple[str, ...]:
    """The proposers of which nothing was evaluated, because the search was cut short before; the replay has had its
    turn, too, where it found nothing that is worth a trial.
    """
    with_turn = {trial.proposer for trial in trials} | ({REPLAY} if RECORDED in (study.findings or {}) else set())
    return (
        tuple(name for name in proposers_of(study.strategy) if name not in with_turn) if study.spend.search_cut else ()
    )


def unusable(detail: str) -> InvalidInput:
    """The error for a study that names such a strategy."""
    return InvalidInput(detail, [Fault(pointer="/strategy", detail=detail)])


class Sequential:
    """Strategies one after the other. Each starts from the best variant told so far, of equals the first."""

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
                # What is predicted beside another start says nothing of the champion, with which the holdout compares.
                is_sequenced = self._setting.is_sequenced and start.id == self._setting.start.id
                strategy = self._make(name, replace(self._setting, start=start, is_sequenced=is_sequenced))
                if self._best:
                    strategy.tell(self._best[1], self._best[0], self._best[2])
                self._current = strategy
            proposal = self._current.ask()
            if proposal is not None:
                return proposal
            self._current = None

    def skip_to(self, name: str) -> bool:
        """No other strategy has a further turn; False where this one has begun, or nothing was told so far."""
        if self._best is None or name not in self._waiting:
            return False
        self._waiting, self._current = [name], None
        return True

    def tell(self, proposal: Proposal, score: float | None, results: Sequence[ExampleResult]) -> None:
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, proposal, results)
        if self._current is not None:
            self._current.tell(proposal, score, results)


Make = Callable[[SearchSetting], Strategy]
QUALITY: tuple[Aim, ...] = ("quality",)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRecord:
    """A strategy's properties, which are known before it is made.

    Args:
        make: makes it; it imports a library that takes long to load only when it is called.
        name: where it is not that of the maker; a package's is that of its entry point.
        does: in half a sentence, as in "strategy gepa: rewrites ...".
        writes: whether a proposer model writes instructions; ``if_allowed``: only in a space that allows it.
        aims: what it can search for.
        n_trials: the most Variants it proposes; every dev example is asked about for each.
        calls: of the whole search, where that is not ``n_trials`` times the dev examples.
        proposals: calls of the proposer, given the number of training examples.
        package: the one that adds it; empty for those built in.
    """

    make: Make = field(kw_only=False)
    name: str = ""
    does: str = ""
    writes: Literal["never", "always", "if_allowed"] = "never"
    aims: tuple[Aim, ...] = AIMS
    n_trials: Callable[[Definition], int] = attrgetter("n_settings")
    calls: Callable[[Sizes], Spread] | None = None
    proposals: Callable[[Definition, int], Spread] = strategy_calls.one_proposal_each
    package: str = ""

    def calls_for(self, sizes: Sizes) -> Spread:
        if self.calls is not None:
            return self.calls(sizes)
        n = self.n_trials(sizes.definition) * sizes.n_dev
        return Spread(low=0, expected=n * 0.9, high=n)

    def writes_in(self, space: Mapping[str, Any]) -> bool:
        is_listed = "choices" in (space.get("instruction") or {})  # then joint takes its instructions from the list
        return self.writes == "always" or (self.writes == "if_allowed" and may_write(space) and not is_listed)


strategy = declares(StrategyRecord)


def _whole(added: Registration, record: StrategyRecord) -> StrategyRecord:
    if not callable(record.make):
        raise TypeError(
            f"{added.place} is a {type(record.make).__name__}, not a function or class that takes a SearchSetting,"
            " nor a StrategyRecord"
        )
    return replace(record, name=added.name, package=added.package)


STRATEGIES: Registry[StrategyRecord] = Registry(
    "detent.strategies", "strategy", StrategyRecord, _whole, reserved=(CONFIRM,)
)


def check_strategy(text: str, aim: Aim | None = None, *, load: bool = True) -> tuple[str, ...]:
    """The names in ``a+b``, checked.

    Raises InvalidInput for an unknown one, one that cannot be loaded, or one that has another aim (None: any). Without
    ``load`` a package's strategy is known by its name alone, and none of its code is imported.
    """
    names = tuple(name.strip() for name in text.split("+"))
    if not all(names):
        raise unusable(f"Strategy {text!r} has an empty part; write sequences as {DEFAULT_STRATEGY}.")
    for name in names:
        if name not in STRATEGIES:
            refused = "".join(f" {sentence}" for sentence in STRATEGIES.refused)
            known = ", ".join(STRATEGIES.names)
            raise unusable(
                f"There is no strategy {name!r}. Known: {known}, and sequences such as {DEFAULT_STRATEGY}.{refused}"
            )
    if len(set(names)) != len(names):
        raise unusable(f"Strategy {text!r} names a part twice. Name each once, for example {DEFAULT_STRATEGY}.")
    if RACE in names and len(names) > 1:
        raise unusable(
            f"Strategy {RACE} lets the candidates of {' and '.join(RACED)} race already, and stands alone. Name it"
            " alone."
        )
    for record in records(names, load=load):
        if aim is not None and aim not in record.aims:
            *others, last = (
                one.name
                for one in STRATEGIES.built_in.values()
                if aim in one.aims and one.name not in (RACED[0], NEAREST, REPLAY)
            )
            raise unusable(
                f"Strategy {record.name} goes by {' and '.join(record.aims)} alone. For aim {aim} name"
                f" {DEFAULT_STRATEGY}, {', '.join(others)} or {last}."
            )
    return names


def records(names: Sequence[str], *, load: bool = True) -> list[StrategyRecord]:
    """The records of known names; without ``load`` only of those built in.

    Raises InvalidInput for one of a package that cannot be loaded.
    """
    try:
        return [STRATEGIES[name] for name in names if load or name in STRATEGIES.built_in]
    except InvalidInput as broken:
        raise unusable(broken.detail) from broken


def writes(names: Sequence[str], space: Mapping[str, Any]) -> bool:
    """Whether a proposer is asked for instructions."""
    return any(record.writes_in(space) for record in records(names))
