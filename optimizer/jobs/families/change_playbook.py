"""A person retires an entry of a family's playbook, or restores one; and reads the playbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.search.playbook.entries import (
    Entry,
    EntryFacts,
    Restore,
    Retire,
    apply_edits,
    section,
    section_texts,
)
from optimizer.core.search.space import instruction_of
from optimizer.jobs.context import Context
from optimizer.jobs.record_change import Change, checked_reason
from optimizer.jobs.request import FamilyRequest, Reason
from optimizer.ports import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryEvidence:
    """An example that an entry was learned from, and the interaction that the example came from, if any.

    ``kept``: False where the example has been forgotten since.
    """

    example: str
    interaction: str | None = None
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView(EntryFacts):
    """An entry as it stands. ``evidence``: the examples that it was learned from; ``helpful``, ``harmful``: those that
    were answered better, or worse, with it than without it; ``served``: the champion's instruction shows it.
    """

    evidence: Sequence[EntryEvidence]
    served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookView:
    """Every entry, in the order in which they were added, and the section that the active ones make."""

    family: str
    entries: Sequence[EntryView]
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReport(Change):
    family: str
    entry: EntryView


def read_playbook(context: Context, request: FamilyRequest) -> PlaybookView:
    """Every entry with its evidence and counts, those that are merged or retired too, and the section that the active
    ones make.
    """
    context.family(request.family)
    family, store = request.family, context.store
    with store.read() as tx:
        entries = store.playbooks.entries(tx, family)
        return PlaybookView(
            family=family, entries=_views(tx, store, family, entries), section=section(entries.values())
        )


class EntryRequest(FamilyRequest):
    entry: str
    reason: Reason = ""


def retire_entry(context: Context, request: EntryRequest) -> EntryReport:
    """No later section shows an active entry, and no study takes it up again. Safe to repeat.

    Raises:
        NotFound: the family's playbook has no such entry.
        Conflict: it was merged into another one.
    """
    context.family(request.family)
    family, id, store = request.family, request.entry, context.store
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> EntryReport:
        before = _entry(tx, store, family, id)
        if before.state == "merged":
            raise Conflict(
                f"{id} was merged into {before.merged_into}, which says it now. Retire that one: detent playbook retire"
                f" {family} {before.merged_into}",
                entry=id,
                merged_into=before.merged_into,
            )
        if before.state == "active":
            _apply(tx, context, family, Retire(id=id, reason=why), action="playbook.retire", why=why)
        return _report(tx, store, family, id, before, "retired", why)

    return store.write(change)


def restore_entry(context: Context, request: EntryRequest) -> EntryReport:
    """A retired or merged entry is active again; the next study tries it. Safe to repeat.

    Raises:
        NotFound: the family's playbook has no such entry.
    """
    context.family(request.family)
    family, id, store = request.family, request.entry, context.store
    why = checked_reason(request.reason)

    def change(tx: Transaction) -> EntryReport:
        before = _entry(tx, store, family, id)
        if before.state != "active":
            _apply(tx, context, family, Restore(id=id), action="playbook.restore", why=why)
        return _report(tx, store, family, id, before, "active", why)

    return store.write(change)


def _apply(tx: Transaction, context: Context, family: str, edit: Retire | Restore, *, action: str, why: str) -> None:
    store, actor, now = context.store, context.actor, context.clock.now()
    before = store.playbooks.entries(tx, family)
    after = apply_edits(before, [edit], at=now, by=actor)
    store.playbooks.put(tx, family, [entry for id, entry in after.items() if entry != before[id]])
    detail = {"why": why, "before": before[edit.id].state, "after": after[edit.id].state}
    store.audit.add(tx, at=now, actor=actor, action=action, family=family, subject=edit.id, detail=detail)


def _report(tx: Transaction, store: Store, family: str, id: str, before: Entry, state: str, why: str) -> EntryReport:
    entries = store.playbooks.entries(tx, family)
    view = next(view for view in _views(tx, store, family, entries) if view.id == id)
    after = entries[id]
    changed = after != before
    what = f"{id} is {after.state}" if changed else f"{id} is {after.state} already"
    if changed and state == "retired" and view.served:
        what += "; the champion shows it until another variant is promoted"
    undo = f"detent playbook {'restore' if state == 'retired' else 'retire'} {family} {id}"
    return EntryReport(
        family=family,
        what=what,
        why=why if changed else after.reason or why,
        undo=undo if changed else "",
        next=f"detent study run {family} --strategy playbook --dry-run",
        changed=changed,
        entry=view,
    )


def _entry(tx: Transaction, store: Store, family: str, id: str) -> Entry:
    record = store.playbooks.entries(tx, family).get(id)
    if record is None:
        raise NotFound(
            f"The playbook of {family} has no entry {id!r}. `detent playbook show {family}` lists them.", entry=id
        )
    return record


def _views(tx: Transaction, store: Store, family: str, entries: Mapping[str, Entry]) -> list[EntryView]:
    ids = sorted({example for entry in entries.values() for example in entry.evidence})
    known = {standing.id: standing.interaction for standing in store.examples.standing(tx, family, ids=ids, groups=())}
    champion = store.champions.current(tx, family)
    served = store.variants.get(tx, family, champion.variant) if champion is not None else None
    shown = set(section_texts(instruction_of(served.variant) or "")) if served is not None else set()
    return [
        EntryView(
            **{
                **members_of(entry),
                "evidence": [
                    EntryEvidence(example=e, interaction=known.get(e), kept=e in known) for e in entry.evidence
                ],
                "served": entry.text in shown,
            }
        )
        for entry in entries.values()
    ]
