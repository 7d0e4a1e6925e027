"""The task of the live comparison as a Family with several instructions, and its rows as Examples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optimizer.core.dataset.examples import Example, make_example, select
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import clip_inputs

MAX_CHARS = 600  # as the families of the demo cut their documents
RECORDED_AT = datetime(2026, 11, 20, tzinfo=UTC)
Row = Mapping[str, Any]

DOMAINS = (
    "auto",
    "banking",
    "credit cards",
    "home",
    "kitchen",
    "meta",
    "small talk",
    "travel",
    "utility",
    "work",
    "other",
)
_DOMAIN_OF = {  # as the data names them; short names cost a small model fewer tokens
    "auto_and_commute": "auto",
    "credit_cards": "credit cards",
    "kitchen_and_dining": "kitchen",
    "small_talk": "small talk",
    "oos": "other",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A family of the benchmark. ``instructions[0]`` is the champion's."""

    name: str
    instructions: tuple[str, ...]
    inputs: tuple[str, ...]
    user: str
    output: Mapping[str, Any]
    scorer: Mapping[str, float]
    max_tokens: int
    expected: Callable[[Row], Any]

    def family(self) -> Family:
        """The Family with the first instruction, no examples and temperature 0."""
        content = [
            {"role": "system", "content": self.instructions[0]},
            {"role": "examples"},
            {"role": "user", "content": self.user},
        ]
        return parse_family(
            {
                "name": self.name,
                "inputs": {name: {"type": "text", "max_chars": MAX_CHARS} for name in self.inputs},
                "output": dict(self.output),
                "prompt": {"current": "1", "versions": {"1": {"content": content}}},
                "model": {
                    "default": "embedded",
                    "temperature": 0.0,
                    "max_tokens": self.max_tokens,
                    "stop": ["\n"],
                },
                "scorer": dict(self.scorer),
            }
        )

    def examples(self, data: Path, part: str, n: int) -> list[Example]:
        """At most ``n`` Examples of ``part`` (train, dev), always the same;
        a larger n begins with the smaller selection.
        """
        family = self.family()
        field = family.output.field
        path = data / self.name / f"{part}.jsonl"
        rows = {row["id"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
        chosen = select([(id, None) for id in rows], n, balance=False, seed_text=f"recorded {self.name} {part}")
        return [
            make_example(
                family=self.name,
                id=id,
                input=clip_inputs(family, {name: rows[id]["input"][name] for name in self.inputs}),
                expected={field: self.expected(rows[id])},
                created_at=RECORDED_AT,
                origin="curated",
            )
            for id in chosen
        ]


def _domain(row: Row) -> str:
    domain = str(row["expected"]["domain"])
    return _DOMAIN_OF.get(domain, domain)


_DOMAIN_LIST = ", ".join(DOMAINS)

TASKS: Sequence[Task] = (
    Task(
        name="intent_routing",
        instructions=(
            "Name the domain of the request.",
            f"Name the domain of the request. Domains: {_DOMAIN_LIST}.",
            f"Route the request to one of these desks and answer with its name only: {_DOMAIN_LIST}.",
            (
                f"You are the switchboard of a voice assistant. The desks are {_DOMAIN_LIST}. Requests that fit none go"
                " to other."
            ),
        ),
        inputs=("utterance",),
        user="Request: {{utterance}}\nDomain:",
        output={"field": "domain", "parser": "label", "labels": list(DOMAINS)},
        scorer={"label_match": 1.0},
        max_tokens=6,
        expected=_domain,
    ),
)
LIVE_TASKS = tuple(task.name for task in TASKS)
