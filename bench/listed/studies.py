"""A study of a list of instructions as a user types it; a stand-in provider gives the answers of a recorded table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from fixed_pool.pools import Array
from ruamel.yaml import YAML
from typed.command import DONE, REFUSED, typed

from listed.replays import Drawn, SearchResult, declared, number_of, searched
from optimizer.core.search.run_off import RUN_OFF
from optimizer.core.search.space import instruction_of
from optimizer.core.views.study_headline import headline
from optimizer.host.config import load_settings
from optimizer.runtime import wiring
from tests.stand_ins.scripted_model import chat_answer, provider

NAME, MODEL = "listed", "recorded"
PLAIN = {"n_candidates": 0, "max_examples": 0, "n_run_off": 0}  # nothing but the list, and no calls after the race


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """``said``: the study's first sentence; ``drawn``: what it searched, with the rows of its run-off."""

    searched: SearchResult
    drawn: Drawn
    said: str


def study(table: Array, seed: int, *, strategy: str, cap: int, definition: Mapping[str, Any]) -> StudyResult:
    """One `detent study run` in a home that nobody used before; ``cap``: calls, the confirmation's included."""
    scores = table[np.random.default_rng([seed, *table.shape]).permutation(len(table))]
    with TemporaryDirectory() as folder, _provider(scores) as url:
        home = Path(folder)
        price = {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.4}
        _yaml(home / "config" / "models.yaml", {MODEL: {"openai_compatible": url, "model": MODEL, "price": price}})
        _yaml(home / "families" / NAME / "family.yaml", declared(len(scores), NAME, MODEL))
        _yaml(home / "study.yaml", dict(definition))
        rows = [{"input": {"row": f"row {i}"}, "expected": {"said": "right"}} for i in range(scores.shape[1])]
        (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        typed(home, "import", str(home / "rows.jsonl"), "--family", NAME, "--curated")
        words = f"study run {NAME} --strategy {strategy} --seed {seed} --budget-calls {cap} --json".split()
        typed(home, *words, "--definition", str(home / "study.yaml"), allowed=(DONE, REFUSED))
        return _ended(home, scores)


def _ended(home: Path, scores: Array) -> StudyResult:
    store = wiring.open_store(load_settings(home=home))
    with store.read() as tx:
        ended = store.studies.page(tx, family=NAME)[0][0]
        dataset = dict(ended.dataset or {})
        names = [*dataset["dev"], *dataset.get(RUN_OFF, ())]
        examples = {e.id: e for e in store.examples.of_split(tx, NAME, split="dev")}

        def number(variant: str) -> int:
            record = store.variants.get(tx, NAME, variant)
            assert record is not None
            return number_of(instruction_of(record.variant))

        trials = store.studies.trials(tx, ended.id)
        tried = {number(trial.variant) for trial in trials if trial.n}
        winner = number(ended.winner) if ended.winner else None
    of = Drawn(scores=scores, dev=[int(str(examples[id].input["row"]).split()[1]) for id in names], names=names)
    confirmed = 2 * len(dataset["holdout"]) if ended.confirmation else 0
    calls = ended.spend.n_calls - confirmed
    search = searched(of, winner or 0, len(tried), calls, of.rule(calls))
    return StudyResult(searched=search, drawn=of, said=headline(ended, trials))


def _yaml(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(dict(values), file)


@contextmanager
def _provider(scores: Array) -> Iterator[str]:
    with provider() as behind:
        usage = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
        behind.answer = lambda body: (
            200,
            {},
            json.dumps({**chat_answer(_answered(scores, body["messages"])), "usage": usage}).encode(),
        )
        yield behind.url


def _answered(scores: Array, messages: Sequence[Mapping[str, Any]]) -> str:
    row = int(str(messages[-1]["content"]).split()[-1])
    return "right" if scores[number_of(str(messages[0]["content"])), row] > 0.5 else "wrong"
