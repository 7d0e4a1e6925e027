"""A provider on loopback that speaks OpenAI's protocol: one of its models writes letters, the other judges them.

How good a letter is counts the courtesies that it holds, from 0 to 4; people and the judge look for the same ones, and
the judge is a little too kind. Asked to be kind, the writer puts two more into each letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from optimizer.core.models.language import ModelRequest
from tests.stand_ins.scripted_model import chat_answer, provider
from tests.worlds.judged_world import between, mark_of, prompt_of, says

COURTESIES = ("Dear customer,", "we are sorry.", "It arrives tomorrow.", "Best regards.")
KIND = "Be kind"


class LetterProvider:
    """``asked``: by model, the requests so far. ``silent``: the judge refuses."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.silent = False
        self.url = ""

    def answer(self, body: dict[str, Any]) -> str:
        name, messages = body["model"], body["messages"]
        self.asked[name] = self.asked.get(name, 0) + 1
        if name == "writer":
            return written(messages)
        if self.silent:
            return "I would rather not judge anybody."
        return judged(ModelRequest(model=name, revision="", messages=messages))


def luck(text: str) -> int:
    return sha256(text.encode()).digest()[0]


def written(messages: list[dict[str, Any]]) -> str:
    """A letter with up to two courtesies, and two more where the instruction asks for kindness."""
    asked = str(messages[-1]["content"])
    n = luck(asked) % 3 + (2 if KIND in json.dumps(messages) else 0)
    return " ".join([f"About {asked[-30:]!r}:", *COURTESIES[:n]])


def quality(letter: str) -> float:
    """What a person rates it, from 0 to 1."""
    return sum(courtesy in letter for courtesy in COURTESIES) / len(COURTESIES)


def judged(request: ModelRequest) -> str:
    """By the rubric, or of two letters the better one."""
    prompt = prompt_of(request)
    if "BEGIN FIRST" in prompt:
        first, second = (quality(between(place, prompt)) for place in ("FIRST", "SECOND"))
        better = "neither" if first == second else "first" if first > second else "second"
        return json.dumps({"of": mark_of(request), "reasoning": "Courtesies.", "better": better})
    letter = between("ANSWER", prompt)
    return says(request, min(10.0, 3 + 6 * quality(letter) + luck(letter) / 255), "I counted its courtesies.")


@contextmanager
def letter_provider() -> Iterator[LetterProvider]:
    state = LetterProvider()

    with provider() as behind:
        usage = {"prompt_tokens": 200, "completion_tokens": 50, "total_tokens": 250}
        behind.answer = lambda body: (200, {}, json.dumps({**chat_answer(state.answer(body)), "usage": usage}).encode())
        state.url = behind.url
        yield state
