"""Shows for people how trivial baselines, which ask no model, score on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optimizer.cli.output import table

if TYPE_CHECKING:
    from rich.console import Console


def view_trivial(out: Console, baselines: Mapping[str, Any] | None) -> None:
    """``baselines``: TrivialBaselines as plain values; None prints nothing."""
    from optimizer.core.evaluation.trivial_baselines import heading, said

    if baselines is None:
        return
    out.print(f"\n{heading(baselines)}:", markup=False)
    rows = [{**row, "why": f"left out: {row['why']}" if row["score"] is None else ""} for row in baselines["rows"]]
    table(rows, {"name": "Baseline", "score": "Score", "low": "95 % from", "high": "to", "why": ""}, empty="")(out)
    out.print(said(baselines), markup=False)
