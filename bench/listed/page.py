"""docs/reference/listed-instructions-measured.md, made of bench/results/listed_instructions.json alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pages import apart, matching, text_of

MARGIN = 0.2  # points


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    lost = list(matching(cells, r"replayed, (\S+) \((\d+)\), (\d+) dev rows, ([\d.]+) x: points lost on dev"))
    lists = {f"{n}, {table}": f"{table} ({n})" for (table, n, _, _), _ in sorted(lost, key=lambda one: one[0])}
    by_list = {name: mean_difference([c for _, c in lost if of in c["case"]])[0] or 0.0 for name, of in lists.items()}
    by_cap = {cap: mean_difference(cells, float(cap)) for cap in sorted({g[3] for g, _ in lost}, key=float)}
    differ = [
        f"{n}, {table}, {rows} rows, {cap} x: {apart(cell, '+.2f')}"
        for (table, n, rows, cap), cell in lost
        if not cell["low"] <= 0 <= cell["high"]
    ]
    return text_of(
        "listed-instructions-measured", **result, lost=lost, by_cap=by_cap, by_list=by_list, differ=differ, bar=MARGIN
    )


def mean_difference(cells: Sequence[Any], cap: float | None = None) -> tuple[float | None, int]:
    """(points that ours loses on dev beyond the rule in the mean of a cap's replays, how many these are)."""
    rows = [cell if isinstance(cell, Mapping) else vars(cell) for cell in cells]
    end = "points lost on dev" if cap is None else f"{cap:g} x: points lost on dev"
    of = [row for row in rows if row["case"].endswith(end)]
    n = sum(row["n"] for row in of)
    return (sum((row["ours"] - row["other"]) * row["n"] for row in of) / n if n else None), n
