"""A process that acknowledges each write is killed at a random moment:
every acknowledged write is found, whole.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from optimizer.adapters.store import Database
from tests.children import telling
from tests.stores import new_database

PARTS = 5  # rows per write that belong together


def write_for_ever(tell: Callable[[str], object], url: str) -> None:
    database, at = Database(url), datetime.now(UTC)

    def run(thread: int) -> None:
        for i in count():
            actor = f"{thread}-{i}"
            database.write(
                lambda tx, actor=actor: [  # type: ignore[misc]
                    database.audit.add(tx, at=at, actor=actor, action=str(part), family=None, subject="", detail={})
                    for part in range(PARTS)
                ]
            )
            tell(actor)

    for thread in range(4):
        threading.Thread(target=run, args=(thread,)).start()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_acknowledged_write_is_lost_and_none_is_half_there(tmp_path: Path, seed: int) -> None:
    new_database(tmp_path).close()
    url = f"sqlite:///{tmp_path / 'detent.db'}"
    with telling(write_for_ever, url) as (process, told):
        acknowledged = [next(told) for _ in range(random.Random(seed).randint(1, 300))]
        process.kill()
        acknowledged += told
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
