"""Every strategy by name: those declared by ``@strategy`` in ``proposers/`` and in the rooms that have libraries,
to which packages add by an entry point of group ``detent.strategies``.

A new one is a module; what one is, says ``strategy.py``. docs/how-to/add-a-strategy-or-scorer.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.registry import Registration, Registry, declares
from optimizer.core.base.values import Aim, Spread
from optimizer.core.search import strategy_calls
from optimizer.core.search.strategy import (
    DEFAULT_STRATEGY,
    RACE,
    RACED,
    REPLAY,
    SearchSetting,
    Strategy,
    may_write,
    unusable,
)
from optimizer.core.search.strategy_calls import Sizes
from optimizer.core.search.study import CONFIRM, Definition

Make = Callable[[SearchSetting], Strategy]
ALL_AIMS: tuple[Aim, ...] = ("quality", "cost", "latency")
QUALITY: tuple[Aim, ...] = ("quality",)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRecord:
    """A strategy's properties, which are known before it is made.

    Args:
        make: its maker, which imports a library that takes long to load when it is called.
        name: where it is not that of the maker; a package's is that of its entry point.
        does: in half a sentence, as in "strategy gepa: rewrites ...".
        writes: whether a proposer model writes instructions: where ``if_allowed``, only in a space that allows it.
        aims: what it can search for.
        n_trials: the most Variants it proposes. For each, every dev example is asked about.
        calls: of the whole search, where that is not ``n_trials`` times the dev examples.
        proposals: calls of the proposer, given the number of training examples.
        package: who adds it; empty for those built in.
    """

    make: Make = field(kw_only=False)
    name: str = ""
    does: str = ""
    writes: Literal["never", "always", "if_allowed"] = "never"
    aims: tuple[Aim, ...] = ALL_AIMS
    n_trials: Callable[[Definition], int] = strategy_calls.n_settings
    calls: Callable[[Sizes], Spread] | None = None
    proposals: Callable[[Definition, int], Spread] = strategy_calls.one_proposal_each
    package: str = ""

    def calls_for(self, sizes: Sizes) -> Spread:
        if self.calls is not None:
            return self.calls(sizes)
        n = self.n_trials(sizes.definition) * sizes.n_dev
        return Spread(low=0, expected=n * 0.9, high=n)

    def writes_in(self, space: Mapping[str, Any]) -> bool:
        is_listed = "choices" in (space.get("instruction") or {})  # joint then takes the list
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
    """The names in ``a+b``, checked: InvalidInput for an unknown one, one that cannot be loaded,
    or one that has another aim (None: any).

    Without ``load`` a package's strategy is known by its name alone, and none of its code is imported.
    """
    names = tuple(name.strip() for name in text.split("+"))
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
            raise unusable(
                f"Strategy {record.name} goes by {' and '.join(record.aims)} alone. For aim {aim} name {_with(aim)}."
            )
    return names


def _with(aim: Aim) -> str:
    *others, last = (
        one.name for one in STRATEGIES.built_in.values() if aim in one.aims and one.name not in (RACED[0], REPLAY)
    )
    return f"{DEFAULT_STRATEGY}, {', '.join(others)} or {last}"


def records(names: Sequence[str], *, load: bool = True) -> list[StrategyRecord]:
    """Of names that are known, without ``load`` of those built in;
    raises InvalidInput for one of a package that cannot be loaded.
    """
    try:
        return [STRATEGIES[name] for name in names if load or name in STRATEGIES.built_in]
    except InvalidInput as broken:
        raise unusable(broken.detail) from broken


def writers_among(names: Sequence[str], *, load: bool = True) -> list[str]:
    """The strategies that do nothing where the space does not let a model write an instruction."""
    return [record.name for record in records(names, load=load) if record.writes == "always"]


def writes(names: Sequence[str], space: Mapping[str, Any]) -> bool:
    """Whether a proposer is asked for instructions."""
    return any(record.writes_in(space) for record in records(names))
