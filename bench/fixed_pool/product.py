"""The product's own rules on a draw: through ``Race``, which meets the examples in the order of the draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fixed_pool.pools import Array
from fixed_pool.rejects import Rule
from optimizer.core.search import racing


def through_race(make: Callable[[int], racing.RaceRule]) -> Rule:
    """``make`` says the rule for so many calls: a race of its own for each budget."""

    def run(scores: Array, budgets: Sequence[int]) -> Array:
        return np.array([[_raced(one, make(calls), [calls])[0] for one in scores] for calls in budgets])

    return run


def cut_short(rule: racing.RaceRule) -> Rule:
    """A rule that knows no budget: one race, its leader looked at when each of the budgets is used up
    or the race has ended.
    """
    return lambda scores, budgets: np.array([_raced(one, rule, budgets) for one in scores]).T


def _raced(scores: Array, rule: racing.RaceRule, budgets: Sequence[int]) -> list[int]:
    names = [f"{example}" for example in range(scores.shape[1])]
    race = racing.Race(names, rule, seed=0)
    column = {example: i for i, example in enumerate(race.order)}
    for variant in range(len(scores)):
        race.enter(f"{variant}")
    waiting: list[racing.Turn] = []
    leaders, n_calls = list[int](), 0
    for calls in budgets:
        while n_calls < calls and (waiting := waiting or race.turns()):
            turn = waiting.pop(0)
            now = racing.Turn(variant=turn.variant, examples=turn.examples[: calls - n_calls])
            race.tell(now, [float(scores[int(turn.variant), column[e]]) for e in now.examples])
            n_calls += len(now.examples)
            if rest := turn.examples[len(now.examples) :]:
                waiting.insert(0, racing.Turn(variant=turn.variant, examples=rest))
        leaders.append(int(race.leader() or 0))
    return leaders
