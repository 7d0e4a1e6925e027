"""Whether a rollout ended as it should, given what both variants score on every row that its users brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pages import bounds, lines

from lifts.plan import PLAN

Cell = Mapping[str, Any]
RIGHT, WRONG, TOO_FEW = "right", "**wrong**", "safe, but a gain was left lying"


def judged(cell: Cell) -> str:
    """Of a cell: right, wrong, or what was not found out."""
    if cell["outcome"] == "promoted":
        return RIGHT if cell["difference"] > -cell["margin"] else WRONG
    if cell["outcome"] == "worse":
        return RIGHT if cell["difference"] < 0 else WRONG
    if cell["outcome"] in ("inconclusive", None):
        return RIGHT if cell["difference"] <= 0 else TOO_FEW
    return WRONG  # a guardrail, or an invalid comparison: these answers have no errors, and the arms their shares


def earlier(cell: Cell, before: Cell | None) -> list[str | None]:
    """How rollouts of the same pair on the same rows ended before this one: each is another draw of users."""
    if before is None or any(before[name] != cell[name] for name in ("candidate", "n_rows", "difference")):
        return []
    return [*before.get("earlier", ()), before["outcome"]]


def ended(cell: Cell) -> str:
    words = {
        "promoted": "promoted",
        "worse": "rolled back as worse",
        "inconclusive": "ended as inconclusive",
        None: "not ended in time",
    }
    return words.get(cell["outcome"], f"rolled back: {cell['outcome']}")


def rolled_out(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the section of the page shows."""
    cells = by_name(result)
    rows = ((f"[{name}](families/{name}.md)", *_row(cell)) for name, cell in cells.items())
    return {
        "setting": result["setting"],
        "commits": " and ".join(dict.fromkeys(str(cell["commit"]) for cell in cells.values())),
        "confirmed": _confirmed(cells),
        "rollouts": lines(rows),
    }


def by_name(result: Mapping[str, Any]) -> dict[str, Cell]:
    """By family, in the plan's order."""
    cells: Sequence[Cell] = result["cells"]
    return {cell["family"]: cell for cell in sorted(cells, key=lambda cell: list(PLAN).index(cell["family"]))}


def _confirmed(cells: Mapping[str, Cell]) -> str:
    """Which confirmations were asked for, and what became of them, in a sentence."""
    groups: dict[str, list[str]] = {
        "confirmed": [],
        "asked and not confirmed": [],
        "rolled out without having been asked": [],
    }
    for name, cell in cells.items():
        if confirmed := cell.get("confirmed"):
            groups["confirmed" if confirmed["outcome"] == "nominated" else "asked and not confirmed"].append(name)
        elif not _is_base(cell):
            groups["rolled out without having been asked"].append(name)
    return f"Of the winners: {'; '.join(f'{what}: ' + ', '.join(of) for what, of in groups.items() if of)}."


def _is_base(cell: Cell) -> bool:
    return bool(cell["candidate"].startswith("base "))


def _started(cell: Cell) -> str:
    """As nominated or as forced, and on which ground."""
    confirmed = cell.get("confirmed")
    if not confirmed:
        return "forced: a base, not searched for" if _is_base(cell) else "forced: no confirmation asked for"
    on = f"{confirmed['champion_mean']:.3f} > {confirmed['winner_mean']:.3f} on {confirmed['n']} sealed rows"
    if not cell["refused"]:
        return f"nominated: {on}"
    missed = f"{', '.join(confirmed['missed'])} not met" if confirmed["missed"] else cell["refused"]
    return f"forced: {missed}: {on}"


def _row(cell: Cell) -> Sequence[str]:
    difference = f"**{cell['difference']:+.3f}** ({bounds(cell, '+.3f')})"
    others = Counter(ended({"outcome": outcome}) for outcome in cell.get("earlier", ()))
    before = f" (before: {', '.join(f'{n} x {what}' for what, n in others.items())})" if others else ""
    return (
        cell["candidate"],
        f"{cell['n_rows']} {cell['rows']}",
        f"{cell['champion_mean']:.3f}",
        difference,
        f"{cell['margin']:.3f}",
        _started(cell),
        f"{ended(cell)}{before}",
        f"{cell['n_requests']:,}, {cell['n_candidate']:,}",
        "-" if cell["n_labelled"] is None else f"{cell['n_labelled']:,}",
        judged(cell),
    )
