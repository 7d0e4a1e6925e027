"""docs/reference/cascades-measured.md, made of bench/results/cascades.json and of nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pages import Cell, bounded, bounds, grid, lines, matching, text_of

KEY = "gpt-4o-mini > gpt-4o"
OURS = "confident"
DRAWN = (OURS, "score test in sequence", "plain bound", "expected")


def page(result: Mapping[str, Any]) -> str:
    cells = result["cells"]
    by_case = {cell["case"]: cell for cell in cells}
    sets = list(dict.fromkeys(c["case"].split(":")[0] for c in cells if ": all pairs: " in c["case"]))
    n = max(c["n"] for c in cells if c["case"].endswith("above a point vs expected") and " > " in c["case"])
    again = matching(cells, "(.*): drawn again")
    hardest = matching(cells, r"hardest case, (\d+) records")
    return text_of(
        "cascades-measured",
        **result,
        n=n,
        limit=0.1 + 1.645 * (0.09 / n) ** 0.5,
        key_pairs=lines(_key_row(by_case, name) for name in sets),
        key_rules=_by_set(sets, _key_rules(cells, by_case, sets)),
        all_pairs=_by_set(sets, _pair_rules(cells, by_case, sets)),
        regret=lines(_regret(name, by_case[f"{name}: all pairs: saved vs best on dev"]) for name in sets),
        drawn=_by_set(sets, {rule: [_drawn(cells, s, rule) for s in sets] for rule in DRAWN}),
        again=lines((case, f"{c['ours']:.3f}", bounds(c), f"{c['other']:.3f}") for (case,), c in again),
        kept=_refused(by_case, sets),
        hardest=lines((rows, f"{c['ours']:.3f}", bounds(c)) for (rows,), c in hardest),
        chains=lines(row for s in sets for row in _chain_rows(by_case, s)),
        chain_draws=lines(_chain_draws(cells)),
        query=lines(_query_rows(by_case)),
        every="".join(_every(by_case, s) for s in sets),
    )


def _by_set(sets: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    return grid(["rule", *sets], ([name, *row] for name, row in rows.items()))


def _key_rules(cells: Sequence[Cell], by_case: Mapping[str, Cell], sets: Sequence[str]) -> dict[str, list[str]]:
    rules = _rules(cells, f"{sets[0]}: {KEY}: saved on dev vs ")
    return {rule: [_both(by_case, f"{s}: {KEY}: ", " on dev", rule) for s in sets] for rule in rules}


def _pair_rules(cells: Sequence[Cell], by_case: Mapping[str, Cell], sets: Sequence[str]) -> dict[str, list[str]]:
    rules = _rules(cells, f"{sets[0]}: all pairs: saved vs ")
    return {
        rule: [
            f"{_both(by_case, f'{s}: all pairs: ', '', rule)}"
            f" ({_of(by_case, f'{s}: all pairs: above a point vs ', rule):.2f})"
            for s in sets
        ]
        for rule in rules
    }


def _regret(name: str, cell: Cell) -> Sequence[str]:
    regret = f"{cell['other'] - cell['ours']:+.3f}", f"{-cell['high']:+.3f} to {-cell['low']:+.3f}"
    return name, f"{cell['other']:.3f}", f"{cell['ours']:.3f}", *regret


def _refused(by_case: Mapping[str, Cell], sets: Sequence[str]) -> str:
    """The sets that the score test refuses and ours does not."""

    def saved(name: str, rule: str) -> float:
        return _of(by_case, f"{name}: {KEY}: saved on dev vs ", rule)

    refused = [s for s in sets if saved(s, "score test in sequence") == 0 < saved(s, OURS)]
    return f"{KEY} on {', '.join(refused)}" if refused else "none of the sets that ours accepts"


def _of(by_case: Mapping[str, Cell], start: str, rule: str) -> float:
    """A rule's figure: it is the other of its own cell, and ours of every one."""
    if rule == OURS:
        return float(next(c["ours"] for case, c in by_case.items() if case.startswith(start)))
    return float(by_case[start + rule]["other"])


def _rules(cells: Iterable[Cell], start: str) -> list[str]:
    return [OURS, *(c["other_name"] for c in cells if c["case"].startswith(start))]


def _both(by_case: Mapping[str, Cell], start: str, where: str, rule: str) -> str:
    return (
        f"{_of(by_case, f'{start}saved{where} vs ', rule):.2f} /"
        f" {100 * _of(by_case, f'{start}loss{where} vs ', rule):+.2f}"
    )


def _key_row(by_case: Mapping[str, Cell], name: str) -> Sequence[str]:
    case = f"{name}: {KEY}"
    best, plain = (by_case[f"{case}: saved on dev vs {rule}"] for rule in ("best on dev", "plain bound"))
    above, expected = (by_case[f"{case}: above a point vs {rule}"] for rule in ("plain bound", "expected"))
    saved = bounded(best) if best["ours"] else "do not cascade"
    lost = bounded(by_case[f"{case}: loss on dev vs best on dev"], "+.2f", 100)
    others = (f"{cell['other']:.3f}" for cell in (plain, best, above, expected))
    return name, str(best["n"]), saved, next(others), next(others), lost, bounded(above), *others


def _drawn(cells: Iterable[Cell], name: str, rule: str) -> str:
    shares: dict[str, list[float]] = {"above a point": [], "saved over draws": []}
    for what, values in shares.items():
        wanted = f": {what} vs {'expected' if rule == OURS else rule}"
        values += [
            c["ours" if rule == OURS else "other"]
            for c in cells
            if c["case"].startswith(f"{name}: ") and c["case"].endswith(wanted) and (str(c["case"]).count(" > ") == 1)
        ]
    above, saved = shares.values()
    return f"{sum(above) / len(above):.3f}, worst {max(above):.3f}; saved {sum(saved) / len(saved):.2f}"


def _chain_rows(by_case: Mapping[str, Cell], name: str) -> Iterator[Sequence[str]]:
    measured = ("saved on train", "saved on dev", "loss on dev", "above a point")
    for length in (3, 4):
        cells = [by_case[f"{name}: chains of {length}: {what} vs expected"] for what in measured]
        for rule, side in ((OURS, "ours"), ("expected", "other")):
            train, dev, loss, above = (c[side] for c in cells)
            figures = f"{train:.3f}", f"{dev:.3f}", f"{100 * loss:+.2f}", f"{above:.2f}"
            yield name, f"{length} ({cells[0]['n']})", rule, *figures


def _chain_draws(cells: Iterable[Cell]) -> list[Sequence[str]]:
    rows: dict[tuple[str, str], list[str]] = {}
    for (name, chain), cell in matching(cells, r"(\w+): (.*): above a point, .*"):
        rows.setdefault((name, chain), [name, chain]).append(f"{bounded(cell, '.2f')} / {cell['other']:.2f}")
    return list(rows.values())


def _query_rows(by_case: Mapping[str, Cell]) -> Iterator[Sequence[str]]:
    for name in dict.fromkeys(case.split(":")[0] for case in by_case if ": query only: " in case):
        saved, lost = (f"{name}: query only: {what} vs " for what in ("saved", "loss"))
        loss = next(cell for case, cell in by_case.items() if case.startswith(lost))
        for rule in _rules(by_case.values(), saved):
            figures = f"{_of(by_case, saved, rule):.3f}", f"{100 * _of(by_case, lost, rule):+.2f}"
            yield name, rule, *figures, bounds(loss, "+.2f", 100) if rule == OURS else ""


def _every(by_case: Mapping[str, Cell], name: str) -> str:
    rows = []
    for (pair,), cell in matching(by_case.values(), rf"{name}: (.*): saved on dev vs best on dev"):
        loss = by_case[f"{name}: {pair}: loss on dev vs best on dev"]
        above = by_case[f"{name}: {pair}: above a point vs expected"]
        saved, lost = (f"{cell['ours']:.2f}", bounded(loss, "+.2f", 100)) if cell["ours"] else ("no", "-")
        rows.append([pair, f"{saved} ({cell['other']:.2f})", lost, f"{above['ours']:.3f} ({above['other']:.2f})"])
    return f"\n### {name}\n\n{grid(['pair', 'saved (best)', 'points lost', 'above a point (expected)'], rows)}"
