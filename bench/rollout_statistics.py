"""How often and how soon rollouts end rightly and wrongly,
simulated through the product's own gates beside other rules.

    python bench/rollout_statistics.py [--runs 2000] [--seed 1] [--only A,B,drift,late,returning,whole,C,heavy,D]

A: a fixed ramp watched by many rules. B: rules that drive the ramp themselves. drift: base rates and shares that move.
late: feedback that comes late, bad news first. returning: the same users again and again. whole: quality gate and
guardrails at once, by the functions that the tick calls. C: guardrails in seconds. heavy: one user that always fails.
D: monitors of the champion. Base .80, margin .05, blocks of 40 labelled outcomes. A run of all tables with 2,000 runs
or more writes the result and docs/reference/statistics-measured.md; any other writes
bench/results/rollout_statistics_part.json. One process, one core, about an hour; with two cores, two processes with
--only and --part FILE each, then --merge FILE FILE. --page makes the page anew of the result that is there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import RESULTS, ROOT, Cell, write_result
from simulations.drift_monitors import table_d
from simulations.fixed_ramp import table_a
from simulations.guardrail_alarms import table_c
from simulations.heavy_user import table_heavy
from simulations.late_feedback import table_late
from simulations.limits_page import with_stored_sections
from simulations.own_ramps import table_b, table_drift
from simulations.page import page
from simulations.returning_users import table_returning
from simulations.whole_rollout import table_whole

FULL = 2000
TABLES = {
    "A": table_a,
    "B": table_b,
    "drift": table_drift,
    "late": table_late,
    "returning": table_returning,
    "whole": table_whole,
    "C": table_c,
    "heavy": table_heavy,
    "D": table_d,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(TABLES), help="tables, with commas between them")
    parser.add_argument("--part", type=Path, help="where a part goes, to be merged later")
    parser.add_argument(
        "--merge", type=Path, nargs="+", help="parts that hold all tables together, each of 2,000 runs or more"
    )
    parser.add_argument("--page", action="store_true", help="run nothing, make the page of the stored result")
    arguments = parser.parse_args()
    if arguments.page:
        put_page(RESULTS / "rollout_statistics.json")
        return
    if arguments.merge:
        put_page(write_result("rollout_statistics", merged(arguments.merge)))
        return
    cells = [cell for name in arguments.only.split(",") for cell in TABLES[name](arguments.runs, arguments.seed)]
    if arguments.only != ",".join(TABLES) or arguments.runs < FULL:
        path = write_result("rollout_statistics_part", cells)
        if arguments.part:
            part = {
                "tables": arguments.only.split(","),
                "runs": arguments.runs,
                **json.loads(path.read_text(encoding="utf-8")),
            }
            arguments.part.write_text(json.dumps(part), encoding="utf-8")
        return
    put_page(write_result("rollout_statistics", cells))


def merged(parts: list[Path]) -> list[Cell]:
    """The cells of all tables, in their order.

    Raises SystemExit where a table is missing or had too few runs, or the commits differ.
    """
    found = [json.loads(part.read_text(encoding="utf-8")) for part in parts]
    by_table = {table: part for part in found for table in part["tables"]}
    if set(by_table) != set(TABLES) or min(p["runs"] for p in found) < FULL or len({p["commit"] for p in found}) > 1:
        raise SystemExit(f"The parts must hold all of {', '.join(TABLES)}, of one commit, with {FULL} runs or more.")
    return [Cell(**cell) for part in found for cell in part["cells"]]


def put_page(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    (ROOT / "docs" / "reference" / "statistics-measured.md").write_text(
        with_stored_sections(page(result)), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
