"""Writes a new family's folder: family.yaml and examples.jsonl. Serving and importing are the caller's next steps."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from optimizer.core.base.canonical import is_unicode
from optimizer.core.base.errors import Conflict, InvalidInput, shorten
from optimizer.core.declaration.draft import FamilyDraft, NewFamily, draft_family
from optimizer.core.declaration.read import parse_family
from optimizer.jobs.families.family_folders import FILE

EXAMPLES = "examples.jsonl"
HEAD = """\
# Made by `detent family create`; yours to edit. Every key is explained in docs/reference/family.md of Detent.
# A changed prompt belongs under a new version; `detent serve` notices within a second,
# and serves it only when you say so.
"""
# Of any other character YAML wants its escape: of those that do not print, and of line ends other than the usual one.
_AS_IT_STANDS = re.compile(
    "[\\t\\n -~\\xa0-\\u2027\\u202a-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedFamily:
    family_file: Path
    examples_file: Path
    content: NewFamily


def create_family(
    draft: FamilyDraft, *, families_dir: Path, today: date, check: Callable[[NewFamily], None] = lambda new_family: None
) -> CreatedFamily:
    """The files that were written; all of them or none.

    Args:
        check: asked before anything is written; raises where a person has to decide something first.
    Raises:
        InvalidInput: prompt, columns and examples do not fit together, or the name is no family name.
        Conflict: the folder exists.
    """
    folder = families_dir / draft.name
    if folder.exists():
        raise Conflict(
            f"There is a folder {folder} already. Choose another name, or retire the family first: detent family delete"
            f" {draft.name} --confirm {draft.name}."
        )
    new_family = draft_family(draft, today=today)
    check(new_family)
    twice = [pair for pair in new_family.look_alikes if pair.same]
    if twice:
        merges = " ".join(f"--merge '{pair.rare}={pair.common}'" for pair in twice)
        raise InvalidInput(
            "Labels that differ in case or white space alone count as one when an answer is read:"
            f" {'; '.join(pair.text for pair in twice)}. Say {merges}, or correct the sheet; nothing was written."
        )
    lines = (json.dumps(example, ensure_ascii=False) for example in new_family.examples)
    write_family(folder, new_family.data, {EXAMPLES: "\n".join(lines) + "\n"})
    return CreatedFamily(family_file=folder / FILE, examples_file=folder / EXAMPLES, content=new_family)


def write_family(folder: Path, data: Mapping[str, Any], others: Mapping[str, str]) -> None:
    """The folder with family.yaml and other texts by name, whole or not at all.

    Raises InvalidFamily for data that is no family's.
    """
    parse_family(data)
    texts = {FILE: HEAD + as_yaml(data), **others}
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, text in texts.items():
        (part / name).write_text(text, encoding="utf-8")
    part.rename(folder)  # the reload sees a whole family or none


def read_prompt(path: Path) -> str:
    """The prompt's text; raises InvalidInput for a file that is missing, empty or no text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InvalidInput(f"There is no prompt file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The prompt file {path} cannot be read as UTF-8 text: {error}.") from None
    if not text.strip():
        raise InvalidInput(f"The prompt file {path} is empty.")
    return text


def as_yaml(data: object) -> str:
    """YAML for people: keys in their order, prompts as blocks of text.

    Raises InvalidInput for a text that no family file can hold.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString, LiteralScalarString

    def blocks(value: object) -> object:
        if isinstance(value, dict):
            return {k: blocks(v) for k, v in value.items()}
        if isinstance(value, list):
            return [blocks(v) for v in value]
        if not isinstance(value, str):
            return value
        if "\0" in value or not is_unicode(value):
            raise InvalidInput(
                f"The text {shorten(value, 60)!r} holds U+0000 or half of a surrogate pair, which no family file can"
                " hold. Take it out."
            )
        if not _AS_IT_STANDS.fullmatch(value) or ("\n" in value and not value.strip()):  # a riddle as a block
            return DoubleQuotedScalarString(value)
        return LiteralScalarString(value) if "\n" in value else value

    out = io.StringIO()
    yaml = YAML()
    yaml.width = 1000
    yaml.allow_unicode = True
    yaml.dump(blocks(data), out)
    return out.getvalue()
