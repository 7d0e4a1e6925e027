"""Public rows of a made-up kind for the bench of families, and a model that learns its task from examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stand_ins.scripted_model import Provider, chat_answer, provider

BENCH = Path(__file__).parents[2] / "bench"
FAMILY = "intent_routing"
WORDS = {"banking": "account", "travel": "flight", "home": "lamp"}


@contextmanager
def naming_model(patch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The environment's model: names the domain where it was shown an answer of the data's own form, and rambles
    else.
    """

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        text = str(body["messages"][-1]["content"])
        shown = any(", train" in str(m["content"]) for m in body["messages"][:-1])
        domain = next(name for name, word in WORDS.items() if word in text)
        return 200, {}, json.dumps(chat_answer(domain if shown or domain == "home" else "I wonder")).encode()

    with provider() as state:
        state.answer = answer
        patch.setenv("DETENT_BENCH_MODEL", "scripted/one")
        patch.setenv("DETENT_BENCH_API", state.url)
        patch.delenv("DETENT_BENCH_KEY_ENV", raising=False)
        yield state


def data_in(folder: Path) -> Path:
    (folder / FAMILY).mkdir(parents=True)
    for part, n in (("train", 60), ("dev", 72)):
        rows = [
            {
                "id": f"{part}{i}",
                "input": {"utterance": f"my {WORDS[domain]} number {i}, {part}"},
                "expected": {"domain": domain, "label": "x"},
            }
            for i in range(n)
            for domain in [list(WORDS)[i % 3]]
        ]
        (folder / FAMILY / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder
