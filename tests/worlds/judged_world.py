"""A world whose answers are open: one model writes letters, others judge them, and no example says what was expected.

What a scripted judge thinks of an answer is a function of the text; it finds the answer and the mark in its prompt as
a model would.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.judging.judgement import judge_metric
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest
from tests.stand_ins.scripted_model import ScriptedModel
from tests.worlds.study_world import START, World, killed_at

PRICE = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
LETTERS: dict[str, Any] = {
    "name": "letters",
    "description": "A polite reply to a customer's letter.",
    "inputs": {"letter": {"type": "text", "max_chars": 400}},
    "output": {"field": "reply"},
    "prompt": {
        "current": "1",
        "versions": {
            "1": {
                "content": [
                    {"role": "system", "content": "Reply to the letter."},
                    {"role": "examples"},
                    {"role": "user", "content": "Letter: {{letter}}"},
                ]
            }
        },
    },
    "model": {"default": "writer", "tiers": ["writer"], "max_tokens": 40},
    "scorer": {"judge": 1.0},
    "judge": {"model": "judge"},
    "space": {"temperature": {"float": [0.0, 1.0]}},
    "rollout": {"gates": {"n": 6}},
}
Opinion = Callable[[str], float]  # an answer -> what the judge thinks of it, from 0 to 10


def letters_family(**changes: Any) -> Family:
    return parse_family({**LETTERS, **changes})


def letters(n: int, split: str, *, expected: Callable[[int], dict[str, Any]] = lambda i: {}) -> list[Example]:
    return [
        Example(
            id=f"{split}-{i:03d}",
            family="letters",
            input={"letter": f"My parcel {i} of {split} is late."},
            expected=expected(i),
            group=f"{split}-{i}",
            split=split,  # type: ignore[arg-type]
            origin="curated",
            released=True,
            created_at=START,
        )
        for i in range(n)
    ]


def between(name: str, prompt: str) -> str:
    """What stands in the judge's prompt as INPUT, ANSWER, REFERENCE."""
    found = re.search(rf"BEGIN {name} ([0-9a-f]{{12}})\n(.*?)\nEND {name} \1", prompt, re.DOTALL)
    assert found is not None, f"no {name} in {prompt}"
    return found.group(2)


def prompt_of(request: ModelRequest) -> str:
    return str(request.messages[-1]["content"])


def mark_of(request: ModelRequest) -> str:
    found = re.search(r'"of": "([0-9a-f]{12})"', prompt_of(request))
    return found.group(1)


def says(request: ModelRequest, score: float, reasoning: str = "It reads well.") -> str:
    """A judge's answer of the form that was asked for, with the same score in every dimension."""
    names = re.findall(r'"(\w+)": <0 to 10>', prompt_of(request))
    return json.dumps({"of": mark_of(request), "reasoning": reasoning, "scores": dict.fromkeys(names, score)})


def judge_model(thinks: Opinion = lambda answer: 7, *, name: str = "judge", **options: Any) -> ScriptedModel:
    def script(request: ModelRequest, n: int) -> str:
        return says(request, thinks(between("ANSWER", prompt_of(request))))

    return ScriptedModel(script, name=name, **{"price": PRICE, "max_output_tokens": 600, **options})


def dies_at(n: int) -> Opinion:
    """A judge's opinion of every answer, 7; the process is killed at its n-th."""
    kill, asked = killed_at(n), itertools.count(1)

    def thinks(answer: str) -> float:
        kill(next(asked))
        return 7

    return thinks


def writer(write: Callable[[str], str] = lambda letter: f"Dear customer, {letter[-20:]}", **options: Any) -> Any:
    return writer_by(lambda request: write(str(request.messages[-1]["content"])), **options)


def writer_by(write: Callable[[ModelRequest], str], **options: Any) -> Any:
    def script(request: ModelRequest, n: int) -> str:
        return write(request)

    return ScriptedModel(script, name="writer", **{"price": PRICE, "max_output_tokens": 40, **options})


def scorer_of(family: Family) -> Scorer:
    return Scorer(family.output, family.metrics, [*METRICS.built_in.values(), judge_metric(family)])


class JudgedWorld(World):
    """``judges``: by name, beside the model that writes."""

    def __init__(
        self, folder: Path, *judges: ScriptedModel, model: Any = None, family: Family | None = None, **options: Any
    ) -> None:
        family = family or letters_family()
        scorer = scorer_of(family) if family.judge is not None else None
        super().__init__(folder, model=model or writer(), family=family, scorer=scorer, **options)
        self.by_name = {one.name: one for one in (self.model, *(judges or (judge_model(),)))}

    def fill_letters(self, *, n_train: int = 8, n_dev: int = 6, n_holdout: int = 6, **options: Any) -> JudgedWorld:
        sizes = {"train": n_train, "dev": n_dev, "holdout": n_holdout}
        self.fill(examples=[one for split, n in sizes.items() for one in letters(n, split, **options)])
        return self

    def get(self, name: str) -> Any:
        return self.by_name[name]

    def price(self, name: str) -> ModelPrice | None:
        price: ModelPrice | None = self.by_name[name].price
        return price

    def describe(self, name: str) -> Any:
        known = self.by_name[name]
        return SimpleNamespace(
            embedded=False,
            student=False,
            concurrency=known.concurrency,
            processes="auto",
            retries=known.retries,
            max_output_tokens=known.max_output_tokens,
        )

    def calls_by_purpose(self) -> dict[str, int]:
        """Journaled calls, whoever asked."""
        with self.store.read() as tx:
            rows = tx.exec_driver_sql("select purpose, count(*) from lm_calls group by purpose").all()
        return {str(purpose): int(n) for purpose, n in rows}


def answered(text: str) -> ModelAnswer:
    return ModelAnswer(text=text, input_tokens=1, output_tokens=1, cost_usd=0.0, latency_ms=1.0)
