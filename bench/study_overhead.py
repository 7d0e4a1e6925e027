"""What a study's own work costs per call, and how fast answers that are in the journal are scored again.

    python bench/study_overhead.py [--examples 1000] [--variants 100] [--fresh 1000] [--rounds 5]

A model that answers at once stands in for a remote one, so that everything measured is ours: rendering, the journal's
two commits, the budget, scoring. Fresh calls one after the other and 64 at once, in wall and processor time; beside
them the same commits written bare, two for each call by sqlite3 with the same durability, in turns. Then every variant
on every example is scored from the journal, by label.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import Cell, write_result

from optimizer.adapters.clock import SystemClock
from optimizer.adapters.store import Database
from optimizer.core.base.values import Budget
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS
from optimizer.core.family.rendering import render
from optimizer.core.family.variant import Variant
from optimizer.core.models.language import ModelAnswer, ModelPrice, ModelRequest, request_for
from optimizer.jobs.calls.call_book import Account
from optimizer.jobs.calls.call_model import JournaledModel
from optimizer.jobs.ids import new_id
from optimizer.jobs.studies.evaluation import Evaluator
from optimizer.ports import JournalEntry

TOPICS = ("biology", "physics", "music")
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
FAMILY: dict[str, Any] = {
    "name": "topics",
    "inputs": {"document": {"type": "text", "max_chars": 600}},
    "output": {"field": "topic", "parser": "label", "labels": list(TOPICS)},
    "prompt": {
        "current": "1",
        "versions": {"1": {"content": [{"role": "user", "content": "Document: {{document}}\nTopic:"}]}},
    },
    "model": {"default": "instant", "tiers": ["instant"], "max_tokens": 8},
    "scorer": {"label_match": 1.0},
}


ANSWER = ModelAnswer(text="music", input_tokens=200, output_tokens=2, cost_usd=0.0002, latency_ms=1.0)


class InstantModel:
    """ports.LanguageModel that takes no time."""

    name, revision, retries, max_output_tokens = "instant", "1", 0, 16
    price = ModelPrice(input_usd_per_mtok=1.0, output_usd_per_mtok=1.0)

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        return ANSWER


def variants(n: int) -> list[Variant]:
    return [
        Variant(
            messages=(
                {"role": "system", "content": f"Name the topic. {i}"},
                {"role": "user", "content": "Document: {{document}}\nTopic:"},
            ),
            examples=(),
            model={"name": "instant", "temperature": 0.0, "max_tokens": 8},
        )
        for i in range(n)
    ]


def examples(n: int) -> list[Example]:
    text = "a document of some length about what people study, sing and measure. " * 7
    return [
        make_example(
            family="topics",
            input={"document": f"Number {i}: {text}"},
            expected={"topic": TOPICS[i % 3]},
            origin="curated",
            created_at=BEGUN,
        )
        for i in range(n)
    ]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.family: Family = parse_family(FAMILY)
        self.scorer = Scorer(self.family.output, self.family.metrics, list(METRICS.built_in.values()))

    def evaluator(self, store: Database, concurrency: int) -> Evaluator:
        calls = JournaledModel(
            InstantModel(concurrency),
            Account(study="st_measured", family="topics", purpose="search", budget=Budget(usd=1e6)),
            store=store,
            clock=SystemClock(),
        )
        return Evaluator(self.family, self.scorer, lambda name: calls)

    def store(self, name: str) -> Database:
        store = Database(f"sqlite:///{self.folder / name}.db")
        store.migrate()
        return store

    def fill(self, store: Database, pairs: list[tuple[Variant, Example]]) -> None:
        """Another study's answers, a thousand in a transaction."""
        for start in range(0, len(pairs), 1000):
            requests = [
                request_for(
                    variant,
                    render(variant, example.input, declared=self.family.inputs),
                    revision="1",
                    example=example.id,
                )
                for variant, example in pairs[start : start + 1000]
            ]

            def write(tx: Any, requests: list[ModelRequest] = requests) -> None:
                for request in requests:
                    now, id = SystemClock().now(), new_id("ca")
                    entry = JournalEntry(
                        id=id,
                        key=request.key,
                        status="sent",
                        purpose="search",
                        model="instant",
                        attempt=1,
                        reserved_usd=0.0,
                        sent_at=now,
                        study="st_other",
                        family="topics",
                        temperature=0.0,
                    )
                    store.journal.send(tx, entry)
                    store.journal.settle(tx, id, ANSWER, now)

            store.write(write)

    def measured(self, store: Database, concurrency: int, pairs: list[tuple[Variant, Example]]) -> tuple[float, float]:
        """(wall, processor) seconds."""
        evaluator = self.evaluator(store, concurrency)
        done: list[bool] = []
        took = timed(lambda: evaluator.measure_all(pairs, lambda _, result: done.append(result.score is not None)))
        if len(done) != len(pairs) or not all(done):
            raise SystemExit(f"{sum(done)} of {len(pairs)} pairs have a score; nothing was measured.")
        return took

    def fresh(self, round: int, concurrency: int, pairs: list[tuple[Variant, Example]]) -> tuple[float, float]:
        store = self.store(f"fresh-{round}-{concurrency}")
        took = self.measured(store, concurrency, pairs)
        store.close()
        return took

    def bare(self, round: int, pairs: list[tuple[Variant, Example]]) -> tuple[float, float]:
        """The same two durable commits for each call, by sqlite3 alone."""
        db = sqlite3.connect(self.folder / f"bare-{round}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE calls (id TEXT PRIMARY KEY, request TEXT, answer TEXT)")

        def work() -> None:
            for i, (_, example) in enumerate(pairs):
                db.execute("INSERT INTO calls VALUES (?, ?, NULL)", (f"ca_{i}", json.dumps(example.input)))
                db.execute("UPDATE calls SET answer = ? WHERE id = ?", ("music", f"ca_{i}"))

        took = timed(work)
        db.close()
        return took


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(folder: Path, n_examples: int, n_variants: int, n_fresh: int, n_rounds: int) -> list[Cell]:
    bench, rng = Bench(folder), random.Random(1)
    some = [(variant, example) for variant in variants(2) for example in examples(n_fresh // 2)]
    took: dict[int, list[tuple[float, float]]] = {0: [], 1: [], 64: []}  # by calls at once; 0: bare
    for round in range(n_rounds):
        for at_once in rng.sample(sorted(took), len(took)):
            took[at_once].append(bench.fresh(round, at_once, some) if at_once else bench.bare(round, some))
    cells = []
    for at_once, case in ((1, "one call after the other"), (64, "64 calls at once")):
        for kind, time_of in enumerate(("wall", "processor")):
            pairs = [(ours[kind], bare[kind]) for ours, bare in zip(took[at_once], took[0], strict=True)]
            cells.append(per_call(f"fresh, {case}: {time_of}", pairs, len(some)))
    store = bench.store("journal")
    every = [(variant, example) for variant in variants(n_variants) for example in examples(n_examples)]
    bench.fill(store, every)
    for at_once in (1, 64):
        wall, _ = bench.measured(store, at_once, every)
        case = f"{n_examples} examples x {n_variants} variants scored again from the journal, {at_once} at once"
        cells.append(
            Cell(
                case=case,
                ours=wall,
                other=None,
                other_name="-",
                ratio=None,
                low=None,
                high=None,
                unit="s",
                n=len(every),
            )
        )
    store.close()
    return cells


def per_call(case: str, took: list[tuple[float, float]], n: int) -> Cell:
    """Ratio of sums over rounds; bounds: of the rounds' ratios."""
    ratios = [ours / bare for ours, bare in took]
    ours, bare = (sum(side) for side in zip(*took, strict=True))
    return Cell(
        case=case,
        ours=1000 * ours / n / len(took),
        other=1000 * bare / n / len(took),
        other_name="two bare commits",
        ratio=ours / bare,
        low=min(ratios),
        high=max(ratios),
        unit="ms a call; lowest and highest ratio of a round",
        n=n * len(took),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--fresh", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="detent-overhead-") as folder:
        cells = measure(Path(folder), arguments.examples, arguments.variants, arguments.fresh, arguments.rounds)
    is_whole = arguments.examples * arguments.variants >= 100_000
    write_result("study_overhead" if is_whole else "study_overhead_part", cells)


if __name__ == "__main__":
    main()
