"""The golden scenarios of a family as an evaluation asks them, and what keeps them apart from every search."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NoReturn

from optimizer.core.base.errors import Conflict
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example, make_example, normalise
from optimizer.core.family.family import Family, GoldenRow
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.family.rendering import clip_inputs
from optimizer.core.family.variant import Variant
from optimizer.ports import Store, Transaction

NEVER_STORED = datetime(1970, 1, 1, tzinfo=UTC)  # when these examples were made: they are not kept


def with_kept_golden(tx: Transaction, store: Store, family: Family) -> Family:
    """The family with the scenarios of its file, then those that people made of its examples."""
    there = {row.id for row in family.golden}
    stored_rows = [
        golden_row(family, scenario, e)
        for scenario, e in store.examples.golden(tx, family.name)
        if row_id(e.id) not in there
    ]
    return family.with_golden((*family.golden, *stored_rows)) if stored_rows else family


def golden_row(family: Family, scenario: str, example: Example) -> GoldenRow:
    input = family.declared_inputs(example.input)
    return GoldenRow(id=row_id(example.id), scenario=scenario, input=input, expected=example.expected)


def row_id(example: str) -> str:
    """The id of the golden row that an example is; no row of a file should have it."""
    return f"example/{example}"


def golden_examples(family: Family, rows: Sequence[GoldenRow]) -> list[Example]:
    """The rows as examples, in their order. No example of a dataset has such an id."""
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


def asks(family: Family, input: Mapping[str, Any]) -> str:
    """What an input asks a model. It is equal for inputs that differ only in other members, or behind the cut."""
    return normalise(clip_inputs(family, family.declared_inputs(input)))


def asked_by(family: Family, rows: Sequence[GoldenRow]) -> dict[str, str]:
    """What the rows ask, as ``asks`` writes it -> their ids.

    Each row counts as it is, and as the family's masks would have left an example that asks the same.
    """
    ids: dict[str, str] = {}
    masker = Masker(family.privacy.rules)
    for row in rows:
        ids[asks(family, row.input)] = row.id
        if masker:
            with suppress(MaskTooSlow):  # no example was kept of it either
                ids[asks(family, masker.mask(dict(row.input)))] = row.id
    return ids


def without_golden(family: Family, examples: Sequence[Example]) -> list[Example]:
    """The examples that ask nothing that a golden scenario asks: a scenario cannot test what a search learned from."""
    questions = asked_by(family, family.golden)
    return [e for e in examples if asks(family, e.input) not in questions] if questions else [*examples]


def require_unsealed(tx: Transaction, store: Store, family: Family, rows: Sequence[GoldenRow]) -> None:
    """Raises Conflict, naming the rows, where the sealed holdout holds what a scenario asks."""
    by_input = asked_by(family, rows)
    sealed = store.examples.sealed_among(tx, {family.name: by_input.keys()}, lambda input: asks(family, input))
    if sealed:
        _refuse(
            family,
            {by_input[sealed_input] for _, sealed_input in sealed},
            "asked by an example of the sealed holdout, too, which only a study's confirmation may read",
        )


def require_unquoted(family: Family, variant: Variant, rows: Sequence[GoldenRow]) -> None:
    """Raises Conflict, naming the rows, where the prompt shows what a scenario asks, with the answer."""
    shown = {asks(family, shot.input) for shot in variant.examples}
    quoted = {id for question, id in asked_by(family, rows).items() if question in shown}
    if quoted:
        _refuse(family, quoted, f"shown in the prompt of {variant.id}, which would answer by copying")


def _refuse(family: Family, ids: Collection[str], why: str) -> NoReturn:
    listed = ", ".join(sorted(ids)[:10]) + (" …" if len(ids) > 10 else "")
    raise Conflict(
        f"{count(len(ids), 'golden row')} of {family.name} ({listed}) cannot be asked: the same is {why}. Ask it in"
        " other words in golden.jsonl, and leave this one out (detent golden remove, where it was made of an example).",
        rows=sorted(ids),
    )
