"""The golden scenarios of a family as an evaluation asks them, and what keeps them apart from every search.

A person makes a released example one, or takes that back. The text stays among the examples: once it is forgotten
there, it is no scenario any more. A copy in a committed file could not be forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote
from types import MappingProxyType
from typing import Annotated, Any, NoReturn

from pydantic import Field

from optimizer.core.base.answers import Page, members_of, page_of
from optimizer.core.base.errors import Conflict, InvalidInput, NotFound
from optimizer.core.base.phrasing import count
from optimizer.core.dataset.examples import Example, make_example, normalise
from optimizer.core.family.family import Family, GoldenRow, kind_of
from optimizer.core.family.golden import GOLDEN_ID, MAX_NAME_CHARS, MAX_ROWS, OF_EXAMPLE
from optimizer.core.family.masking import Masker, MaskTooSlow
from optimizer.core.family.rendering import clip_inputs
from optimizer.core.family.variant import Variant
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import ChangeReport, checked_reason
from optimizer.jobs.request import FamilyRequest, Name, PageRequest, Reason
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
    return f"{OF_EXAMPLE}{example}"


def kept_groups(tx: Transaction, store: Store, family: str) -> dict[str, str]:
    """Golden row > the group of the example that it was made of."""
    return {row_id(example.id): example.group for _, example in store.examples.golden(tx, family)}


def golden_examples(
    family: Family, rows: Sequence[GoldenRow], groups: Mapping[str, str] = MappingProxyType({})
) -> list[Example]:
    """The rows as examples, in their order. No example of a dataset has such an id.

    ``groups``: as ``kept_groups`` gives them; any other row is a group of its own.
    """
    return [
        make_example(
            id=f"{GOLDEN_ID}{row.id}",
            family=family.name,
            input=row.input,
            expected=row.expected,
            origin="curated",
            created_at=NEVER_STORED,
            group=groups.get(row.id),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRowView(GoldenRow):
    """``example``: the one that the row was made of, None for a row of the file."""

    example: str | None


ADDED, REMOVED = "add_golden", "remove_golden"


class GoldenRequest(FamilyRequest):
    example: Annotated[Name, Field(description="Its id, or the id of the interaction that it was made of")]
    scenario: Annotated[str | None, Field(min_length=1, max_length=100, description="Default: the example's id")] = None
    reason: Reason = ""


def add_golden(context: Context, request: GoldenRequest) -> ChangeReport:
    """Makes a released example a row of a golden scenario, which no search learns from. Safe to repeat.

    Raises:
        NotFound: there is no such example outside the holdout.
        InvalidInput: no usable name, or an example that no model can be asked.
        Conflict: it is sealed, not released, a row of another scenario, or asks what another row, the holdout or the
            champion's prompt asks.
    """
    family, store, actor, scenario = context.family(request.family), context.store, context.actor, request.scenario
    text = checked_reason(request.reason)
    now = context.clock.now()
    with store.read() as reading:  # through all examples, for which no writer should wait
        released = _released(reading, store, family, request.example)
        questions = {asks(family, released.input)}
        is_sealed = bool(
            store.examples.sealed_among(reading, {family.name: questions}, lambda input: asks(family, input))
        )
        n_sealed = store.examples.counts(reading, family.name)["holdout"]

    def change(tx: Transaction) -> ChangeReport:
        # Raises NotFound where the example was forgotten since it was read.
        if not any(
            row.split == released.split
            for row in store.examples.standing(tx, family.name, ids=[released.id], groups=[])
        ):
            raise NotFound(f"Example {released.id} of {family.name} was forgotten a moment ago.", family=family.name)
        name = (released.id if scenario is None else scenario).strip()
        if not 1 <= len(name) <= MAX_NAME_CHARS:
            raise InvalidInput(f"A scenario has a name of 1 to {MAX_NAME_CHARS} characters, not {len(name)}.")
        undo = f"detent golden remove {family.name} {released.id}"
        rows = with_kept_golden(tx, store, family).golden
        before = next((row for row in rows if row.id == row_id(released.id)), None)
        if before is not None and before.scenario != name:
            raise Conflict(
                f"Example {released.id} is a row of golden scenario {before.scenario!r} already. Take it out first:"
                f" {undo}.",
                scenario=before.scenario,
            )
        if before is None:
            _require_addable(family, released, rows)
            row = golden_row(family, name, released)
            if is_sealed or store.examples.counts(tx, family.name)["holdout"] != n_sealed:
                require_unsealed(tx, store, family, [row])
            champion = store.champions.current(tx, family.name)
            served = store.variants.get(tx, family.name, champion.variant) if champion is not None else None
            if served is not None:
                require_unquoted(family, served.variant, [row])
            store.examples.set_golden(tx, family.name, released.id, name)
            detail = {"scenario": name, "reason": text}
            store.audit.add(
                tx, at=now, actor=actor, action=ADDED, family=family.name, subject=released.id, detail=detail
            )
        again = "" if before is None else " already"
        return ChangeReport(
            family=family.name,
            what=f"example {released.id} is a row of golden scenario {name!r}{again}; no search learns from it",
            why=text,
            undo=undo,
            next=f"detent family evaluate {family.name} --suite golden --dry-run",
            changed=before is None,
        )

    return store.write(change)


def _require_addable(family: Family, example: Example, rows: Sequence[GoldenRow]) -> None:
    """Raises InvalidInput for an example that no model can be asked, Conflict where no row may be added."""
    kind = kind_of(family)
    if not kind.asks_models:
        raise InvalidInput(
            f"Golden scenarios are answered by a model, and {family.name}, a family of kind {family.kind}, asks none."
        )
    fault = kind.example_fault(family, family.declared_inputs(example.input), example.expected)
    if fault is not None:
        raise InvalidInput(f"Example {example.id} cannot be asked as a golden scenario: {fault}.")
    if (same := asked_by(family, rows).get(asks(family, example.input))) is not None:
        raise Conflict(f"Golden row {same!r} of {family.name} asks the same as example {example.id}; one is enough.")
    if len(rows) >= MAX_ROWS:
        raise Conflict(
            f"{family.name} has {count(len(rows), 'golden row')}, and {MAX_ROWS:,} are the most. Take others"
            f" out first: detent golden list {family.name}."
        )


class GoldenRemovalRequest(FamilyRequest):
    example: Name
    reason: Reason = ""


def remove_golden(context: Context, request: GoldenRemovalRequest) -> ChangeReport:
    """Takes an example out of its golden scenario; searches may learn from it again.

    Raises NotFound where it is a row of none.
    """
    family, example = context.family(request.family), request.example
    store, actor, text, now = context.store, context.actor, checked_reason(request.reason), context.clock.now()

    def change(tx: Transaction) -> ChangeReport:
        by_id = {e.id: (scenario, e) for scenario, e in store.examples.golden(tx, family.name)}
        id = next((id for id, (_, e) in by_id.items() if example in (id, e.interaction)), None)
        if id is None:
            raise NotFound(
                f"{example!r} is a row of no golden scenario of {family.name} that was made of an example; those of"
                f" golden.jsonl are taken out there. detent golden list {family.name} shows them.",
                family=family.name,
            )
        scenario = by_id[id][0]
        store.examples.set_golden(tx, family.name, id, None)
        detail = {"scenario": scenario, "reason": text}
        store.audit.add(tx, at=now, actor=actor, action=REMOVED, family=family.name, subject=id, detail=detail)
        return ChangeReport(
            family=family.name,
            what=f"example {id} is no row of golden scenario {scenario!r} any more; searches may learn from it again",
            why=text,
            undo=f"detent golden add {family.name} {id} --scenario {quote(scenario)}",
            next=f"detent golden list {family.name}",
        )

    return store.write(change)


class GoldenRowsRequest(PageRequest):
    family: str


def read_golden(context: Context, request: GoldenRowsRequest) -> Page[GoldenRowView]:
    """Every row of the golden scenarios; `example` names the example that it was made of, null for one of the file."""
    return page_of(_rows(context, context.family(request.family)), request.cursor, request.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRowOfFamily(GoldenRowView):
    family: str


def read_all_golden(context: Context, request: PageRequest) -> Page[GoldenRowOfFamily]:
    """Every row of the golden scenarios of every family."""
    visible = [member for name, member in sorted(context.families().families.items()) if context.access.may_see(name)]
    rows = [
        GoldenRowOfFamily(**members_of(row), family=member.name) for member in visible for row in _rows(context, member)
    ]
    return page_of(rows, request.cursor, request.limit)


def _rows(context: Context, family: Family) -> list[GoldenRowView]:
    with context.store.read() as tx:
        whole = with_kept_golden(tx, context.store, family)
        of_examples = {row_id(e.id): e.id for _, e in context.store.examples.golden(tx, family.name)}
    return [GoldenRowView(**members_of(row), example=of_examples.get(row.id)) for row in whole.golden]


def _released(tx: Transaction, store: Store, family: Family, example: str) -> Example:
    outside = [e for split in ("train", "dev") for e in store.examples.of_split(tx, family.name, split=split)]
    match = next((e for e in outside if example == e.id), None) or next(
        (e for e in outside if example == e.interaction), None
    )
    if match is None:
        standing = store.examples.standing(tx, family.name, ids=[example, f"ia_{example}"], groups=[])
        if any(row.split == "holdout" for row in standing):
            raise Conflict(
                f"Example {example!r} of {family.name} lies in the sealed holdout, which only a confirmation reads."
                " Take another, or write a scenario of your own into golden.jsonl."
            )
        raise NotFound(
            f"{family.name} has no example {example!r}, and none that was made of such an interaction. A production"
            f" answer becomes one by a review: detent review list --family {family.name}.",
            family=family.name,
        )
    if not (match.released or family.privacy.examples_from == "any"):
        raise Conflict(
            f"Example {match.id} of {family.name} is not released: a person decides first whether its text may be used."
            f" detent review list --family {family.name}."
        )
    return match
