"""Processes that write to one SQLite file take turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import monotonic, time

from optimizer.adapters.store.writer import Turn

WRITE = """
import sys, time
from pathlib import Path
from optimizer.adapters.store.writer import Turn
turn, n = Turn(Path(sys.argv[1]), 10), 0
print("ready", flush=True)
until = float(sys.stdin.readline())
while time.time() < until:
    with turn.mine():
        n += 1
        time.sleep(0.005)
print(n)
"""
HOLD = """
import sys
from pathlib import Path
from optimizer.adapters.store.writer import Turn
with Turn(Path(sys.argv[1]), 10).mine():
    print("held", flush=True)
    sys.stdin.readline()
"""
PIPE = subprocess.PIPE


def test_of_two_that_write_all_the_time_each_gets_its_turn(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "turn")]
    both = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    until = time() + 1.0
    for one in both:
        one.stdin.write(f"{until}\n")
        one.stdin.flush()
    turns = [int(one.communicate(timeout=60)[0]) for one in both]
    assert min(turns) > 0.3 * max(turns) > 0, turns


def test_who_has_waited_long_goes_on_and_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "turn"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdin=PIPE, stdout=PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        began = monotonic()
        with Turn(file, patience_s=0.2).mine():
            assert monotonic() - began >= 0.2
    finally:
        holder.kill()
        holder.wait()
    began = monotonic()
    with Turn(file, patience_s=60).mine():
        assert monotonic() - began < 30


def test_without_a_file_to_lock_there_are_no_turns(tmp_path: Path) -> None:
    with Turn(tmp_path / "no such folder" / "turn", patience_s=5).mine():
        pass
