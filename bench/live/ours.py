"""Our arms: a study as users run it, over the list of instructions and the examples."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from live.setup import MAX_EXAMPLES, Found, Setup
from optimizer.core.family.variant import VariantRecord
from optimizer.core.search.study import Study
from optimizer.core.serving.champion import first
from optimizer.jobs.context import JobContext
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.jobs.studies.run_study import run_study
from optimizer.runtime import wiring
from tests.worlds.contexts import study_context


def search(setup: Setup, strategy: str) -> Found:
    """Runs the study of this cell, or goes on with the one that an earlier run began.

    Raises SystemExit when it does not finish.
    """
    print(f"  {setup.task.name}, {strategy}, seed {setup.seed} ...", file=sys.stderr, flush=True)
    study = run_study(
        _study(setup, strategy).id,
        JobContext(
            store=setup.store,
            clock=setup.clock,
            families=SimpleNamespace(families={setup.family.name: setup.family}),
            models=setup.models,
            scorer_for=lambda family: setup.scorer,
        ),
        holdout=wiring.sealed_holdout(),
        strategies=wiring.strategy_for,
        classify=wiring.classify,
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
    """The study that an earlier run began, or a new one with its examples and the bare prompt as champion."""
    sizes, store, family = setup.sizes, setup.store, setup.family
    with store.read() as tx:
        studies, _ = store.studies.page(tx, family=family.name, limit=1)
    if studies:
        return studies[0]
    now, champion = setup.clock.now(), family.variant()
    record = VariantRecord(family=family.name, variant=champion, source="file", created_at=now, created_by="bench")
    promoted = first(family=family.name, variant=champion.id, at=now, by="bench", why="the bare prompt")

    def fill(tx: Any) -> None:
        store.examples.add(tx, [replace(e, released=True) for e in (*setup.train, *setup.dev, *setup.holdout)])
        store.variants.add(tx, record)
        store.champions.put(tx, promoted)

    store.write(fill)
    definition = {
        "n_train": sizes.train,
        "n_dev": sizes.dev,
        "n_holdout": sizes.holdout,
        "n_candidates": sizes.candidates,
        "n_settings": sizes.trials if strategy == "joint" else sizes.candidates,
        "max_examples": MAX_EXAMPLES,
        "n_run_off": 0,
    }
    budget = BudgetBody(calls=setup.calls + 2 * sizes.holdout)
    request = StudyRequest(family=family.name, strategy=strategy, seed=setup.seed, budget=budget, definition=definition)
    study = create_study(study_context(store, setup.clock, family, setup.models, actor="bench"), request)
    assert isinstance(study, Study)
    return study
