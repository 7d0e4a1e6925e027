"""How many calls and trials a study of given strategies may take, before it runs. ``core/estimate.py`` puts prices on them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from optimizer.core.calls_within import CHAMPION, CONFIRMATION, PROPOSALS
from optimizer.core.estimate import REFLECTED_ON, SUMMARISED, confirmation_calls
from optimizer.core.racing import FIRST, SHARE
from optimizer.core.spread import NONE, Spread
from optimizer.core.strategy import COPRO, EXAMPLES, GEPA, JOINT, MIPRO, RACE, RACED, REPLAY, SIMBA
from optimizer.core.study import Definition

SUMMARIES = 10  # that DSPy's proposer makes at most
MET_IN_A_RACE = SHARE  # of the dev examples, by a contender on average
BATCH, DRAWS, CANDIDATES = 8, 3, 3  # of a step of simba: training examples, answers to each, and new prompts that answer them


def expected_calls(
    strategies: Sequence[str],
    definition: Definition,
    *,
    n_train: int,
    n_dev: int,
    n_holdout: int,
    n_champion_examples: int,
    is_written: bool = False,
    per_answer: int = 1,
    n_tiers: int = 0,
) -> dict[str, Spread]:
    """Calls by part of a study. Bootstrapping asks until enough outputs are good, so it has the widest spread.

    Args:
        is_written: whether a proposer is asked for instructions; its calls are the part PROPOSALS.
        per_answer: the most calls that one example takes; above 1 under a policy.
        n_tiers: of the cascade whose thresholds are searched.
    """
    parts = {CHAMPION: Spread(low=n_dev, expected=n_dev * (1 + per_answer) / 2, high=n_dev * per_answer)}
    for name in strategies:
        if name == "bootstrap":
            parts[name] = _bootstrap_calls(definition, n_train, n_dev, n_champion_examples)
        elif name == "settings":
            parts[name] = Spread(low=0, expected=definition.n_settings * n_dev * 0.8, high=definition.n_settings * n_dev)
        elif name == EXAMPLES:
            n = (definition.n_candidates + 3) * n_dev
            parts[name] = Spread(low=0, expected=n * 0.9, high=n)
        elif name == GEPA:
            parts[name] = _gepa_calls(definition, n_dev)
        elif name == COPRO:
            parts[name] = Spread(low=0, expected=definition.n_instructions * n_dev * 0.9, high=definition.n_instructions * n_dev)
        elif name == SIMBA:
            parts[name] = _simba_calls(definition, n_train, n_dev)
        elif name in (MIPRO, JOINT):
            parts[name] = _joint_calls(definition, n_train, n_dev)
        elif name == REPLAY:
            parts[name] = _replay_calls(definition, n_train, n_dev, n_tiers, per_answer)
        elif name == RACE:
            parts[name] = _race_calls(definition, n_train, n_dev, n_champion_examples)
    if is_written:
        parts[PROPOSALS] = _proposals(strategies, definition, n_train)
    confirmation = confirmation_calls(n_holdout, per_answer)
    parts[CONFIRMATION] = Spread(low=0, expected=confirmation, high=confirmation)
    return parts


def calls_for_a_race(budget: int | None, definition: Definition, *, n_train: int, n_dev: int, n_confirmation: int) -> int | None:
    """Of a study's budget what its contenders may meet examples with: less the confirmation, the champion's examples and what bootstrapping asks."""
    if budget is None:
        return None
    asked = round(_asked_for_examples(definition, n_train).expected)
    return max(0, budget - n_confirmation - n_dev - asked)


def trials_of(strategies: Sequence[str], definition: Definition) -> int:
    """The most trials a study can have, the champion's included."""
    most = {
        "bootstrap": definition.n_candidates + 3,
        EXAMPLES: definition.n_candidates + 3,
        "settings": definition.n_settings,
        MIPRO: definition.n_settings,
        JOINT: definition.n_settings,
        REPLAY: definition.n_settings,
        **dict.fromkeys((GEPA, COPRO, SIMBA), definition.n_instructions),
    }
    return 1 + sum(sum(most[raced] for raced in RACED) if name == RACE else most[name] for name in strategies)


def _bootstrap_calls(definition: Definition, n_train: int, n_dev: int, n_champion_examples: int) -> Spread:
    evaluated = n_dev * _n_bootstrapped(definition, n_champion_examples)
    return _asked_for_examples(definition, n_train) + Spread(low=evaluated * 0.7, expected=evaluated, high=evaluated)


def _gepa_calls(definition: Definition, n_dev: int) -> Spread:
    """A child that does no better on its few examples is not evaluated: expected of every other one."""
    n, both = definition.n_instructions, 2 * REFLECTED_ON
    return Spread(low=min(n, 1) * REFLECTED_ON, expected=n * (both + n_dev / 2), high=n * (both + n_dev))


def _simba_calls(definition: Definition, n_train: int, n_dev: int) -> Spread:
    """Each step draws several answers to a few training examples, lets new prompts answer the same, and proposes the best of these."""
    n, batch = definition.n_instructions, min(BATCH, n_train)
    return Spread(
        low=min(n, 1) * batch * DRAWS,
        expected=n * (batch * (DRAWS + CANDIDATES / 2) + n_dev / 2),
        high=n * (batch * (DRAWS + CANDIDATES) + n_dev),
    )


def _joint_calls(definition: Definition, n_train: int, n_dev: int) -> Spread:
    points = Spread(low=n_dev, expected=definition.n_settings * n_dev * 0.9, high=definition.n_settings * n_dev)
    return _asked_for_examples(definition, n_train) + points


def _proposals(strategies: Sequence[str], definition: Definition, n_train: int) -> Spread:
    """One for each instruction; DSPy's proposer also looks at the data in tens, sums up, and asks again where it cannot read an answer."""
    found = NONE
    for name in strategies:
        n = definition.n_instructions
        if name in (GEPA, COPRO):
            found += Spread(low=0, expected=n, high=n)
        elif name == SIMBA:
            found += Spread(low=0, expected=n * CANDIDATES / 2, high=n * CANDIDATES)
        elif name in (MIPRO, JOINT):
            n += min(SUMMARIES, ceil(n_train / SUMMARISED)) + 1
            found += Spread(low=0, expected=n, high=2 * n)
    return found


def _race_calls(definition: Definition, n_train: int, n_dev: int, n_champion_examples: int) -> Spread:
    """Each contender meets a few examples, some meet all; how many is the scores' to decide."""
    n_contenders = _n_bootstrapped(definition, n_champion_examples) + definition.n_settings
    met = Spread(low=n_contenders * min(n_dev, FIRST), expected=n_contenders * n_dev * MET_IN_A_RACE, high=n_contenders * n_dev)
    return _asked_for_examples(definition, n_train) + met


def _replay_calls(definition: Definition, n_train: int, n_dev: int, n_tiers: int, per_answer: int) -> Spread:
    """Every tier once on every example outside the holdout; on dev the journal answers what was asked of it then."""
    asked = (n_train + n_dev) * n_tiers
    again = max(0, per_answer - n_tiers)  # second samples, refinements and what else no tier is asked for beforehand
    return Spread(low=asked, expected=asked, high=asked + definition.n_settings * n_dev * again)


def _asked_for_examples(definition: Definition, n_train: int) -> Spread:
    rounds = definition.n_candidates + 1  # the unshuffled one and the shuffled ones ask the model for examples
    most = rounds * n_train if definition.max_examples else 0
    return Spread(low=rounds, expected=rounds * min(n_train, 2 * definition.max_examples), high=most)


def _n_bootstrapped(definition: Definition, n_champion_examples: int) -> int:
    return definition.n_candidates + 2 + (0 if n_champion_examples == 0 else 1)  # the one without examples may be the champion itself


def _exactly(n: float) -> Spread:
    return Spread(low=n, expected=n, high=n)
