"""What the worst request costs at each entrance: processor time, peak memory and the answer's size. `make siege`

Each in a process of its own, so that one's memory is not another's. Processor time is stated, since the machine may be busy.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.common import ROOT, Cell, write_result
from bench.siege.worst_texts import ENTRANCES


def measured(case: str) -> dict[str, Any]:
    with TemporaryDirectory() as home:
        command = [sys.executable, str(ROOT / "bench" / "siege" / "one_request.py"), case, home]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{case}: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(case, figures, flush=True)
    return figures


def cells_of(case: str, figures: dict[str, Any]) -> list[Cell]:
    shown = (("cpu_s", "seconds of processor time"), ("grown_mb", "MB of memory at its peak"), ("answered_bytes", "bytes of the answer"))
    title = f"{case} ({figures['sent_bytes']:,} bytes, answered with {figures['status']})"
    return [
        Cell(case=title, ours=figures[name], other=None, other_name="", ratio=None, low=None, high=None, unit=unit, n=1)
        for name, unit in shown
    ]


if __name__ == "__main__":
    write_result("siege", [cell for case in ENTRANCES for cell in cells_of(case, measured(case))])
