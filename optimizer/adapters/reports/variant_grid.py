"""Variants side by side as one HTML page that loads nothing: how each does, every answer, and what differs between the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from optimizer.adapters.reports.page import cut, document, note_list, number_cell, section, table
from optimizer.core.base.phrasing import count, dollars
from optimizer.core.base.values import ExampleResult, Interval
from optimizer.core.views.variant_grid import GridColumn, GridRow, VariantGrid
from optimizer.core.views.variant_text import variant_diff, variant_text

CELL_CHARS = 1500  # of one input or answer
NOT_SHOWN = "from production and not released"
NOTE = (
    "Dev examples are for your eyes. Prompts have been chosen on them, so a lead here is no evidence; the sealed holdout gives that: "
    "detent study confirm."
)


def grid_page(grid: VariantGrid) -> str:
    """The whole page."""
    on = count(len(grid.rows), f"{grid.split} example")
    spent = "an unknown amount: a model has no price" if grid.spent_usd is None else dollars(grid.spent_usd)
    parts = [
        f"<h1>{escape(grid.family)}: {count(len(grid.columns), 'variant')} on {on}</h1>",
        f"<p>{count(grid.n_calls, 'call')} made, {spent} spent. The answers differ on {grid.n_different} of {on}.</p>",
        note_list([NOTE]),
        section("How each does", _summary(grid)),
        section("Every answer", _answers(grid)),
        section("The prompts", _prompts(grid)),
    ]
    return document(f"{grid.family}: variants side by side", parts)


def _summary(grid: VariantGrid) -> str:
    first = grid.columns[0].letter
    columns = (
        "Variant",
        "",
        "Score",
        "95 %",
        f"Lead over {first}",
        "95 %",
        "Better / same / worse",
        "Dollars an answer",
        "p95 ms",
        "Errors",
    )
    return table(columns, [_summary_row(c) for c in grid.columns])


def _summary_row(column: GridColumn) -> tuple[str, ...]:
    found = column.beside
    beside = "–" if found is None else f"{found.wins} / {found.ties} / {found.losses}"
    return (
        f"<strong>{column.letter}</strong>", f"<code>{escape(column.variant.id)}</code>", f"<strong>{number_cell(column.score)}</strong>",
        _interval(column.interval), "–" if found is None else f"{found.lift:+.3f}", _interval(found.interval if found is not None else None, sign="+"), beside,
        escape(dollars(column.usd_per_answer)), "–" if column.p95_ms is None else f"{column.p95_ms:.0f}", str(column.n_errors),
    )  # fmt: skip


def _interval(found: Interval | None, sign: str = "") -> str:
    return "–" if found is None else f"{found.lower:{sign}.3f} to {found.upper:{sign}.3f}"


def _answers(grid: VariantGrid) -> str:
    headings = ("Input", "Expected", *(f"{c.letter}: {c.variant.id}" for c in grid.columns))
    return f'<div class="answers">{table(headings, [_answer_row(row) for row in grid.rows])}</div>'


def _answer_row(row: GridRow) -> tuple[str, ...]:
    asked = _fields(row.input) if row.is_shown else f'<span class="soft">{NOT_SHOWN}</span>'
    expected = _fields(row.expected) if row.is_shown else "–"
    name = f'<code class="id">{escape(row.example)}</code>'
    return (f"{name}{asked}", expected, *(_answer(result, row) for result in row.results))


def _answer(result: ExampleResult, row: GridRow) -> str:
    best = max(r.score or 0.0 for r in row.results)
    kind = "worse" if row.spread > 0 and (result.score or 0.0) < best else "best" if row.spread > 0 else "same"
    score = "no score" if result.score is None else f"{result.score:.2f}"
    text, error = row.shown(result.output), row.shown(result.error)
    said = _text(text) if text is not None else f'<span class="soft">{escape(error or NOT_SHOWN)}</span>'
    return f'<span class="score {kind}">{score}</span>{said}'


def _fields(values: Mapping[str, Any]) -> str:
    if len(values) == 1:
        return _text(str(next(iter(values.values()))))
    return "".join(f'<span class="soft">{escape(name)}</span>{_text(str(value))}' for name, value in values.items())


def _text(text: str) -> str:
    return f'<span class="said">{escape(cut(text, CELL_CHARS))}</span>'


def _prompts(grid: VariantGrid) -> str:
    first = grid.columns[0].variant
    shown = [f"<details><summary>{grid.columns[0].letter}: {escape(first.id)}</summary><pre>{escape(variant_text(first))}</pre></details>"]
    for column in grid.columns[1:]:
        changed = escape(variant_diff(first, column.variant).replace("--- champion ", "--- ", 1)) or "the same text and settings"
        title = f"{column.letter}: {escape(column.variant.id)}, and what differs from {grid.columns[0].letter}"
        shown.append(f"<details open><summary>{title}</summary><pre>{changed}</pre></details>")
    return "".join(shown)
