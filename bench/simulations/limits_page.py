"""The last sections of docs/reference/statistics-measured.md, made of bench/results/rollout_days.json,
rollout_intervals.json, rollout_delays.json and rollout_limits.json there, and of nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from common import RESULTS
from pages import in_columns

from simulations.days_page import HEAD as DAYS
from simulations.days_page import days_section
from simulations.delays_page import delays_section
from simulations.page import beside

INTERVALS = """
## The interval beside the estimate

Made by `python bench/rollout_intervals.py` (commit {commit}); {n} whole rollouts per row, with 95 % interval, looked at
after every block that the gate counts, until the product's rule ends them. Shares grow by the ladder. Where the
difference stays the same, at most .08 of the rollouts may show an interval that misses it at any look. *{normal}*: of
the same blocks, by the formula that is right at one look. The last width is from end to end.
"""
SILENT = """
## Where the promise ends: users who are unhappy and say nothing

Made by `python bench/rollout_limits.py` (commit {commit}); {n} rollouts per row, with 95 % interval. A candidate that
is worse by the margin (.75 against .80; blocks of 40, ladder 10, 25, 50, 75 %) ships, while a share of those who are
unhappy sends no outcome. *{seen}*: in how many rollouts the product's comparison of feedback rates noticed. It looks
for arms that report at very different rates and notices hardly any of this; a random sample that people or a judge
label has no such silence, and keeps what table B shows.
"""
HARDEST = """
## The hardest case so far

By the same command. Shares of 5, 20 and 40 %, 6,000 users who come back, the n-th of them 1 / n times as often as the
first (Zipf), 160 requests an hour, two outcomes of one user correlated by .5, a base rate that swings between .70 and
.90 by the day. *Reference table*: wrong ends that another simulation of this case counted, 172 of 4,000.
"""


@in_columns
def with_stored_sections(page: str) -> str:
    """The page with these sections as its last, those that have been measured."""
    first = page
    for head in (DAYS, INTERVALS, SILENT):
        first = first.split(head.split("Made by")[0])[0]
    sections = {"days": days_section, "intervals": intervals_section, "delays": delays_section, "limits": limits}
    files = {RESULTS / f"rollout_{name}.json": section for name, section in sections.items()}
    stored = (section(json.loads(file.read_text("utf-8"))) for file, section in files.items() if file.exists())
    return first + "".join(stored)


def intervals_section(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    head = INTERVALS.format(commit=result["commit"], n=f"{cells[0]['n']:,}", normal=cells[0]["other_name"].capitalize())
    return head + beside(cells, "interval, ")


def limits(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    silent = [cell for cell in cells if cell["case"].startswith("silent, ")]
    head = SILENT.format(commit=result["commit"], n=f"{silent[0]['n']:,}", seen=silent[0]["other_name"].capitalize())
    return head + beside(cells, "silent, ") + HARDEST + beside(cells, "hardest, ")
