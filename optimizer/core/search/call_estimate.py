"""How many calls and trials a study with given strategies may take.

``core/search/cost_estimate.py`` puts prices on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil, inf
from typing import Any

from optimizer.core.base.values import NONE, Aim, Spread
from optimizer.core.family.variant import Variant
from optimizer.core.search.cost_estimate import CHAMPION, CONFIRMATION, PROPOSALS, confirmation_calls
from optimizer.core.search.proposers.race import CHAMPION_FIRST
from optimizer.core.search.racing import FIRST
from optimizer.core.search.run_off import N_LEADERS, RUN_OFF, n_answers
from optimizer.core.search.space import most_points, n_listed
from optimizer.core.search.strategy import JOINT, RACE, records
from optimizer.core.search.strategy_calls import Sizes, asked_for_examples
from optimizer.core.search.study import MOST, Definition


def expected_calls(
    strategies: Sequence[str],
    sizes: Sizes,
    *,
    n_holdout: int,
    is_written: bool = False,
    judging: Spread = NONE,
    n_run_off: int = 0,
) -> dict[str, Spread]:
    """Calls, by part of a study. Bootstrapping asks until enough outputs are good, so its spread is the widest.

    Args:
        is_written: whether a proposer is asked for instructions; its calls are the part PROPOSALS.
        judging: calls that judge one answer; they count in the part of that answer.
        n_run_off: dev rows behind ``n_dev``, which the leaders meet.
    """
    n_dev, per_answer = sizes.n_dev, sizes.per_answer
    n_first = n_dev * n_champions(sizes.definition)
    parts = {CHAMPION: Spread(low=n_first, expected=n_first * (1 + per_answer) / 2, high=n_first * per_answer)}
    known = records(strategies)
    parts |= {record.name: record.calls_for(sizes) for record in known}
    if n_run_off:
        parts[RUN_OFF] = Spread(  # none where nothing leads, and two leaders are expected
            low=0,
            expected=n_answers(n_run_off, 2) * (1 + per_answer) / 2,
            high=n_answers(n_run_off, N_LEADERS) * per_answer,
        )
    # The judge's calls for so many answers.
    parts = {name: part + part * judging for name, part in parts.items()}
    if is_written:
        parts[PROPOSALS] = sum(
            (record.proposals(sizes.definition, sizes.n_train) for record in known if record.writes != "never"), NONE
        )
    parts[CONFIRMATION] = Spread(
        low=0,
        expected=confirmation_calls(n_holdout, per_answer) * (1 + judging.expected),
        high=confirmation_calls(n_holdout, per_answer + ceil(judging.high)),
    )
    return parts


def answers_within(budget: int, *, n_confirmation: int, per_answer: int) -> int:
    """Answers that a cap on calls pays for beside the confirmation; ``per_answer``: calls of one, with its judges."""
    return max(0, budget - n_confirmation) // per_answer


def answers_for_a_race(
    budget: int | None, definition: Definition, *, n_train: int, n_confirmation: int, per_answer: int
) -> int | None:
    """How many examples champion and contenders may meet under a cap on calls.

    That is the cap less the confirmation and what bootstrapping asks.

    Args:
        per_answer: the most calls that an answer takes, with its judgements.
    """
    if budget is None:
        return None
    n_answers = answers_within(budget, n_confirmation=n_confirmation, per_answer=per_answer)
    return max(0, n_answers - round(asked_for_examples(definition, n_train).expected))


def is_raced(strategies: Sequence[str], aim: Aim, definition: Definition, *, calls: int | None, n_dev: int) -> bool:
    """Whether a study's candidates race.

    They do with ``race``, and with ``joint`` for quality where the calls do not pay for all dev examples of each. They
    do not on the way to another model: there the champion is none of the contenders.
    """
    if tuple(strategies) == (JOINT,) and aim == "quality" and definition.move_to is None:
        return calls is not None and calls < (1 + definition.n_settings) * n_dev
    return RACE in strategies


def n_champion_first(definition: Definition) -> int:
    """Examples that the champion of a race meets before the first proposal."""
    return CHAMPION_FIRST if asked_for_examples(definition, definition.n_train).high else FIRST


def tries_points(strategies: Sequence[str]) -> bool:
    """Whether one of them tries points of the space, up to ``n_settings``."""
    return not {RACE, "settings", JOINT}.isdisjoint(strategies)


def is_list_alone(
    answers: int,
    strategies: Sequence[str],
    definition: Definition,
    *,
    may_race: bool,
    space: Mapping[str, Any],
    champion: Variant,
) -> bool:
    """Whether listed instructions are tried without sets of examples: the calls pay for more of the list so.

    Args:
        answers: as for ``n_settings_within``.
    """
    if tuple(strategies) not in ((RACE,), (JOINT,)):
        return False
    sized = partial(n_settings_within, answers, strategies, may_race=may_race, space=space, champion=champion)
    beside, n = replace(definition, n_settings=0), n_listed(space, champion)
    return min(n, sized(beside)) < min(n, sized(replace(beside, n_candidates=0, max_examples=0)))


def n_settings_within(
    answers: int,
    strategies: Sequence[str],
    definition: Definition,
    *,
    may_race: bool,
    space: Mapping[str, Any],
    champion: Variant,
) -> int:
    """How many points a study tries whose definition does not say so.

    All of a finite space where the cap on calls pays for a look at each, else as many as it pays for, and never fewer
    than the definition's default. With ``joint`` over sets of examples it is more by as many, for points beside other
    sets. In a space without end it is the listed instructions and the default; where none is listed, the default.

    Args:
        answers: that the cap pays for beside the confirmation, with all calls of a policy and of judges.
        may_race: whether the first examples alone may decide about a point.
    """
    n_points, n_texts = most_points(space, champion, max_examples=definition.max_examples), n_listed(space, champion)
    if n_points == inf and not n_texts:
        return definition.n_settings
    if n_points == inf:
        n_points = n_texts + definition.n_settings
    makes_sets = {RACE, "bootstrap", JOINT} & set(strategies)
    for_examples = asked_for_examples(definition, definition.n_train) if makes_sets else NONE
    if JOINT in strategies and for_examples.high:
        n_points += definition.n_settings
    n_others = trials_of(strategies, replace(definition, n_settings=0)) - 1
    if makes_sets - {JOINT} and not champion.examples:
        n_others -= 1  # bootstrapping's candidate without examples is the champion
    met = min(FIRST, definition.n_dev) if may_race else definition.n_dev  # by each, at the least
    n_first = min(n_champion_first(definition), definition.n_dev) if may_race else definition.n_dev
    n_left = answers - n_first - for_examples.expected
    return int(min(n_points, MOST["n_settings"], max(definition.n_settings, n_left // met - n_others)))


def trials_of(strategies: Sequence[str], definition: Definition) -> int:
    """The most trials that a study can have, the champion's included."""
    return n_champions(definition) + sum(record.n_trials(definition) for record in records(strategies))


def n_champions(definition: Definition) -> int:
    """Trials before the first proposal: the champion, and on the way to another model the same with that one."""
    return 1 if definition.move_to is None else 2
