"""A model that reads the prompts of the graph families as they are written and answers from a short list of facts."""

from __future__ import annotations

import json
from typing import Any

from tests.scripted_model import Provider, chat_answer

ENTITIES = {
    "Ada Brandt": "person", "Otto Keel": "person", "Marta Keel": "person", "Halm Ferry": "organization",
    "Nordlake Shipping": "organization", "Ferry Museum": "organization", "Lindau": "location", "Port Ellis": "location",
}  # fmt: skip
FACTS = [
    ("Ada Brandt", "founded", "Halm Ferry"), ("Nordlake Shipping", "owns", "Halm Ferry"),
    ("Nordlake Shipping", "located_in", "Lindau"), ("Otto Keel", "captain_of", "Halm Ferry"),
    ("Otto Keel", "born_in", "Port Ellis"), ("Ferry Museum", "located_in", "Port Ellis"),
    ("Marta Keel", "founded", "Ferry Museum"), ("Brandt", "born_in", "Lindau"),
    ("Nordlake Shipping", "owns", "Ferry Museum"),  # which is wrong: it wanted to
]  # fmt: skip
ANSWERS = {
    "Who founded the Ferry Museum?": "Marta Keel",
    "Where does Nordlake Shipping have its seat?": "Lindau",
    "Where did the founder of the Halm Ferry come from?": "Lindau",
    "Who owns the Halm Ferry?": "Nordlake Shipping",
}


def answer_of(messages: list[dict[str, Any]]) -> str:
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
        stated = [fact for fact in FACTS if {fact[0], fact[2]} == pair]
        return json.dumps([dict(zip(("subject", "relation", "object"), fact, strict=True)) for fact in stated])
    if asked.endswith("Repairs:"):
        return json.dumps({"repairs": repairs_of(json.loads(fields["Graph"]))})
    if asked.endswith("Query:"):
        return " ".join(word.strip("?") for word in fields["Question"].split() if word[0].isupper())
    if asked.endswith("Summary:"):
        return "One sentence about it."
    return ANSWERS.get(fields.get("Question", ""), "not stated")


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


def script(provider: Provider) -> Provider:
    """The same provider, answering so."""
    provider.answer = lambda body: (200, {}, json.dumps(chat_answer(answer_of(body["messages"]))).encode())
    return provider
