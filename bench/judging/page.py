"""docs/reference/judges-measured.md, made of bench/results/judges.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pages import Cell, bounded, bounds, grid, lines, matching, text_of

TELLS = "The spread tells something of it."
TELLS_NOTHING = (
    "**So on these stories it tells nothing of where the committee is wrong**: judges with different scales lie apart"
    " everywhere. An answer that is sent to a person for its spread is a question, not a finding; ratings for an"
    " interval are drawn at random instead."
)


def page(result: Mapping[str, Any]) -> str:
    cells = {cell["case"]: cell for cell in result["cells"]}
    judges = [case.partition(": ")[0] for case in cells if case.endswith("beside the raw judge")]
    raw, mean = (
        [cells[f"{j}: squared error beside the {what}"] for j in judges] for what in ("raw judge", "mean rating")
    )
    ratios = [cell["ratio"] for cell in cells.values() if cell["other_name"] == "width obtained"]
    return text_of(
        "judges-measured",
        **result,
        n=len(judges),
        n_raw=sum(cell["high"] < 0 for cell in raw),
        n_mean=sum(cell["high"] < 0 for cell in mean),
        n_worse=sum(cell["low"] > 0 for cell in (*raw, *mean)) or "none",
        all_raw=_gain(cells["all judges: squared error less than the raw judge"]),
        all_mean=_gain(cells["all judges: squared error less than the mean rating"]),
        calibrated=lines(_calibrated(cells, *row) for row in zip(judges, raw, mean, strict=True)),
        **_few(cells),
        **_committee(cells),
        **_intervals(cells),
        low=min(ratios),
        high=max(ratios),
        mean=float(np.mean(ratios)),
    )


def _calibrated(cells: Mapping[str, Cell], judge: str, raw: Cell, mean: Cell) -> Sequence[str]:
    rank, ece = cells[f"{judge}: Spearman"], cells[f"{judge}: calibration error"]
    return (
        judge,
        str(raw["n"]),
        raw["unit"].split(", ")[1].split(" ")[0],
        f"{raw['other']:.3f} > {raw['ours']:.3f}",
        _apart(raw),
        f"{mean['other']:.3f}",
        _apart(mean),
        f"{rank['other']:.2f} > {bounded(rank, '.2f')}",
        f"{ece['other']:.3f} > {ece['ours']:.3f}",
    )


def _few(cells: Mapping[str, Cell]) -> dict[str, Any]:
    judges: dict[str, dict[int, Cell]] = {}
    for (judge, n), cell in matching(cells.values(), r"(.*?): (\d+) ratings"):
        judges.setdefault(judge, {})[int(n)] = cell
    sizes = sorted({n for its in judges.values() for n in its})
    rows = [
        [
            judge,
            *(f"{its[n]['ours']:.3f} ({its[n]['ratio']:.0%})" if n in its else "-" for n in sizes),
            f"{cells[f'{judge}: squared error beside the raw judge']['ours']:.3f}",
            f"{next(iter(its.values()))['other']:.3f}",
        ]
        for judge, its in judges.items()
    ]
    first = [its[sizes[0]] for its in judges.values()]
    return {
        "draws_few": first[0]["n"],
        "at_20": f"{np.mean([cell['ratio'] for cell in first]):.0%}",
        "few": grid(["judge", *(f"{n} ratings" for n in sizes), "all of train", "raw"], rows),
    }


def _committee(cells: Mapping[str, Cell]) -> dict[str, Any]:
    """The table of a committee beside one judge, and of what its spread tells."""
    rows = []
    for (name,), rank in matching(cells.values(), "committee: Spearman beside (.*)"):
        error = cells[f"committee: squared error beside {name}"]
        rows.append([name, f"{rank['other']:.3f}", _apart(rank), f"{error['other']:.4f}", _apart(error, "+.4f")])
    spread = []
    for (limit, wrong), precision in matching(cells.values(), "spread over (.*?), (.*): precision"):
        recall = cells[f"spread over {limit}, {wrong}: recall"]
        shares = f"{recall['other']:.0%}", _share(precision), f"{precision['other']:.3f}", _share(recall)
        spread.append([limit, wrong, *shares])
    rank = cells["spread: rank correlation with the distance"]
    verdict = TELLS if rank["low"] > 0 else TELLS_NOTHING
    return {"committee": lines(rows), "spread": lines(spread), "rank": bounded(rank, ".2f"), "verdict": verdict}


def _intervals(cells: Mapping[str, Cell]) -> dict[str, Any]:
    by_size: dict[tuple[int, str], list[Cell]] = {}
    single: dict[tuple[str, int], dict[str, Cell]] = {}
    for (judge, n, name), cell in matching(cells.values(), r"(.*), n (\d+): (.*?)"):
        if cell["other_name"] == "width":
            by_size.setdefault((int(n), name), []).append(cell)
            single.setdefault((judge, int(n)), {})[name] = cell
    rows = []
    for (n, name), its in by_size.items():
        covered, widths = ([c[what] for c in its] for what in ("ours", "ratio"))
        width = f"{np.mean(widths):.2f} ({min(widths):.2f} to {max(widths):.2f})"
        below = f"{sum(share < 0.93 for share in covered)} of {len(its)}"
        rows.append([str(n), name, f"{np.mean(covered):.3f}", f"{min(covered):.3f}", below, width])
    draws = {name: its[0]["n"] for (_, name), its in by_size.items()}
    names = list(next(iter(single.values())))
    each = [
        [judge, str(n), *(f"{its[name]['ours']:.3f}, {its[name]['other']:.3f}" for name in names)]
        for (judge, n), its in single.items()
    ]
    return {
        "draws": draws["Detent"],
        "slow": draws["cje-eval"],
        "n_figures": len({judge for judge, _ in single}),
        "intervals": lines(rows),
        "figures": grid(["figure", "ratings", *names], each),
    }


def _apart(cell: Cell, form: str = "+.3f") -> str:
    return f"{cell['ours'] - cell['other']:{form}} ({bounds(cell, form)})"


def _gain(cell: Cell) -> str:
    return f"{-cell['ours']:.3f} ({-cell['high']:.3f} to {-cell['low']:.3f})"


def _share(cell: Cell) -> str:
    return "-" if cell["ours"] is None else bounded(cell, ".2f")
