"""One command line as a user types it, in a process and a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DONE, REFUSED = 0, 3


def typed(home: Path, *words: str, allowed: tuple[int, ...] = (DONE,)) -> str:
    """What ``detent WORDS`` prints; raises RuntimeError with what it says where it ends with another exit code."""
    program = [sys.executable, "-c", "from optimizer.cli import main; main()", *words]
    environment = {**os.environ, "DETENT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in allowed:
        said = f"{done.stderr[-2000:]}{done.stdout[-500:]}"
        raise RuntimeError(f"detent {' '.join(words)}: exit {done.returncode}: {said}")
    return done.stdout
