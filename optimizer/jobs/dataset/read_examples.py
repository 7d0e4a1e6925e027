"""Counts a family's examples: to learn from, to compare on, sealed, and by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.core.base.answers import Text
from optimizer.jobs.context import Context
from optimizer.jobs.request import FamilyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesOfLabel:
    """``share``: of all that are not sealed."""

    label: str
    n_train: int
    n_dev: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCounts:
    """``labels``: of train and dev examples alone; None where answers are no labels. ``n_unreleased``: no person has
    released them, so no prompt quotes them.
    """

    family: str
    n_train: int
    n_dev: int
    n_holdout: int
    n_unreleased: int
    labels: Text[Sequence[ExamplesOfLabel] | None]


def read_examples(context: Context, request: FamilyRequest) -> ExampleCounts:
    """How many examples a family has, by part and by label. Of the sealed holdout only the number is told."""
    family, store = context.family(request.family), context.store
    with store.read() as tx:
        counts = store.examples.counts(tx, family.name)
        n_unreleased = store.examples.unreleased(tx, family.name)
        has_labels = family.output.parser == "label"
        by_label = store.examples.labels(tx, family.name, family.output.field) if has_labels else {}
    n = counts["train"] + counts["dev"]
    labels = [
        ExamplesOfLabel(label=label, n_train=of.get("train", 0), n_dev=of.get("dev", 0), share=sum(of.values()) / n)
        for label, of in by_label.items()
    ]
    return ExampleCounts(
        family=family.name,
        n_train=counts["train"],
        n_dev=counts["dev"],
        n_holdout=counts["holdout"],
        n_unreleased=n_unreleased,
        labels=labels if has_labels else None,
    )
