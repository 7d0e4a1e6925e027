"""A playbook as the last part of an instruction: what is searched is what is served."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from optimizer.core.family.variant import Variant
from optimizer.core.search.playbook.entries import KINDS, Entry
from optimizer.core.search.space import instruction_of, with_instruction

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
    """The instruction without the section; a line of it that is none of ``texts`` stays, since a person wrote it."""
    lines = instruction.splitlines()
    if HEADING not in lines:
        return instruction
    at = len(lines) - 1 - lines[::-1].index(HEADING)
    ours = {*TITLES.values(), *(BULLET + text for text in texts)}
    return "\n".join([*lines[:at], *(line for line in lines[at + 1 :] if line not in ours)]).rstrip()


def texts_shown(instruction: str) -> list[str]:
    """The texts of the section that an instruction ends with."""
    lines: Sequence[str] = instruction.splitlines()
    if HEADING not in lines:
        return []
    at = len(lines) - 1 - lines[::-1].index(HEADING)
    return [line.removeprefix(BULLET) for line in lines[at + 1 :] if line.startswith(BULLET)]
