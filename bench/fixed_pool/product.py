"""The product's own rules on a draw: through ``Race``, which meets the examples in the order of the draw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fixed_pool.pools import Array
from fixed_pool.rejects import Rule
from optimizer.core.search import racing


def through_race(make: Callable[[int], racing.ContinuousRejects]) -> Rule:
    """``make`` says the rule for so many calls: a race of its own for each budget."""
    return lambda scores, budgets: np.array([[_raced(one, make(calls)) for one in scores] for calls in budgets])


def _raced(scores: Array, rule: racing.ContinuousRejects) -> int:
    race = racing.Race([f"{example}" for example in range(scores.shape[1])], rule, seed=0)
    column = {example: i for i, example in enumerate(race.order)}
    for variant in range(len(scores)):
        race.enter(f"{variant}")
    while turns := race.turns():
        for turn in turns:
            race.tell(turn, [float(scores[int(turn.variant), column[e]]) for e in turn.examples])
    return int(race.leader() or 0)
