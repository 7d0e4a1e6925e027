"""How often rollouts end wrongly where the difference between the arms swings with the hour or the week, simulated
through the product's own gate and rule, beside the rule before.

    python bench/rollout_days.py [--runs 2000] [--seed 41] [--only NAME,NAME] [--part FILE | --merge FILE FILE]

Base .80, margin .05, 40 labels an hour, ladder 10, 25, 50, 75 %. A run of all cases with 2,000 runs or more writes
bench/results/rollout_days.json and its section of docs/reference/statistics-measured.md. Half an hour on one idle core;
with two, two processes with --only and --part each, then --merge. Fewer runs are printed alone.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from common import RESULTS, ROOT, Cell, commit, table, write_result
from simulations.limits_page import with_stored_sections
from simulations.whole_days import CASES, table_days

FULL = 2000
PAGE = ROOT / "docs" / "reference" / "statistics-measured.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--only", default="", help="numbers of cases from 0, with commas between them")
    parser.add_argument("--part", type=Path, help="where a part goes, to be merged later")
    parser.add_argument("--merge", type=Path, nargs="+", help="parts that hold all cases together")
    arguments = parser.parse_args()
    names = list(CASES)
    if arguments.merge:
        put(merged(arguments.merge))
        return
    chosen = [names[int(i)] for i in arguments.only.split(",")] if arguments.only else names
    cells = table_days(arguments.runs, arguments.seed, chosen)
    if arguments.part:
        found = {"commit": commit(), "runs": arguments.runs, "cells": [vars(cell) for cell in cells]}
        arguments.part.write_text(json.dumps(found), encoding="utf-8")
    elif chosen != names or arguments.runs < FULL:
        print(table(cells))
    else:
        put(cells)


def merged(parts: list[Path]) -> list[Cell]:
    """The cells of all cases, in their order. Raises SystemExit where one is missing or had too few runs."""
    found = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    cells = [Cell(**cell) for part in found for cell in part["cells"]]
    of_case = re.compile(r"days, (.*), [+-]\d pt: ")
    by_case: dict[str, list[Cell]] = {name: [] for name in CASES}
    for cell in cells:
        if (match := of_case.match(cell.case)) is not None:
            by_case[match[1]].append(cell)
    ordered = [cell for of in by_case.values() for cell in of]
    whole = all(by_case.values())
    if not whole or min(part["runs"] for part in found) < FULL or len({part["commit"] for part in found}) > 1:
        raise SystemExit(f"The parts must hold all cases, of one commit, with {FULL} runs or more.")
    return ordered


def put(cells: list[Cell]) -> None:
    write_result("rollout_days", cells, RESULTS)
    PAGE.write_text(with_stored_sections(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
