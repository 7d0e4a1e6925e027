"""What a study of a content pipeline found out about a learned score, as tables of its report: on dev, by content type."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from optimizer.adapters.reports.page import number_cell, share_cell, table

COLUMNS = ("Content type", "Items", "Time saved", "In full", "Mean quality of these", "95 % interval", "Decided by")


def learned_score(found: Mapping[str, Any]) -> str:
    """One table for each score that was compared, what serves first; why it does, what was not trained, and that it does not transfer."""
    parts = [part for point in found["points"] for part in _point(point)]
    untrained = "".join(f"<p>Not trained on {escape(one['type'])}: {escape(one['why'])}.</p>" for one in found["not_trained"])
    return f"{''.join(parts)}{untrained}<p>{escape(found['note'])}</p>"


def _point(point: Mapping[str, Any]) -> list[str]:
    names = sorted(point["on_dev"], key=lambda name: name != point["score"])
    tables = [
        f"<h3>{escape(name)}{', serves' if name == point['score'] else ', beside it'}</h3>{table(COLUMNS, map(_row, point['on_dev'][name]))}"
        for name in names
    ]
    return [f"<p><code>{escape(point['variant'])}</code>: {escape(point['why'])}</p>", *tables]


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    interval = "–" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    name = row["type"] or "no type"
    return (
        escape(name), f"{row['n']:,}", share_cell(row["saved"]), f"{row['n_full']:,}", number_cell(row["quality"]), interval, escape(row["decided_by"]),
    )  # fmt: skip
