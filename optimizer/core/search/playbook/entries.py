"""The entries of a playbook and what may happen to them: added, supported, counted, merged, retired, restored.

No entry is ever removed or rewritten, so the record says what was tried and why it was given up. After ACE, which edits
a playbook entry by entry in place of rewriting it (Zhang et al. 2025, arXiv 2510.04618).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args

from optimizer.core.base.canonical import digest
from optimizer.core.dataset.examples import normalise
from optimizer.core.family.variant import VARIABLE, Variant
from optimizer.core.search.space import instruction_of, with_instruction

Kind = Literal["directive", "strategy", "lesson"]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["active", "merged", "retired"]
MAX_CHARS = 300  # of one entry
STUDY = "study:"  # what the actor of a study's changes begins with


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts:
    """What is known of one text of a playbook beside its evidence.

    Args:
        id: from the text, so that a family holds no text twice.
        position: from 1, in the order in which entries were added.
        helpful, harmful: of the examples answered with it and without it, on how many it did better, and worse.
        merged_into: the entry that says it now, where ``state`` is merged.
        reason: why it is no longer active; "" where it is.
        study: that added it.
        created_at, changed_at, changed_by: None before it is kept.
    """

    id: str
    kind: Kind
    text: str
    position: int
    helpful: int = 0
    harmful: int = 0
    state: State = "active"
    merged_into: str | None = None
    reason: str = ""
    study: str = ""
    created_at: datetime | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(EntryFacts):
    """``evidence``: ids of the released training examples that it was learned from."""

    evidence: tuple[str, ...] = ()

    @property
    def worth(self) -> int:
        return self.helpful - self.harmful


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """A new text; of one that is there already its evidence alone."""

    kind: Kind
    text: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Further evidence for an entry."""

    id: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What was measured with an entry and without it."""

    id: str
    helpful: int
    harmful: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Another entry says the same as an active one, and takes over its evidence and counts."""

    id: str
    into: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """A merged or retired entry is active again."""

    id: str


Edit = Add | Support | Count | Merge | Retire | Restore
Entries = Mapping[str, Entry]  # id > entry, in the order of their positions


def id_of(text: str) -> str:
    """Equal for texts that differ in case and white space only."""
    return "pb_" + digest(normalise(text).encode())[:12]


def clean_text(text: str) -> str:
    """The text on one line; raises ValueError, with a sentence, where it can be no entry."""
    line = " ".join(text.split()).removeprefix("- ").strip()
    if not line:
        raise ValueError("it is empty")
    if len(line) > MAX_CHARS:
        raise ValueError(f"it has {len(line)} characters, and an entry has at most {MAX_CHARS}")
    if VARIABLE.search(line):
        raise ValueError("it contains a {{variable}}, which a client would fill in")
    try:
        line.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a surrogate pair") from None
    return line


def active(entries: Entries) -> list[Entry]:
    return [entry for entry in entries.values() if entry.state == "active"]


def apply_edits(
    entries: Entries, edits: Iterable[Edit], *, study: str = "", at: datetime | None = None, by: str | None = None
) -> dict[str, Entry]:
    """The playbook after these edits, in their order.

    An edit that no longer fits, because the entry is gone or was retired or merged meanwhile, changes nothing: a person
    may act while a study runs.
    """
    by_id = dict(entries)
    for edit in edits:
        if (
            isinstance(edit, Restore)
            and (by or STUDY).startswith(STUDY)
            and edit.id in by_id
            and not (by_id[edit.id].changed_by or STUDY).startswith(STUDY)
        ):
            continue  # what a person retired stays so until a person restores it
        for changed in _changed(by_id, edit, study):
            known = by_id.get(changed.id)
            created = known.created_at if known is not None else at
            by_id[changed.id] = replace(changed, created_at=created, changed_at=at, changed_by=by)
    return by_id


def _changed(entries: Entries, edit: Edit, study: str) -> list[Entry]:
    """The entries that an edit changes, as they are afterwards."""
    id = id_of(edit.text) if isinstance(edit, Add) else edit.id
    known = entries.get(id)
    if known is None:
        return (
            [
                Entry(
                    id=id_of(edit.text),
                    kind=edit.kind,
                    text=edit.text,
                    position=1 + max((entry.position for entry in entries.values()), default=0),
                    evidence=tuple(dict.fromkeys(edit.evidence)),
                    study=study,
                )
            ]
            if isinstance(edit, Add)
            else []
        )
    match edit:
        case Add() | Support():
            return [_with_evidence(known, edit.evidence)] if set(edit.evidence) - set(known.evidence) else []
        case Count():
            return [replace(known, helpful=known.helpful + edit.helpful, harmful=known.harmful + edit.harmful)]
        case Merge():
            into = entries.get(edit.into)
            if known.state != "active" or into is None or into.state != "active" or into.id == id:
                return []
            merged = replace(known, state="merged", merged_into=into.id, reason=edit.reason)
            heir = replace(into, helpful=into.helpful + known.helpful, harmful=into.harmful + known.harmful)
            return [merged, _with_evidence(heir, known.evidence)]
        case Retire():
            return [replace(known, state="retired", reason=edit.reason)] if known.state == "active" else []
        case Restore():
            is_gone = known.state != "active"
            restored = replace(known, state="active", merged_into=None, reason="")
            return [restored, *_without(entries, known)] if is_gone else []


def _without(entries: Entries, merged: Entry) -> list[Entry]:
    """The entries that took over a merged entry's counts, without these counts."""
    heirs, heir = list[Entry](), entries.get(merged.merged_into or "")
    while heir is not None and heir.id not in [merged.id, *(entry.id for entry in heirs)]:
        counts = {name: getattr(heir, name) - getattr(merged, name) for name in ("helpful", "harmful")}
        heirs.append(replace(heir, **counts))
        heir = entries.get(heir.merged_into or "")
    return heirs


def _with_evidence(entry: Entry, more: Sequence[str]) -> Entry:
    return replace(entry, evidence=tuple(dict.fromkeys([*entry.evidence, *more])))


HEADING = "## Playbook"
TITLES = {"directive": "Directives:", "strategy": "Strategies:", "lesson": "Lessons:"}
BULLET = "- "


def section(entries: Iterable[Entry]) -> str:
    """The active entries by kind, in the order in which they were added; "" without one."""
    listed = sorted((entry for entry in entries if entry.state == "active"), key=lambda entry: entry.position)
    lines = [HEADING]
    for kind in KINDS:
        if own := [BULLET + entry.text for entry in listed if entry.kind == kind]:
            lines += [TITLES[kind], *own]
    return "\n".join(lines) if len(lines) > 1 else ""


def with_section(variant: Variant, entries: Collection[Entry]) -> Variant:
    """``variant`` whose instruction ends with these entries in place of the section that it may have."""
    own = without_section(instruction_of(variant) or "", {entry.text for entry in entries})
    return with_instruction(variant, "\n\n".join(filter(None, (own, section(entries)))))


def without_section(instruction: str, texts: Collection[str]) -> str:
    """The instruction without the section. A line of it that is none of ``texts`` stays, since a person wrote it."""
    lines = instruction.splitlines()
    if HEADING not in lines:
        return instruction
    at = len(lines) - 1 - lines[::-1].index(HEADING)
    ours = {*TITLES.values(), *(BULLET + text for text in texts)}
    return "\n".join([*lines[:at], *(line for line in lines[at + 1 :] if line not in ours)]).rstrip()


def section_texts(instruction: str) -> list[str]:
    """The texts of the section that an instruction ends with."""
    lines: Sequence[str] = instruction.splitlines()
    if HEADING not in lines:
        return []
    at = len(lines) - 1 - lines[::-1].index(HEADING)
    return [line.removeprefix(BULLET) for line in lines[at + 1 :] if line.startswith(BULLET)]
