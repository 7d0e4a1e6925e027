"""A process that acknowledges each write on its standard output is killed at a random moment:
every acknowledged write is found, whole.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from tests.stores import new_database

ROOT = Path(__file__).resolve().parents[2]
PARTS = 5  # rows per write that belong together

WRITES = f"""
import sys, threading
from datetime import UTC, datetime
from optimizer.adapters.store import Database

database = Database(sys.argv[1])
at = datetime.now(UTC)

def write(thread, i):
    def fn(tx):
        for part in range({PARTS}):
            database.audit.add(tx, at=at, actor=f"{{thread}}-{{i}}", action=str(part), family=None, subject="", detail={{}})
    database.write(fn)
    sys.stdout.write(f"{{thread}}-{{i}}\\n")
    sys.stdout.flush()

def run(thread):
    for i in range(1_000_000):
        write(thread, i)

for thread in range(4):
    threading.Thread(target=run, args=(thread,)).start()
"""  # noqa: E501


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_acknowledged_write_is_lost_and_none_is_half_there(tmp_path: Path, seed: int) -> None:
    new_database(tmp_path).close()
    url = f"sqlite:///{tmp_path / 'detent.db'}"
    process = subprocess.Popen([sys.executable, "-c", WRITES, url], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(random.Random(seed).randint(1, 300))]
    process.kill()
    acknowledged += process.stdout.readlines()
    process.wait(30)
    process.stdout.close()
    names = {line.strip() for line in acknowledged if line.endswith("\n")}  # the last line may be cut off
    assert names

    database = Database(url)
    found: dict[str, int] = {}
    with database.read() as tx:
        for row in database.audit.page(tx, None, 1_000_000)[0]:
            found[row["actor"]] = found.get(row["actor"], 0) + 1
    database.write(database.serving_version.bump)  # and it takes writes again
    database.close()
    assert names <= found.keys()
    assert set(found.values()) == {PARTS}
    assert len(found) - len(names) <= 4  # one per thread: committed, and killed before it could say so
