"""docs/reference/confidence-measured.md, made of bench/results/confidence.json and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages import Cell, bounded, bounds, matching, table, text_of

MORE_AUC = "AUC, learned - recorded"


def page(result: Mapping[str, Any]) -> str:
    pairs: dict[str, dict[str, Cell]] = {}
    for cell in result["cells"]:
        case, _, what = cell["case"].partition(": ")
        pairs.setdefault(case, {})[what] = cell
    used = [case for case, cells in pairs.items() if _used(cells)["ours"]]
    auc = {case: cells[MORE_AUC] for case, cells in pairs.items() if MORE_AUC in cells}
    n_rows = [_used(cells)["n"] for cells in pairs.values()]
    sure = [cells for cells in pairs.values() if cells["log loss less, train"]["low"] > 0]
    first = {case: cells for case, cells in pairs.items() if "gpt-4o-mini > gpt-4o" in case}
    kinds = {"as recorded": "not calibrated", "calibrated": "recorded", "learned": "learned"}
    errors = {
        case.split(",")[0]: {name: _with_interval(cells[f"ECE, {kind}"]) for name, kind in kinds.items()}
        for case, cells in first.items()
    }
    return text_of(
        "confidence-measured",
        **result,
        n_sure=len(sure),
        n_sure_less=sum(cells["saved, learned"]["ours"] < cells["saved, recorded"]["ours"] for cells in sure),
        n_used=len(used),
        n=len(pairs),
        names="; ".join(used) or "none",
        n_told=len(auc),
        n_auc=sum(c["ours"] > 0 for c in auc.values()),
        n_auc_sure=sum(c["low"] > 0 for c in auc.values()),
        n_auc_worse=sum(c["high"] < 0 for c in auc.values()),
        n_used_auc=sum(auc[case]["ours"] > 0 for case in used if case in auc),
        measures=table("set, pair", {case: _measures(cells) for case, cells in pairs.items()}),
        least=min(n_rows),
        most=max(n_rows),
        money=table("set, pair", {case: _money(cells) for case, cells in pairs.items()}),
        calibration=table("set", errors),
        reliability=table("bin", _reliability(next(iter(first.values())))),
    )


def _used(cells: Mapping[str, Cell]) -> Mapping[str, Any]:
    return next(cell for what, cell in cells.items() if what.startswith("learned is used"))


def _measures(cells: Mapping[str, Cell]) -> dict[str, str]:
    gain = cells["log loss less, train"]
    row = {
        "log loss less": f"{gain['ours']:+.4f} ({gain['low']:+.4f})",
        "used": "learned" if _used(cells)["ours"] else "recorded",
    }
    for measure in ("AUC", "Brier", "ECE"):
        recorded, learned = (_with_interval(cells.get(f"{measure}, {kind}")) for kind in ("recorded", "learned"))
        row[f"{measure}, recorded > learned"] = f"{recorded} > {learned}"
    return row


def _money(cells: Mapping[str, Cell]) -> dict[str, str]:
    row = {}
    for kind in ("recorded", "learned"):
        saved, lost = cells[f"saved, {kind}"], cells[f"lost, {kind}"]
        row[f"{kind}: saved"] = f"{saved['ours']:.0%} (train {saved['other']:.0%})"
        row[f"{kind}: points lost"] = bounded(lost, "+.1f")
    return row | {
        "random": f"{max(0.0, cells['saved, random mixing']['ours']):.0%}",
        "used": "learned" if _used(cells)["ours"] else "recorded",
    }


def _reliability(cells: Mapping[str, Cell]) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for (number, kind), cell in matching(cells.values(), r".*: reliability (\d+), (.*)"):
        shown = f"{cell['other']:.2f} > {cell['ours']:.2f} ({bounds(cell, '.2f')}; n {cell['n']})"
        rows.setdefault(number, {})[kind] = shown
    return rows


def _with_interval(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return f"{cell['ours']:.3f}" + ("" if cell["low"] is None else f" ({bounds(cell, '.2f')})")
