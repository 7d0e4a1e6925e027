"""Our arms: a study as users run it, over the list of instructions and the examples."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from live.begun import begun_study
from live.setup import MAX_EXAMPLES, Found, Setup
from optimizer.core.search.study import Study
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.run_study import run_study
from optimizer.runtime import wiring

TELL_EVERY_S = 20.0


def search(setup: Setup, strategy: str) -> Found:
    """Runs the study of this cell, or goes on with the one that an earlier run began.

    Raises SystemExit when it does not finish.
    """
    told = [0.0]

    def progress(event: Any) -> None:
        if time.monotonic() - told[0] > TELL_EVERY_S:
            told[0] = time.monotonic()
            print(
                f"  {setup.task.name}, {strategy}, seed {setup.seed}: {event.text} ({event.n_calls} calls)",
                file=sys.stderr,
                flush=True,
            )

    study = run_study(
        _study(setup, strategy).id,
        JobContext(
            store=setup.store,
            clock=setup.clock,
            families=SimpleNamespace(families={setup.family.name: setup.family}),
            models=setup.models,
            scorer_for=lambda family: setup.scorer,
        ),
        strategies=wiring.strategy_for,
        classify=wiring.classify,
        progress=progress,
    )
    if study.status != "finished":
        raise SystemExit(f"Study {study.id} of {setup.task.name} ended as {study.status}: {study.error}")
    with setup.store.read() as tx:
        trials = setup.store.studies.trials(tx, study.id)
        calls = [c for c in setup.store.journal.calls(tx, study.id) if c.purpose == "search" and c.answer is not None]
        best = study.winner or study.champion
        record = setup.store.variants.get(tx, setup.family.name, best)
    assert record is not None
    latency_ms = {c.key: c.answer.latency_ms for c in calls if c.answer is not None}
    dev_score = next((t.score for t in trials if t.variant == best), None)
    return Found(
        variant=record.variant,
        dev_score=dev_score,
        n_calls=len(latency_ms),
        model_minutes=sum(latency_ms.values()) / 60_000,
    )


def _study(setup: Setup, strategy: str) -> Study:
    sizes = setup.sizes
    definition = {
        "n_train": sizes.train,
        "n_dev": sizes.dev,
        "n_holdout": sizes.holdout,
        "n_candidates": sizes.candidates,
        "n_settings": sizes.trials if strategy == "joint" else sizes.candidates,
        "max_examples": MAX_EXAMPLES,
        "n_run_off": 0,
    }
    examples = [replace(e, released=True) for e in (*setup.train, *setup.dev, *setup.holdout)]
    return begun_study(
        setup.family,
        examples,
        definition,
        strategy=strategy,
        seed=setup.seed,
        store=setup.store,
        clock=setup.clock,
        models=setup.models,
        calls=setup.calls + 2 * sizes.holdout,
    )
