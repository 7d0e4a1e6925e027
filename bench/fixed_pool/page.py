"""docs/reference/search-tables-measured.md, made of bench/results/prompt_tables.json and of nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pages import bounds, grid, text_of

GROUP = """
### {name}

Points lost, and ours less the other with the interval over the {n} tables (below zero: ours loses less):

"""
BETTER = "\nBetter than ours here, the whole interval on its side: {found}.\n"
LIKE = "\nNo rule is better than ours here by its whole interval. A lower mean, within the error, has: {found}.\n"
NONE = "\nNo rule has a lower mean than ours here.\n"

Cells = Sequence[Mapping[str, Any]]


def page(result: Mapping[str, Any]) -> str:
    cells = [c for c in result["cells"] if not c["case"].startswith(("agreed", "shuffled"))]
    agreed, shuffled = (
        next((c for c in result["cells"] if c["case"].startswith(what)), None) for what in ("agreed", "shuffled")
    )
    missed = worse_at_the_bar(cells)
    return text_of(
        "search-tables-measured",
        left_out=() if shuffled else ["Where no variant is better than another"],
        **result,
        agreed=agreed,
        shuffled=shuffled,
        **{part: _part(part, cells) for part in ("confirmation", "development")},
        bar=f"was missed: {'; '.join(missed)}" if missed else "holds",
    )


def _part(part: str, cells: Cells) -> str:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        if cell["case"].startswith(part):
            groups.setdefault(cell["case"].split(": ")[0], []).append(cell)
    return "".join(_group(group.removeprefix(f"{part}, "), of) for group, of in groups.items())


def worse_at_the_bar(cells: Cells) -> list[str]:
    """Groups of confirmation tables, each with a published rule that loses less than ours there by its whole interval
    at 20 % of the calls.
    """
    return [
        f"{c['case'].split(': ')[0].removeprefix('confirmation, ')}, {c['other_name']}"
        for c in cells
        if c["case"].startswith("confirmation, ")
        and ": points lost at 20%: " in c["case"]
        and c["other"] is not None
        and c["low"] > 0
        and not c["other_name"].startswith("ours")
    ]


def _group(name: str, cells: Cells) -> str:
    rows: dict[str, dict[str, str]] = {}
    lower: dict[str, list[str]] = {}
    better: dict[str, list[str]] = {}
    matches = [(re.fullmatch(r".*: points lost at (\d+)%: (.*)", c["case"]), c) for c in cells]
    points = {(m[1], m[2]): c["ours"] if c["other"] is None else c["other"] for m, c in matches if m}
    for match, cell in matches:
        assert match is not None
        share, rule = match.groups()
        least = min(lost for (of, _), lost in points.items() if of == share)
        lost = points[share, rule]
        shown = f"**{lost:.2f}**" if lost <= least + 1e-9 else f"{lost:.2f}"
        between = f"({bounds(cell, '.2f')})"
        if cell["other"] is not None:
            between = f"{cell['ours'] - cell['other']:+.2f} ({bounds(cell, '+.2f')})"
            if cell["other"] < cell["ours"] - 1e-9:
                (better if cell["low"] > 0 else lower).setdefault(rule, []).append(f"{share} %")
        rows.setdefault(rule, {})[share] = f"{shown} {between}"
    shares = list(dict.fromkeys(share for share, _ in points))
    sentence = BETTER.format(found=_listed(better)) if better else LIKE.format(found=_listed(lower)) if lower else NONE
    shown = grid(
        ["rule", *(f"{share} % of the calls" for share in shares)],
        ([rule, *(row[share] for share in shares)] for rule, row in rows.items()),
    )
    return GROUP.format(name=name[0].upper() + name[1:], n=max(c["n"] for c in cells)) + shown + sentence


def _listed(rules: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{name} (at {', '.join(shares)})" for name, shares in rules.items())
