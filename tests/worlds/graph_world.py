"""A home with a family that verifies graphs, and answers of it that were reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optimizer.host.config import Settings
from tests.worlds.api_world import World, make_home

F = "graph_check"
FAMILY = """\
name: graph_check
description: Repairs of a graph.
inputs: {text: {type: text, max_chars: 1000}, graph: {type: json}}
output: {field: verification, parser: json, schema: {type: object}}
prompt:
  current: "1"
  versions:
    "1": {created_at: 2026-11-20, description: base, content: [{role: user, content: "{{text}} {{graph}}"}]}
scorer: {exact_match: 1.0}
PRIVACY
"""
GRAPH = {
    "entities": ["Jakob Renz", "Renz", "mill", "York"],
    "relations": [
        {"subject": "Renz", "relation": "runs", "object": "mill"},
        {"subject": "mill", "relation": "in", "object": "York"},
    ],
}
MERGE = {"action": "merge_entities", "keep": "Jakob Renz", "remove": "Renz"}
DELETE_YORK = {"action": "delete_entity", "entity": "York"}
DELETE_IN_YORK = {"action": "delete_relation", "subject": "mill", "relation": "in", "object": "York"}
REPAIRS = [MERGE, DELETE_YORK, DELETE_IN_YORK]


def graph_home(home: Path, privacy: str = "", **explicit: Any) -> Settings:
    """``privacy``: a line of the family's file."""
    settings = make_home(home, **explicit)
    add_family(home, privacy)
    return settings


def add_family(home: Path, privacy: str = "") -> None:
    folder = home / "families" / F
    folder.mkdir()
    (folder / "family.yaml").write_text(FAMILY.replace("PRIVACY", privacy), encoding="utf-8")


def report(
    world: World,
    repairs: Any = REPAIRS,
    *,
    id: str = "in_1",
    unit: str = "ann",
    graph: Any = GRAPH,
    text: str = "Jakob Renz ran the mill.",
) -> str:
    """An interaction whose answer proposes these repairs."""
    event = {
        "id": id,
        "family": F,
        "unit": unit,
        "input": {"text": text, "graph": graph},
        "output": json.dumps({"repairs": repairs}),
        "latency_ms": 5.0,
    }
    answer = world.post("/v1/interactions", event)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1), answer.text
    return id


def propose(world: World, repairs: Any = REPAIRS, **more: Any) -> dict[str, Any]:
    answer = world.post(f"/v1/families/{F}/graphs", {"interaction": report(world, repairs, **more)})
    assert answer.status_code == 201, answer.text
    graph: dict[str, Any] = answer.json()
    return graph
