"""What every report has: one HTML page that loads nothing, its sections and tables, and how numbers stand in them.

Everything given here is HTML already, unless its name says text: callers escape what people wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources


def document(title_text: str, parts: Iterable[str]) -> str:
    """The whole page, its style inside."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title_text)}</title><style>{_style()}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def section(title_text: str, content: str) -> str:
    return f"<section><h2>{escape(title_text)}</h2>{content}</section>"


def fact_list(found: Mapping[str, str]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in found.items())}</dl>"


def note_list(texts: Sequence[str]) -> str:
    """What a reader has to know before believing the rest; nothing where there is nothing."""
    return f'<ul class="notes">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>' if texts else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Scrolls sideways by itself where it is wider than the page."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def share_cell(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def number_cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, and a sign where there were more."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def _style() -> str:
    return (resources.files("optimizer.adapters.reports") / "page.css").read_text(encoding="utf-8")
