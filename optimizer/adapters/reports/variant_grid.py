"""Variants side by side as one HTML page that loads nothing: how each does, its answers, and how the prompts differ."""

from __future__ import annotations

from collections.abc import Sequence

from optimizer.adapters.reports.page import page
from optimizer.core.family.variant import Variant
from optimizer.core.views.variant import variant_diff, variant_text
from optimizer.core.views.variant_grid import VariantGrid, score_spread


def grid_page(grid: VariantGrid, variants: Sequence[Variant]) -> str:
    """The whole page, which is ``templates/variant_grid.html``; ``variants`` in the order of the grid."""
    first, *others = variants
    diffs = [variant_diff(first, other).replace("--- champion ", "--- ", 1) for other in others]
    return page(
        "variant_grid.html",
        grid=grid,
        headings=["Input", "Expected", *(f"{column['letter']}: {column['variant']}" for column in grid["variants"])],
        spread=score_spread,
        text=variant_text(first),
        differences=[diff or "the same text and settings" for diff in diffs],
        not_shown="from production and not released",
    )
