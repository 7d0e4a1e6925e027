"""A small world for the live comparison of searches: invented rows, and a model that needs the list of domains."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

from optimizer.core.base.errors import ModelFailed
from tests.stand_ins.scripted_model import ScriptedModel

live = importlib.import_module("search_live")
SMALL = live.SIZES["small"]
WORDS = {"banking": "account", "travel": "flight", "home": "lamp"}
TASK = "intent_routing"


def write_rows(data: Path) -> Path:
    """The two files of the task, in the form of the shared data."""
    folder = data / TASK
    folder.mkdir(parents=True)
    for part, n in (("train", 40), ("dev", 20)):
        rows = [
            {
                "id": f"{part}{i}",
                "input": {"utterance": f"my {WORDS[domain]} number {i}, please"},
                "expected": {"domain": domain},
            }
            for i in range(n)
            for domain in [list(WORDS)[i % 3]]
        ]
        (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return data


class Models:
    """One model, which knows the domain once its instruction lists the domains, and of some words without."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.fails_after = fails_after
        self.model = ScriptedModel(self._answer, name="embedded", concurrency=1, retries=0)

    def _answer(self, request, n):
        if self.fails_after is not None and n > self.fails_after:
            raise ModelFailed("away", kind="unreachable")
        text = str(request.messages[-1]["content"])
        domain = next(domain for domain, word in WORDS.items() if word in text)
        listed = "kitchen" in str(request.messages[0]["content"])
        return domain if listed or domain == "home" else "I do not know"

    def get(self, name):
        return self.model

    def describe(self, name):
        return SimpleNamespace(embedded=False, student=False, concurrency=1, processes="auto", max_output_tokens=20)

    def price(self, name):
        return self.model.price


def run_arms(tmp_path, data, arms, models=None, **options):
    """The outcomes of the cells of seed 1."""
    keys = [(TASK, arm, 1) for arm in arms]
    live.run_cells(keys, tmp_path / "kept", data, SMALL, models or Models(), **options)
    return live.read_cells(tmp_path / "kept", keys)
