"""docs/reference/listed-instructions-measured.md, made of bench/results/listed_instructions.json alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fixed_pool.trials import interval
from pages import Cell, bounds, lines, text_of

MARGIN = 0.2  # points
RUN = re.compile(r"run, (\S+) \((\d+)\), (\w+), seed (\d+), cap of (\d+) calls: (.*)")
REPLAYED = re.compile(r"replayed, (\S+) \((\d+)\), (\d+) dev rows, ([\d.]+) x: (.*)")


def page(result: Mapping[str, Any]) -> str:
    runs, replays = _grouped(result, RUN), _grouped(result, REPLAYED)
    whole = [cells["tried"]["ours"] == cells["tried"]["other"] for cells in runs.values()]
    same = [cells["chosen by the replay too"]["ours"] for cells in runs.values() if "chosen by the replay too" in cells]
    return text_of(
        "listed-instructions-measured",
        **result,
        n_whole=sum(whole),
        n_runs=len(whole),
        runs=lines(_run(*item) for item in runs.items()),
        same=round(sum(same)),
        n_same=len(same),
        n=next((cells["tried"]["n"] for cells in replays.values()), 0),
        replays=lines(_replay(*item) for item in replays.items()),
        summary=_summary(replays),
        means=_means(runs),
    )


def _means(runs: Mapping[tuple[str, ...], Mapping[str, Cell]]) -> str:
    """By kind of run; the interval (bootstrap) takes the runs as independent."""
    kinds: dict[str, list[Cell]] = {}
    for group, cells in runs.items():
        kinds.setdefault({"1": "seed 1", "3": "seed 3"}.get(group[3], "the others"), []).append(
            cells["points lost on dev"]
        )
    said = []
    for kind, cells in kinds.items():
        ours, rule = (np.array([cell[name] for cell in cells]) for name in ("ours", "other"))
        difference = ours - rule
        low, high = interval(difference)
        said.append(
            f"{ours.mean():.1f} points with {kind} (the rule {rule.mean():.1f}; difference {difference.mean():+.2f},"
            f" {low:+.2f} to {high:+.2f}, {len(cells)} runs)"
        )
    return ", ".join(said)


def _grouped(result: Mapping[str, Any], form: re.Pattern[str]) -> dict[tuple[str, ...], dict[str, Cell]]:
    groups: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in result["cells"]:
        if match := form.fullmatch(cell["case"]):
            *group, name = match.groups()
            groups.setdefault(tuple(group), {})[name] = cell
    return groups


def _run(group: tuple[str, ...], cells: Mapping[str, Cell]) -> Sequence[str]:
    table, n, strategy, seed, cap = group
    tried, calls, lost = cells["tried"], cells["calls of its search"], cells["points lost on dev"]
    search = f"`{strategy}`, seed {seed}, {int(cap):,}", f"{tried['ours']:.0f} of {tried['other']:.0f}"
    return f"{n}, {table}", *search, f"{calls['ours']:,.0f}", f"{lost['ours']:.1f}", f"{lost['other']:.1f}"


def _replay(group: tuple[str, ...], cells: Mapping[str, Cell]) -> Sequence[str]:
    table, n, n_dev, cap = group
    calls, lost, on_all = cells["calls"], cells["points lost on dev"], cells["points lost on all rows"]
    counts = f"{n}, {table}", n_dev, f"{cap} x ({calls['other']:,.0f})", f"{calls['ours']:,.0f}"
    return *counts, f"{lost['ours']:.2f}", f"{lost['other']:.2f}", _difference(lost), _difference(on_all)


def _difference(cell: Cell) -> str:
    return f"{cell['ours'] - cell['other']:+.2f} ({bounds(cell, '+.2f')})"


def _summary(replays: Mapping[tuple[str, ...], Mapping[str, Cell]]) -> str:
    """By cap: the mean over the sizes on dev."""
    cells = [{**cell, "case": f"{group[3]} x: {name}"} for group, of in replays.items() for name, cell in of.items()]
    lines = []
    for cap in sorted({group[3] for group in replays}, key=float):
        mean, n = mean_difference(cells, float(cap))
        lines.append(
            f"* With {cap} x four rows each ours loses {mean:+.2f} points on dev against the rule in the mean of {n}"
            f" races (bar: {MARGIN})."
        )
    whole = [
        f"{group[1]}, {group[0]}, {group[2]} rows, {group[3]} x: {_difference(cell)}"
        for group, of in replays.items()
        if not (cell := of["points lost on dev"])["low"] <= 0 <= cell["high"]
    ]
    by_list = {
        name: [of["points lost on dev"] for g, of in replays.items() if g[:2] == name]
        for name in {g[:2] for g in replays}
    }
    lost = {
        name: sum((c["ours"] - c["other"]) * c["n"] for c in of) / sum(c["n"] for c in of)
        for name, of in by_list.items()
    }
    each = "; ".join(f"{size}, {name} {lost[name, size]:+.2f}" for name, size in sorted(lost))
    missed = [f"{size}, {name}" for name, size in sorted(lost) if lost[name, size] > MARGIN]
    holds = f"It is missed by {', '.join(missed)}." if missed else "It holds for each list."
    lines.append(f"* By list, all caps together: {each}. The bar is about the mean of all lists. {holds}")
    listed = f" ({'; '.join(whole)})" if whole else ""
    lines.append(
        f"* {len(whole)} of the {len(replays)} cells differ by their whole interval{listed}. Cells of one list share"
        " its draws, so that they err to one side together."
    )
    return "\n".join(lines)


def mean_difference(cells: Sequence[Any], cap: float) -> tuple[float | None, int]:
    """(points that ours loses on dev beyond the rule in the mean of a cap's replays, how many these are)."""
    rows = [cell if isinstance(cell, Mapping) else vars(cell) for cell in cells]
    of = [row for row in rows if row["case"].endswith(f"{cap:g} x: points lost on dev")]
    n = sum(row["n"] for row in of)
    return (sum((row["ours"] - row["other"]) * row["n"] for row in of) / n if n else None), n
