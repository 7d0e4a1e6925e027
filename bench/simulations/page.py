"""docs/reference/statistics-measured.md, made of bench/results/rollout_statistics.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OURS = "**Detent**"
HEAD = """# The statistics, measured

Made by `python bench/rollout_statistics.py` from `bench/results/rollout_statistics.json` (commit {commit}, {machine}); {n} simulated runs per cell, through the
product's own gates. Base .80, margin .05, blocks of 40 labelled outcomes, each unit's arm drawn as a hash would. Rates carry an error of about
{error:.3f} (two standard errors at .05). *Reference table*: figures reached earlier by another implementation of the same rules; it is not run here.
"""
A = """
## A. Many rules watch the same ramp

10 % of units for 400 labels, 25 % for 600, then 50 %. Mean labelled outcomes to the right verdict, and rates of wrong ones; all at .05, as the other rules are run (the
product rolls back at .03, which table B uses). O'Brien-Fleming needs its looks and its number of labels planned before; the two marked wrong decide sooner and err more.
"""
B = """
## B. Rules that steer the ramp themselves

Ladder 10, 25, 50, 75 %, at least 200 labels per stage, 8,000 in all. *Failed checks*: five blocks in which fewer than 75 % of the candidate's outcomes are good end it, every other block adds
10 %, promotion at 50 %. *Clock*: the ladder in equal steps over 3,200 labels, stopped by a one-sided sequential test of "not worse", else shipped. *Safe rollout*: coverage of 10, 25, 50, 75 % in the
first quarter of 3,200 labels, then 100 %, half of it on each arm, the same test, inconclusive shipped. All three ship what they could not tell apart; sources in [statistics](statistics.md).
"""
DRIFT = """
## While the base rate moves

The rule of table B, its base rate moving over the first 3,000 labels, beside an always-valid interval on totals over all stages (fixed ramp of table A): growing shares and a moving day
make totals wrong, in one direction or the other.
"""
C = """
## C. Guardrails at a share of 10 %

Blocks of ten seconds, six hours at most, alpha .01 as in the reference table unless named; the product's .008 and .006 need about a tenth more. Latency and cost are log-normal (deviations .8 and 1.2 of the logs: the reference names
none, these reproduce its counts of requests). *Threshold*: five one-minute checks of the candidate below 99 % success, which is Flagger's example.
"""
FALSE = """
### Alarms without a cause
"""


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    n = max(c["n"] for c in cells if c["case"].startswith("B"))
    head = HEAD.format(commit=result["commit"], machine=result["machine"], n=n, error=2 * (0.05 * 0.95 / n) ** 0.5)
    return (
        head
        + A
        + _ramp(cells)
        + B
        + _own_ramps(cells)
        + DRIFT
        + _rates(cells, "drift, ")
        + C
        + _alarms(cells)
        + FALSE
        + _rates(cells, "C false alarm, ")
    )


def _ramp(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {OURS: {}}
    for cell in cells:
        match = re.fullmatch(r"A (\S+) pt (\w+): (labels|rate) vs (.*)", cell["case"])
        if match:
            difference, end, kind, name = match.groups()
            right = (end == "roll") == (float(difference) < 0)
            if (kind == "labels") == right:
                column = f"{difference} {end}" if right else f"false {end} at {difference}"
                found[OURS][column] = _number(cell["ours"])
                found.setdefault(name, {})[column] = _number(cell["other"])
    return _table("rule", found)


def _own_ramps(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        match = re.fullmatch(r"B (\S+) pt: (.*) vs (.*)", cell["case"])
        if match:
            difference, column, name = match.groups()
            found.setdefault(f"{difference} · {OURS}", {})[column] = _number(cell["ours"])
            found.setdefault(f"{difference} · {name}", {})[column] = _number(cell["other"])
    return _table("points · rule", found)


def _rates(cells: Sequence[Mapping[str, Any]], start: str) -> str:
    found = {
        c["case"].removeprefix(start).rsplit(" vs ", 1)[0]: {
            OURS: f"{c['ours']:.3f} ({c['low']:.3f} to {c['high']:.3f})",
            "other rule": "-" if c["other"] is None else f"{c['other']:.3f} ({c['other_name']})",
        }
        for c in cells
        if c["case"].startswith(start)
    }
    return _table("case", found)


def _alarms(cells: Sequence[Mapping[str, Any]]) -> str:
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        match = re.fullmatch(r"C (?!false alarm)(.*?/s(?:, the product's alpha)?)(?:: (.*?))?(?: vs (.*))?", cell["case"])
        if not match:
            continue
        case, what, name = match.groups()
        row = found.setdefault(case, {})
        ours, other = _number(cell["ours"]), _number(cell["other"])
        if what is None:
            row["median, s"] = ours
            row["reference, s" if name == "reference table" else "threshold, s"] = other
        elif what.startswith("alarmed"):
            row["alarmed in 30 min (errors), 60 (latency), 120 (cost)"] = ours if other == "-" else f"{ours} (reference {other})"
        else:
            row[{"p90": "p90, s", "candidate requests": "candidate requests, mean"}[what]] = ours
    return _table("case", found)


def _table(corner: str, found: Mapping[str, Mapping[str, str]]) -> str:
    columns = list(dict.fromkeys(column for row in found.values() for column in row))
    lines: Iterable[list[str]] = ([name, *(row.get(c, "-") for c in columns)] for name, row in found.items())
    return "\n" + "\n".join(f"| {' | '.join(line)} |" for line in ([corner, *columns], ["---"] * (len(columns) + 1), *lines)) + "\n"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value <= 1 else f"{value:.0f}"
