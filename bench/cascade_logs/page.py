"""docs/reference/cascades-measured.md, made of bench/results/cascades.json and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pages import Cell, matching, text_of

KEY = "gpt-4o-mini > gpt-4o"
OURS = "confident"
DRAWN = (OURS, "score test in sequence", "plain bound", "expected")


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    tests = [(name, c) for (name,), c in matching(cells, f"(.*): {KEY}: saved on dev vs score test in sequence")]
    n = max(c["n"] for c in cells if c["case"].endswith("above a point vs expected") and " > " in c["case"])
    return text_of(
        "cascades-measured",
        **result,
        n=n,
        limit=0.1 + 1.645 * (0.09 / n) ** 0.5,
        sets=[name for name, _ in tests],
        refused=[name for name, c in tests if c["other"] == 0 < c["ours"]],
        drawn={rule: [_drawn(cells, name, rule) for name, _ in tests] for rule in DRAWN},
    )


def _drawn(cells: Iterable[Cell], name: str, rule: str) -> str:
    shares: dict[str, list[float]] = {"above a point": [], "saved over draws": []}
    for what, values in shares.items():
        wanted = f": {what} vs {'expected' if rule == OURS else rule}"
        values += [
            c["ours" if rule == OURS else "other"]
            for c in cells
            if c["case"].startswith(f"{name}: ") and c["case"].endswith(wanted) and (str(c["case"]).count(" > ") == 1)
        ]
    above, saved = shares.values()
    return f"{sum(above) / len(above):.3f}, worst {max(above):.3f}; saved {sum(saved) / len(saved):.2f}"
