"""Freezes the list from which a study's strategy ``nearest`` shows examples, before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.core.base.errors import InvalidInput
from optimizer.core.family.rendering import few_shot
from optimizer.core.family.variant import Variant
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.search.strategy import proposers_of
from optimizer.jobs.dataset.build_dataset import teaching_examples
from optimizer.jobs.studies.context import StudyRun
from optimizer.ports import Transaction

FINDING = "example_index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexing:
    """The hash of the list, or why there is none."""

    index: str | None = None
    unindexed: str = ""


def index_examples(run: StudyRun) -> Indexing:
    """Released training examples alone. A study that was killed goes on with the list that it had, if that is there."""
    if NEAREST not in proposers_of(run.study.strategy) or not run.definition.max_examples:
        return Indexing()
    from optimizer.core.predictor.example_index import MOST_EXAMPLES, ExampleIndex, IndexedExample  # it needs numpy

    store, name = run.store, run.family.name
    before = (run.study.findings or {}).get(FINDING)
    with store.read() as tx:
        if before is not None and before["index"] in store.example_indexes.ids(tx, name):
            return Indexing(index=before["index"])
        released = teaching_examples(run.family, store, tx, MOST_EXAMPLES)
    examples: list[IndexedExample] = []
    for example in released:
        try:
            shot = few_shot(run.family, example)
            Variant(messages=run.champion.messages, examples=(shot,))
        except InvalidInput:  # it has no answer to show, or a {{variable}} that a client would fill in
            continue
        examples.append(IndexedExample(group=example.group, shot=shot))
    if not examples:
        return Indexing(
            unindexed=(
                "Strategy nearest proposes nothing: no training example is released that a prompt may show. Import"
                f" curated rows, or release some: detent review list --family {name}."
            )
        )
    index = ExampleIndex.of(examples)
    at = run.clock.now()

    def keep(tx: Transaction) -> None:
        store.example_indexes.add(tx, name, index, study=run.study.id, at=at)
        store.example_indexes.drop_unnamed(tx, name, but=index.hash)  # of studies that proposed nothing with theirs

    store.write(keep, rows=2)
    run.keep_finding(FINDING, {"index": index.hash, "n_examples": len(index.examples)})
    return Indexing(index=index.hash)
