"""Variants side by side as one HTML page that loads nothing: how each does, its answers, and how the prompts differ."""

from __future__ import annotations

from optimizer.adapters.reports.page import page
from optimizer.core.family.variant import Variant
from optimizer.core.views.variant_grid import VariantGrid
from optimizer.core.views.variant_text import variant_diff, variant_text


def grid_page(grid: VariantGrid) -> str:
    """The whole page, which is ``templates/variant_grid.html``."""
    first = grid.columns[0].variant

    def difference(variant: Variant) -> str:
        return variant_diff(first, variant).replace("--- champion ", "--- ", 1) or "the same text and settings"

    return page(
        "variant_grid.html",
        grid=grid,
        headings=["Input", "Expected", *(f"{column.letter}: {column.variant.id}" for column in grid.columns)],
        variant_text=variant_text,
        difference=difference,
        not_shown="from production and not released",
    )
