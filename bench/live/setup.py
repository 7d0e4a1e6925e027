"""What every arm of the live comparison shares: rows, prompt, model, scorer, and the counting of calls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from live.tasks import Task
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import FewShot, Variant
from optimizer.core.models.language import ModelAnswer, request_for
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.ports import Clock, Store

MAX_EXAMPLES = 4
POOL = 600  # rows of a file from which each seed draws its own


@dataclass(frozen=True, kw_only=True)
class Sizes:
    train: int
    dev: int
    holdout: int
    candidates: int  # sets of examples that are drawn

    @property
    def trials(self) -> int:
        return self.candidates + 3

    @property
    def metric_calls(self) -> int:
        """What a search may ask that counts calls: as many as the others' trials on all dev examples."""
        return self.trials * self.dev


SIZES = {
    "full": Sizes(train=60, dev=30, holdout=100, candidates=8),
    "small": Sizes(train=8, dev=6, holdout=8, candidates=1),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an arm found: held-out score per row in the order of the rows, and what its search cost."""

    scores: list[float]
    dev_score: float | None  # that the arm itself believes
    n_calls: int
    model_minutes: float  # that the model took to answer them
    minutes: float  # on the clock of the last run
    instruction: str
    n_examples: int
    rule: str | None = None  # by which an arm raced

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The prompt that an arm chose."""

    variant: Variant
    dev_score: float | None
    n_calls: int
    model_minutes: float


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One cell: a task, a seed, its rows and its own store."""

    task: Task
    seed: int
    sizes: Sizes
    family: Family
    train: Sequence[Example]
    dev: Sequence[Example]
    holdout: Sequence[Example]
    scorer: Scorer
    store: Store
    clock: Clock
    models: Any
    folder: Path
    calls: int  # that a search may make which is given a cap: as many as MIPROv2 made on the same rows

    def score(self, example: Example, text: str) -> float:
        return self.scorer.score(example.expected, text, example.input).value or 0.0

    def variant(self, instruction: str, shots: Sequence[FewShot] = ()) -> Variant:
        """The task's prompt with another instruction and examples: the same messages for every arm."""
        start = self.family.variant()
        messages = ({**start.messages[0], "content": instruction}, *start.messages[1:])
        return replace(start, messages=messages, examples=tuple(shots))


def family_of(task: Task, sizes: Sizes) -> Family:
    """The task's family with a space: its list of instructions, and examples.

    So ours, too, has the instructions that a proposer would write.
    """
    space = {"instruction": {"choices": list(task.instructions)}, "examples": {"max": MAX_EXAMPLES}}
    declared = task.family().model_dump(mode="json", exclude_unset=True)
    return parse_family({**declared, "space": space, "rollout": {"gates": {"n": sizes.holdout}}})


def rows_of(task: Task, data: Path, seed: int, sizes: Sizes) -> tuple[list[Example], list[Example], list[Example]]:
    """Train and dev from the task's training rows, what is held out from its dev rows; another draw for every seed."""
    draw = random.Random(f"live {task.name} {seed}")
    seen, held = task.examples(data, "train", POOL), task.examples(data, "dev", POOL)
    draw.shuffle(seen)
    draw.shuffle(held)
    parts = (seen[: sizes.train], seen[sizes.train : sizes.train + sizes.dev], held[: sizes.holdout])
    train, dev, holdout = (
        [replace(e, split=split, group=e.id) for e in some]
        for split, some in zip(("train", "dev", "holdout"), parts, strict=True)
    )
    return train, dev, holdout


@dataclass
class CountedModel:
    """The journaled model outside a study; remembers what it was asked, so that a run that goes on counts the same."""

    setup: Setup
    latency_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._model = self.setup.models.get("embedded")
        self._calls = JournaledModel(
            self._model,
            Account(study=None, family=self.setup.family.name, purpose="evaluation", budget=Budget()),
            store=self.setup.store,
            clock=self.setup.clock,
        )

    def ask(self, variant: Variant, example: Example) -> str:
        messages = render(variant, example.input, declared=self.setup.family.inputs)
        request = request_for(variant, messages, revision=self._model.revision, example=example.id)
        answer: ModelAnswer = wait_for(self._calls.complete(request))
        self.latency_ms[request.key] = answer.latency_ms
        return answer.text

    def scored(self, variant: Variant, example: Example) -> float:
        """Raises ModelFailed: a cell whose held-out rows were not all answered has no result."""
        return self.setup.score(example, self.ask(variant, example))

    def winner(self, variant: Variant, dev_score: float | None) -> Found:
        return Found(
            variant=variant,
            dev_score=dev_score,
            n_calls=len(self.latency_ms),
            model_minutes=sum(self.latency_ms.values()) / 60_000,
        )


def written(task: Task) -> Iterator[str]:
    """What the deterministic proposer writes: the task's other instructions in turn.

    The embedded model cannot write any.
    """
    return cycle(task.instructions[1:])
