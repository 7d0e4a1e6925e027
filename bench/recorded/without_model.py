"""The section "Without a model" of a page on searches, made of bench/results/trivial_baselines.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common import RESULTS
from pages import in_columns

RECORDED, LIVE = "recorded", "live"
TITLE = "\n## Without a model\n"
HEAD = {
    RECORDED: (
        """
Made by `python bench/trivial_baselines.py` (commit {commit}). What answers that need no model score on the rows of this
page, by the same scorers: learnt from the {train} training rows from which the few-shot examples of the variants come,
on all recorded rows; with 95 % interval over rows. The embedded model's column is *ours* of the first table, on halves
of these rows. **Where a row here is higher, this model is not worth its calls on that family**; it is weak on purpose,
and a better one will lead.
"""
    ),
    LIVE: (
        """
Made by `python bench/trivial_baselines.py` (commit {commit}). Learnt from the {train} training rows of each seed, on
the held-out rows of all three, by the same scorer; with 95 % interval over rows. **Where it is higher than a search's
mean above, the embedded model is not worth its calls on that task.**
"""
    ),
}


def with_stored_section(page: str, kind: str) -> str:
    """The page with the section of the stored result."""
    return with_section(page, json.loads((RESULTS / "trivial_baselines.json").read_text(encoding="utf-8")), kind)


@in_columns
def with_section(page: str, result: Mapping[str, Any], kind: str) -> str:
    """The page with this section as its last."""
    return page.split(TITLE)[0] + section(result, kind, page)


def section(result: Mapping[str, Any], kind: str, page: str) -> str:
    cells = [cell for cell in result["cells"] if cell["case"].startswith(f"{kind}, ")]
    train = sorted({cell["unit"].split()[-2] for cell in cells})
    model = " embedded model |" if kind == RECORDED else ""
    lines = [
        f"| family | baseline |{model} without a model | 95 % interval | rows |",
        "| --- | --- | --- | --- | --- |" + " --- |" * bool(model),
    ]
    for cell in cells:
        family = cell["case"].removeprefix(f"{kind}, ").split(":")[0]
        beside = f" {_of_model(page, family)} |" if model else ""
        lines.append(
            f"| {family} | {cell['other_name']} |{beside} {cell['other']:.3f} | {cell['low']:.3f} to {cell['high']:.3f}"
            f" | {cell['n']} |"
        )
    return TITLE + HEAD[kind].format(commit=result["commit"], train=" or ".join(train)) + "\n" + "\n".join(lines) + "\n"


def _of_model(page: str, family: str) -> str:
    """As the page's first table says it."""
    row = next((line for line in page.splitlines() if line.startswith(f"| {family} | ")), "")
    return row.split(" | ")[1].strip() if row else "not recorded"
