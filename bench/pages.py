"""The one writer of Markdown pages: tables and figures of cells, prose in lines of at most 120 columns.

A page of a benchmark is made of its stored results and of nothing else; a test holds every page to the columns.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from itertools import takewhile
from typing import Any, ParamSpec

P = ParamSpec("P")
Cell = Mapping[str, Any]  # of a result file

COLUMNS = 120
_ITEM = re.compile(r"(?P<mark>\s*(?:[-*+]|\d+[.)])\s+)(?P<text>.*)")
_AS_IT_IS = re.compile(r"\s*(?:\||#|<|\[[^\]]+\]: |---|===)")
_INDENTED_CODE = re.compile(r"\s{4}(?!\s*(?:[-*+]|\d+[.)])\s)")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_MARK_WITHIN = re.compile(
    r" (?=(?:[-*+#>|=]+|\d+[.)]) )"
)  # at the start of a line it would begin a list, a heading, a quotation
_JOINED = "\0"


def grid(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (titles, ["---"] * len(titles), *rows))


def table(corner: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    """Rows and columns by name, in the order in which they come; a dash where a row has no such column."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return "\n" + grid([corner, *columns], ([name, *(row.get(c, "-") for c in columns)] for name, row in rows.items()))


def matching(cells: Iterable[Cell], pattern: str) -> Iterator[tuple[tuple[str, ...], Cell]]:
    """The cells whose whole case matches, each with the groups of the match."""
    for cell in cells:
        if match := re.fullmatch(pattern, cell["case"]):
            yield match.groups(), cell


def bounds(cell: Cell, form: str = ".3f", scale: float = 1) -> str:
    """A cell's interval."""
    return f"{scale * cell['low']:{form}} to {scale * cell['high']:{form}}"


def bounded(cell: Cell, form: str = ".3f", scale: float = 1) -> str:
    """Ours with its interval, where there is one."""
    ours = f"{scale * cell['ours']:{form}}"
    return ours if cell["low"] is None else f"{ours} ({bounds(cell, form, scale)})"


def in_columns(page: Callable[P, str]) -> Callable[P, str]:
    """For a function that makes a page: its text, ``wrapped``."""

    @wraps(page)
    def made(*args: P.args, **kwargs: P.kwargs) -> str:
        return wrapped(page(*args, **kwargs))

    return made


def wrapped(text: str) -> str:
    """Paragraphs and list items that hold a longer line are laid out anew; tables, code,
    headings and HTML stay as they are.
    """
    return "\n".join(_laid_out(text.split("\n")))


def too_long(text: str) -> list[str]:
    """The lines that ``wrapped`` would part."""
    kept = set(wrapped(text).split("\n"))
    return [line for line in text.split("\n") if len(line) > COLUMNS and line not in kept]


def _laid_out(lines: list[str]) -> Iterator[str]:
    at, fenced = 0, False
    while at < len(lines):
        line = lines[at]
        if _FENCE.match(line):
            fenced = not fenced
        if fenced or not line.strip() or any(kind.match(line) for kind in (_AS_IT_IS, _FENCE, _INDENTED_CODE)):
            yield line
            at += 1
            continue
        block = [line, *takewhile(_goes_on, lines[at + 1 :])]
        yield from _block(block) if any(len(part) > COLUMNS for part in block) else block
        at += len(block)


def _goes_on(line: str) -> bool:
    return bool(line.strip()) and not (
        _ITEM.match(line) or _AS_IT_IS.match(line) or _FENCE.match(line) or line.lstrip().startswith(">")
    )


def _block(block: list[str]) -> list[str]:
    item = _ITEM.fullmatch(block[0])
    first = item["mark"] if item else re.match(r"\s*(?:> ?)?", block[0])[0]  # type: ignore[index]
    later = " " * len(first) if item else first
    words = " ".join([block[0][len(first) :].strip(), *(line.strip() for line in block[1:])])
    words = _CODE.sub(lambda code: code[0].replace(" ", _JOINED) if len(code[0]) < COLUMNS // 2 else code[0], words)
    words = _MARK_WITHIN.sub(_JOINED, words)
    parted = textwrap.wrap(
        words, COLUMNS, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_JOINED, " ") for line in parted]
