"""The five tasks as Families: prompts with several instructions, and the rows of the shared data as Examples."""

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

TOPICS = (
    "computer science",
    "economics",
    "electrical engineering and systems science",
    "mathematics",
    "physics",
    "quantitative biology",
    "quantitative finance",
    "statistics",
)
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
    stop: str = "\n"
    usable: Callable[[Row], bool] = lambda row: True

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
                    "stop": [self.stop],
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
        rows = {
            row["id"]: row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()) if self.usable(row)
        }
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


def _entities(row: Row) -> list[str]:
    return [str(entity["text"]) for entity in row["expected"]["entities"]]


def _domain(row: Row) -> str:
    domain = str(row["expected"]["domain"])
    return _DOMAIN_OF.get(domain, domain)


def _can_be_answered(row: Row) -> bool:
    """Some answer still stands in what is left of the context after the cut."""
    return any(answer in row["input"]["context"][:MAX_CHARS] for answer in row["expected"]["answers"])


_TOPIC_LIST = ", ".join(TOPICS)
_DOMAIN_LIST = ", ".join(DOMAINS)

TASKS: Sequence[Task] = (  # the cheapest first, so that there is something to look at early
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
    Task(
        name="entity_extraction",
        instructions=(
            "List the named entities in the text, one per line.",
            (
                "Copy every name of a person, place, company, product, group or creative work from the text, one per"
                " line, and nothing else."
            ),
            "Extract names. Write only the names that stand in the text.",
            (
                "You read messages and find the named entities: who and what is mentioned by name. Answer with the"
                " names exactly as written, each on its own line."
            ),
        ),
        inputs=("text",),
        user="Text: {{text}}\nNames:",
        output={"field": "entities", "parser": "list"},
        scorer={"list_f1": 1.0},
        max_tokens=24,
        stop="\n\n",
        expected=_entities,
    ),
    Task(
        name="document_analysis",
        instructions=(
            "Name the topic of the document.",
            f"Name the topic of the document. Topics: {_TOPIC_LIST}.",
            f"Answer with one of these topics and nothing else: {_TOPIC_LIST}.",
            (
                "You are a librarian who files scientific papers. Read title and abstract and say under which field of"
                " science the paper belongs."
            ),
        ),
        inputs=("document",),
        user="Document: {{document}}\nTopic:",
        output={"field": "topic", "parser": "label", "labels": list(TOPICS)},
        scorer={"label_match": 1.0},
        max_tokens=8,
        expected=lambda row: str(row["expected"]["topics"][0]),
    ),
    Task(
        name="answer_generation",
        instructions=(
            "Answer the question from the context.",
            "Answer the question in a few words copied from the context.",
            "Read the context. Give the shortest span of it that answers the question, without a sentence around it.",
            "You take part in a quiz with an open book. The answer stands in the context. Be brief and exact.",
        ),
        inputs=("question", "context"),
        user="Context: {{context}}\nQuestion: {{question}}\nAnswer:",
        output={"field": "answers", "parser": "text"},
        scorer={"rouge_1": 0.7, "exact_match": 0.3},
        max_tokens=16,
        expected=lambda row: list(row["expected"]["answers"]),
        usable=_can_be_answered,
    ),
    Task(
        name="summarization",
        instructions=(
            "Summarize the document in one sentence.",
            "Say in one short sentence what the paper proposes.",
            "Write the one-line summary that a busy researcher would want to read. Begin with what was done.",
            "TL;DR in at most twenty words.",
        ),
        inputs=("document",),
        user="Document: {{document}}\nSummary:",
        output={"field": "summary", "parser": "text"},
        scorer={"rouge_l": 0.4, "rouge_1": 0.3, "rouge_2": 0.3},
        max_tokens=36,
        expected=lambda row: list(row["expected"]["references"]),
    ),
)
