"""A prompt that a person edits beside the one that it started from: the lines and words that differ, and which inputs
it uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from optimizer.core.family.variant import VARIABLE

CONTEXT = 3  # unchanged lines around a change
MOST_PAIRS = 250_000  # of words of two lines that are compared word by word; the time grows with their number
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePart:
    """``is_changed``: in a line that stands for another one, what that one has not."""

    text: str
    is_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedLine:
    """``gap`` stands for unchanged lines that are left out, and has no parts."""

    kind: Literal["same", "added", "gone", "gap"]
    parts: Sequence[LinePart]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputUse:
    """An input of the family, or what a prompt takes for one: ``is_input`` False, and nobody would fill it in."""

    name: str
    is_input: bool
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EditedPrompt:
    """``lines``: what differs, with what stands around it; none where nothing does."""

    lines: Sequence[EditedLine]
    inputs: Sequence[InputUse]


def edited_prompt(saved: Mapping[str, Any], edited: Mapping[str, Any], inputs: Collection[str]) -> EditedPrompt:
    """Args: saved, edited: contents of variants, the second unchecked; inputs: of the family."""
    texts = [str(message.get("content") or "") for message in edited["messages"]]
    used = dict.fromkeys(name for text in texts for name in VARIABLE.findall(text))
    uses = [InputUse(name=name, is_input=True, is_used=name in used) for name in inputs]
    uses += [InputUse(name=name, is_input=False, is_used=True) for name in used if name not in inputs]
    return EditedPrompt(lines=list(_changes(_lines(saved), _lines(edited))), inputs=uses)


def _lines(content: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: {value}" for name, value in sorted(content["model"].items())]
    for message in content["messages"]:
        lines += [f"[{message.get('role')}]", *str(message.get("content") or "").splitlines()]
    return lines


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[EditedLine]:
    end = 0  # of what was shown of the old lines
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT):
        if group[0][1] > end:
            yield EditedLine(kind="gap", parts=[])
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (_whole("same", line) for line in old[i1:i2])
            elif i2 - i1 == j2 - j1:
                yield from _beside(old[i1:i2], new[j1:j2])
            else:
                yield from (_whole("gone", line) for line in old[i1:i2])
                yield from (_whole("added", line) for line in new[j1:j2])
        end = group[-1][2]
    if 0 < end < len(old):
        yield EditedLine(kind="gap", parts=[])


def _whole(kind: Literal["same", "added", "gone"], line: str) -> EditedLine:
    return EditedLine(kind=kind, parts=[LinePart(text=line, is_changed=False)])


def _beside(old: Sequence[str], new: Sequence[str]) -> Iterator[EditedLine]:
    """Lines that stand for one another, with the words that differ marked."""
    for before, after in zip(old, new, strict=True):
        a, b = _WORD.findall(before), _WORD.findall(after)
        if len(a) * len(b) > MOST_PAIRS:
            yield from (_whole("gone", before), _whole("added", after))
            continue
        blocks = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        yield EditedLine(kind="gone", parts=_parts(a, [(i1, i2, tag) for tag, i1, i2, _, _ in blocks]))
        yield EditedLine(kind="added", parts=_parts(b, [(j1, j2, tag) for tag, _, _, j1, j2 in blocks]))


def _parts(words: Sequence[str], spans: Sequence[tuple[int, int, str]]) -> list[LinePart]:
    return [
        LinePart(text="".join(words[start:end]), is_changed=tag != "equal") for start, end, tag in spans if end > start
    ]
