"""A store that stood on a disk that could only be read
is written again soon after it can be, whatever reads meanwhile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Busy
from tests.stand_ins.small_disk import small_disk

KILLED = """
import os, sqlite3, sys
made = sqlite3.connect(sys.argv[1])
made.execute("PRAGMA journal_mode = WAL")
made.execute("CREATE TABLE kept (x)")
made.commit()
os._exit(9)
"""


class Refused(Exception):
    """A read that ends early, as one does that finds no such family."""


@contextmanager
def readers(database: Database, count: int, *, end_early: bool) -> Iterator[None]:
    """Reads that overlap: at each moment some connection is in use."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            with suppress(Refused), database.read() as tx:
                tx.execute(text("SELECT * FROM kept")).all()
                time.sleep(0.002)
                if end_early:
                    raise Refused
            time.sleep(0.001)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def written(database: Database) -> bool:
    try:
        database.write(lambda tx: tx.execute(text("INSERT INTO kept VALUES (1)")))
    except Busy:
        return False
    return True


@pytest.mark.parametrize("end_early", [False, True])
@pytest.mark.parametrize("count", [1, 4])
def test_the_second_write_at_the_latest_is_kept(tmp_path: Path, count: int, end_early: bool) -> None:
    used = tmp_path / "used"
    used.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(used / "detent.db")], check=False)
    assert os.path.getsize(used / "detent.db-wal")
    for attempt in range(5):
        with small_disk(tmp_path / f"disk{attempt}", megabytes=4) as disk:
            home = shutil.copytree(used, disk / "home")
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            database = Database(f"sqlite:///{home / 'detent.db'}")
            try:
                with readers(database, count, end_early=end_early):
                    assert not written(database)
                    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
                    assert written(database) or written(database)
            finally:
                database.close()
