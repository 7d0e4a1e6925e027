"""A siege in two parts: the worst request at each entrance,
then mixed load at half of capacity while faults come in turn.

`make siege`

    python bench/siege.py [--only texts|load] [--minutes 10]

Texts: each in a process of its own, so that one's memory is not another's; processor time, peak memory and the answer's
size. Load: a real ``detent serve`` on a home of its own, loopback and free ports. Both together write
bench/results/siege.json and docs/reference/reliability.md; one part alone is only printed. Ends with 1 when a bar is
missed. A quarter of an hour, on a quiet machine. Ctrl-C stops everything that was started.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import ROOT, Cell, table, write_result
from bench.siege.load import cells_of, siege
from bench.siege.page import missed
from bench.siege.worst_texts import CASES


def measured(case: str) -> dict[str, Any]:
    with TemporaryDirectory() as home:
        command = [sys.executable, str(ROOT / "bench" / "siege" / "one_request.py"), case, home]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, figures, file=sys.stderr, flush=True)
    return figures


def text_cells(case: str, figures: dict[str, Any]) -> list[Cell]:
    shown = (
        ("cpu_s", "seconds of processor time"),
        ("grown_mb", "MB of memory at its peak"),
        ("answered_bytes", "bytes of the answer"),
    )
    title = f"{case} ({figures['sent_bytes']:,} bytes, answered with {figures['status']})"
    return [Cell(case=title, ours=figures[name], unit=unit, n=1) for name, unit in shown]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--only", choices=("texts", "load"), help="one part, printed and not kept")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of load; every fault comes once at least (default 10)"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the end of a job cleans up as Ctrl-C does
    cells: list[Cell] = []
    if arguments.only != "texts":
        with TemporaryDirectory(prefix="detent-siege-") as home:
            cells += cells_of(siege(Path(home), arguments.minutes))
    if arguments.only != "load":
        cells += [cell for case in CASES for cell in text_cells(case, measured(case))]
    if arguments.only:
        print(table(cells))
    else:
        write_result("siege", cells)
    for case in (not_kept := missed([asdict(cell) for cell in cells])):
        print(f"missed its bar: {case}", file=sys.stderr)
    return 1 if not_kept else 0


if __name__ == "__main__":
    sys.exit(main())
