"""The task that both arms have: its prompt, its rows, its model and its score."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recorded.tasks import TOPICS

from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelAnswer, ModelRequest
from optimizer.host.config import Settings
from optimizer.jobs.calls.blocking import wait_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.ports import Clock, Store

MAX_CHARS = 600
MAX_EXAMPLES = 6
MAX_TOKENS = 8
SYSTEM = "Name the topic of the document."
USER = "Topics: {{topics_allowed}}\nDocument: {{document}}\nTopic:"
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    train: int
    dev: int
    holdout: int
    candidates: int


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Held-out score per row, and what the search cost."""

    scores: list[float]
    dev_score: float
    n_calls: int
    seconds: float

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What both arms share."""

    sizes: Sizes
    settings: Settings
    store: Store
    clock: Clock
    models: Any


def family_of(seed: int, sizes: Sizes, rows: Mapping[str, Sequence[Row]]) -> Family:
    labels = [label.strip() for label in rows["train"][0]["input"]["topics_allowed"].split(",")]
    content = [{"role": "system", "content": SYSTEM}, {"role": "examples"}, {"role": "user", "content": USER}]
    return parse_family(
        {
            "name": f"search_floor_{sizes.train}_{seed}",
            "inputs": {"document": {"type": "text", "max_chars": MAX_CHARS}, "topics_allowed": {"type": "text"}},
            "output": {"field": "topic", "parser": "label", "labels": labels},
            "prompt": {"current": "1", "versions": {"1": {"content": content}}},
            "model": {"default": "embedded", "temperature": 0.0, "max_tokens": MAX_TOKENS, "stop": ["\n"]},
            "scorer": {"label_match": 1.0},
            "space": {"examples": {"max": MAX_EXAMPLES}},
            "rollout": {"gates": {"n": sizes.holdout}},
        }
    )


def example_of(family: Family, row: Row, split: Any, now: datetime) -> Example:
    expected = {"topic": topic(row)}
    id = row["id"]
    return Example(
        id=id,
        family=family.name,
        input=row["input"],
        expected=expected,
        group=id,
        split=split,
        origin="curated",
        released=True,
        created_at=now,
    )


class Counted:
    """The journaled model outside a study; remembers which requests it was asked."""

    def __init__(self, bench: Bench, family: Family, label: str = "") -> None:
        self._model = bench.models.get("embedded")
        self._calls = JournaledModel(
            self._model,
            Account(study=None, family=family.name, purpose="evaluation", budget=Budget()),
            store=bench.store,
            clock=bench.clock,
        )
        self._label = label
        self._told = time.monotonic()
        self.keys: set[str] = set()

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> str:
        params = {"temperature": 0.0, "max_tokens": MAX_TOKENS, "stop": ["\n"]}
        request = ModelRequest(model="embedded", revision=self._model.revision, messages=messages, params=params)
        answer: ModelAnswer = wait_for(self._calls.complete(request))
        self.keys.add(request.key)
        if self._label and time.monotonic() - self._told > 20:
            self._told = time.monotonic()
            print(f"  {self._label}: {len(self.keys)} calls", file=sys.stderr, flush=True)
        return answer.text


def plain_messages(row: Any, demos: Sequence[Any]) -> list[dict[str, Any]]:
    pairs = [({"role": "user", "content": _filled(d)}, {"role": "assistant", "content": d["topic"]}) for d in demos]
    return [
        {"role": "system", "content": SYSTEM},
        *[m for pair in pairs for m in pair],
        {"role": "user", "content": _filled(row["input"])},
    ]


def _filled(values: Any) -> str:
    return USER.replace("{{topics_allowed}}", values["topics_allowed"]).replace(
        "{{document}}", values["document"][:MAX_CHARS]
    )


def score(expected: str, text: str) -> float:
    """The label in the first line, as the family's parser reads it, in the plainest form."""
    found = [label for label in TOPICS if label in text.casefold()]
    return float(found == [expected.casefold()])


def topic(row: Row) -> str:
    return str(row["expected"]["topics"][0])
