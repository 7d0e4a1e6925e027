"""A small finished study with everything around it, as a job would have left it in the store:
for the tests of the mirror.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from optimizer.adapters.store import Database
from optimizer.core.base.values import Budget, ExampleResult, Spend
from optimizer.core.dataset.examples import Example, make_example
from optimizer.core.family.variant import FewShot, Variant, VariantRecord
from optimizer.core.search.study import Study, Trial
from optimizer.core.serving.rollout import Champion
from optimizer.ports import Pages
from optimizer.runtime.wiring import mirrored_pages
from tests import stores
from tests.clock import Clock
from tests.stores import new_database, reading, writing
from tests.worlds.study_world import topic_family

FAMILY = "summarization"
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
STUDY = "st_01k000000000000000000000aa"
HELD_OUT_TEXT = "This sentence belongs to the sealed holdout"
UNRELEASED_TEXT = "This sentence was never released by a person"


def after_it() -> Clock:
    return Clock(START + timedelta(hours=1))


def variant(n_examples: int = 0, temperature: float = 0.0) -> Variant:
    messages: tuple[dict[str, Any], ...] = (
        {"role": "system", "content": "Summarize the document in one sentence."},
        {"role": "examples"},
        {"role": "user", "content": "Document: {{document}}\nSummary:"},
    )
    shots = tuple(
        FewShot(id=f"ex_{n}", input={"document": f"Document {n} is about trees."}, output=f"Trees, {n}.")
        for n in range(n_examples)
    )
    return Variant(
        messages=messages, examples=shots, model={"name": "embedded", "temperature": temperature, "max_tokens": 60}
    )


_TRIED = ((1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (4, 0.3), (4, 0.7), (2, 0.4), (3, 0.2), (1, 0.9), (0, 0.5))
VARIANTS = [variant(), *(variant(n, t) for n, t in _TRIED)]
SCORES = [0.21, 0.26, 0.31, 0.29, 0.36, 0.34, 0.22, 0.27, 0.3, 0.12, 0.15]


def open_database(folder: Path) -> Database:
    (folder / "var").mkdir(exist_ok=True)
    return new_database(folder / "var")


def examples() -> list[Example]:
    """Examples until the train, dev and holdout splits hold enough; the last two dev examples are not released."""
    made: list[Example] = []
    for n in range(120):
        text = f"Document number {n} explains how a forest grows in the year {1900 + n}."
        example = make_example(
            family=FAMILY,
            input={"document": text},
            expected={"summary": f"Forest of {1900 + n}."},
            origin="curated",
            created_at=START,
        )
        if example.split == "holdout":
            example = replace(example, input={"document": f"{HELD_OUT_TEXT} {n}."})
        made.append(example)
    for example in [e for e in made if e.split == "dev"][-2:]:
        made[made.index(example)] = replace(
            example, released=False, input={"document": f"{UNRELEASED_TEXT} {example.id}."}
        )
    return made


def tell(store: Database, *, status: str = "finished") -> Study:
    """Writes examples, variants, champion, study, trials and results, and queues them for the mirror."""
    rows = examples()
    ids = {split: [e.id for e in rows if e.split == split] for split in ("train", "dev", "holdout")}
    finished = status == "finished"
    study = stores.study(
        STUDY,
        **{"family": FAMILY, "strategy": "bootstrap+settings", "status": "running", "seed": 7},
        **{"budget": Budget(calls=320), "champion": VARIANTS[0].id, "scorer_version": "rouge_l:0.4"},
        **{"created_at": START, "created_by": "local:tester", "started_at": START},
        definition={"n_dev": len(ids["dev"]), "n_candidates": 4, "max_examples": 4},
        dataset={"hash": "d41c", **ids},
    )

    def write(tx: Any) -> None:
        store.examples.add(tx, rows)
        for n, v in enumerate(VARIANTS):
            record = VariantRecord(
                family=FAMILY, variant=v, source="study" if n else "file", created_at=START, created_by="local:tester"
            )
            store.variants.add(tx, record)
        store.champions.put(
            tx,
            Champion(family=FAMILY, seq=1, variant=VARIANTS[0].id, since=START, why="first version", by="local:tester"),
        )
        store.studies.add(tx, study)
        for number, (v, score) in enumerate(zip(VARIANTS, SCORES, strict=True)):
            put_trial(store, tx, number, v, score, ids["dev"])
        if finished:
            winner = VARIANTS[4].id
            for v, lift in ((VARIANTS[0].id, 0.0), (winner, 0.14)):
                results = [
                    ExampleResult(example=id, score=0.2 + lift * ((n % 4) - 1) / 2, output="kept out")
                    for n, id in enumerate(ids["holdout"])
                ]
                store.studies.put_results(tx, STUDY, "confirmation", v, results)
            gate = {"name": "n", "verdict": "fail", "value": 24, "required": 100, "reason": "24 of 100 examples"}
            confirmation = {
                **{"n": len(ids["holdout"]), "champion_mean": 0.2, "winner_mean": 0.27, "lift": 0.07, "p": 0.004},
                **{"lift_low": 0.03, "lift_high": 0.11, "wins": 12, "ties": 6, "losses": 6},
                **{"summary": "Improved: 0.200 to 0.270.", "gates": [gate]},
            }
            spend = Spend(n_calls=290, n_from_journal=12)
            ended = {"status": "finished", "outcome": "nominated", "finished_at": START + timedelta(minutes=4)}
            store.studies.update(tx, STUDY, winner=winner, confirmation=confirmation, spend=spend, **ended)
        store.outbox.add(tx, "study", STUDY, {}, START)

    store.write(write)
    kept = reading(store).studies.get(STUDY)
    assert kept is not None
    return kept


def put_trial(store: Database, tx: Any, number: int, v: Variant, score: float, dev: list[str]) -> None:
    results = [
        ExampleResult(
            example=id,
            score=min(1.0, max(0.0, score + ((n * 37 + number) % 21 - 10) / 60)),
            output=f"Trees grew, case {n}.",
            latency_ms=300.0 + n,
        )
        for n, id in enumerate(dev)
    ]
    mean = sum(r.score or 0.0 for r in results) / len(results)
    store.studies.put_results(tx, STUDY, "search", v.id, results)
    store.studies.put_trial(
        tx,
        Trial(
            **{"study": STUDY, "number": number, "variant": v.id, "status": "complete", "n": len(dev), "score": mean},
            proposer="champion" if number == 0 else "bootstrap" if number < 5 else "settings",
            params={"n_examples": len(v.examples), "temperature": v.model["temperature"]},
            p95_ms=320.0 + 40 * len(v.examples),
            n_calls=len(dev),
            started_at=START + timedelta(seconds=20 * number),
            finished_at=START + timedelta(seconds=20 * number + 18),
        ),
    )


def pages(store: Database) -> Pages:
    """What the worker gives to the mirror."""
    return mirrored_pages({FAMILY: topic_family(name=FAMILY)}, store, after_it())


def queue(store: Database, topic: str, subject: str, **payload: Any) -> None:
    writing(store).outbox.add(topic, subject, payload, START)
