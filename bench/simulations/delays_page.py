"""The section of docs/reference/statistics-measured.md on labels that come later in one arm, made of
bench/results/rollout_delays.json and of nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulations.page import beside

DELAYS = """
## Labels that come later in one arm

Made by `python bench/rollout_delays.py` (commit {commit}); {n} rollouts per row by the product's default, with 95 %
interval, beside the rule before 2026-11-23 on the same draws, which knew neither late labels nor whole days. Good news
takes nine hours in the mean and bad news one, in one arm twice as long, and somebody has fixed the window (`auto`
learns it): 24 hours, 40 (99 % of the usual labels) or 79 (99 % of the slower ones). Forty units an hour, each of which
answers in the end, ladder 10, 25, 50, 75 % where nothing else is said; the application reports feedback alone, so that
no comparison of feedback rates helps. A row is how such rollouts end: `later` = inconclusive, since labels come later
in one arm; *window named*: by the reason of those.
"""
HAPPIER = """
### Where the promise ends: users who answer more often when they are happy

By the same command: a part of the unhappy users of both arms say nothing, and the window holds all labels. The
candidate is worse by the margin (.75 against .80) and looks worse by less (by 3.2 points where half are silent, by 1.5
where four in five are). No rate that can be compared shows it.
"""


def delays_section(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    head = DELAYS.format(commit=result["commit"], n=f"{cells[0]['n']:,}")
    return head + beside(cells, "delayed, ") + HAPPIER + beside(cells, "happier, ")
