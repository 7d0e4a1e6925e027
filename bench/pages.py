"""The one writer of Markdown pages: a text of bench/texts, with figures and tables of the results put in.

    python bench/pages.py     every page again, of the stored results

A page of a benchmark is made of its text and its stored results, and of nothing else; a test holds it to that. The one
exception is search-live.md, which is made of the cells that bench/search_live.py keeps outside the project.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

BENCH = Path(__file__).parent
TEXTS, RESULTS, DOCS = BENCH / "texts", BENCH / "results", BENCH.parent / "docs" / "reference"
PAGES = {  # the module with the function page, if its text alone does not do, and the results that it takes
    "alerts-measured": ("", "alert_rules"),
    "cascades-measured": ("cascade_logs.page", "cascades"),
    "commands-measured": ("", "commands"),
    "confidence-measured": ("", "confidence"),
    "content-quality-measured": ("learned.content_commands_page", "content_commands"),
    "faults-measured": ("", "faults"),
    "families-measured": ("lifts.page", "families", "family_rollouts"),
    "gate-trial": ("gate_trial", "gate_trial"),
    "hour-measured": ("", "hour"),
    "judges-measured": ("", "judges"),
    "listed-instructions-measured": ("listed.page", "listed_instructions"),
    "load-measured": ("chat_load", "chat_load"),
    "noninferiority-measured": ("", "noninferiority"),
    "reliability": ("siege.page", "siege"),
    "search-tables-measured": ("fixed_pool.page", "prompt_tables"),
    "speed": ("speed.page", "client", "serving", "ingestion", "growth", "dashboard", "open_pages"),
    "statistics-measured": (
        "simulations.page",
        *(f"rollout_{part}" for part in ("statistics", "days", "intervals", "delays", "limits")),
    ),
    "students-measured": ("learned.students_page", "students", "student_gain", "student_drift", "nearest"),
    "switches-measured": ("", "switches"),
    "upkeep-measured": ("", "upkeep"),
}
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


def text_of(page: str, /, left_out: Collection[str] = (), **values: Any) -> str:
    """The page of this name, ``wrapped``.

    Args:
        left_out: titles of sections that have nothing to show.
        values: what the text names; ``Environment`` below has the filters of figures and cells.
    """
    sections = re.split(r"^(?=## )", (TEXTS / f"{page}.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    shown = "".join(part for part in sections if part.partition("\n")[0].removeprefix("## ") not in left_out)
    if "cells" in values:
        values["of"] = {cell["case"]: cell for cell in values["cells"] if "case" in cell}
    return wrapped(TEMPLATES.from_string(shown).render(values).rstrip("\n") + "\n")


def results_of(page: str) -> list[dict[str, Any]]:
    """The stored results of a page; those that were withdrawn are left out."""
    files = (RESULTS / f"{name}.json" for name in PAGES[page][1:])
    return [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def rendered(page: str, *results: Mapping[str, Any]) -> str:
    """The page of these results, or of the stored ones; a module that PAGES names prepares what its text shows."""
    module, *_ = PAGES[page]
    results = results or tuple(results_of(page))
    return str(import_module(module).page(*results)) if module else text_of(page, **results[0])


def publish(page: str) -> None:
    (DOCS / f"{page}.md").write_text(rendered(page), encoding="utf-8")


def lines(rows: Iterable[Sequence[str]]) -> str:
    """Rows of a table whose head stands in the text."""
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def grid(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return lines((titles, ["---"] * len(titles), *rows))


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


def figure(value: float | None, form: str = "g", missing: str = "–") -> str:
    return missing if value is None else f"{value:{form}}"


def bounded(cell: Cell, form: str = ".3f", scale: float = 1) -> str:
    """Ours with its interval, where there is one; a dash where it was not measured."""
    if cell["ours"] is None:
        return "–"
    ours = f"{scale * cell['ours']:{form}}"
    return ours if cell["low"] is None else f"{ours} ({bounds(cell, form, scale)})"


def apart(cell: Cell, form: str = "+.3f") -> str:
    """Ours less the other, with its interval."""
    return f"{cell['ours'] - cell['other']:{form}} ({bounds(cell, form)})"


def by_group(pairs: Iterable[tuple[tuple[str, ...], Cell]]) -> dict[str, Cell]:
    """What ``matching`` gives, by the first group."""
    return {groups[0]: cell for groups, cell in pairs}


def wrapped(text: str) -> str:
    """Paragraphs and list items that hold a longer line are laid out anew; tables, code,
    headings and HTML stay as they are.
    """
    return "\n".join(_laid_out(text.split("\n")))


def too_long(text: str) -> list[str]:
    """The lines that ``wrapped`` would part."""
    lines = set(wrapped(text).split("\n"))
    return [line for line in text.split("\n") if len(line) > COLUMNS and line not in lines]


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


TEMPLATES = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)
TEMPLATES.filters |= {
    "f": figure,
    "apart": apart,
    "bounded": bounded,
    "bounds": bounds,
    "by_group": by_group,
    "matching": matching,
    "mean": lambda values: float(np.mean(list(values))),
}

if __name__ == "__main__":
    sys.path.insert(0, str(BENCH.parent))
    for name in PAGES:
        publish(name)
