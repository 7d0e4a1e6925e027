"""Labels that come later in one arm than in the other, and a window that somebody has fixed, simulated through the
functions of the tick.

    python bench/rollout_delays.py [--runs 2000] [--seed 1] [--only champion candidate alike happier]
    python bench/rollout_delays.py --merge FILE FILE

champion, candidate: whose labels take twice as long, with windows of 24 hours, of 40 (99 % of the usual labels) and of
79 (99 % of the slower ones). alike: both arms' labels take as long, so that none should be found different. happier:
unhappy users of both arms who say nothing. Good news takes nine hours in the mean, bad news one. Base .80, margin .05,
forty labels an hour. About an hour on one core; writes bench/results/rollout_delays.json, where the tables that
--only leaves out stay as they are, and the last sections of docs/reference/statistics-measured.md. Fewer runs are
printed alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import RESULTS, ROOT, Cell, table, write_result
from simulations.late_labels import table_alike, table_candidate, table_champion, table_happier
from simulations.limits_page import with_stored_sections

FULL = 2000
PAGE = ROOT / "docs" / "reference" / "statistics-measured.md"
TABLES = {
    "champion": (table_champion, "delayed, champion's"),
    "candidate": (table_candidate, "delayed, candidate's"),
    "alike": (table_alike, "delayed, labels"),
    "happier": (table_happier, "happier"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="tables")
    parser.add_argument("--merge", type=Path, nargs="+", help="results of --only from other trees: nothing is run")
    arguments = parser.parse_args()
    if arguments.merge:
        put([cell for name in TABLES for file in arguments.merge for cell in kept(name, file)])
        return
    cells = {name: TABLES[name][0](arguments.runs, arguments.seed) for name in arguments.only}
    if arguments.runs < FULL:
        print(table([cell for own in cells.values() for cell in own]))
        return
    put([cell for name in TABLES for cell in cells.get(name) or kept(name)])


def put(cells: list[Cell]) -> None:
    write_result("rollout_delays", cells, RESULTS)
    PAGE.write_text(with_stored_sections(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def kept(name: str, path: Path = RESULTS / "rollout_delays.json") -> list[Cell]:
    """The cells of a table as they were stored last."""
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
    return [Cell(**cell) for cell in stored if cell["case"].startswith(TABLES[name][1])]


if __name__ == "__main__":
    main()
