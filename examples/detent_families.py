"""Asking Detent's families over HTTP, and telling what became of an answer. Copy it into your application."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from typing import Any

import httpx

PATIENCE_S = 300.0  # a small model on a busy machine takes its time
NO_RELATION = "no_relation"


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyAnswer:
    """What a family answered, the interaction by which an outcome is reported, and the role of the variant served."""

    family: str
    interaction: str
    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """Of one sentence: entities as (name, type), relations as (subject, relation, object), and the answers behind them.

    ``unreadable``: how many of the answers were no JSON of the form that their family asks for.
    """

    sentence: str
    entities: tuple[tuple[str, str], ...]
    relations: tuple[tuple[str, str, str], ...]
    answers: tuple[FamilyAnswer, ...]
    unreadable: int


class DetentFamilies:
    """A client of the service at ``url``; ``key`` needs role feedback, which includes serve."""

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, family: str, variables: Mapping[str, Any], *, unit: str) -> FamilyAnswer:
        """The family's answer for this unit, which the service has put on record. Raises httpx.HTTPStatusError."""
        body = {"model": family, "messages": [], "user": unit, "detent": {"variables": dict(variables)}}
        answer = await self.post("/v1/chat/completions", body)
        text, role = answer["choices"][0]["message"]["content"] or "", answer["detent"]["role"]
        return FamilyAnswer(family=family, interaction=answer["id"], role=role, text=text)

    async def report(self, answers: Iterable[FamilyAnswer], **outcome: Any) -> None:
        """Says how good these answers were: ``success``, ``score``, ``expected``, ``source``."""
        events = [{"family": one.family, "interaction": one.interaction, **outcome} for one in answers]
        if events:
            report = await self.post("/v1/feedback", events)
            if report["rejected"]:
                raise RuntimeError(f"feedback was rejected: {report['rejected'][0]['detail']}")

    async def post(self, path: str, body: Any) -> Any:
        return await self._read("POST", path, json=body)

    async def get(self, path: str) -> Any:
        return await self._read("GET", path)

    async def _read(self, method: str, path: str, **body: Any) -> Any:
        answer = await self._http.request(method, path, **body)
        if answer.is_error:
            raise httpx.HTTPStatusError(f"{method} {path}: {answer.text}", request=answer.request, response=answer)
        return answer.json()

    async def extract(self, text: str, *, types: str, relations: str) -> list[Extraction]:
        """Entities and relations of a text, sentence by sentence: one call for the entities of a sentence, and one for
        each pair of them. An answer that cannot be read is reported as a failure.
        """
        return list(await asyncio.gather(*(self._of_sentence(one, types, relations) for one in sentences_of(text))))

    async def _of_sentence(self, sentence: str, types: str, relations: str) -> Extraction:
        unit = unit_of_text(sentence)
        whole = await self.ask("entity_extraction", {"text": sentence, "types": types}, unit=unit)
        items = _items(whole.text, ("text", "type"))
        kinds = {name: kind for name, kind in reversed(items or ()) if name in sentence}  # of two types the first
        entities = tuple(reversed(kinds.items()))
        pairs = list(combinations([name for name, _ in entities], 2))
        answers = await asyncio.gather(
            *(
                self.ask(
                    "relationship_extraction",
                    {"sentence": sentence, "entity_1": one, "entity_2": other, "relation_types": relations},
                    unit=unit,
                )
                for one, other in pairs
            )
        )
        read = [_items(answer.text, ("subject", "relation", "object")) for answer in answers]
        allowed = {word.strip() for word in relations.split(",")} - {NO_RELATION}
        names = {name for name, _ in entities}
        stated = tuple(
            dict.fromkeys(
                (one[0], one[1], one[2])
                for ones in read
                for one in ones or ()
                if one[1] in allowed and {one[0], one[2]} <= names
            )
        )
        bad = [whole] if items is None else []
        bad += [answer for answer, ones in zip(answers, read, strict=True) if ones is None]
        await self.report(bad, success=False, source="system")
        return Extraction(
            sentence=sentence, entities=entities, relations=stated, answers=(whole, *answers), unreadable=len(bad)
        )


def unit_of_text(text: str) -> str:
    """Where no user asks, the text is the unit: in a rollout it stays on one side."""
    return f"text:{sha256(text.encode()).hexdigest()[:32]}"


def sentences_of(text: str) -> list[str]:
    """The sentences of plain prose."""
    return [one for one in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if one]


def _items(text: str, members: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    """The members of each object in a JSON list; None where the text is no such list."""
    start, end = text.find("["), text.rfind("]")
    try:
        value = json.loads(text[start : end + 1])
        return [tuple(str(one[member]) for member in members) for one in value]
    except (ValueError, TypeError, KeyError):
        return None
