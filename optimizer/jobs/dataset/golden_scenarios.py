"""The golden scenarios of a family as an evaluation asks them, and what keeps them apart from every search."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example, make_example, normalise
from optimizer.core.family.family import Family
from optimizer.core.family.golden import GoldenRow
from optimizer.ports import Store, Transaction

NEVER_STORED = datetime(1970, 1, 1, tzinfo=UTC)  # when these examples were made: they are not kept


def with_kept_golden(tx: Transaction, store: Store, family: Family) -> Family:
    """The family with the scenarios that people made of its examples behind those of its file."""
    there = {row.id for row in family.golden}
    kept = [
        GoldenRow(id=row_id(e.id), scenario=scenario, input=family.declared_inputs(e.input), expected=e.expected)
        for scenario, e in store.examples.golden(tx, family.name)
        if row_id(e.id) not in there
    ]
    return family.with_golden((*family.golden, *kept)) if kept else family


def row_id(example: str) -> str:
    """Of the golden row that an example is; no row of a file should have it."""
    return f"example/{example}"


def golden_examples(family: Family, rows: Sequence[GoldenRow]) -> list[Example]:
    """In the rows' order; no example of a dataset has such an id."""
    return [
        make_example(
            id=f"golden/{row.id}",
            family=family.name,
            input=row.input,
            expected=row.expected,
            origin="curated",
            created_at=NEVER_STORED,
        )
        for row in rows
    ]


def without_golden(family: Family, examples: Sequence[Example]) -> list[Example]:
    """The examples that ask nothing of what a golden scenario asks: what a search has learned from,
    a scenario cannot test.
    """
    asked = {normalise(row.input) for row in family.golden}
    return [e for e in examples if normalise(family.declared_inputs(e.input)) not in asked] if asked else [*examples]


def require_unsealed(tx: Transaction, store: Store, family: Family, rows: Sequence[GoldenRow]) -> None:
    """Raises Conflict, naming the rows, where the sealed holdout holds what a scenario asks."""
    by_input = {normalise(row.input): row.id for row in rows}
    sealed = store.examples.sealed_among(tx, family.name, by_input.keys())
    if sealed:
        ids = sorted(by_input[one] for one in sealed)
        raise Conflict(
            f"{count(len(ids), 'golden row')} of {family.name} ({', '.join(ids[:10])}{' …' if len(ids) > 10 else ''})"
            " ask what an example of the sealed holdout asks, which only a study's confirmation may read. Take"
            f" {'it' if len(ids) == 1 else 'them'} out of golden.jsonl (detent golden remove, for a row that was"
            " made of an example).",
            rows=ids,
        )
