"""A model that reads the prompts of the graph families as they are written and answers from a short list of facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.stand_ins.scripted_model import Provider, chat_answer

ROOT = Path(__file__).parents[2]
ENTITIES = {
    "Ada Brandt": "person",
    "Otto Keel": "person",
    "Marta Keel": "person",
    "Halm Ferry": "organization",
    "Nordlake Shipping": "organization",
    "Ferry Museum": "organization",
    "Lindau": "location",
    "Port Ellis": "location",
}
FACTS = [
    ("Ada Brandt", "founded", "Halm Ferry"),
    ("Nordlake Shipping", "owns", "Halm Ferry"),
    ("Nordlake Shipping", "located_in", "Lindau"),
    ("Otto Keel", "captain_of", "Halm Ferry"),
    ("Otto Keel", "born_in", "Port Ellis"),
    ("Ferry Museum", "located_in", "Port Ellis"),
    ("Marta Keel", "founded", "Ferry Museum"),
    ("Brandt", "born_in", "Lindau"),
    ("Nordlake Shipping", "owns", "Ferry Museum"),  # which is wrong: it wanted to
]
Messages = list[dict[str, Any]]


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]


OF_TEXT = {one["question"]: one["answers"][0] for one in rows("examples/graph_rag/questions.jsonl")}
OF_FAMILY = {
    (one["input"]["question"], one["input"]["context"]): one["expected"]["answers"][0]
    for name in ("examples", "golden")
    for one in rows(f"families/answer_generation/{name}.jsonl")
}


def answer_of(messages: Messages) -> str:
    """What a good model would say to the last message."""
    asked = str(messages[-1]["content"])
    fields = dict(line.split(": ", 1) for line in asked.splitlines() if ": " in line)
    if asked.endswith("Entities:"):
        names = [name for name in ENTITIES if name in fields["Text"]]
        named = [{"text": name, "type": ENTITIES[name]} for name in names]
        if "Ada Brandt" not in names and "Brandt" in fields["Text"]:
            named.append({"text": "Brandt", "type": "person"})
        return json.dumps(named)
    if "Relations" in fields:
        pair = set(fields["Entities"].split("; "))
        stated = [fact for fact in FACTS if {fact[0], fact[2]} == pair and fact[1] in fields["Relations"]]
        return json.dumps([dict(zip(("subject", "relation", "object"), fact, strict=True)) for fact in stated])
    if asked.endswith("Repairs:"):
        return json.dumps({"repairs": repairs_of(json.loads(fields["Graph"]))})
    if asked.endswith("Query:"):
        return " ".join(word.strip("?") for word in fields["Question"].split() if word[0].isupper())
    if asked.endswith("Summary:"):
        return "One sentence about it."
    question, context = fields.get("Question", ""), fields.get("Context", "")
    return OF_FAMILY.get((question, context)) or OF_TEXT.get(question, "not stated")


def better_when_shown(messages: Messages) -> str:
    """The same, but that questions other than "Who ...?" are answered only where the prompt shows answers."""
    asked = str(messages[-1]["content"])
    shown = any(message["role"] == "assistant" for message in messages)
    is_answer = asked.endswith("Answer:") and "Relations: " not in asked
    return "not stated" if is_answer and not shown and "Question: Who" not in asked else answer_of(messages)


def repairs_of(graph: dict[str, Any]) -> list[dict[str, str]]:
    """Two that are right, where the graph has what they are about, and one that is not."""
    found: list[dict[str, str]] = [
        {"action": "delete_relation", **one}
        for one in graph["relations"]
        if (one["subject"], one["object"]) == ("Nordlake Shipping", "Ferry Museum")
    ]
    if "Lindau" in graph["entities"]:
        found.append({"action": "delete_entity", "entity": "Lindau"})
    if {"Ada Brandt", "Brandt"} <= set(graph["entities"]):
        found.append({"action": "merge_entities", "keep": "Ada Brandt", "remove": "Brandt"})
    return found


def script(provider: Provider, answer: Callable[[Messages], str] = answer_of) -> Provider:
    """The same provider, answering so."""
    provider.answer = lambda body: (200, {}, json.dumps(chat_answer(answer(body["messages"]))).encode())
    return provider
