"""A study on rows that are put into the store for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.core.dataset.examples import Example
from optimizer.core.family.family import Family
from optimizer.core.family.variant import VariantRecord
from optimizer.core.search.study import Study
from optimizer.core.serving.champion import first
from optimizer.jobs.studies.create_study import BudgetBody, StudyRequest, create_study
from optimizer.ports import Clock, Store
from tests.contexts import study_context


def begun_study(
    family: Family,
    examples: Sequence[Example],
    definition: Mapping[str, Any],
    *,
    strategy: str,
    seed: int,
    store: Store,
    clock: Clock,
    models: Any,
    calls: int = 100_000,
) -> Study:
    """The family's study: the one that an earlier run began, or a new one with its examples and the bare prompt as
    champion.
    """
    with store.read() as tx:
        found, _ = store.studies.page(tx, family=family.name, limit=1)
    if found:
        return found[0]
    now, champion = clock.now(), family.variant()

    def fill(tx: Any) -> None:
        store.examples.add(tx, examples)
        if store.champions.current(tx, family.name) is None:
            record = VariantRecord(
                family=family.name, variant=champion, source="file", created_at=now, created_by="bench"
            )
            store.variants.add(tx, record)
            promoted = first(family=family.name, variant=champion.id, at=now, by="bench", why="the bare prompt")
            store.champions.put(tx, promoted)

    store.write(fill)
    made = create_study(
        study_context(store, clock, family, models, actor="bench"),
        StudyRequest(
            family=family.name, strategy=strategy, seed=seed, budget=BudgetBody(calls=calls), definition=definition
        ),
    )
    assert isinstance(made, Study)
    return made
