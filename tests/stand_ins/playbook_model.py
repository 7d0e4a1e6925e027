"""A model that answers topics, and as a proposer plays Reflector and Curator as a test writes them down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optimizer.core.models.language import ModelRequest
from optimizer.core.search.playbook.entries import Add, Entry, apply_edits
from optimizer.core.search.playbook.reflection import CURATE, REFLECT
from tests.worlds.study_world import TOPICS, TopicModel, World, topic_family

RIGHT = "Answer with one word, the topic."
SPACE: dict[str, Any] = {"instruction": {"propose": True}}


def lessons(*texts: str, **more: Any) -> str:
    return json.dumps({"lessons": [{"kind": "directive", "text": text, **more} for text in texts]})


class Learner(TopicModel):
    """Knows the topic once its instruction asks for one word.

    ``reflect`` and ``curate`` give what it writes as a proposer, by the number of its turn (from 1).
    """

    def __init__(
        self,
        reflect: Callable[[int], str] = lambda n: lessons(RIGHT),
        curate: Callable[[int], str] = lambda n: "{}",
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._roles = {REFLECT[:40]: reflect, CURATE[:40]: curate}
        self.prompts: dict[str, list[str]] = {"reflect": [], "curate": []}

    def _text(self, request: ModelRequest) -> str:
        text = str(request.messages[-1]["content"])
        for (start, write), asked in zip(self._roles.items(), self.prompts.values(), strict=True):
            if text.startswith(start):
                asked.append(text)
                return write(len(asked))
        return self.answer(str(request.messages[0]["content"]), next(t for t in TOPICS if t in text))

    def answer(self, instruction: str, topic: str) -> str:
        return topic if "one word" in instruction else "I would rather not say."


def learning_world(folder: Path, model: TopicModel | None = None, **changes: Any) -> World:
    return World(folder, model=model or Learner(), family=topic_family(**{"space": SPACE, **changes}))


def studied(here: World, **options: Any) -> Any:
    return here.run(here.create(strategy="playbook", **options))


def add_entry(store: Any, family: str, text: str = RIGHT, *, evidence: tuple[str, ...] = (), **more: Any) -> str:
    """An active entry as a study adds one; its id."""
    at = datetime(2026, 11, 20, tzinfo=UTC)
    (made,) = apply_edits(
        {}, [Add(kind="directive", text=text, evidence=evidence)], study="st_1", at=at, by="study:st_1"
    ).values()
    with store.read() as tx:
        position = 1 + len(store.playbooks.entries(tx, family))
    store.write(lambda tx: store.playbooks.put(tx, family, [replace(made, position=position, **more)]))
    return made.id


def kept_entries(here: World) -> list[Entry]:
    with here.store.read() as tx:
        return list(here.store.playbooks.entries(tx, here.family.name).values())
