"""The Variants of a task: every instruction with every choice of examples,
so that a search over settings finds each point.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optimizer.core.dataset.examples import Example
from optimizer.core.family.rendering import few_shot
from optimizer.core.family.variant import Variant
from optimizer.core.search.space import apply_point
from recorded.tasks import Task

POOL = 80  # training examples to choose from
Choose = Callable[[Sequence[Example]], list[Example]]


@dataclass(frozen=True, kw_only=True)
class GridVariant:
    """One Variant with the two settings that name it: which instruction (0 = the champion's), which choice
    of examples.
    """

    variant: Variant
    instruction: int
    choice: str


def grid(task: Task, train: Sequence[Example]) -> list[GridVariant]:
    """All Variants of ``task``, the champion (first instruction, no examples) first."""
    family = task.family()
    start = family.variant()
    shown = {name: tuple(few_shot(family, e) for e in choose(train)) for name, choose in CHOICES.items()}
    return [
        GridVariant(
            variant=apply_point(replace(start, examples=examples), {"instruction": instruction}),
            instruction=number,
            choice=name,
        )
        for number, instruction in enumerate(task.instructions)
        for name, examples in shown.items()
    ]


def _drawn(seed: int, n: int) -> Choose:
    return lambda train: random.Random(seed).sample(list(train), n)


def _turned(choose: Choose) -> Choose:
    return lambda train: choose(train)[::-1]


def _covering(train: Sequence[Example]) -> list[Example]:
    """Four that have least in common: each the farthest from those chosen before (k-center),
    the first the most typical.
    """
    chosen = _typical(train)[:1]
    while len(chosen) < 4:
        rest = [e for e in train if e not in chosen]
        chosen.append(min(rest, key=lambda e: (max(_similarity(e, c) for c in chosen), e.id)))
    return chosen


def _typical(train: Sequence[Example]) -> list[Example]:
    """The four most like all others, the most typical first."""
    return sorted(train, key=lambda e: (-sum(_similarity(e, other) for other in train), e.id))[:4]


def _similarity(a: Example, b: Example) -> float:
    """Share of common words (Jaccard) of two inputs, expected outputs included,
    so that labels differ too where inputs cover.
    """
    one, other = _words(a), _words(b)
    return len(one & other) / len(one | other)


def _words(example: Example) -> set[str]:
    return set(re.findall(r"\w+", f"{list(example.input.values())} {list(example.expected.values())}".casefold()))


CHOICES: dict[str, Choose] = {
    "none": lambda train: [],
    "one": _drawn(1, 1),
    "two": _drawn(2, 2),
    "four": _drawn(3, 4),
    "four, turned round": _turned(_drawn(3, 4)),
    "four others": _drawn(4, 4),
    "four that cover": _covering,
    "four typical": _typical,
}
