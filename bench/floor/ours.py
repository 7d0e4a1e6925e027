"""Our arm: a study as users run it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from live.begun import begun_study

from floor.task import MAX_EXAMPLES, Arm, Bench, Counted, Row, example_of, plain_messages, score, topic
from optimizer.core.family.family import Family
from optimizer.core.search.study import Study
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.run_study import run_study
from optimizer.runtime import wiring


def ours(bench: Bench, family: Family, rows: Mapping[str, Sequence[Row]], seed: int) -> tuple[Study, Arm]:
    started = time.monotonic()
    study = _study(bench, family, rows, seed)
    last = [0.0]

    def progress(event: Any) -> None:
        if event.kind != "call" or time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"  seed {seed}, ours: {event.text} ({event.n_calls} calls)", file=sys.stderr, flush=True)

    study = run_study(
        study.id,
        JobContext(
            store=bench.store,
            clock=bench.clock,
            families=SimpleNamespace(families={family.name: family}),
            models=bench.models,
            scorer_for=wiring.scorers(bench.settings),
        ),
        strategies=wiring.strategy_for,
        classify=wiring.classify,
        progress=progress,
    )
    if study.status != "finished":
        raise SystemExit(f"Study {study.id} ended as {study.status}: {study.error}")
    with bench.store.read() as tx:
        trials = bench.store.studies.trials(tx, study.id)
        searched = bench.store.studies.results(tx, study.id, "search")
        confirmed = bench.store.studies.results(tx, study.id, "confirmation")
        calls = bench.store.journal.calls(tx, study.id)
    best = study.winner or study.champion
    n_calls = len({c.key for c in calls if c.purpose == "search"})
    if best not in confirmed:  # nothing beat the champion, so the study never looked at the held-out rows
        return study, Arm(
            scores=_scores(bench, family, rows["holdout"]),
            dev_score=trials[0].score or 0.0,
            n_calls=n_calls,
            seconds=0.0,
        )
    order = {id: i for i, id in enumerate(row["id"] for row in rows["holdout"])}
    results = sorted(confirmed[best], key=lambda r: order[r.example])
    dev = [r.score or 0.0 for r in searched[best]]
    arm = Arm(
        scores=[r.score or 0.0 for r in results],
        dev_score=sum(dev) / len(dev),
        n_calls=n_calls,
        seconds=time.monotonic() - started,
    )
    return study, arm


def _study(bench: Bench, family: Family, rows: Mapping[str, Sequence[Row]], seed: int) -> Study:
    sizes, now = bench.sizes, bench.clock.now()
    examples = [example_of(family, row, split, now) for split, some in rows.items() for row in some]
    definition = {
        "n_train": sizes.train,
        "n_dev": sizes.dev,
        "n_holdout": sizes.holdout,
        "n_candidates": sizes.candidates,
        "max_examples": MAX_EXAMPLES,
    }
    return begun_study(
        family,
        examples,
        definition,
        strategy="bootstrap",
        seed=seed,
        store=bench.store,
        clock=bench.clock,
        models=bench.models,
    )


def _scores(bench: Bench, family: Family, rows: Sequence[Row]) -> list[float]:
    """The bare prompt on the held-out rows."""
    counted = Counted(bench, family)
    return [score(topic(row), counted.ask(plain_messages(row, []))) for row in rows]
