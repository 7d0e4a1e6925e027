"""What the commands on rollouts share: which tables are run, in parts or all, and where they go."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from common import Cell, commit, table, write_result

Table = Callable[[int, int], list[Cell]]  # of so many runs, by a seed


def command(name: str, tables: Mapping[str, Table], *, about: str, full: int, seed: int = 1) -> None:
    """Runs the tables that are asked for. All of them with ``full`` runs or more are kept and shown on the page; fewer
    runs or tables are printed, or kept as a part to be merged.

    Raises SystemExit where parts to be merged lack a table, have too few runs or are of several commits.
    """
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=full)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--only", nargs="+", default=list(tables), help="tables, with blanks or commas between them")
    parser.add_argument("--part", type=Path, help="where a part goes, to be merged later")
    parser.add_argument("--merge", type=Path, nargs="+", help="parts that hold all tables together; nothing is run")
    options = parser.parse_args()
    if options.merge:
        cells = merged(options.merge, list(tables), full)
    else:
        chosen = [one for words in options.only for one in words.split(",")]
        by_table = {one: tables[one](options.runs, options.seed) for one in chosen}
        cells = [cell for own in by_table.values() for cell in own]
        if options.part:
            as_json = {one: [asdict(cell) for cell in own] for one, own in by_table.items()}
            part = {"commit": commit(), "runs": options.runs, "tables": as_json}
            options.part.write_text(json.dumps(part), encoding="utf-8")
        if options.part or chosen != list(tables) or options.runs < full:
            print(table(cells))
            return
    write_result(name, cells)


def merged(parts: list[Path], tables: list[str], full: int) -> list[Cell]:
    """The cells of all tables, in their order."""
    read = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    by_table = {one: cells for part in read for one, cells in part["tables"].items()}
    if set(by_table) != set(tables) or min(p["runs"] for p in read) < full or len({p["commit"] for p in read}) > 1:
        raise SystemExit(f"The parts must hold all of {', '.join(tables)}, of one commit, with {full} runs or more.")
    return [Cell(**cell) for one in tables for cell in by_table[one]]
