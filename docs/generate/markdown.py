"""Markdown of the generated pages: tables, and the line that marks them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.pages import wrapped

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
MARK = "<!-- written by `make pages` -->"


def page(*parts: str) -> str:
    """The parts with an empty line between them, in lines of at most 120 columns."""
    return wrapped("\n\n".join([MARK, *(part.strip("\n") for part in parts if part)]) + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells; nothing where there is no row."""
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns), *lines]) if lines else ""


def sentence(text: str) -> str:
    """On one line, with a capital and a full stop."""
    text = " ".join(text.split())
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def linked(text: str, up: str = "") -> str:
    """Pages that the code names by their paths, such as docs/how-to/serve.md, as links from docs/reference,
    or from as many folders below it as ``up`` climbs.
    """

    def link(match: re.Match[str]) -> str:
        path = match[1]
        target = path.removeprefix("reference/") if path.startswith("reference/") else f"../{path}"
        return f"[{title(ROOT / 'docs' / path)}]({up}{target})"

    return re.sub(r"\bdocs/([\w/-]+\.md)", link, text)


def title(path: Path) -> str:
    """The first heading of a page; its name where there is none, so that the test of links tells."""
    return path.read_text(encoding="utf-8").split("# ", 1)[1].splitlines()[0] if path.exists() else path.name


def code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))
